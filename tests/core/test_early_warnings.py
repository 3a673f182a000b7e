"""What good probes foresee, and every decision about a warning, with its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.core.early_warnings import decide_warnings, split
from bot.core.events import EventKind
from bot.core.foresight import Endpoint, Outlook, Warned, endpoints, foreseen
from bot.core.incidents import Decision, Known, Reason
from bot.core.policy import Policy
from storage.records import (
    Connector,
    ConnectorKind,
    Incident,
    IncidentState,
    ProbeRecord,
    Severity,
    TlsSetting,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
CERTIFICATE, DOWN, GONE, FEWER = Warned
CONTOSO = Connector(
    id=1, backend="mail", key="contoso", name="Contoso", kind=ConnectorKind.ON_PREMISES,
    tls_setting=TlsSetting.DOMAIN, next_probe_at=NOW, changed_at=NOW,
)  # fmt: skip


def server(ip: str = "192.0.2.1", *, days: float | None = None, ok: bool = True, stage: str = "done") -> dict[str, Any]:
    until = (NOW + days * DAY).isoformat() if days is not None else None
    return {
        "host": "mail.contoso.test", "ip": ip, "ok": ok, "stage": stage if ok else "connect",
        "code": None if ok else "4.4.316", "cause": None if ok else "refused",
        "tls": {"subject": "CN=mail.contoso.test", "not_after": until} if until else None,
    }  # fmt: skip


def probe(*servers: dict[str, Any], ok: bool = True, **fingerprint: str) -> ProbeRecord:
    return ProbeRecord(
        connector_id=1, at=NOW, ok=ok, code=None if ok else "4.7.320", cause=None, status=None, stage="done",
        degraded=False, elapsed_ms=5, document=json.dumps({"targets": servers}), fingerprint=fingerprint,
    )  # fmt: skip


def outlook(*good: ProbeRecord, newest: ProbeRecord | None = None, **more: Any) -> Outlook:
    usual: dict[str, Any] = {"connector": CONTOSO, "policy": Policy(), "now": NOW}
    return Outlook(newest=newest or (good[0] if good else None), good=good, **(usual | more))


def incident(code: str = CERTIFICATE, **more: Any) -> Incident:
    usual: dict[str, Any] = {
        "id": 7, "connector_id": 1, "code": code, "state": IncidentState.FIRING, "severity": Severity.WARNING,
        "opened_at": NOW - DAY, "updated_at": NOW - DAY, "first_failure_at": NOW - DAY, "channel": "C1",
    }  # fmt: skip
    return Incident(**(usual | more))


def opened(*good: ProbeRecord, code: str = CERTIFICATE, at: datetime = NOW - DAY, **more: Any) -> Known:
    """The warning that these probes open, and the evidence that it was told with."""
    (made,) = [d for d in decide_warnings(outlook(*good, now=at)) if d.code == code]
    return Known(incident=incident(code, **more), told=json.loads(json.dumps(made.data["evidence"])))


def only(found: tuple[Decision, ...]) -> Decision:
    (decision,) = found
    return decision


TWO, ONE = (server("192.0.2.1"), server("192.0.2.2")), (server("192.0.2.1"),)
ONE_DEAD = (server("192.0.2.1"), server("192.0.2.2", ok=False))
MANY, FEW = {"capabilities": "8BITMIME, DSN, STARTTLS"}, {"capabilities": "8BITMIME"}


# --- what is foreseen ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("good", "expected"),
    [
        ([], []),
        ([probe(server(days=31))], []),
        ([probe(server(days=29))], [(CERTIFICATE, ("30 d",))]),
        ([probe(server(days=6))], [(CERTIFICATE, ("30 d", "14 d", "7 d"))]),
        ([probe(server(days=0.5))], [(CERTIFICATE, ("30 d", "14 d", "7 d", "1 d"))]),
        ([probe(server(days=-1))], []),
        ([probe(*ONE_DEAD)], []),
        ([probe(*ONE_DEAD)] * 2, [(DOWN, ("mail.contoso.test 192.0.2.2",))]),
        ([probe(*ONE_DEAD), probe(*TWO)], []),
        ([probe(*ONE)] * 2, []),
        ([probe(*ONE)] * 2 + [probe(*TWO)], [(GONE, ("gone",))]),
        ([probe(*ONE)] + [probe(*TWO)] * 2, []),
        ([probe(*ONE), probe(server("192.0.2.9")), probe(*TWO)], []),
        ([probe(*ONE, port="25")] * 2 + [probe(*TWO, port="26")], []),
        ([probe(*ONE, **FEW)] * 2 + [probe(*ONE, **MANY)], [(FEWER, ("DSN", "STARTTLS"))]),
        ([probe(*ONE, **FEW)] + [probe(*ONE, **MANY)] * 2, []),
        ([probe(*ONE, **FEW), probe(*ONE, capabilities="DSN"), probe(*ONE, **MANY)], [(FEWER, ("STARTTLS",))]),
        ([probe(*ONE, **MANY)] * 2 + [probe(*ONE, **FEW)], []),
    ],
)  # fmt: skip
def test_good_probes_show_what_is_to_come(good: list[ProbeRecord], expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert [(t.code, t.marks) for t in foreseen(outlook(*good))] == expected


def test_nothing_is_foreseen_while_the_newest_probe_fails() -> None:
    assert foreseen(outlook(probe(server(days=3)), newest=probe(ok=False))) == ()


def test_the_certificate_that_expires_first_is_told_and_what_it_stops() -> None:
    both = probe(server("192.0.2.1", days=20), server("192.0.2.2", days=5), server("192.0.2.3", days=90))
    (threat,) = foreseen(outlook(both))
    assert (threat.facts["ip"], threat.facts["days"], threat.facts["others"]) == ("192.0.2.2", 5, 1)
    assert threat.facts["stops_mail"] is True
    (threat,) = foreseen(outlook(both, connector=replace(CONTOSO, tls_setting=TlsSetting.OPPORTUNISTIC)))
    assert threat.facts["stops_mail"] is False


def test_a_policy_without_marks_foresees_no_expiry() -> None:
    assert foreseen(outlook(probe(server(days=3)), policy=Policy(certificate_marks=()))) == ()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("not json", ()),
        ("[]", ()),
        ('{"targets": 3}', ()),
        ('{"targets": ["x"]}', ()),
        ('{"targets": [{"ok": true, "stage": "dns"}]}', ()),
        ('{"targets": [{"host": "h", "ok": false, "code": "4.4.312", "cause": "servfail", "tls": 1}]}',
         (Endpoint(host="h", ip="", ok=False, code="4.4.312", cause="servfail", subject=None, not_after=None),)),
        ('{"targets": [{"ip": "i", "ok": true, "stage": "done", "tls": {"subject": "s", "not_after": "soon"}}]}',
         (Endpoint(host="", ip="i", ok=True, code=None, cause=None, subject="s", not_after=None),)),
        ('{"targets": [{"ip": "i", "ok": true, "stage": "done", "tls": {"not_after": "2026-03-01T00:00:00"}}]}',
         (Endpoint(host="", ip="i", ok=True, code=None, cause=None, subject=None, not_after=None),)),
        ('{"targets": [{"ip": "i", "ok": true, "stage": "done", "tls": {"not_after": "2026-03-01T12:00:00Z"}}]}',
         (Endpoint(host="", ip="i", ok=True, code=None, cause=None, subject=None, not_after=NOW),)),
    ],
)  # fmt: skip
def test_a_stored_probe_is_read_tolerantly(document: str, expected: tuple[Endpoint, ...]) -> None:
    assert endpoints(replace(probe(), document=document)) == expected


# --- opening -------------------------------------------------------------------------------------------------------
def test_a_warning_opens_with_its_facts_and_every_mark_that_has_passed() -> None:
    decision = only(decide_warnings(outlook(probe(server(days=6)))))
    assert (decision.reason, decision.code, decision.kind) == (Reason.AHEAD, CERTIFICATE, EventKind.OPENED)
    assert decision.data["evidence"]["marks"] == ["30 d", "14 d", "7 d"]
    assert decision.changes == {
        "severity": Severity.WARNING, "first_failure_at": NOW, "flapping": False, "previous_id": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ago", "resolution", "kind", "linked"),
    [
        (8 * DAY, "back", EventKind.OPENED, None),
        (6 * DAY, "back", EventKind.OPENED, 3),
        (59 * HOUR / 60, "back", EventKind.FLAPPING, 3),
        (59 * HOUR / 60, "retired", EventKind.OPENED, 3),
    ],
)
def test_again_refers_to_the_one_before_and_so_soon_it_is_restless(
    ago: timedelta, resolution: str, kind: EventKind, linked: int | None
) -> None:
    before = incident(DOWN, id=3, state=IncidentState.RESOLVED, resolved_at=NOW - ago, resolution=resolution)
    decision = only(decide_warnings(outlook(*[probe(*ONE_DEAD)] * 2, past={DOWN: before})))
    assert (decision.kind, decision.changes["previous_id"]) == (kind, linked)
    assert decision.data.get("previous_id") == linked
    assert decision.changes["flapping"] is (kind is EventKind.FLAPPING)


@pytest.mark.parametrize(
    ("connector", "reason"),
    [(replace(CONTOSO, enabled=False), Reason.RETIRED), (replace(CONTOSO, missing_since=NOW), Reason.REMOVED)],
)
def test_a_connector_that_is_gone_ends_its_warnings_and_opens_none(connector: Connector, reason: Reason) -> None:
    near = probe(server(days=3))
    decision = only(decide_warnings(outlook(near, connector=connector, known=[opened(near)])))
    assert (decision.kind, decision.reason, decision.data) == (
        EventKind.RESOLVED,
        reason,
        {"reason": reason.name.lower()},
    )
    assert decision.changes["state"] is IncidentState.RESOLVED


# --- certificate ---------------------------------------------------------------------------------------------------
def test_each_threshold_is_told_once() -> None:
    known, told = opened(probe(server(days=29)), at=NOW), []
    for days in range(29):
        for hour in (0, 12):
            now = NOW + days * DAY + hour * HOUR
            decision = only(decide_warnings(outlook(probe(server(days=29)), now=now, known=[known])))
            known = replace(known, told=decision.data.get("evidence", known.told))
            told += [decision.data["mark"]] if decision.kind is EventKind.WARNED else []
    assert told == ["14 d", "7 d", "1 d"]


def test_the_countdown_is_redrawn_once_a_day() -> None:
    known = opened(probe(server(days=29)), at=NOW)
    same = only(decide_warnings(outlook(probe(server(days=29)), known=[known])))
    later = only(decide_warnings(outlook(probe(server(days=29)), known=[known], now=NOW + 2 * DAY)))
    assert (same.kind, same.reason) == (None, Reason.UNCHANGED)
    assert (later.kind, later.reason) == (EventKind.EVIDENCE, Reason.CHANGED)


def test_a_replacement_that_does_not_last_either_is_no_news() -> None:
    known = opened(probe(server(days=29)))
    decision = only(decide_warnings(outlook(probe(server(days=29.5)), known=[known], now=NOW + 25 * DAY)))
    assert decision.kind is EventKind.EVIDENCE
    assert decision.data["evidence"]["marks"] == ["30 d", "14 d", "7 d"]


@pytest.mark.parametrize(
    ("good", "newest", "days", "reason"),
    [
        (probe(server(days=90)), None, 0, Reason.RENEWED),
        (probe(server(days=None)), None, 0, Reason.UNUSED),
        (probe(server("192.0.2.9", days=90)), None, 0, Reason.UNUSED),
        (probe(server(ok=False), server("192.0.2.9")), None, 0, None),
        (probe(server(days=6)), None, 0, None),
        (probe(server(days=6)), probe(ok=False), 1, None),
        (probe(server(days=6)), probe(ok=False), 6, Reason.EXPIRED),
        (probe(server(days=6)), None, 6, Reason.EXPIRED),
        (probe(server(days=90)), None, 7, Reason.RENEWED),
    ],
)
def test_a_certificate_warning_ends_when_renewed_or_too_late(
    good: ProbeRecord, newest: ProbeRecord | None, days: int, reason: Reason | None
) -> None:
    known = opened(probe(server(days=6)))
    decision = only(decide_warnings(outlook(good, newest=newest, known=[known], now=NOW + days * DAY)))
    assert (decision.kind is EventKind.RESOLVED) is (reason is not None)
    assert reason is None or decision.reason is reason


# --- servers -------------------------------------------------------------------------------------------------------
ALL_DEAD_BUT_ONE = (server("192.0.2.1"), server("192.0.2.2", ok=False), server("192.0.2.3", ok=False))


def test_another_server_that_dies_is_told_too() -> None:
    known = opened(*[probe(*ONE_DEAD)] * 2, code=DOWN)
    decision = only(decide_warnings(outlook(*[probe(*ALL_DEAD_BUT_ONE)] * 2, known=[known])))
    assert (decision.kind, decision.data["mark"]) == (EventKind.WARNED, "mail.contoso.test 192.0.2.3")
    assert decision.data["evidence"]["up"] == 1
    assert len(decision.data["evidence"]["down"]) == 2


@pytest.mark.parametrize(
    ("good", "over"),
    [
        ([probe(*TWO)], False),
        ([probe(*TWO)] * 2, True),
        ([probe(*TWO), probe(*ONE_DEAD)], False),
        ([probe(*ONE_DEAD)] * 2, False),
    ],
)
def test_a_dead_server_is_back_after_two_good_probes(good: list[ProbeRecord], over: bool) -> None:
    known = opened(*[probe(*ONE_DEAD)] * 2, code=DOWN)
    decision = only(decide_warnings(outlook(*good, known=[known])))
    assert (decision.reason is Reason.BACK) is over


@pytest.mark.parametrize(("quiet", "over"), [(timedelta(minutes=59), False), (timedelta(minutes=60), True)])
def test_a_restless_one_ends_only_after_a_quiet_window(quiet: timedelta, over: bool) -> None:
    known = opened(*[probe(*ONE_DEAD)] * 2, code=DOWN, flapping=True, updated_at=NOW - quiet)
    decision = only(decide_warnings(outlook(*[probe(*TWO)] * 2, known=[known])))
    assert (decision.kind is EventKind.RESOLVED) is over


@pytest.mark.parametrize(
    ("good", "days", "reason"),
    [
        ([probe(*ONE)] * 2, 0, None),
        ([probe(*TWO)] * 2, 0, Reason.BACK),
        ([probe(*TWO), probe(*ONE)], 0, None),
        ([probe(*ONE, port="26")] * 2, 0, Reason.SETTLED),
        ([probe(*ONE)] * 2, 5, None),
        ([probe(*ONE)] * 2, 6, Reason.SETTLED),
    ],
)
def test_an_address_that_is_gone_comes_back_or_was_meant_to_go(
    good: list[ProbeRecord], days: int, reason: Reason | None
) -> None:
    known = opened(*[probe(*ONE)] * 2, probe(*TWO), code=GONE)
    decision = only(decide_warnings(outlook(*good, known=[known], now=NOW + days * DAY)))
    assert (decision.kind is EventKind.RESOLVED) is (reason is not None)
    assert reason is None or decision.reason is reason


def test_a_failing_probe_ends_no_warning_that_has_not_lasted() -> None:
    known = opened(*[probe(*ONE)] * 2, probe(*TWO), code=GONE)
    assert only(decide_warnings(outlook(newest=probe(ok=False), known=[known]))).kind is None


# --- capabilities --------------------------------------------------------------------------------------------------
def test_what_is_lost_later_is_told_too_and_all_of_it_must_come_back() -> None:
    without_dsn = {"capabilities": "8BITMIME, STARTTLS"}
    known = opened(*[probe(*ONE, **without_dsn)] * 2, probe(*ONE, **MANY), code=FEWER)
    more = [*[probe(*ONE, **FEW)] * 2, probe(*ONE, **without_dsn)]
    decision = only(decide_warnings(outlook(*more, known=[known])))
    assert (decision.kind, decision.data["mark"]) == (EventKind.WARNED, "STARTTLS")
    known = replace(known, told=decision.data["evidence"])
    assert known.told["lost"] == ["DSN", "STARTTLS"]
    half = only(decide_warnings(outlook(*[probe(*ONE, **without_dsn)] * 2, known=[known])))
    whole = only(decide_warnings(outlook(*[probe(*ONE, **MANY)] * 2, known=[known])))
    assert (half.kind, whole.reason) == (None, Reason.BACK)


def test_outages_and_warnings_are_kept_apart() -> None:
    outage, warning = Known(incident=incident("4.4.316")), Known(incident=incident())
    assert split([outage, warning]) == ([outage], [warning])
