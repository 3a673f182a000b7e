"""What people do to an incident."""

from __future__ import annotations

from datetime import datetime

from sqlite_utils import Database

from bot.core.events import EventKind
from bot.services.timeline import record_event
from storage import incidents
from storage.records import Incident, IncidentState


def acknowledge(db: Database, incident_id: int, actor: str, now: datetime) -> Incident | str:
    """Note that somebody looks after it; the text says why not. Only the first one counts, and stays named."""
    incident = incidents.get(db, incident_id)
    if incident is None:
        return f"There is no incident #{incident_id}."
    if incident.state is IncidentState.RESOLVED:
        return f"#{incident_id} is resolved already; there is nothing to acknowledge."
    if incident.acknowledged_by is not None:
        return f"#{incident_id} was acknowledged already by <@{incident.acknowledged_by}>."
    if incident.state is not IncidentState.FIRING:
        return f"#{incident_id} is being looked after already: Fix now is {incident.state}."
    return record_event(
        db,
        incident_id,
        EventKind.ACKNOWLEDGED,
        now=now,
        actor=actor,
        state=IncidentState.ACKNOWLEDGED,
        acknowledged_by=actor,
        acknowledged_at=now,
    )
