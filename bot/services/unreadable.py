"""A mail system that can't be read: one alert after a few misses, resolved by the next good read.

Its incident belongs to no connector; its code names the mail system. It is told once, however long it lasts.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.core.events import EventKind
from bot.services.monitor import over
from bot.services.timeline import record_event
from storage import incidents, syncs
from storage.records import Incident, Severity

PREFIX = "sync:"
"""The code of the incident is this and the mail system's name."""
MISSES = 3
"""So many failed reads in a row are told…"""
PATIENCE = timedelta(minutes=10)
"""…once they have lasted so long, or ten of the mail system's intervals if that is less."""
READ_AGAIN = "read again"
"""Its resolution."""
GONE = "not configured"
"""Its resolution where the mail system was taken out of the settings."""


def code_of(backend: str) -> str:
    """The code of a mail system's incident."""
    return f"{PREFIX}{backend}"


def note_miss(
    db: Database, backend: str, error: str, now: datetime, *, interval: timedelta, channel: str, steady: bool
) -> Incident | None:
    """A read failed and is recorded. Opens the incident when it is time, tells it another error; else None.

    Not `steady`: the clock is suspect, so it opens nothing.
    """
    known = _open(db, backend)
    count, since = syncs.misses(db, backend)
    good = syncs.last_success(db, backend)
    evidence = {"by": ["sync"], "error": error, "read_at": good.isoformat() if good else None}
    if known is not None:
        if incidents.last_evidence(db, known.id).get("error") == error:
            return None
        return record_event(db, known.id, EventKind.EVIDENCE, now=now, data={"evidence": evidence})
    if not channel or count < MISSES or since is None or not steady or now - since < min(PATIENCE, 10 * interval):
        return None
    previous = incidents.last_resolved(db, None, code_of(backend))
    new = incidents.insert(
        db,
        connector_id=None,
        code=code_of(backend),
        severity=Severity.WARNING,
        now=now,
        first_failure_at=since,
        channel=channel,
        previous_id=previous.id if previous else None,
    )
    data = {"code": new.code, "by": "sync", "evidence": evidence}
    return record_event(db, new.id, EventKind.OPENED, now=now, data=data)


def note_read(db: Database, backend: str, now: datetime) -> Incident | None:
    """A read was good: resolve the incident, if there is one."""
    known = _open(db, backend)
    return None if known is None else over(db, known, READ_AGAIN, now)


def note_gone(db: Database, backend: str, now: datetime) -> Incident | None:
    """Nobody reads it any more: resolve the incident, if there is one."""
    known = _open(db, backend)
    return None if known is None else over(db, known, GONE, now)


def is_one(incident: Incident) -> bool:
    """Is it about a mail system that can't be read?"""
    return incident.connector_id is None and incident.code.startswith(PREFIX)


def _open(db: Database, backend: str) -> Incident | None:
    return next((i for i in incidents.open_at(db, None) if i.code == code_of(backend)), None)
