"""Queued messages: one row per message and recipient, and what waits where.

The rules that every write keeps stand in storage/message_rows.py; how a long list is taken over in slices, in
storage/queue_diff.py.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from sqlite_utils import Database

from storage.message_rows import Row, message, values
from storage.moments import from_ms, to_ms
from storage.queue_diff import Comparison, Written, end, take, upsert
from storage.records import CodeCount, MessageFacts, MessageStatus, QueuedMessage, QueueSummary, SyncCounts

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
    return _whole(db, backend, rows, now) if complete else _part(db, backend, rows, now)


def _whole(db: Database, backend: str, rows: Iterable[tuple[MessageFacts, int | None]], now: datetime) -> SyncCounts:
    comparison, listed, written = Comparison.begin(db, backend, now), iter(rows), Written()
    while (changes := comparison.look(db, listed)) is not None:
        written += take(db, changes)
    missing, _ = end(db, comparison.unlisted(db), now, MessageStatus.GONE)
    return SyncCounts(added=written.added, changed=written.changed, unchanged=comparison.unchanged, missing=missing)


def _part(db: Database, backend: str, rows: Iterable[tuple[MessageFacts, int | None]], now: datetime) -> SyncCounts:
    listed = {(facts.key, facts.recipient): (facts, connector_id) for facts, connector_id in rows}
    written = upsert(db, [values(backend, facts, connector_id, None, now) for facts, connector_id in listed.values()])
    unchanged = len(listed) - written.added - written.changed
    return SyncCounts(added=written.added, changed=written.changed, unchanged=unchanged)


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
    return list(map(message, rows))


def get_refs(db: Database, backend: str, refs: Iterable[tuple[str, str]]) -> list[QueuedMessage]:
    """These (key, recipient) pairs, as far as we track them, whatever their status."""
    rows = db.query(
        """SELECT m.* FROM json_each(?) AS ref JOIN queued_messages AS m ON m.backend = ?
            AND m.key = json_extract(ref.value, '$[0]') AND m.recipient = json_extract(ref.value, '$[1]')
            ORDER BY m.id""",
        [json.dumps(list(refs)), backend],
    )
    return list(map(message, rows))


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


def sample_all(db: Database, now: datetime) -> None:
    """Note how much waits at this moment, at each connector where something does; read off the counters."""
    db.execute(
        """INSERT INTO queue_samples (connector_id, at, waiting, oldest_received_at)
            SELECT connector_id, ?, sum(waiting), min((
                SELECT received_at FROM queued_messages AS m WHERE status = 'queued'
                    AND m.connector_id = g.connector_id AND m.code IS nullif(g.code, '') ORDER BY received_at LIMIT 1))
            FROM queue_groups AS g WHERE connector_id <> 0 GROUP BY connector_id
            ON CONFLICT (connector_id, at) DO UPDATE
                SET waiting = excluded.waiting, oldest_received_at = excluded.oldest_received_at""",
        [to_ms(now)],
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
        """UPDATE queued_messages SET status = 'gone', ended_at = expires_at, digest = NULL,
                left_from = ifnull(connector_id, 0)
            WHERE status = 'queued' AND expires_at < ?
            AND backend NOT IN (SELECT backend FROM syncs WHERE error IS NULL AND ifnull(true_at, finished_at) >= ?)""",
        [to_ms(before), to_ms(read_since)],
    )
    return ended.rowcount


def prune(db: Database, before: datetime) -> int:
    """Forget messages that ended earlier, and older samples; returns how many rows."""
    ended = db.execute("DELETE FROM queued_messages WHERE status <> 'queued' AND ended_at < ?", [to_ms(before)])
    return ended.rowcount + db.execute("DELETE FROM queue_samples WHERE at < ?", [to_ms(before)]).rowcount


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
