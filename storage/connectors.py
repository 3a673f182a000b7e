"""Connectors: what the mail systems list, and when each is probed next.

Rows are never deleted: incidents and probes refer to them. One that its mail system no longer lists gets
`missing_since` and is then neither listed nor probed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlite_utils import Database

from storage.moments import from_ms, optional_moment, optional_span, span_ms, to_ms
from storage.records import Caution, Connector, ConnectorFacts, ConnectorKind, SyncCounts, TlsSetting

_UPSERT = """
    INSERT INTO connectors (backend, key, name, kind, enabled, use_mx, smart_hosts, port, recipient_domains,
        tls_setting, tls_domain, partner_contact, alert_channel, probe_interval, cautions, next_probe_at, changed_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (backend, key) DO UPDATE SET
        name = excluded.name, kind = excluded.kind, enabled = excluded.enabled, use_mx = excluded.use_mx,
        smart_hosts = excluded.smart_hosts, port = excluded.port, recipient_domains = excluded.recipient_domains,
        tls_setting = excluded.tls_setting, tls_domain = excluded.tls_domain,
        partner_contact = excluded.partner_contact, alert_channel = excluded.alert_channel,
        probe_interval = excluded.probe_interval, cautions = excluded.cautions, next_probe_at = excluded.next_probe_at,
        changed_at = excluded.changed_at, missing_since = NULL
    WHERE missing_since IS NOT NULL
        OR (name, kind, enabled, use_mx, smart_hosts, port, recipient_domains, tls_setting, tls_domain,
            partner_contact, alert_channel, probe_interval, cautions)
        IS NOT (excluded.name, excluded.kind, excluded.enabled, excluded.use_mx, excluded.smart_hosts, excluded.port,
            excluded.recipient_domains, excluded.tls_setting, excluded.tls_domain, excluded.partner_contact,
            excluded.alert_channel, excluded.probe_interval, excluded.cautions)
"""

# The last of two columns of one name wins: what is claimed is due when its lease ends.
_DUE = """SELECT *, ? AS next_probe_at FROM connectors AS c
    WHERE enabled = 1 AND missing_since IS NULL AND c.next_probe_at <= ? ORDER BY c.next_probe_at, id LIMIT ?"""
_NEWCOMERS = """SELECT * FROM connectors WHERE enabled = 1 AND missing_since IS NULL AND next_probe_at <= ?
    AND next_probe_at = changed_at"""
_NEW_ONES_NEXT = """SELECT EXISTS (SELECT 1 FROM (
    SELECT next_probe_at, changed_at FROM connectors WHERE enabled = 1 AND missing_since IS NULL AND next_probe_at <= ?
    ORDER BY next_probe_at, id LIMIT ?) WHERE next_probe_at = changed_at)"""
_UNDISTURBED = """SELECT c.id, c.use_mx, c.smart_hosts, c.port, c.recipient_domains, c.tls_setting, c.tls_domain
    FROM json_each(?) AS wanted JOIN connectors AS c ON c.id = wanted.value
    WHERE c.enabled = 1 AND c.missing_since IS NULL
        AND NOT EXISTS (SELECT 1 FROM incidents AS i WHERE i.state <> 'resolved' AND ifnull(i.connector_id, 0) = c.id)
        AND NOT EXISTS (SELECT 1 FROM queued_messages AS m WHERE m.connector_id = c.id AND m.status = 'queued'
            AND (m.code IS NOT NULL OR m.reason IS NOT NULL))"""
_SCHEDULE = "UPDATE connectors SET next_probe_at = ? WHERE id = ?"


def sync(db: Database, backend: str, facts: Iterable[ConnectorFacts], now: datetime, *, complete: bool) -> SyncCounts:
    """Take over what a mail system lists. New and changed ones are probed at once; unchanged ones are not written.

    complete: the list is whole, so ours that it lacks are marked as missing.
    """
    listed = {f.key: f for f in facts}
    before = db.execute("SELECT ifnull(max(id), 0) FROM connectors").fetchone()[0]
    written = db.conn.executemany(_UPSERT, [_values(backend, f, now) for f in listed.values()]).rowcount
    added = db.execute("SELECT count(*) FROM connectors WHERE id > ?", [before]).fetchone()[0]
    written = max(written, 0)
    return SyncCounts(
        added=added,
        changed=written - added,
        unchanged=len(listed) - written,
        missing=_mark_missing(db, backend, listed, now) if complete else 0,
    )


def get(db: Database, connector_id: int) -> Connector | None:
    """One connector, also one that is missing by now."""
    return next(iter(_read(db, "SELECT * FROM connectors WHERE id = ?", [connector_id])), None)


def by_key(db: Database, backend: str, key: str) -> Connector | None:
    """One connector by its mail system's own key, also one that is missing by now."""
    rows = db.query("SELECT * FROM connectors WHERE backend = ? AND key = ?", [backend, key])
    return next(map(_connector, rows), None)


def every(db: Database) -> list[Connector]:
    """All that are listed now, by name."""
    rows = db.query("SELECT * FROM connectors WHERE missing_since IS NULL")
    return sorted(map(_connector, rows), key=lambda c: (c.name.casefold(), c.id))


def find(db: Database, text: str) -> list[Connector]:
    """Whom a person may mean, ignoring case: those of exactly this name, else by prefix, else by part of the name."""
    wanted = text.strip().casefold()
    if not wanted:
        return []
    connectors = [(c.name.casefold(), c) for c in every(db)]
    return (
        [c for name, c in connectors if name == wanted]
        or [c for name, c in connectors if name.startswith(wanted)]
        or [c for name, c in connectors if wanted in name]
    )


def claim_due(db: Database, now: datetime, limit: int, lease: timedelta) -> list[Connector]:
    """Take connectors whose probe is due, longest overdue first; nobody else gets them before the lease ends."""
    until = to_ms(now + lease)
    due = _read(db, _DUE, [until, to_ms(now), limit])
    db.conn.executemany(_SCHEDULE, [(until, c.id) for c in due])
    return due


def newcomers(db: Database, now: datetime) -> list[Connector]:
    """Connectors that are due because they were just listed or changed, and nothing was decided for them since."""
    return _read(db, _NEWCOMERS, [to_ms(now)])


def new_ones_next(db: Database, now: datetime, limit: int) -> bool:
    """Would so many claims take any of the newcomers?"""
    return bool(db.execute(_NEW_ONES_NEXT, [to_ms(now), limit]).fetchone()[0])


def undisturbed(db: Database, probed: Iterable[Connector]) -> set[int]:
    """Which of these are watched, are to be probed as they were here, and have nothing open.

    Nothing open: no incident, and no mail that was deferred.
    """
    known = {c.id: (c.use_mx, c.smart_hosts, c.port, c.recipient_domains, c.tls_setting, c.tls_domain) for c in probed}
    return {
        connector_id
        for connector_id, use_mx, hosts, port, domains, setting, name in db.execute(
            _UNDISTURBED, [json.dumps(list(known))]
        )
        if known[connector_id] == (use_mx, _texts(hosts), port, _texts(domains), setting, name)
    }


def schedule(db: Database, connector_id: int, at: datetime) -> None:
    """Probe it next at this moment."""
    db.execute(_SCHEDULE, [to_ms(at), connector_id])


def set_enabled(db: Database, connector_id: int, enabled: bool, now: datetime) -> None:
    """Note that the mail system's connector is on (then it is probed at once) or off."""
    db.execute(
        """UPDATE connectors SET enabled = ?1, changed_at = ?2, next_probe_at = iif(?1, ?2, next_probe_at)
            WHERE id = ?3 AND enabled <> ?1""",
        [int(enabled), to_ms(now), connector_id],
    )


def _mark_missing(db: Database, backend: str, listed: Mapping[str, ConnectorFacts], now: datetime) -> int:
    return db.execute(
        """UPDATE connectors SET missing_since = ?, changed_at = ?
            WHERE backend = ? AND missing_since IS NULL AND key NOT IN (SELECT value FROM json_each(?))""",
        [to_ms(now), to_ms(now), backend, json.dumps(list(listed))],
    ).rowcount


def _values(backend: str, facts: ConnectorFacts, now: datetime) -> tuple[Any, ...]:
    return (
        backend,
        facts.key,
        facts.name,
        facts.kind,
        facts.enabled,
        facts.use_mx,
        json.dumps(facts.smart_hosts),
        facts.port,
        json.dumps(facts.recipient_domains),
        facts.tls_setting,
        facts.tls_domain,
        facts.partner_contact,
        facts.alert_channel,
        span_ms(facts.probe_interval),
        json.dumps(sorted(facts.cautions)),
        to_ms(now),
        to_ms(now),
    )


def _read(db: Database, sql: str, values: Sequence[object]) -> list[Connector]:
    """Without `query`, which wraps each question into two more statements: these are asked for every probe."""
    cursor = db.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return [_connector(dict(zip(names, row, strict=True))) for row in cursor]


@lru_cache(maxsize=4096)
def _texts(listed: str) -> tuple[str, ...]:
    """A stored list; few connectors change between two looks at them."""
    return tuple(json.loads(listed))


def _connector(row: Mapping[str, Any]) -> Connector:
    return Connector(
        id=row["id"],
        backend=row["backend"],
        key=row["key"],
        name=row["name"],
        kind=ConnectorKind(row["kind"]),
        enabled=bool(row["enabled"]),
        use_mx=bool(row["use_mx"]),
        smart_hosts=_texts(row["smart_hosts"]),
        port=row["port"],
        recipient_domains=_texts(row["recipient_domains"]),
        tls_setting=TlsSetting(row["tls_setting"]),
        tls_domain=row["tls_domain"],
        partner_contact=row["partner_contact"],
        alert_channel=row["alert_channel"],
        probe_interval=optional_span(row["probe_interval"]),
        cautions=frozenset(map(Caution, _texts(row["cautions"]))),
        next_probe_at=from_ms(row["next_probe_at"]),
        changed_at=from_ms(row["changed_at"]),
        missing_since=optional_moment(row["missing_since"]),
    )
