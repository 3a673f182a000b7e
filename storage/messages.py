"""Queued messages: one row per message and recipient, and what waits where.

Rules that every write keeps:
* a row is written only if something about it changed;
* evidence (code, reason, remote host) is not erased by a row that brings none, nor by older evidence;
* delivered, expired and rejected are final: an older list that still says queued does not undo them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from storage.moments import from_ms, optional_moment, optional_ms, to_ms
from storage.records import CodeCount, MessageFacts, MessageStatus, QueuedMessage, QueueSummary, SyncCounts

Row = Mapping[str, Any]

# excluded = the row that comes in. It is silent if it brings no evidence, or older evidence than ours.
_SILENT = "(coalesce(excluded.code, excluded.reason) IS NULL OR ifnull(excluded.evidence_at < evidence_at, 0))"
# A silent row was assigned by its recipient alone: that doesn't overrule what evidence, or an earlier row, told.
_CONNECTOR = f"""iif({_SILENT} AND excluded.connector_key IS NULL AND connector_id IS NOT NULL
    AND (code IS NOT NULL OR excluded.connector_id IS NULL), connector_id, excluded.connector_id)"""
_UPSERT = """
    INSERT INTO queued_messages (backend, key, recipient, sender, connector_id, connector_key, size, received_at,
        expires_at, status, code, reason, remote_host, remote_ip, evidence_at, ended_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (backend, key, recipient) DO UPDATE SET
        sender = excluded.sender,
        connector_id = {connector_id},
        connector_key = coalesce(excluded.connector_key, connector_key),
        size = coalesce(excluded.size, size),
        received_at = excluded.received_at,
        expires_at = excluded.expires_at,
        status = excluded.status,
        code = iif({silent}, code, excluded.code),
        reason = iif({silent}, reason, excluded.reason),
        remote_host = iif({silent}, remote_host, excluded.remote_host),
        remote_ip = iif({silent}, remote_ip, excluded.remote_ip),
        evidence_at = iif({silent}, evidence_at, excluded.evidence_at),
        ended_at = iif(excluded.status = 'queued', NULL, coalesce(ended_at, excluded.ended_at))
    WHERE NOT (status IN ('delivered', 'expired', 'rejected') AND excluded.status = 'queued'
            AND excluded.received_at <= ended_at)
        AND ((sender, received_at, expires_at, status)
                IS NOT (excluded.sender, excluded.received_at, excluded.expires_at, excluded.status)
            OR (excluded.size IS NOT NULL AND size IS NOT excluded.size)
            OR (excluded.connector_key IS NOT NULL AND connector_key IS NOT excluded.connector_key)
            OR connector_id IS NOT {connector_id}
            OR (NOT {silent} AND (code, reason, remote_host, remote_ip, evidence_at)
                IS NOT (excluded.code, excluded.reason, excluded.remote_host, excluded.remote_ip,
                    excluded.evidence_at)))
""".replace("{silent}", _SILENT).replace("{connector_id}", _CONNECTOR)

# Counts come from the counters; the oldest, the first to bounce and the newest evidence each from the edge of an index.
_GROUPS = """
    SELECT nullif(g.connector_id, 0) AS connector_id, nullif(g.code, '') AS code, g.waiting AS count,
        (SELECT received_at FROM queued_messages WHERE status = 'queued' AND connector_id IS nullif(g.connector_id, 0)
            AND code IS nullif(g.code, '') ORDER BY received_at LIMIT 1) AS oldest,
        (SELECT expires_at FROM queued_messages WHERE status = 'queued' AND connector_id IS nullif(g.connector_id, 0)
            AND code IS nullif(g.code, '') ORDER BY expires_at LIMIT 1) AS first,
        told.reason, told.remote_host, told.remote_ip
    FROM queue_groups AS g LEFT JOIN queued_messages AS told ON told.id = (
        SELECT id FROM queued_messages WHERE status = 'queued' AND reason IS NOT NULL
            AND connector_id IS nullif(g.connector_id, 0) AND code IS nullif(g.code, '')
            ORDER BY evidence_at DESC LIMIT 1)
"""
_GROUPS_OF_ONE = _GROUPS + " WHERE g.connector_id = ?"


def sync(
    db: Database, backend: str, rows: Iterable[tuple[MessageFacts, int | None]], now: datetime, *, complete: bool
) -> SyncCounts:
    """Take over what a mail system lists: each message with the connector that it was assigned to.

    complete: the list is the whole queue, so ours that it lacks are gone. A message listed twice counts once, the
    later one wins.
    """
    listed = {(facts.key, facts.recipient): (facts, connector_id) for facts, connector_id in rows}
    before = db.execute("SELECT ifnull(max(id), 0) FROM queued_messages").fetchone()[0]
    values = (_values(backend, facts, connector_id, now) for facts, connector_id in listed.values())
    written = max(db.conn.executemany(_UPSERT, values).rowcount, 0)
    added = db.execute("SELECT count(*) FROM queued_messages WHERE id > ?", [before]).fetchone()[0]
    return SyncCounts(
        added=added,
        changed=written - added,
        unchanged=len(listed) - written,
        missing=_end_unlisted(db, backend, listed, now) if complete else 0,
    )


def assign(db: Database, pairs: Iterable[tuple[int, int | None]]) -> None:
    """Give messages (by id) to other connectors."""
    db.conn.executemany(
        "UPDATE queued_messages SET connector_id = ? WHERE id = ?",
        [(connector_id, message_id) for message_id, connector_id in pairs],
    )


def adopt(db: Database, pairs: Iterable[tuple[int, int]]) -> None:
    """Give messages (by id) that still have no connector to one."""
    db.conn.executemany(
        "UPDATE queued_messages SET connector_id = ? WHERE id = ? AND connector_id IS NULL",
        [(connector_id, message_id) for message_id, connector_id in pairs],
    )


def summary(db: Database, connector_id: int | None) -> QueueSummary:
    """What waits at one connector (None: at none that we know)."""
    return _summaries(db.query(_GROUPS_OF_ONE, [connector_id or 0])).get(connector_id, QueueSummary())


def summaries(db: Database) -> dict[int | None, QueueSummary]:
    """What waits at every connector where something does; the key None holds the unassigned."""
    return _summaries(db.query(_GROUPS))


def waiting(db: Database, connector_id: int | None, *, limit: int = 1000) -> list[QueuedMessage]:
    """The messages that wait at one connector (None: at none), oldest first."""
    rows = db.query(
        """SELECT * FROM queued_messages WHERE connector_id IS ? AND status = 'queued'
            ORDER BY received_at, id LIMIT ?""",
        [connector_id, limit],
    )
    return list(map(_message, rows))


def get_refs(db: Database, backend: str, refs: Iterable[tuple[str, str]]) -> list[QueuedMessage]:
    """These (key, recipient) pairs, as far as we track them, whatever their status."""
    rows = db.query(
        """SELECT m.* FROM json_each(?) AS ref JOIN queued_messages AS m ON m.backend = ?
            AND m.key = json_extract(ref.value, '$[0]') AND m.recipient = json_extract(ref.value, '$[1]')
            ORDER BY m.id""",
        [json.dumps(list(refs)), backend],
    )
    return list(map(_message, rows))


def passed_since(db: Database, connector_id: int, *, received: datetime, left: datetime, now: datetime) -> int:
    """How many messages came in after `received` and were noted as delivered between `left` and `now`."""
    (count,) = db.execute(
        """SELECT count(*) FROM queued_messages WHERE connector_id = ? AND status = 'delivered' AND status <> 'queued'
            AND received_at > ? AND ended_at BETWEEN ? AND ?""",
        [connector_id, to_ms(received), to_ms(left), to_ms(now)],
    ).fetchone()
    return int(count)


def sample(db: Database, connector_id: int, now: datetime) -> None:
    """Note how much waits at a connector at this moment."""
    db.execute(
        """INSERT INTO queue_samples (connector_id, at, waiting, oldest_received_at)
            SELECT ?1, ?2, count(*), min(received_at) FROM queued_messages WHERE connector_id = ?1 AND status = 'queued'
            ON CONFLICT (connector_id, at) DO UPDATE
                SET waiting = excluded.waiting, oldest_received_at = excluded.oldest_received_at""",
        [connector_id, to_ms(now)],
    )


def samples(db: Database, connector_id: int, since: datetime) -> list[tuple[datetime, int]]:
    """How much waited, and when, oldest first."""
    rows = db.execute(
        "SELECT at, waiting FROM queue_samples WHERE connector_id = ? AND at >= ? ORDER BY at",
        [connector_id, to_ms(since)],
    )
    return [(from_ms(at), waiting) for at, waiting in rows]


def expire(db: Database, before: datetime, *, read_since: datetime) -> int:
    """Count as gone what counts as queued although its time was up before then, where nobody reads its source.

    A mail system that was read since `read_since` says itself what waits: nothing of it is touched. And whatever is
    listed as queued later on waits again.
    """
    ended = db.execute(
        """UPDATE queued_messages SET status = 'gone', ended_at = expires_at
            WHERE status = 'queued' AND expires_at < ?
            AND backend NOT IN (SELECT backend FROM syncs WHERE error IS NULL AND finished_at >= ?)""",
        [to_ms(before), to_ms(read_since)],
    )
    return ended.rowcount


def prune(db: Database, before: datetime) -> int:
    """Forget messages that ended earlier, and older samples; returns how many rows."""
    ended = db.execute("DELETE FROM queued_messages WHERE status <> 'queued' AND ended_at < ?", [to_ms(before)])
    return ended.rowcount + db.execute("DELETE FROM queue_samples WHERE at < ?", [to_ms(before)]).rowcount


def _end_unlisted(db: Database, backend: str, listed: Mapping[tuple[str, str], Any], now: datetime) -> int:
    ours = db.execute(
        "SELECT id, key, recipient FROM queued_messages WHERE status = 'queued' AND backend = ?", [backend]
    )
    gone = [(to_ms(now), message_id) for message_id, key, recipient in ours if (key, recipient) not in listed]
    db.conn.executemany("UPDATE queued_messages SET status = 'gone', ended_at = ? WHERE id = ?", gone)
    return len(gone)


def _summaries(groups: Iterable[Row]) -> dict[int | None, QueueSummary]:
    counts: dict[int | None, list[CodeCount]] = defaultdict(list)
    for row in groups:
        counts[row["connector_id"]].append(_code_count(row))
    return {connector_id: QueueSummary(by_code=tuple(sorted(c, key=_urgency))) for connector_id, c in counts.items()}


def _urgency(group: CodeCount) -> tuple[datetime, int, str]:
    return group.first_expiry_at, -group.count, group.code or ""


def _code_count(row: Row) -> CodeCount:
    return CodeCount(
        code=row["code"],
        count=row["count"],
        oldest_received_at=from_ms(row["oldest"]),
        first_expiry_at=from_ms(row["first"]),
        reason=row["reason"],
        remote_host=row["remote_host"],
        remote_ip=row["remote_ip"],
    )


def _values(backend: str, facts: MessageFacts, connector_id: int | None, now: datetime) -> tuple[Any, ...]:
    return (
        backend,
        facts.key,
        facts.recipient,
        facts.sender,
        connector_id,
        facts.connector_key,
        facts.size,
        to_ms(facts.received_at),
        to_ms(facts.expires_at),
        facts.status,
        facts.code or None,
        facts.reason,
        facts.remote_host,
        facts.remote_ip,
        optional_ms(facts.evidence_at),
        None if facts.status is MessageStatus.QUEUED else to_ms(now),
    )


def _message(row: Row) -> QueuedMessage:
    return QueuedMessage(
        id=row["id"],
        backend=row["backend"],
        key=row["key"],
        recipient=row["recipient"],
        sender=row["sender"],
        connector_id=row["connector_id"],
        connector_key=row["connector_key"],
        size=row["size"],
        received_at=from_ms(row["received_at"]),
        expires_at=from_ms(row["expires_at"]),
        status=MessageStatus(row["status"]),
        code=row["code"],
        reason=row["reason"],
        remote_host=row["remote_host"],
        remote_ip=row["remote_ip"],
        evidence_at=optional_moment(row["evidence_at"]),
    )
