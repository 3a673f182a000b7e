"""The monitor's own incident: "we are blind". At most one is open; meanwhile probes open nothing, but not for ever."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlite_utils import Database

from bot.core.blindness import PATIENCE, PORT_BLOCKED
from bot.core.events import EventKind
from bot.core.policy import Policy
from bot.services.timeline import record_event
from storage import incidents
from storage.records import Incident, IncidentState, Severity

BLIND = "blind"
"""The code of the incident."""
PROVEN_FOR = timedelta(days=1)
"""For so long a port that was proven to be closed hides what probes see."""
SEEING = "seeing again"
"""Its resolution."""


def blind_incident(db: Database) -> Incident | None:
    """The open one, if we are blind."""
    return next((i for i in incidents.open_at(db, None) if i.code == BLIND), None)


def probes_say_nothing(db: Database, policy: Policy, now: datetime) -> bool:
    """Is it to be doubted when probes find servers dark?

    While we are blind, for a few intervals at most: after that rather many alerts than none; for a day if it was proven
    that our port is closed. And for a moment after it, until what was dark was looked at again.
    """
    known = blind_incident(db)
    if known is not None:
        proven = incidents.last_evidence(db, known.id).get("seen") == PORT_BLOCKED
        return abs(now - known.opened_at) < (PROVEN_FOR if proven else PATIENCE * policy.probe_interval)
    last = incidents.last_resolved(db, None, BLIND)
    return last is not None and abs(now - (last.resolved_at or now)) < policy.probe_interval_failing


def tell_blind(db: Database, now: datetime, channel: str, *, seen: str, connector_ids: Sequence[int]) -> Incident:
    """Open it, unless it is open. `seen`: the code that everything turned to, or "egress"."""
    known = blind_incident(db)
    if known is not None:
        return known
    previous = incidents.last_resolved(db, None, BLIND)
    new = incidents.insert(
        db,
        connector_id=None,
        code=BLIND,
        severity=Severity.CRITICAL,
        now=now,
        first_failure_at=now,
        channel=channel,
        previous_id=previous.id if previous else None,
    )
    evidence = {"by": ["probe"], "seen": seen, "connectors": list(connector_ids)}
    return record_event(
        db, new.id, EventKind.OPENED, now=now, data={"code": BLIND, "by": "probe", "evidence": evidence}
    )


def tell_seeing(db: Database, now: datetime) -> Incident | None:
    """Resolve it; None: it was not open."""
    known = blind_incident(db)
    return None if known is None else over(db, known, SEEING, now)


def over(db: Database, incident: Incident, reason: str, now: datetime) -> Incident:
    """An incident of the monitor's own is over."""
    changes: dict[str, Any] = {"state": IncidentState.RESOLVED, "resolved_at": now, "resolution": reason}
    return record_event(db, incident.id, EventKind.RESOLVED, now=now, data={"reason": reason}, **changes)
