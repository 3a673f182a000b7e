"""When mail that belongs to no connector is told, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.core.events import EventKind
from bot.core.incidents import Known, Reason
from bot.core.policy import Policy
from bot.core.unassigned import UNASSIGNED, Likely, UnassignedMail, decide_unassigned, enough, likely
from storage.queue_records import Homeless
from storage.records import CodeCount, Incident, IncidentState, QueueSummary, Severity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TEN = Policy(unassigned_count=10)
FIVE = Policy(unassigned_count=5)
ONE = Policy(unassigned_count=1)
NEVER = Policy(unassigned_count=0)


def stuck(count: int, backend: str = "relay", age: timedelta = 20 * MINUTE) -> Homeless:
    received = NOW - age
    return Homeless(backend=backend, count=count, oldest_received_at=received, first_expiry_at=received + 24 * HOUR)


def waits(count: int, age: timedelta = 20 * MINUTE, code: str | None = None) -> CodeCount:
    received = NOW - age
    return CodeCount(code=code, count=count, oldest_received_at=received, first_expiry_at=received + 24 * HOUR)


def incident(**more: Any) -> Incident:
    usual: dict[str, Any] = {
        "id": 7,
        "connector_id": None,
        "code": UNASSIGNED,
        "state": IncidentState.FIRING,
        "severity": Severity.WARNING,
        "opened_at": NOW - HOUR,
        "updated_at": NOW - HOUR,
        "first_failure_at": NOW - HOUR,
        "channel": "C1",
    }
    return Incident(**(usual | more))


def known(*systems: str, marks: tuple[str, ...] = (), **more: Any) -> Known:
    return Known(incident=incident(**more), told={"systems": list(systems or ("relay",)), "marks": list(marks)})


def mail(*held: Homeless, policy: Policy = TEN, **more: Any) -> UnassignedMail:
    groups = tuple(waits(h.count, NOW - h.oldest_received_at) for h in held)
    usual: dict[str, Any] = {"stuck": held, "queue": QueueSummary(by_code=groups), "policy": policy, "now": NOW}
    return UnassignedMail(**(usual | more))


@pytest.mark.parametrize(
    ("held", "more", "opens", "reason"),
    [
        ([], {}, False, Reason.FEW),
        ([stuck(9)], {}, False, Reason.FEW),
        ([stuck(10)], {}, True, Reason.MAIL_STUCK),
        ([stuck(6), stuck(4, "hub")], {}, True, Reason.MAIL_STUCK),
        ([stuck(1)], {"policy": ONE}, True, Reason.MAIL_STUCK),
        ([stuck(500)], {"policy": NEVER}, False, Reason.UNWATCHED),
        ([stuck(10)], {"steady": False}, False, Reason.CLOCK_SUSPECT),
        ([stuck(10)], {"frozen": ["relay"]}, False, Reason.FEW),
        ([stuck(6), stuck(40, "hub")], {"frozen": ["hub"]}, False, Reason.FEW),
        ([stuck(10), stuck(40, "hub")], {"frozen": ["hub"]}, True, Reason.MAIL_STUCK),
        ([stuck(10)], {"frozen": ["hub"]}, True, Reason.MAIL_STUCK),
    ],
)
def test_it_opens_when_enough_is_stuck_by_figures_that_are_fresh(
    held: list[Homeless], more: dict[str, Any], opens: bool, reason: Reason
) -> None:
    made = decide_unassigned(mail(*held, **more))
    assert (made.kind, made.reason, made.incident) == (EventKind.OPENED if opens else None, reason, None)


@pytest.mark.parametrize(
    ("held", "more", "resolves"),
    [
        ([stuck(5)], {}, False),
        ([stuck(4)], {}, True),
        ([], {}, True),
        ([stuck(3), stuck(2, "hub")], {}, False),
        ([stuck(3)], {"policy": FIVE}, False),
        ([stuck(2)], {"policy": FIVE}, True),
        ([stuck(1)], {"policy": ONE}, False),
        ([], {"policy": ONE}, True),
        ([], {"steady": False}, False),
        ([], {"frozen": ["relay"]}, False),
        ([stuck(1, "hub")], {"frozen": ["hub"]}, False),
        ([], {"frozen": ["hub"]}, True),
    ],
)
def test_it_resolves_when_less_than_half_of_that_is_left_by_figures_that_are_fresh(
    held: list[Homeless], more: dict[str, Any], resolves: bool
) -> None:
    made = decide_unassigned(mail(*held, known=known(), **more))
    assert (made.kind is EventKind.RESOLVED) is resolves
    if resolves:
        assert (made.reason, made.data) == (Reason.CLEARED, {"reason": "cleared"})
        assert made.changes == {"state": IncidentState.RESOLVED, "resolved_at": NOW, "resolution": "cleared"}


@pytest.mark.parametrize("steady", [True, False])
def test_it_ends_when_nobody_wants_to_be_told_any_more(steady: bool) -> None:
    made = decide_unassigned(mail(stuck(99), policy=NEVER, known=known(), steady=steady))
    assert (made.kind, made.changes["resolution"]) == (EventKind.RESOLVED, "unwatched")


@pytest.mark.parametrize(
    ("held", "more", "severity"),
    [
        ([stuck(10)], {}, Severity.WARNING),
        ([stuck(200)], {}, Severity.CRITICAL),
        ([stuck(10, age=4 * HOUR)], {}, Severity.CRITICAL),
        ([stuck(10, age=21 * HOUR)], {"policy": Policy(unassigned_count=1, critical_age=30 * HOUR)}, Severity.CRITICAL),
        ([stuck(10), stuck(10, "hub", age=5 * HOUR)], {"frozen": ["hub"]}, Severity.WARNING),
        ([stuck(200), stuck(10, "hub")], {"frozen": ["hub"]}, Severity.CRITICAL),
    ],
)
def test_it_is_as_loud_as_a_connectors_alert_would_be(
    held: list[Homeless], more: dict[str, Any], severity: Severity
) -> None:
    made = decide_unassigned(mail(*held, **more))
    assert made.changes["severity"] is severity


def test_what_is_told_at_first_names_systems_marks_and_when_it_began() -> None:
    groups = (waits(8, 5 * HOUR), waits(1226, HOUR, "4.3.0"))
    held = [stuck(10, age=5 * HOUR), stuck(4, "hub", age=6 * HOUR)]
    made = decide_unassigned(mail(*held, queue=QueueSummary(by_code=groups), frozen=["hub"]))
    assert made.data == {
        "code": UNASSIGNED,
        "by": "queue",
        "evidence": {
            "by": ["queue"],
            "systems": ["hub", "relay"],
            "stale": ["hub"],
            "marks": ["4 h"],
            "waiting": 1200,
            "mostly": "4.3.0",
            "left": 19 * 60,
        },
    }
    assert made.changes["first_failure_at"] == NOW - 5 * HOUR
    assert made.changes["previous_id"] is None


@pytest.mark.parametrize(("days", "linked"), [(6, 3), (8, None)])
def test_one_that_comes_again_refers_to_the_one_before(days: int, linked: int | None) -> None:
    ended = NOW - timedelta(days=days)
    previous = incident(id=3, state=IncidentState.RESOLVED, resolved_at=ended)
    assert decide_unassigned(mail(stuck(10), previous=previous)).changes["previous_id"] == linked


def test_it_becomes_critical_once() -> None:
    made = decide_unassigned(mail(stuck(200), known=known()))
    assert (made.kind, made.data["reason"]) == (EventKind.CRITICAL, "200 messages wait")
    assert made.changes == {"severity": Severity.CRITICAL}
    again = decide_unassigned(mail(stuck(200), known=known(severity=Severity.CRITICAL)))
    assert again.kind is EventKind.EVIDENCE


def test_a_mark_that_passes_is_told_once_and_with_it_that_it_is_critical() -> None:
    made = decide_unassigned(mail(stuck(10, age=5 * HOUR), known=known()))
    assert (made.kind, made.data["mark"], made.data["waiting"]) == (EventKind.ESCALATED, "4 h", 10)
    assert made.data["first_bounce_at"] == NOW + 19 * HOUR
    assert made.changes == {"severity": Severity.CRITICAL, "escalated": 1}
    assert made.data["evidence"]["marks"] == ["4 h"]
    told = known(marks=("4 h",), severity=Severity.CRITICAL)
    assert decide_unassigned(mail(stuck(10, age=5 * HOUR), known=told)).kind is EventKind.EVIDENCE


@pytest.mark.parametrize(("held", "frozen"), [([stuck(10, age=21 * HOUR)], ["relay"]), ([], ["relay"])])
def test_old_figures_pass_no_mark_but_are_drawn_as_old(held: list[Homeless], frozen: list[str]) -> None:
    made = decide_unassigned(mail(*held, known=known(), frozen=frozen))
    assert (made.kind, made.reason) == (EventKind.EVIDENCE, Reason.CHANGED)
    assert made.data["evidence"]["stale"] == ["relay"]
    assert made.changes == {}


def test_a_suspect_clock_changes_nothing() -> None:
    made = decide_unassigned(mail(stuck(300, age=21 * HOUR), known=known(), steady=False))
    assert (made.kind, made.reason) == (None, Reason.CLOCK_SUSPECT)


def test_it_is_drawn_anew_when_the_figures_differ_visibly_and_not_at_every_look() -> None:
    first = decide_unassigned(mail(stuck(123), known=known()))
    assert first.kind is EventKind.EVIDENCE
    told = Known(incident=incident(), told=first.data["evidence"])
    assert decide_unassigned(mail(stuck(129), known=told)).reason is Reason.UNCHANGED
    assert decide_unassigned(mail(stuck(130), known=told)).kind is EventKind.EVIDENCE
    just = Known(incident=incident(updated_at=NOW - timedelta(seconds=59)), told=first.data["evidence"])
    assert decide_unassigned(mail(stuck(150), known=just)).kind is None


@pytest.mark.parametrize(
    ("policy", "most"), [(TEN, 200), (Policy(unassigned_count=1000), 1000), (Policy(critical_count=30), 100)]
)
def test_no_more_is_counted_than_any_decision_needs(policy: Policy, most: int) -> None:
    assert enough(policy) == most


LED = "[{{LED={} [LastAttemptedServerName=x]}};{{MSG=}}]"


@pytest.mark.parametrize(
    ("reason", "code", "means"),
    [
        ("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", "4.4.1", Likely.FILTER),
        ("connect to localhost[::1]:10024: Connection refused", None, Likely.FILTER),
        ("delivery temporarily suspended: connect to 127.0.0.1[127.0.0.1]:10024: timed out", None, Likely.FILTER),
        ("host 127.0.0.1[127.0.0.1] said: 451 4.3.0 scanner is busy", "4.3.0", Likely.FILTER),
        ("mail transport unavailable", None, Likely.FILTER),
        ("connect to mx.contoso.test[192.0.2.7]:25: Connection refused", "4.4.1", None),
        ("host mx.contoso.test[192.0.2.7] said: 451 connect to 127.0.0.1 failed, content filter", "4.3.0", None),
        ("A matching connector cannot be found to route the external recipient", None, Likely.NO_ROUTE),
        (LED.format("450 4.4.4 something"), "4.4.4", Likely.NO_ROUTE),
        (None, "4.4.4", None),
    ],
)
def test_the_reason_of_most_of_it_says_what_it_most_likely_waits_for(
    reason: str | None, code: str | None, means: Likely | None
) -> None:
    most, other = replace(waits(5, code=code), reason=reason), waits(5, code="4.1.1")
    assert likely(QueueSummary(by_code=(most, other))) is means
    assert likely(QueueSummary(by_code=(most, waits(6, code="4.1.1")))) is None
    assert likely(QueueSummary()) is None
