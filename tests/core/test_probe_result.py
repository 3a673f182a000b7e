"""The verdict over several targets, the JSON, and the fingerprint."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.core.probe_result import (
    PHASES,
    STATUS,
    ProbeResult,
    TargetResult,
    TlsFacts,
    judged,
    overall,
    steady,
)
from knowledge.classify import TABLE, Cause, Fault, Stage, judge

TLS = TlsFacts(
    version="TLSv1.3",
    cipher="TLS_AES_256_GCM_SHA384",
    verified=False,
    verify_error="expired",
    subject="CN=mail.contoso.test",
    issuer="CN=Contoso CA",
    san=("mail.contoso.test",),
    not_after=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    days_left=12,
    sha256="ab" * 32,
)


def good(**changes: Any) -> TargetResult:
    return TargetResult(host="good.test", port=25, ip="192.0.2.1", **changes)


def failing(cause: Cause, stage: Stage, **changes: Any) -> TargetResult:
    facts = {"host": "bad.test", "port": 25, "ip": "192.0.2.9", **changes}
    return judged(judge([Fault(cause, stage, f"it said {cause}")], "opportunistic"), **facts)


REFUSED = failing(Cause.REFUSED, Stage.CONNECT)
SILENT = failing(Cause.CONNECT_TIMEOUT, Stage.CONNECT)
NOWHERE = failing(Cause.NXDOMAIN, Stage.DNS, ip=None)
BUSY = failing(Cause.RATE_LIMITED, Stage.BANNER)
CLOSED = failing(Cause.CLOSED, Stage.BANNER)
SKIPPED = good(stage=Stage.DNS, detail="an address range is not probed")


@pytest.mark.parametrize(
    ("targets", "ok", "code", "degraded"),
    [
        ([good()], True, None, False),
        ([REFUSED], False, "4.4.316", False),
        ([REFUSED, good()], True, None, True),
        ([good(), REFUSED], True, None, True),
        ([NOWHERE, good()], True, None, True),
        ([REFUSED, SILENT], False, "4.4.316", False),
        ([SILENT, REFUSED], False, "4.4.315", False),
        ([SILENT, BUSY], False, "4.4.317", False),
        ([NOWHERE, REFUSED, CLOSED, BUSY], False, "4.4.318", False),
        ([SKIPPED], True, None, False),
        ([SKIPPED, REFUSED], False, "4.4.316", False),
        ([SKIPPED, good()], True, None, False),
        ([], True, None, False),
    ],
)
def test_the_verdict_is_what_mail_meets_after_failover(
    targets: list[TargetResult], ok: bool, code: str | None, degraded: bool
) -> None:
    result = overall(targets, 12.345)
    assert (result.ok, result.code, result.degraded, result.elapsed_ms) == (ok, code, degraded, 12.3)
    assert (Cause.TARGET_DOWN in result.warnings) == degraded
    assert (result.status is None) == ok


def test_the_words_behind_the_verdict_are_those_of_the_target_that_decided() -> None:
    result = overall([SILENT, BUSY], 1)
    assert (result.detail, result.stage, result.cause) == ("it said rate_limited", Stage.BANNER, Cause.RATE_LIMITED)
    assert overall([good()], 1).detail == ""


def test_a_probe_of_nothing_says_so() -> None:
    assert overall([], 1).nothing_probed
    assert overall([SKIPPED], 1).nothing_probed
    assert overall([], 1).stage is Stage.DNS
    assert not overall([good()], 1).nothing_probed
    assert not overall([SKIPPED, REFUSED], 1).nothing_probed


def test_warnings_of_all_targets_are_told_once() -> None:
    warned = good(warnings=(Cause.SLOW, Cause.BARE_LF))
    result = overall([warned, good(warnings=(Cause.SLOW,)), REFUSED], 1)
    assert result.warnings == (Cause.SLOW, Cause.BARE_LF, Cause.TARGET_DOWN)


def test_every_code_of_the_table_has_a_status_line() -> None:
    assert set(STATUS) == {code for code, _ in TABLE}
    assert all(line.startswith(f"450 {code} ") for code, line in STATUS.items())


def test_the_document_has_exactly_the_promised_keys() -> None:
    result = overall([good(tls=TLS, banner="220 x", timings={Stage.DNS: 1.5, Stage.CONNECT: 0.4}), REFUSED], 7)
    document = json.loads(json.dumps(result.document()))
    assert list(document) == [
        *("ok", "code", "cause", "status", "stage", "degraded", "warnings", "checks", "rcpt", "targets", "elapsed_ms")
    ]
    first, second = document["targets"]
    assert list(first) == [
        *("host", "ip", "port", "ok", "code", "cause", "causes", "warnings", "stage", "detail", "banner"),
        *("timings_ms", "tls"),
    ]
    assert first["timings_ms"] == {
        "dns": 1.5,
        "connect": 0.4,
        "banner": None,
        "ehlo": None,
        "starttls": None,
        "tls": None,
    }
    assert first["tls"] == {
        "version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "verified": False,
        "verify_error": "expired",
        "subject": "CN=mail.contoso.test",
        "issuer": "CN=Contoso CA",
        "san": ["mail.contoso.test"],
        "not_after": "2026-01-02T03:04:05Z",
        "days_left": 12,
    }
    assert second["tls"] is None
    assert (document["checks"], document["rcpt"]) == ({"dane": None, "mta_sts": None}, None)
    assert [*map(str, PHASES)] == list(first["timings_ms"])


@pytest.mark.parametrize("targets", [[good(tls=TLS)], [good(tls=TlsFacts())], [REFUSED, NOWHERE], [good(), BUSY], []])
def test_a_document_comes_back_as_it_went_out(targets: list[TargetResult]) -> None:
    document = overall(targets, 3).document()
    assert ProbeResult.from_document(document).document() == document
    assert ProbeResult.from_document(json.dumps(document)).document() == document


def test_the_fingerprint_holds_what_was_seen_and_nothing_else() -> None:
    assert overall([NOWHERE], 1).fingerprint() == {}
    seen = good(tls=TLS, banner="220 mx1.contoso.test ESMTP 8.1", capabilities=("STARTTLS", "SIZE 100"))
    assert overall([REFUSED, seen], 1).fingerprint() == {
        "addresses": "192.0.2.1, 192.0.2.9",
        "banner": "220 mx1.contoso.test ESMTP",
        "capabilities": "SIZE 100, STARTTLS",
        "certificate": "ab" * 32,
        "certificate_subject": "CN=mail.contoso.test",
        "certificate_expires": "2026-01-02T03:04:05Z",
    }


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "220 ex1.contoso.test Microsoft ESMTP MAIL Service ready at Mon, 24 Nov 2025 07:13:00 +0000",
            "220 ex1.contoso.test Microsoft ESMTP MAIL Service ready at Tue, 2 Dec 2025 11:01:59 +0000",
            True,
        ),
        ("220 mx.contoso.test ESMTP a1-2002b7 - gsmtp", "220 mx.contoso.test ESMTP 99-77ffe - gsmtp", True),
        ("220 mx1.contoso.test ESMTP", "220 mx2.contoso.test ESMTP", False),
        ("220 mx.contoso.test ESMTP Postfix", "220 mx.contoso.test ESMTP Exim", False),
        ("220", "220", True),
        ("", "", True),
    ],
)
def test_banners_are_compared_without_what_changes_by_itself(one: str, other: str, same: bool) -> None:
    assert (steady(one) == steady(other)) == same
