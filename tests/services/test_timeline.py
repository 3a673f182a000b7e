"""An event, its change and the duty to tell it are one."""

from __future__ import annotations

from typing import Any

import pytest

from bot.core.events import TELL, EventKind
from bot.services.timeline import record_event
from storage import incidents, outbox
from storage.connection import Store
from storage.records import Incident, IncidentState, OutboxKind, Severity


@pytest.mark.parametrize("kind", list(EventKind))
async def test_every_kind_owes_a_redraw_and_what_the_table_says(
    store: Store, incident: Incident, clock: Any, kind: EventKind
) -> None:
    after = await store.write(lambda db: record_event(db, incident.id, kind, now=clock(), actor="U1", data={"a": 1}))
    owed = await store.read(lambda db: outbox.recent(db, 9))
    assert {item.kind for item in owed} == {OutboxKind.ROOT, TELL[kind]} - {None}
    (event,) = await store.read(lambda db: incidents.events(db, incident.id))
    assert {(item.event_id, item.revision, item.channel) for item in owed} == {(event.id, 1, "C1")}
    assert (event.kind, event.actor, event.data, after.revision) == (kind, "U1", {"a": 1}, 1)


async def test_changes_are_set_with_it(store: Store, incident: Incident, clock: Any) -> None:
    after = await store.write(
        lambda db: record_event(
            db, incident.id, EventKind.RESOLVED, now=clock(), state=IncidentState.RESOLVED, resolved_at=clock()
        )
    )
    assert (after.state, after.resolved_at) == (IncidentState.RESOLVED, clock())


async def test_if_anything_fails_nothing_is_left(store: Store, incident: Incident, clock: Any) -> None:
    def work(db: Any) -> None:
        record_event(db, incident.id, EventKind.CRITICAL, now=clock(), severity=Severity.CRITICAL)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(work)
    assert await store.read(lambda db: incidents.get(db, incident.id)) == incident
    assert await store.read(lambda db: outbox.recent(db, 9)) == []


async def test_an_unknown_incident_is_a_lookup_error(store: Store, clock: Any) -> None:
    with pytest.raises(LookupError, match="#99"):
        await store.write(lambda db: record_event(db, 99, EventKind.EVIDENCE, now=clock()))
