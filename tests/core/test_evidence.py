"""Queue and probe: what each says, and how they fit together."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.evidence import (
    ProbeRun,
    SampleKind,
    code_words,
    folded,
    is_certificate_trouble,
    run_of,
    sample_of,
    trouble_code,
    troubles,
)
from bot.core.policy import Policy
from storage.records import CodeCount, ProbeRecord, QueueSummary

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy()


def group(code: str | None, *, age: float = 20, count: int = 1, reason: str | None = None) -> CodeCount:
    received = NOW - timedelta(minutes=age)
    return CodeCount(
        code=code,
        count=count,
        oldest_received_at=received,
        first_expiry_at=received + timedelta(hours=24),
        reason=reason,
    )


def queue(*groups: CodeCount) -> QueueSummary:
    return QueueSummary(by_code=groups)


def probe(code: str | None = None, *, minute: int = 0, stage: str = "done", **fingerprint: str) -> ProbeRecord:
    return ProbeRecord(
        connector_id=1,
        at=NOW + timedelta(minutes=minute),
        ok=code is None,
        code=code,
        cause="refused" if code else None,
        status=None,
        stage=stage,
        degraded=False,
        elapsed_ms=5,
        document="{}",
        fingerprint=fingerprint,
    )


def newest_first(*codes: str | None) -> list[ProbeRecord]:
    """Probes in the order in which they were made, given newest last."""
    return [probe(code, minute=minute) for minute, code in enumerate(codes)][::-1]


REFUSED = ProbeRun(failures=2, steady=2, code="4.4.316", cause="refused", first_failure_at=NOW)
FINE = ProbeRun(successes=2)
FINE_SINCE = ProbeRun(successes=2, fine_since=NOW + timedelta(minutes=3))


@pytest.mark.parametrize(
    ("probes", "run"),
    [
        ([], ProbeRun()),
        (newest_first(None, None), ProbeRun(successes=2)),
        (newest_first("4.4.316", None), ProbeRun(successes=1)),
        (newest_first(None, "4.4.316", "4.4.315", None, None), FINE_SINCE),
        (
            newest_first(None, "4.4.316", "4.4.315", "4.4.316"),
            ProbeRun(
                failures=3, steady=1, code="4.4.316", cause="refused", first_failure_at=NOW + timedelta(minutes=1)
            ),
        ),
        ([probe(stage="dns"), *newest_first(None)], ProbeRun(empty=1)),
        ([*newest_first("4.4.316", None), probe(stage="dns"), *newest_first(None)], ProbeRun(successes=1)),
        (
            [*newest_first("4.4.316"), probe(stage="dns"), *newest_first("4.4.316")],
            replace(REFUSED, failures=1, steady=1),
        ),
        (
            [replace(probe("x"), code=None, ok=False)],
            ProbeRun(failures=1, steady=1, code="other", cause="refused", first_failure_at=NOW),
        ),
    ],
)
def test_a_run_is_told_from_the_newest_probe_backwards(probes: list[ProbeRecord], run: ProbeRun) -> None:
    assert run_of(probes) == run
    assert run.failing is (run.failures > 0)


@pytest.mark.parametrize(
    ("code", "reason", "found"),
    [
        ("4.4.316", "connection refused", "4.4.316"),
        ("5.1.0", "Domain example.test does not accept mail (nullMX)", "4.4.312"),
        (None, "null MX", "4.4.312"),
        (None, "something strange", "other"),
        (None, None, None),
    ],
)
def test_messages_belong_to_the_incident_of_their_meaning(
    code: str | None, reason: str | None, found: str | None
) -> None:
    assert trouble_code(group(code, reason=reason)) == found


def test_a_null_mx_is_one_trouble_whichever_code_it_was_given() -> None:
    both = queue(group("5.1.0", age=30, count=2, reason="nullMX"), group("4.4.312", age=60, count=3, reason="nullMX"))
    (only,) = folded(both).by_code
    assert (only.code, only.count) == ("4.4.312", 5)
    assert only.oldest_received_at == NOW - timedelta(minutes=60)
    seen = ProbeRun(failures=1, steady=1, code="4.4.312", cause="null_mx", first_failure_at=NOW)
    assert [(t.code, t.probed) for t in troubles(both, seen, POLICY, NOW)] == [("4.4.312", True)]


def test_cannot_connect_for_a_certificate_and_the_probes_certificate_failure_are_one_trouble() -> None:
    held = queue(group("4.4.317", reason="TLS: certificate has expired"))
    seen = ProbeRun(failures=1, steady=1, code="4.7.320", first_failure_at=NOW)
    (only,) = troubles(held, seen, POLICY, NOW)
    assert (only.code, only.probed, only.former) == ("4.4.317", True, "4.7.320")


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        ("4.4.317", "the certificate is not trusted", True),
        ("4.4.317", "untrusted X.509 chain", True),
        ("4.4.317", "Service not available", False),
        ("4.4.317", None, False),
        ("4.4.318", "certificate", False),
    ],
)
def test_only_a_certificate_reason_makes_it_certificate_trouble(code: str, reason: str | None, expected: bool) -> None:
    assert is_certificate_trouble(group(code, reason=reason)) is expected


@pytest.mark.parametrize(
    ("held", "run", "expected"),
    [
        (queue(), ProbeRun(), []),
        (queue(), REFUSED, [("4.4.316", True, False)]),
        (queue(group("4.4.316")), REFUSED, [("4.4.316", True, True)]),
        (queue(group("4.4.316", age=15)), REFUSED, [("4.4.316", True, False)]),
        (queue(group("4.4.315")), REFUSED, [("4.4.315", False, True), ("4.4.316", True, False)]),
        (queue(group(None)), FINE, []),
        (queue(group(None, reason="odd")), FINE, [("other", False, True)]),
        (queue(group("4.4.317", reason="TLS needed")), REFUSED, [("4.4.317", False, True), ("4.4.316", True, False)]),
    ],
)
def test_each_trouble_is_listed_once_with_who_saw_it(
    held: QueueSummary, run: ProbeRun, expected: list[tuple[str, bool, bool]]
) -> None:
    assert [(t.code, t.probed, t.settled) for t in troubles(held, run, POLICY, NOW)] == expected


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (queue(), None),
        (queue(group("4.4.316", count=10)), None),
        (queue(group(None, count=10)), None),
        (queue(group("4.4.316", count=10), group(None, count=29_990)), (SampleKind.AGREES, "4.4.316", 10, 30_000)),
        (queue(group("4.4.316", count=3), group(None)), (SampleKind.AGREES, "4.4.316", 3, 4)),
        (queue(group("4.4.316", count=2), group(None, count=40)), (SampleKind.FEW, "4.4.316", 2, 42)),
        (
            queue(group("4.4.316", count=9), group("4.4.315"), group(None, count=90)),
            (SampleKind.MIXED, None, 10, 100),
        ),
        (queue(group("4.4.316", count=10), group(None, age=15, count=990)), None),
        (
            queue(group("5.1.0", count=2, reason="nullMX"), group("4.4.312", reason="nullMX"), group(None, count=7)),
            (SampleKind.AGREES, "4.4.312", 3, 10),
        ),
    ],
)
def test_a_sample_of_known_reasons_speaks_for_the_rest_only_where_it_agrees(
    held: QueueSummary, expected: tuple[SampleKind, str | None, int, int] | None
) -> None:
    found = sample_of(held, POLICY, NOW)
    assert (found and (found.kind, found.code, found.known, found.waiting)) == expected


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (queue(group("4.4.316", age=30, count=10), group(None, age=300, count=990)), [("4.4.316", 1000, 300)]),
        (queue(group("4.4.316", age=30, count=2), group(None, age=300, count=990)), [("4.4.316", 2, 30)]),
        (
            queue(group("4.4.316", age=30, count=9), group("4.4.315", age=40), group(None, age=300, count=990)),
            [("4.4.316", 9, 30), ("4.4.315", 1, 40)],
        ),
        (queue(group("4.4.316", age=30, count=10), group(None, age=5, count=990)), [("4.4.316", 10, 30)]),
    ],
)
def test_an_incident_counts_everything_that_most_likely_waits_for_its_reason(
    held: QueueSummary, expected: list[tuple[str, int, int]]
) -> None:
    found = [(t.code, t.waiting) for t in troubles(held, FINE, POLICY, NOW)]
    ages = [(c, w.count, int((NOW - w.oldest_received_at).total_seconds() // 60)) for c, w in found if w]
    assert ages == expected


@pytest.mark.parametrize(("code", "words"), [("4.4.316", "4.4.316"), ("other", "no code"), (None, "no reason yet")])
def test_a_list_of_codes_says_in_words_what_has_none(code: str | None, words: str) -> None:
    assert code_words(code) == words
