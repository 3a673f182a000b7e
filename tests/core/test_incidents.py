"""Every decision about an incident, with its reason, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.core.events import EventKind
from bot.core.evidence import ProbeRun, troubles
from bot.core.incidents import Decision, Known, Reason, Situation, decide
from bot.core.policy import Policy
from storage.records import (
    CodeCount,
    Connector,
    ConnectorKind,
    Incident,
    IncidentState,
    QueueSummary,
    Severity,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
POLICY = Policy()
REFUSED, TIMED_OUT = "4.4.316", "4.4.315"

CONTOSO = Connector(
    id=1,
    backend="mail",
    key="contoso",
    name="Contoso",
    kind=ConnectorKind.ON_PREMISES,
    next_probe_at=NOW,
    changed_at=NOW,
)


def failing(times: int, code: str = REFUSED, *, steady: int | None = None) -> ProbeRun:
    return ProbeRun(
        failures=times,
        steady=times if steady is None else steady,
        code=code,
        cause="refused",
        first_failure_at=NOW - times * MINUTE,
    )


def fine(times: int) -> ProbeRun:
    return ProbeRun(successes=times)


def mail(
    code: str | None = REFUSED, *, count: int = 1, age: timedelta = 20 * MINUTE, left: timedelta | None = None
) -> Any:
    received = NOW - age
    expires = NOW + left if left is not None else received + 24 * HOUR
    group = CodeCount(code=code, count=count, oldest_received_at=received, first_expiry_at=expires)
    return QueueSummary(by_code=(group,))


EMPTY = QueueSummary()


def incident(code: str = REFUSED, **more: Any) -> Incident:
    usual: dict[str, Any] = {
        "id": 7,
        "connector_id": 1,
        "code": code,
        "state": IncidentState.FIRING,
        "severity": Severity.WARNING,
        "opened_at": NOW - HOUR,
        "updated_at": NOW - HOUR,
        "first_failure_at": NOW - HOUR,
        "channel": "C1",
    }
    return Incident(**(usual | more))


def told(by: str = "probe", **more: Any) -> Mapping[str, Any]:
    usual = {"by": by.split(), "covers": [], "marks": [], "waiting": 0, "left": None, "probe": REFUSED}
    return usual | more


def known(by: str = "probe", code: str = REFUSED, evidence: Mapping[str, Any] | None = None, **more: Any) -> Known:
    return Known(incident=incident(code, **more), told=evidence or told(by))


def resolved(ago: timedelta, resolution: str = "delivering", **more: Any) -> Incident:
    return incident(id=3, state=IncidentState.RESOLVED, resolved_at=NOW - ago, resolution=resolution, **more)


def decided(run: ProbeRun, queue: QueueSummary = EMPTY, *open_ones: Known, **more: Any) -> tuple[Decision, ...]:
    usual: dict[str, Any] = {"connector": CONTOSO, "policy": POLICY, "now": NOW}
    facts = usual | more
    found = troubles(queue, run, facts["policy"], NOW)
    return decide(Situation(troubles=found, run=run, known=open_ones, **facts))


def only(run: ProbeRun, queue: QueueSummary = EMPTY, *open_ones: Known, **more: Any) -> Decision:
    (decision,) = decided(run, queue, *open_ones, **more)
    return decision


@pytest.mark.parametrize(
    ("run", "queue", "more", "reason"),
    [
        (failing(1), EMPTY, {}, Reason.NOT_OFTEN_ENOUGH),
        (failing(2), EMPTY, {}, Reason.PROBE_FAILS),
        (failing(1), EMPTY, {"policy": replace(POLICY, open_after=1)}, Reason.PROBE_FAILS),
        (failing(2, steady=1), EMPTY, {}, Reason.PROBE_FAILS),
        (failing(2, code=TIMED_OUT), EMPTY, {"blind": True}, Reason.BLIND),
        (failing(2), EMPTY, {"flows": True}, Reason.BOT_IS_BLOCKED),
        (failing(1), mail(age=MINUTE), {}, Reason.BOTH_AGREE),
        (failing(9), EMPTY, {"blind": True}, Reason.PROBE_FAILS),
        (failing(2, code=TIMED_OUT), mail(TIMED_OUT, age=MINUTE), {"blind": True}, Reason.IN_FLIGHT),
        (failing(2, code=TIMED_OUT), mail(TIMED_OUT, age=16 * MINUTE), {"blind": True}, Reason.MAIL_STUCK),
        (ProbeRun(), mail(age=16 * MINUTE), {"steady": False}, Reason.IN_FLIGHT),
        (failing(1), mail(age=16 * MINUTE), {"steady": False}, Reason.BOTH_AGREE),
        (failing(1), mail(age=MINUTE), {"flows": True}, Reason.BOTH_AGREE),
        (ProbeRun(), mail(age=15 * MINUTE), {}, Reason.IN_FLIGHT),
        (ProbeRun(), mail(age=16 * MINUTE), {}, Reason.MAIL_STUCK),
        (fine(5), mail(age=16 * MINUTE), {"blind": True}, Reason.MAIL_STUCK),
    ],
)
def test_opens_for_a_reason_or_says_why_not(
    run: ProbeRun, queue: QueueSummary, more: dict[str, Any], reason: Reason
) -> None:
    decision = only(run, queue, **more)
    opens = reason in (Reason.PROBE_FAILS, Reason.BOTH_AGREE, Reason.MAIL_STUCK)
    assert (decision.reason, decision.code, decision.incident) == (reason, run.code or REFUSED, None)
    assert decision.kind is (EventKind.OPENED if opens else None)


def test_nothing_is_decided_while_all_is_well() -> None:
    assert decided(fine(9)) == ()
    assert decided(fine(9), mail(None)) == ()


@pytest.mark.parametrize(
    ("run", "queue", "by", "first"),
    [
        (failing(2), EMPTY, "probe", NOW - 2 * MINUTE),
        (ProbeRun(), mail(), "queue", NOW - 20 * MINUTE),
        (failing(1), mail(), "both", NOW - 20 * MINUTE),
        (failing(30), mail(age=MINUTE), "both", NOW - 30 * MINUTE),
    ],
)
def test_a_new_incident_says_who_saw_it_and_since_when(
    run: ProbeRun, queue: QueueSummary, by: str, first: datetime
) -> None:
    decision = only(run, queue)
    assert decision.data["by"] == by
    assert decision.changes["first_failure_at"] == first
    assert (decision.changes["flapping"], decision.changes["previous_id"]) == (False, None)


@pytest.mark.parametrize(
    ("previous", "kind", "linked"),
    [
        (resolved(8 * 24 * HOUR), EventKind.OPENED, False),
        (resolved(6 * 24 * HOUR), EventKind.OPENED, True),
        (resolved(61 * MINUTE), EventKind.OPENED, True),
        (resolved(59 * MINUTE), EventKind.FLAPPING, True),
        (resolved(59 * MINUTE, "drained"), EventKind.FLAPPING, True),
        (resolved(MINUTE, "retired"), EventKind.OPENED, True),
        (resolved(MINUTE, "removed"), EventKind.OPENED, True),
        (resolved(MINUTE, "undone"), EventKind.OPENED, True),
        (replace(resolved(MINUTE), resolved_at=None, updated_at=NOW - 2 * HOUR), EventKind.OPENED, True),
    ],
)
def test_again_refers_to_the_one_before_and_so_soon_it_flaps(previous: Incident, kind: EventKind, linked: bool) -> None:
    decision = only(failing(2), past={REFUSED: previous})
    assert decision.kind is kind
    assert decision.changes["previous_id"] == (3 if linked else None)
    assert decision.data.get("previous_id") == (3 if linked else None)
    assert decision.changes["flapping"] is (kind is EventKind.FLAPPING)
    assert (decision.reason is Reason.AGAIN_SO_SOON) is (kind is EventKind.FLAPPING)


@pytest.mark.parametrize(("steady", "by", "opens"), [(1, "probe", False), (2, "probe", True), (1, "queue", True)])
def test_a_second_code_must_be_steady_beside_an_incident_that_the_probe_saw(steady: int, by: str, opens: bool) -> None:
    _, second = decided(failing(5, TIMED_OUT, steady=steady), EMPTY, known(by, evidence=told(by, probe=TIMED_OUT)))
    assert (second.code, second.kind is EventKind.OPENED) == (TIMED_OUT, opens)


@pytest.mark.parametrize(
    ("by", "state", "run", "queue", "reason"),
    [
        ("probe", "firing", fine(1), EMPTY, None),
        ("probe", "firing", fine(2), EMPTY, Reason.DELIVERING),
        ("probe", "acknowledged", fine(2), EMPTY, Reason.DELIVERING),
        ("probe", "firing", fine(2), mail(), None),
        ("probe", "firing", fine(2), mail(TIMED_OUT, age=MINUTE), Reason.DELIVERING),
        ("probe", "firing", failing(3, TIMED_OUT), EMPTY, None),
        ("probe", "firing", ProbeRun(), EMPTY, None),
        ("probe", "firing", ProbeRun(empty=1), EMPTY, None),
        ("probe", "firing", ProbeRun(empty=2), EMPTY, Reason.DRAINED),
        ("probe", "firing", ProbeRun(empty=2), mail(), None),
        ("queue", "firing", ProbeRun(), EMPTY, Reason.DRAINED),
        ("queue", "firing", fine(1), EMPTY, Reason.DRAINED),
        ("queue", "firing", fine(2), EMPTY, Reason.DELIVERING),
        ("queue", "firing", failing(1), EMPTY, None),
        ("queue", "firing", failing(1, TIMED_OUT), EMPTY, Reason.DRAINED),
        ("probe queue", "firing", fine(1), EMPTY, None),
        ("probe queue", "firing", fine(2), EMPTY, Reason.DELIVERING),
        ("probe", "fixing", fine(2), EMPTY, None),
        ("probe", "verifying", fine(2), EMPTY, Reason.DELIVERING),
        ("queue", "fixing", ProbeRun(), EMPTY, None),
        ("queue", "verifying", ProbeRun(), EMPTY, None),
    ],
)
def test_resolves_only_when_it_delivers_and_nothing_waits(
    by: str, state: str, run: ProbeRun, queue: QueueSummary, reason: Reason | None
) -> None:
    decision = decided(run, queue, known(by, state=IncidentState(state)))[0]
    assert (decision.kind is EventKind.RESOLVED) is (reason is not None)
    if reason is not None:
        assert decision.reason is reason
        assert decision.changes["resolved_at"] == NOW
        assert decision.changes["resolution"] == decision.data["reason"]


@pytest.mark.parametrize(("quiet", "over"), [(59 * MINUTE, False), (60 * MINUTE, True)])
def test_a_flapping_one_is_over_only_after_a_quiet_window(quiet: timedelta, over: bool) -> None:
    decision = only(fine(9), EMPTY, known(flapping=True, updated_at=NOW - quiet))
    assert (decision.kind is EventKind.RESOLVED) is over


@pytest.mark.parametrize(
    ("connector", "state", "reason"),
    [
        (replace(CONTOSO, enabled=False), "firing", Reason.RETIRED),
        (replace(CONTOSO, missing_since=NOW), "acknowledged", Reason.REMOVED),
        (replace(CONTOSO, enabled=False, missing_since=NOW), "firing", Reason.REMOVED),
        (replace(CONTOSO, enabled=False), "fixing", None),
        (replace(CONTOSO, enabled=False), "verifying", None),
    ],
)
def test_a_connector_that_is_gone_ends_its_incidents_and_opens_none(
    connector: Connector, state: str, reason: Reason | None
) -> None:
    found = decided(failing(9), mail(TIMED_OUT), known(state=IncidentState(state)), connector=connector)
    assert [d.reason for d in found] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("queue", "severity", "marks", "kind", "detail"),
    [
        (mail(), "warning", [], EventKind.EVIDENCE, None),
        (mail(count=200), "warning", [], EventKind.CRITICAL, "200 messages wait"),
        (mail(count=200), "critical", [], EventKind.EVIDENCE, None),
        (mail(age=4 * HOUR), "warning", [], EventKind.ESCALATED, "4 h"),
        (mail(age=4 * HOUR), "warning", ["4 h"], EventKind.CRITICAL, "the oldest message waits for 4 h"),
        (mail(age=4 * HOUR), "critical", ["4 h"], EventKind.EVIDENCE, None),
        (mail(age=13 * HOUR), "critical", [], EventKind.ESCALATED, "12 h"),
        (mail(left=HOUR), "critical", ["4 h"], EventKind.ESCALATED, "1 h before the first bounce"),
    ],
)
def test_gets_louder_once_per_mark_and_once_when_critical(
    queue: QueueSummary, severity: str, marks: list[str], kind: EventKind, detail: str | None
) -> None:
    before = known(severity=Severity(severity), escalated=1, evidence=told("probe", marks=marks))
    decision = only(failing(2), queue, before)
    assert decision.kind is kind
    assert (decision.data.get("mark") or decision.data.get("reason")) == detail
    assert decision.changes.get("escalated") == (2 if kind is EventKind.ESCALATED else None)
    if severity == "warning" and kind is not EventKind.EVIDENCE:
        assert decision.changes["severity"] is Severity.CRITICAL


def test_is_left_alone_while_its_evidence_is_the_same() -> None:
    first = only(failing(2), mail(), known())
    again = only(failing(3), mail(), known(evidence=first.data["evidence"]))
    assert (again.kind, again.reason) == (None, Reason.UNCHANGED)


@pytest.mark.parametrize(
    ("left", "steps"),
    [(timedelta(hours=19, minutes=59), 19 * 60), (timedelta(minutes=119), 110), (timedelta(minutes=-5), 0)],
)
def test_the_countdown_is_redrawn_by_the_hour_and_near_the_end_every_ten_minutes(left: timedelta, steps: int) -> None:
    decision = only(failing(2), mail(left=left), known())
    assert decision.data["evidence"]["left"] == steps


def certificate_mail() -> QueueSummary:
    (group,) = mail("4.4.317").by_code
    return QueueSummary(by_code=(replace(group, reason="the certificate has expired"),))


def test_the_queues_code_replaces_the_probes_for_the_same_certificate() -> None:
    decision = only(failing(3, "4.7.320"), certificate_mail(), known(code="4.7.320"))
    assert decision.changes == {"code": "4.4.317"}
    assert decision.data["evidence"]["covers"] == ["4.4.317", "4.7.320"]


def test_it_keeps_its_code_when_the_queues_has_an_incident_already() -> None:
    both = (known("queue", code="4.4.317"), known(code="4.7.320", id=8))
    assert [d.changes for d in decided(failing(3, "4.7.320"), certificate_mail(), *both)] == [{}, {}]


def test_what_it_once_covered_opens_nothing_new() -> None:
    before = known("probe queue", code="4.4.317", evidence=told("probe queue", covers=["4.4.317", "4.7.320"]))
    decision = only(failing(9, "4.7.320"), EMPTY, before)
    assert (decision.incident, decision.kind) == (before.incident, EventKind.EVIDENCE)


def test_all_mail_that_one_incident_stands_for_counts_together() -> None:
    """Half of it waits with the queue's code, half with the probe's: neither half alone is critical."""
    (by_name,) = certificate_mail().by_code
    (by_code,) = mail("4.7.320", count=150, age=HOUR).by_code
    queue = QueueSummary(by_code=(replace(by_name, count=150), by_code))
    before = known("probe queue", code="4.4.317", evidence=told("probe queue", covers=["4.4.317", "4.7.320"]))
    decision = only(failing(3, "4.7.320"), queue, before)
    assert (decision.kind, decision.data["reason"]) == (EventKind.CRITICAL, "300 messages wait")
    assert decision.data["evidence"]["waiting"] == 300


def test_a_clock_that_was_just_set_uses_up_no_mark_and_raises_no_voice() -> None:
    late = mail(age=23 * HOUR + 30 * MINUTE)
    assert only(failing(2), late, known(), steady=False).kind is EventKind.EVIDENCE
    opened = only(failing(2), late, steady=False)
    assert opened.kind is EventKind.OPENED
    assert opened.data["evidence"]["marks"] == []
    assert opened.changes["severity"] is Severity.WARNING


@pytest.mark.parametrize(
    ("run", "more", "told_louder"),
    [
        (ProbeRun(), {}, False),
        (fine(5), {}, False),
        (failing(2), {"blind": True}, False),
        (failing(2), {"flows": True}, False),
        (failing(2), {}, True),
    ],
)
def test_a_queue_that_nobody_reads_any_more_passes_no_mark_unless_a_failing_probe_bears_it_out(
    run: ProbeRun, more: dict[str, Any], told_louder: bool
) -> None:
    late = mail(age=23 * HOUR + 30 * MINUTE)
    after = only(run, late, known("queue"), frozen=True, **more)
    assert after.kind is (EventKind.ESCALATED if told_louder else EventKind.EVIDENCE)
    assert ("severity" in after.changes) is told_louder
    assert only(run, late, frozen=True, **more).changes["severity"] is (
        Severity.CRITICAL if told_louder else Severity.WARNING
    )
    assert only(run, late, known("queue"), **more).kind is EventKind.ESCALATED


def test_moments_ahead_of_a_clock_that_was_set_back_hold_nothing_up() -> None:
    year = 365 * 24 * HOUR
    assert only(failing(2), past={REFUSED: resolved(-year)}).kind is EventKind.OPENED
    assert only(fine(9), EMPTY, known(flapping=True, updated_at=NOW + year)).kind is EventKind.RESOLVED
