"""`mfi connectors|incidents|outbox`: rows as plain dicts (the JSON), drawn as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.core.forecast import plain_span
from bot.core.foresight import WARNED_WORDS
from bot.core.policy import Policy
from bot.core.unassigned import UNASSIGNED
from bot.core.undialled import undialled_by
from bot.services.departed import left
from bot.services.monitor import BLIND
from bot.services.views import connector_views
from bot.terminal.queues import NOWHERE
from bot.terminal.tables import one_line, table
from storage import connectors, incidents, outbox, syncs
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


async def never_read(store: Store, configured: Iterable[str]) -> list[str]:
    """Which of the mail systems of the settings were never read: of their connectors nothing is known."""
    return await store.read(lambda db: [name for name in configured if syncs.last_success(db, name) is None])


def hint(unread: Sequence[str]) -> str:
    """What to do about these mail systems, a line each."""
    return "\n".join(
        f"{name} was never read, so its connectors are unknown: "
        f"`mfi sync {name}` reads it, `mfi doctor` says what is wrong"
        for name in map(one_line, unread)
    )


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


def _incidents(db: Database) -> list[Row]:
    recent = incidents.recent(db, SHOWN)
    found = {number: connectors.get(db, number) for number in {one.connector_id for one in recent} if number}
    return [
        {
            "id": one.id,
            "state": one.state,
            "severity": one.severity,
            "code": one.code,
            "connector": connector.name if connector else None,
            "unconfigured": connector.backend if connector and left(db, connector) else None,
            "opened_at": one.opened_at,
            "resolved_at": one.resolved_at,
            "acknowledged_by": one.acknowledged_by,
        }
        for one, connector in ((one, found.get(one.connector_id or 0)) for one in recent)
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
    "incidents": lambda db, now, policy: _incidents(db),
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


def _connector_word(row: Mapping[str, Any]) -> str:
    name = row["connector"] or (NOWHERE if row["code"] == UNASSIGNED else "the monitor")
    gone = row.get("unconfigured")
    return f"{name} ({gone} isn't configured any more)" if gone else name


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
        "Connector": lambda r, now: _connector_word(r),
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
