"""From causes to the verdict: what counts under which TLS setting, and which fault wins."""

from __future__ import annotations

import pytest

from knowledge.causes import CAUSE_WORDS
from knowledge.classify import CERTIFICATE_CAUSES, TABLE, Cause, Fault, Stage, code_of, counts, judge

SETTINGS = ["none", "opportunistic", "encryption", "certificate", "domain"]


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (Cause.NXDOMAIN, "4.4.312"),
        (Cause.NULL_MX, "4.4.312"),
        (Cause.CONNECT_TIMEOUT, "4.4.315"),
        (Cause.UNREACHABLE, "4.4.315"),
        (Cause.REFUSED, "4.4.316"),
        (Cause.SMTP_ERROR, "4.4.317"),
        (Cause.NO_STARTTLS, "4.4.317"),
        (Cause.STALLED, "4.4.318"),
        (Cause.RESET, "4.4.318"),
        (Cause.CERT_NAME, "4.7.320"),
        (Cause.SLOW, None),
        (Cause.TARGET_DOWN, None),
    ],
)
def test_each_cause_means_its_code(cause: Cause, code: str | None) -> None:
    assert code_of(cause) == code


def test_no_cause_stands_in_two_rows() -> None:
    every = [cause for _, causes in TABLE for cause in causes]
    assert len(every) == len(set(every))


@pytest.mark.parametrize(
    ("cause", "stage", "stops"),
    [
        (Cause.REFUSED, Stage.CONNECT, SETTINGS),
        (Cause.CLOSED, Stage.BANNER, SETTINGS),
        (Cause.CLOSED, Stage.STARTTLS, ["encryption", "certificate", "domain"]),
        (Cause.NO_STARTTLS, Stage.STARTTLS, ["encryption", "certificate", "domain"]),
        (Cause.TLS_FAILED, Stage.TLS, ["encryption", "certificate", "domain"]),
        (Cause.CERT_EXPIRED, Stage.TLS, ["certificate", "domain"]),
        (Cause.CERT_NAME, Stage.TLS, ["domain"]),
        (Cause.EXPIRING_SOON, Stage.TLS, []),
        (Cause.SLOW, Stage.BANNER, []),
    ],
)
def test_a_fault_counts_only_where_the_tls_setting_looks_at_it(cause: Cause, stage: Stage, stops: list[str]) -> None:
    assert [setting for setting in SETTINGS if counts(Fault(cause, stage), setting)] == stops


def test_nothing_wrong_is_ok() -> None:
    verdict = judge([], "domain")
    assert verdict.ok
    assert (verdict.code, verdict.stage, verdict.causes, verdict.warnings) == (None, Stage.DONE, (), ())


def test_faults_that_do_not_count_are_warnings_each_once() -> None:
    faults = [Fault(Cause.CERT_NAME, Stage.TLS), Fault(Cause.SLOW, Stage.BANNER), Fault(Cause.SLOW, Stage.EHLO)]
    verdict = judge(faults, "encryption")
    assert verdict.ok
    assert verdict.warnings == (Cause.CERT_NAME, Cause.SLOW)


def test_the_first_row_of_the_table_wins_and_every_cause_is_kept() -> None:
    faults = [Fault(Cause.CERT_EXPIRED, Stage.TLS, "old"), Fault(Cause.NO_STARTTLS, Stage.STARTTLS, "no TLS")]
    verdict = judge(faults, "domain")
    assert (verdict.code, verdict.cause, verdict.detail) == ("4.4.317", Cause.NO_STARTTLS, "no TLS")
    assert verdict.causes == (Cause.NO_STARTTLS, Cause.CERT_EXPIRED)


def test_expired_and_wrong_name_are_both_named() -> None:
    verdict = judge([Fault(Cause.CERT_EXPIRED, Stage.TLS), Fault(Cause.CERT_NAME, Stage.TLS)], "domain")
    assert (verdict.code, verdict.causes) == ("4.7.320", (Cause.CERT_EXPIRED, Cause.CERT_NAME))


def test_every_cause_has_words_for_people_and_no_two_share_them() -> None:
    assert set(CAUSE_WORDS) == set(Cause)
    assert len(set(CAUSE_WORDS.values())) == len(CAUSE_WORDS)
    assert all(words and not words.endswith(".") and len(words) <= 80 for words in CAUSE_WORDS.values())


def test_certificate_causes_are_those_of_4_7_320() -> None:
    assert {code_of(cause) for cause in CERTIFICATE_CAUSES} == {"4.7.320"}
