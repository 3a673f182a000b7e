"""Incidents and their timelines.

Promises: at most one open incident per (connector, code), kept by a unique index; an event's revision is unique within
its incident, so the same transition can't be written twice. Nothing here decides; nothing here commits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from storage.moments import from_ms, optional_moment, to_ms
from storage.records import Incident, IncidentEvent, IncidentState, Severity

_BY_ID = "SELECT * FROM incidents WHERE id = ?"
_OPEN = "SELECT * FROM incidents WHERE state <> 'resolved' ORDER BY id"
_OPEN_AT = "SELECT * FROM incidents WHERE state <> 'resolved' AND ifnull(connector_id, 0) = ? ORDER BY id"
_LAST_RESOLVED = """SELECT * FROM incidents WHERE connector_id IS ? AND code = ? AND state = 'resolved'
    ORDER BY resolved_at DESC, id DESC LIMIT 1"""
_FOLLOWING = "SELECT * FROM incidents WHERE previous_id = ? ORDER BY id LIMIT 1"
_RECENT = "SELECT * FROM incidents ORDER BY id DESC LIMIT ?"
_INSERT = """INSERT INTO incidents (connector_id, code, state, severity, opened_at, updated_at, first_failure_at,
    revision, channel, flapping, previous_id) VALUES (?, ?, 'firing', ?, ?, ?, ?, 0, ?, ?, ?)"""
_APPEND = """INSERT INTO incident_events (incident_id, revision, at, kind, actor, data)
    SELECT id, revision, ?, ?, ?, ? FROM incidents WHERE id = ?"""
_NEXT_REVISION = "UPDATE incidents SET revision = revision + 1, updated_at = ? WHERE id = ?"
_EVENTS = """SELECT * FROM (SELECT * FROM incident_events WHERE incident_id = ? AND kind IS NOT ?
    ORDER BY revision DESC LIMIT ?) ORDER BY revision"""
_EVIDENCE = """SELECT json_extract(data, '$.evidence') AS evidence FROM incident_events
    WHERE incident_id = ? AND json_type(data, '$.evidence') = 'object' ORDER BY revision DESC LIMIT 1"""
_EVENT = "SELECT * FROM incident_events WHERE id = ?"
_STUCK = """SELECT DISTINCT g.connector_id FROM queue_groups AS g
    JOIN connectors AS c ON c.id = g.connector_id AND c.enabled = 1 AND c.missing_since IS NULL
    WHERE NOT EXISTS (SELECT 1 FROM incidents AS i WHERE i.connector_id = g.connector_id AND i.state <> 'resolved'
            AND i.code = ifnull(nullif(g.code, ''), ?2))
        AND EXISTS (SELECT 1 FROM queued_messages AS m WHERE m.status = 'queued' AND m.connector_id = g.connector_id
            AND m.code IS nullif(g.code, '') AND m.received_at <= ?1 AND (g.code <> '' OR m.reason IS NOT NULL))
    ORDER BY g.connector_id"""
_RETIRED = """SELECT DISTINCT i.connector_id FROM incidents AS i JOIN connectors AS c ON c.id = i.connector_id
    WHERE i.state NOT IN ('resolved', 'fixing', 'verifying') AND (c.enabled = 0 OR c.missing_since IS NOT NULL)"""
_WAITING = """SELECT i.connector_id, i.severity, i.escalated, sum(g.waiting) AS waiting, min((
        SELECT received_at FROM queued_messages AS m WHERE m.status = 'queued' AND m.connector_id = g.connector_id
            AND m.code IS nullif(g.code, '') ORDER BY received_at LIMIT 1)) AS oldest, min((
        SELECT expires_at FROM queued_messages AS m WHERE m.status = 'queued' AND m.connector_id = g.connector_id
            AND m.code IS nullif(g.code, '') ORDER BY expires_at LIMIT 1)) AS first_expiry
    FROM incidents AS i JOIN queue_groups AS g ON g.connector_id = i.connector_id
    WHERE i.state <> 'resolved' AND i.code NOT LIKE 'warning:%' GROUP BY i.id ORDER BY i.id"""
_PRUNE = """SELECT id FROM incidents AS i WHERE state = 'resolved' AND resolved_at < ?
    AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.incident_id = i.id AND o.state IN ('pending', 'sending'))
    AND NOT EXISTS (SELECT 1 FROM actions AS a WHERE a.incident_id = i.id)
    AND NOT EXISTS (SELECT 1 FROM incidents AS later WHERE later.previous_id = i.id)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits at the connector of one open incident: enough to see whether it must be looked at again."""

    connector_id: int
    severity: Severity
    escalated: int
    waiting: int
    oldest_received_at: datetime
    first_expiry_at: datetime


def insert(
    db: Database,
    *,
    connector_id: int | None,
    code: str,
    severity: Severity,
    now: datetime,
    first_failure_at: datetime,
    channel: str,
    flapping: bool = False,
    previous_id: int | None = None,
) -> Incident:
    """A new firing incident at revision 0: its first event makes it 1. A second open one of its kind is an error."""
    at = to_ms(now)
    values = (connector_id, code, severity, at, at, to_ms(first_failure_at), channel, int(flapping), previous_id)
    made = db.execute(_INSERT, values)
    assert made.lastrowid is not None
    return _known(db, made.lastrowid)


def get(db: Database, incident_id: int) -> Incident | None:
    """The incident with this number."""
    return _first(db, _BY_ID, (incident_id,))


def open_at(db: Database, connector_id: int | None) -> list[Incident]:
    """The open incidents of one connector, oldest first; None: those of the monitor itself."""
    return [_incident(row) for row in db.query(_OPEN_AT, (connector_id or 0,))]


def open_everywhere(db: Database) -> list[Incident]:
    """Every open incident, oldest first."""
    return [_incident(row) for row in db.query(_OPEN)]


def recent(db: Database, limit: int) -> list[Incident]:
    """The newest incidents, open or not, newest first."""
    return [_incident(row) for row in db.query(_RECENT, (limit,))]


def last_resolved(db: Database, connector_id: int | None, code: str) -> Incident | None:
    """The one of this connector and code that was resolved last."""
    return _first(db, _LAST_RESOLVED, (connector_id, code))


def following(db: Database, incident_id: int) -> Incident | None:
    """The first one that was opened as a continuation of this one."""
    return _first(db, _FOLLOWING, (incident_id,))


def change(db: Database, incident_id: int, **columns: object) -> None:
    """Set some columns. An unknown column is a ValueError, so that a misspelling can't pass."""
    if unknown := columns.keys() - _SET.keys():
        raise ValueError(f"not a column of an incident that may change: {', '.join(sorted(unknown))}")
    for name, value in columns.items():
        db.execute(_SET[name], (_stored(value), incident_id))


def append_event(db: Database, event: IncidentEvent) -> IncidentEvent:
    """Add the next line of the timeline: the incident's revision grows by one and becomes the event's.

    LookupError: there is no such incident.
    """
    if db.execute(_NEXT_REVISION, (to_ms(event.at), event.incident_id)).rowcount == 0:
        raise LookupError(f"there is no incident #{event.incident_id}")
    data = json.dumps(dict(event.data), ensure_ascii=False, default=_plain)
    made = db.execute(_APPEND, (to_ms(event.at), event.kind, event.actor, data, event.incident_id))
    (row,) = db.query(_EVENT, (made.lastrowid,))
    return _event(row)


def event(db: Database, event_id: int) -> IncidentEvent | None:
    """One line of a timeline."""
    return next((_event(row) for row in db.query(_EVENT, (event_id,))), None)


def events(db: Database, incident_id: int, limit: int = 200, without: str | None = None) -> list[IncidentEvent]:
    """The newest `limit` lines of a timeline, oldest of them first; `without` leaves out one kind."""
    return [_event(row) for row in db.query(_EVENTS, (incident_id, without, limit))]


def last_evidence(db: Database, incident_id: int) -> Mapping[str, Any]:
    """The evidence that was told last: the object `evidence` in the newest event that has one."""
    return next((json.loads(row["evidence"]) for row in db.query(_EVIDENCE, (incident_id,))), {})


def stuck(db: Database, before: datetime, nameless: str) -> list[int]:
    """Connectors where deferred mail waits since `before` without an open incident of its code.

    `nameless`: the code under which mail with a reason but without a code is kept.
    """
    return [row["connector_id"] for row in db.query(_STUCK, (to_ms(before), nameless))]


def at_retired_connectors(db: Database) -> list[int]:
    """Connectors that are off or no longer listed but still have an open incident."""
    return [row["connector_id"] for row in db.query(_RETIRED)]


def waiting(db: Database) -> list[Waiting]:
    """What waits behind each open outage, whatever its code."""
    return [
        Waiting(
            connector_id=row["connector_id"],
            severity=Severity(row["severity"]),
            escalated=row["escalated"],
            waiting=row["waiting"],
            oldest_received_at=from_ms(row["oldest"]),
            first_expiry_at=from_ms(row["first_expiry"]),
        )
        for row in db.query(_WAITING)
    ]


def prune(db: Database, before: datetime) -> int:
    """Forget incidents resolved before then, with their timeline and outbox; how many went.

    Kept: those that still owe a message, that have a Fix now action, or that a later one refers to.
    """
    old = [row["id"] for row in db.query(_PRUNE, (to_ms(before),))]
    for incident_id in old:
        for statement in _FORGET:
            db.execute(statement, (incident_id,))
    return len(old)


_FORGET = (
    "DELETE FROM outbox WHERE incident_id = ?",
    "DELETE FROM incident_events WHERE incident_id = ?",
    "DELETE FROM incidents WHERE id = ?",
)
_SET = {
    "code": "UPDATE incidents SET code = ? WHERE id = ?",
    "state": "UPDATE incidents SET state = ? WHERE id = ?",
    "severity": "UPDATE incidents SET severity = ? WHERE id = ?",
    "first_failure_at": "UPDATE incidents SET first_failure_at = ? WHERE id = ?",
    "resolved_at": "UPDATE incidents SET resolved_at = ? WHERE id = ?",
    "acknowledged_by": "UPDATE incidents SET acknowledged_by = ? WHERE id = ?",
    "acknowledged_at": "UPDATE incidents SET acknowledged_at = ? WHERE id = ?",
    "channel": "UPDATE incidents SET channel = ? WHERE id = ?",
    "ts": "UPDATE incidents SET ts = ? WHERE id = ?",
    "escalated": "UPDATE incidents SET escalated = ? WHERE id = ?",
    "flapping": "UPDATE incidents SET flapping = ? WHERE id = ?",
    "resolution": "UPDATE incidents SET resolution = ? WHERE id = ?",
    "previous_id": "UPDATE incidents SET previous_id = ? WHERE id = ?",
}


def _first(db: Database, sql: str, values: Iterable[object]) -> Incident | None:
    return next((_incident(row) for row in db.query(sql, tuple(values))), None)


def _known(db: Database, incident_id: int) -> Incident:
    found = get(db, incident_id)
    assert found is not None
    return found


def _stored(value: object) -> object:
    if isinstance(value, datetime):
        return to_ms(value)
    return int(value) if isinstance(value, bool) else value


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"an event can't keep a {type(value).__name__}")


def _incident(row: dict[str, Any]) -> Incident:
    return Incident(
        id=row["id"],
        connector_id=row["connector_id"],
        code=row["code"],
        state=IncidentState(row["state"]),
        severity=Severity(row["severity"]),
        opened_at=from_ms(row["opened_at"]),
        updated_at=from_ms(row["updated_at"]),
        first_failure_at=from_ms(row["first_failure_at"]),
        channel=row["channel"],
        revision=row["revision"],
        ts=row["ts"],
        resolved_at=optional_moment(row["resolved_at"]),
        acknowledged_by=row["acknowledged_by"],
        acknowledged_at=optional_moment(row["acknowledged_at"]),
        escalated=row["escalated"],
        flapping=bool(row["flapping"]),
        previous_id=row["previous_id"],
        resolution=row["resolution"],
    )


def _event(row: dict[str, Any]) -> IncidentEvent:
    return IncidentEvent(
        id=row["id"],
        incident_id=row["incident_id"],
        revision=row["revision"],
        at=from_ms(row["at"]),
        kind=row["kind"],
        actor=row["actor"],
        data=json.loads(row["data"]),
    )
