"""The one way in which an incident changes: an event, the change itself and the duty to tell it, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.core.events import TELL, EventKind
from storage import incidents, outbox
from storage.records import Incident, IncidentEvent, OutboxKind


def record_event(
    db: Database,
    incident_id: int,
    kind: EventKind,
    *,
    now: datetime,
    actor: str | None = None,
    data: Mapping[str, Any] | None = None,
    **changes: object,
) -> Incident:
    """Write what happened to an incident, inside the caller's transaction.

    1. The columns named in `changes` (state, severity, …) are set.
    2. The event becomes the next line of the timeline; the incident's revision grows by one.
    3. The outbox owes a redraw of the incident's message, and what TELL says of this kind.
    An unknown incident is a LookupError.
    """
    incidents.change(db, incident_id, **changes)
    line = IncidentEvent(incident_id=incident_id, revision=0, at=now, kind=kind, actor=actor, data=data or {})
    written = incidents.append_event(db, line)
    after = incidents.get(db, incident_id)
    assert after is not None
    for owed in (OutboxKind.ROOT, TELL[kind]):
        if owed is not None:
            outbox.enqueue(
                db,
                incident_id=incident_id,
                revision=after.revision,
                channel=after.channel,
                kind=owed,
                now=now,
                event_id=written.id,
            )
    return after
