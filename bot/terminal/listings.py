"""`mfi connectors|incidents|outbox`: rows as plain dicts (the JSON), drawn as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.core.forecast import plain_span
from bot.core.foresight import WARNED_WORDS
from bot.core.policy import Policy
from bot.core.unassigned import UNASSIGNED
from bot.core.undialled import undialled_by
from bot.services.monitor import BLIND
from bot.services.views import connector_views
from bot.terminal.queues import NOWHERE
from bot.terminal.tables import table
from storage import incidents, outbox
from storage.connection import Store
from storage.records import IncidentState

Row = dict[str, Any]

SHOWN = 200
"""How many incidents and outbox items a listing shows, newest first."""


async def read(name: str, store: Store, now: datetime, policy: Policy) -> list[Row]:
    """The rows of one listing, as JSON has them."""
    return await store.read(lambda db: _READERS[name](db, now, policy))


def render(name: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """The rows as a table, or one line that says why there are none and what to do."""
    if not rows:
        return _EMPTY[name]
    columns = _COLUMNS[name]
    return table(list(columns), [[draw(row, now) for draw in columns.values()] for row in rows])


def _connectors(db: Database, now: datetime, policy: Policy) -> list[Row]:
    return [
        {
            "name": view.connector.name,
            "backend": view.connector.backend,
            "key": view.connector.key,
            "kind": view.connector.kind,
            "enabled": view.connector.enabled,
            "next_hops": ["MX"] if view.connector.use_mx else list(view.connector.smart_hosts),
            "tls": view.connector.tls_setting,
            "waiting": view.queue.total,
            "queue_read_at": view.queue_read_at,
            "queue_stale": view.queue_stale,
            "probed_at": view.probe.at if view.probe else None,
            "ok": view.probe.ok if view.probe and not view.probe.nothing_probed else None,
            "status": view.probe.status if view.probe else None,
            "incidents": [incident.id for incident in view.incidents],
        }
        for view in connector_views(db, now, policy)
    ]


def _incidents(db: Database, now: datetime, _policy: Policy) -> list[Row]:
    names = {view.connector.id: view.connector.name for view in connector_views(db, now)}
    return [
        {
            "id": one.id,
            "state": one.state,
            "severity": one.severity,
            "code": one.code,
            "connector": names.get(one.connector_id) if one.connector_id else None,
            "opened_at": one.opened_at,
            "resolved_at": one.resolved_at,
            "acknowledged_by": one.acknowledged_by,
        }
        for one in incidents.recent(db, SHOWN)
    ]


def _outbox(db: Database) -> list[Row]:
    return [
        {
            "id": item.id,
            "incident": item.incident_id,
            "kind": item.kind,
            "state": item.state,
            "channel": item.channel,
            "attempts": item.attempts,
            "next_at": item.next_at,
            "error": item.error,
        }
        for item in outbox.recent(db, SHOWN)
    ]


_READERS: dict[str, Callable[[Database, datetime, Policy], list[Row]]] = {
    "connectors": _connectors,
    "incidents": _incidents,
    "outbox": lambda db, now, policy: _outbox(db),
}

_EMPTY = {
    "connectors": "No connectors yet. Export them and import the file:\n"
    "  Get-OutboundConnector | ConvertTo-Json -Depth 4 > connectors.json\n"
    "  mfi import connectors connectors.json",
    "incidents": "No incidents.",
    "outbox": "Slack is owed nothing.",
}


def _ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{plain_span(now - moment)} ago"


def _waiting_word(row: Mapping[str, Any], now: datetime) -> str:
    old = f", stale: read {_ago(row['queue_read_at'], now)}" if row["queue_stale"] else ""
    return f"{row['waiting']}{old}"


def _probe_word(row: Mapping[str, Any], now: datetime) -> str:
    if not row["next_hops"] and (told := undialled_by(row["name"])):
        return told.short
    if row["ok"] is None:
        return "nothing to dial" if row["probed_at"] else "not probed yet"
    return f"{'ok' if row['ok'] else row['status']}, {_ago(row['probed_at'], now)}"


CODE_WORDS = {BLIND: "the monitor is blind", UNASSIGNED: "mail is stuck", **WARNED_WORDS}
"""Codes that are our own, in words."""

_COLUMNS: dict[str, dict[str, Callable[[Mapping[str, Any], datetime], str]]] = {
    "connectors": {
        "Connector": lambda r, now: r["name"],
        "Kind": lambda r, now: str(r["kind"]).replace("_", "-") + ("" if r["enabled"] else ", disabled"),
        "Next hop": lambda r, now: ", ".join(r["next_hops"]),
        "Waiting": _waiting_word,
        "Last probe": _probe_word,
        "Incidents": lambda r, now: " ".join(f"#{number}" for number in r["incidents"]),
    },
    "incidents": {
        "Incident": lambda r, now: f"#{r['id']}",
        "State": lambda r, now: (
            r["state"] if r["state"] == IncidentState.RESOLVED else f"{r['state']}, {r['severity']}"
        ),
        "Code": lambda r, now: CODE_WORDS.get(r["code"], r["code"]),
        "Connector": lambda r, now: r["connector"] or (NOWHERE if r["code"] == UNASSIGNED else "the monitor"),
        "Opened": lambda r, now: _ago(r["opened_at"], now),
    },
    "outbox": {
        "Item": lambda r, now: str(r["id"]),
        "Incident": lambda r, now: f"#{r['incident']}",
        "Kind": lambda r, now: r["kind"],
        "State": lambda r, now: r["state"],
        "Channel": lambda r, now: r["channel"],
        "Tries": lambda r, now: str(r["attempts"]),
        "Error": lambda r, now: r["error"] or "",
    },
}
