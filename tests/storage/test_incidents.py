"""Incidents and their timelines as rows."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlite_utils import Database

from storage import connectors, incidents, messages, outbox
from storage.connection import Store
from storage.records import (
    ConnectorFacts,
    ConnectorKind,
    Incident,
    IncidentEvent,
    IncidentState,
    MessageFacts,
    OutboxKind,
    Severity,
)


@pytest.fixture
async def connector_id(store: Store, now: datetime) -> int:
    return await add_connector(store, now, "Contoso")


async def add_connector(store: Store, now: datetime, name: str) -> int:
    facts = ConnectorFacts(backend="lab", key=name, name=name, kind=ConnectorKind.PARTNER)
    await store.write(lambda db: connectors.sync(db, "lab", [facts], now, complete=False))
    found = await store.read(lambda db: connectors.by_key(db, "lab", name))
    assert found is not None
    return found.id


def made(db: Database, connector_id: int | None, now: datetime, code: str = "4.4.316", **more: Any) -> Incident:
    usual: dict[str, Any] = {"severity": Severity.WARNING, "first_failure_at": now, "channel": "C1"}
    return incidents.insert(db, connector_id=connector_id, code=code, now=now, **(usual | more))


def event(incident: Incident, now: datetime, kind: str = "evidence", **data: Any) -> IncidentEvent:
    return IncidentEvent(incident_id=incident.id, revision=0, at=now, kind=kind, data=data)


def message(key: str, now: datetime, *, age: timedelta, code: str | None = "4.4.316", reason: str | None = None) -> Any:
    return MessageFacts(
        backend="lab",
        key=key,
        recipient="user@contoso.test",
        sender="games@fabrikam.test",
        received_at=now - age,
        expires_at=now - age + timedelta(hours=24),
        code=code,
        reason=reason,
    )


async def test_a_new_incident_is_kept_as_it_was_given(store: Store, connector_id: int, now: datetime) -> None:
    new = await store.write(lambda db: made(db, connector_id, now, flapping=True))
    assert await store.read(lambda db: incidents.get(db, new.id)) == new
    assert (new.revision, new.state, new.flapping, new.opened_at) == (0, IncidentState.FIRING, True, now)
    assert await store.read(lambda db: incidents.get(db, 99)) is None


@pytest.mark.parametrize("ours", [True, False])
async def test_two_open_incidents_of_one_kind_are_impossible(
    store: Store, connector_id: int, now: datetime, ours: bool
) -> None:
    where = None if ours else connector_id
    first = await store.write(lambda db: made(db, where, now))
    with pytest.raises(sqlite3.IntegrityError):
        await store.write(lambda db: made(db, where, now))
    await store.write(lambda db: incidents.change(db, first.id, state=IncidentState.RESOLVED, resolved_at=now))
    second = await store.write(lambda db: made(db, where, now, previous_id=first.id))
    assert second.id == first.id + 1


async def test_changes_are_kept_and_a_misspelt_column_is_refused(
    store: Store, connector_id: int, now: datetime
) -> None:
    new = await store.write(lambda db: made(db, connector_id, now))
    changes: dict[str, Any] = {
        "code": "4.4.317",
        "state": IncidentState.ACKNOWLEDGED,
        "severity": Severity.CRITICAL,
        "acknowledged_by": "U0ADMIN1",
        "acknowledged_at": now,
        "channel": "C2",
        "ts": "1.0",
        "escalated": 2,
        "flapping": True,
        "resolution": "drained",
        "first_failure_at": now - timedelta(hours=1),
        "resolved_at": now,
        "previous_id": None,
    }
    await store.write(lambda db: incidents.change(db, new.id, **changes))
    after = await store.read(lambda db: incidents.get(db, new.id))
    assert {name: getattr(after, name) for name in changes} == changes
    with pytest.raises(ValueError, match="sate"):
        await store.write(lambda db: incidents.change(db, new.id, sate="resolved"))


async def test_events_number_themselves_and_read_back(store: Store, connector_id: int, now: datetime) -> None:
    new = await store.write(lambda db: made(db, connector_id, now))
    later = now + timedelta(minutes=1)
    for n in range(3):
        written = await store.write(lambda db, n=n: incidents.append_event(db, event(new, later, at=now, n=n)))
        assert await store.read(lambda db, w=written: incidents.event(db, w.id)) == written
    found = await store.read(lambda db: incidents.events(db, new.id))
    assert [(e.revision, e.data["n"], e.data["at"]) for e in found] == [(n + 1, n, now.isoformat()) for n in range(3)]
    after = await store.read(lambda db: incidents.get(db, new.id))
    assert after is not None
    assert (after.revision, after.updated_at) == (3, later)


async def test_what_json_does_not_know_is_refused(store: Store, connector_id: int, now: datetime) -> None:
    new = await store.write(lambda db: made(db, connector_id, now))
    with pytest.raises(TypeError, match="set"):
        await store.write(lambda db: incidents.append_event(db, event(new, now, what={1})))


async def test_a_long_timeline_shows_its_newest_lines_in_order(store: Store, connector_id: int, now: datetime) -> None:
    def work(db: Database) -> Incident:
        new = made(db, connector_id, now)
        for n in range(10):
            incidents.append_event(db, event(new, now, "evidence" if n % 2 else "reprobed"))
        return new

    new = await store.write(work)
    found = await store.read(lambda db: incidents.events(db, new.id, 3))
    assert [e.revision for e in found] == [8, 9, 10]
    found = await store.read(lambda db: incidents.events(db, new.id, 3, without="evidence"))
    assert [e.revision for e in found] == [5, 7, 9]


async def test_the_last_evidence_is_found_behind_other_events(store: Store, connector_id: int, now: datetime) -> None:
    def work(db: Database) -> Incident:
        new = made(db, connector_id, now)
        incidents.append_event(db, event(new, now, evidence={"waiting": 1}))
        incidents.append_event(db, event(new, now, evidence={"waiting": 2}))
        incidents.append_event(db, event(new, now, "acknowledged"))
        return new

    new = await store.write(work)
    assert await store.read(lambda db: incidents.last_evidence(db, new.id)) == {"waiting": 2}
    assert await store.read(lambda db: incidents.last_evidence(db, 99)) == {}


async def test_open_ones_are_listed_by_connector_and_everywhere(store: Store, connector_id: int, now: datetime) -> None:
    def work(db: Database) -> None:
        made(db, connector_id, now)
        made(db, None, now, "blind")
        over = made(db, connector_id, now, "4.4.315")
        incidents.change(db, over.id, state=IncidentState.RESOLVED, resolved_at=now)

    await store.write(work)
    assert [i.code for i in await store.read(lambda db: incidents.open_at(db, connector_id))] == ["4.4.316"]
    assert [i.code for i in await store.read(lambda db: incidents.open_at(db, None))] == ["blind"]
    assert [i.id for i in await store.read(incidents.open_everywhere)] == [1, 2]
    assert [i.id for i in await store.read(lambda db: incidents.recent(db, 2))] == [3, 2]


async def test_the_last_resolved_is_the_one_that_ended_last(store: Store, connector_id: int, now: datetime) -> None:
    def work(db: Database) -> None:
        for hours in (1, 3, 2):
            over = made(db, connector_id, now)
            ended = now + timedelta(hours=hours)
            incidents.change(db, over.id, state=IncidentState.RESOLVED, resolved_at=ended)

    await store.write(work)
    found = await store.read(lambda db: incidents.last_resolved(db, connector_id, "4.4.316"))
    assert found is not None
    assert found.id == 2
    assert await store.read(lambda db: incidents.last_resolved(db, connector_id, "4.4.315")) is None


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ({}, True),
        ({"minutes": 14}, False),
        ({"code": None}, False),
        ({"code": None, "reason": "odd"}, True),
        ({"opened": "4.4.316"}, False),
        ({"opened": "4.4.315"}, True),
        ({"code": None, "reason": "odd", "opened": "other"}, False),
        ({"enabled": False}, False),
    ],
)
async def test_stuck_mail_without_an_incident_is_found(
    store: Store, connector_id: int, now: datetime, case: dict[str, Any], found: bool
) -> None:
    facts = {"minutes": 16, "code": "4.4.316", "reason": None, "opened": None, "enabled": True} | case

    def work(db: Database) -> None:
        age = timedelta(minutes=facts["minutes"])
        one = message("m1", now, age=age, code=facts["code"], reason=facts["reason"])
        messages.sync(db, "lab", [(one, connector_id)], now, complete=True)
        connectors.set_enabled(db, connector_id, facts["enabled"], now)
        if facts["opened"]:
            made(db, connector_id, now, facts["opened"])

    await store.write(work)
    stuck = await store.read(lambda db: incidents.stuck(db, now - timedelta(minutes=15), "other"))
    assert stuck == ([connector_id] if found else [])


async def test_what_waits_behind_each_open_incident(store: Store, connector_id: int, now: datetime) -> None:
    def work(db: Database) -> None:
        hours = [(message(f"m{n}", now, age=timedelta(hours=n)), connector_id) for n in (1, 5, 3)]
        messages.sync(db, "lab", hours, now, complete=True)
        made(db, connector_id, now)
        made(db, None, now, "blind")

    await store.write(work)
    (found,) = await store.read(incidents.waiting)
    assert (found.connector_id, found.waiting) == (connector_id, 3)
    assert found.oldest_received_at == now - timedelta(hours=5)
    assert found.first_expiry_at == now + timedelta(hours=19)


async def test_incidents_at_connectors_that_are_off_are_found(store: Store, connector_id: int, now: datetime) -> None:
    other = await add_connector(store, now, "Fabrikam")

    def work(db: Database) -> None:
        made(db, connector_id, now)
        fixed = made(db, other, now)
        incidents.change(db, fixed.id, state=IncidentState.VERIFYING)
        connectors.set_enabled(db, connector_id, False, now)
        connectors.set_enabled(db, other, False, now)

    await store.write(work)
    assert await store.read(incidents.at_retired_connectors) == [connector_id]


async def test_only_old_resolved_incidents_that_owe_nothing_are_forgotten(
    store: Store, connector_id: int, now: datetime
) -> None:
    def work(db: Database) -> int:
        for n in range(5):
            one = made(db, connector_id, now, f"4.4.{n}")
            incidents.append_event(db, event(one, now))
            if n != 1:
                incidents.change(db, one.id, state=IncidentState.RESOLVED, resolved_at=now + n * timedelta(hours=1))
        outbox.enqueue(db, incident_id=3, revision=1, channel="C1", kind=OutboxKind.ROOT, now=now)
        incidents.change(db, 5, previous_id=4)
        return incidents.prune(db, now + timedelta(hours=4))

    assert await store.write(work) == 1
    assert [i.id for i in await store.read(lambda db: incidents.recent(db, 9))] == [5, 4, 3, 2]
    assert await store.read(lambda db: incidents.events(db, 1)) == []
