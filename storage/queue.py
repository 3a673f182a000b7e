"""Views on the queue that cost the same however long it is: its clock, its flow, who waits, what bounced.

The counters behind the clock and the flow are kept by the database itself (storage/queue_schema.py), so they are exact
after every write. The connector None stands for the messages that no connector carries.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from storage.moments import from_ms, to_ms
from storage.queue_records import Bounce, Flow, Homeless, QueueClock, TopList
from storage.records import MessageStatus

LOOKED_AT = 20_000
"""So many of the waiting messages at most are looked at for a top list, the oldest first."""

_CLOCKS = "SELECT connector_id, kind, at, waiting FROM queue_buckets ORDER BY connector_id, kind, at"
_CLOCK = "SELECT connector_id, kind, at, waiting FROM queue_buckets WHERE connector_id = ? ORDER BY kind, at"
_FLOW = """SELECT ifnull(sum(arrived), 0) AS arrived, ifnull(sum(delivered), 0) AS delivered,
        ifnull(sum(bounced), 0) AS bounced, ifnull(sum(unknown), 0) AS unknown
    FROM queue_flow WHERE connector_id = ? AND at > ? AND at <= ?"""
_OLDEST = """SELECT recipient, sender FROM queued_messages WHERE id IN (
    SELECT id FROM queued_messages WHERE connector_id IS ? AND status = 'queued' ORDER BY received_at, id LIMIT ?)"""
_WAITING = "SELECT ifnull(sum(waiting), 0) FROM queue_groups WHERE connector_id = ?"
_BOUNCED = """SELECT m.*, c.name AS connector FROM queued_messages AS m LEFT JOIN connectors AS c
        ON c.id = m.connector_id
    WHERE m.status IN ('expired', 'rejected') AND m.status <> 'queued' AND m.ended_at >= ?
    ORDER BY m.ended_at DESC, m.id DESC LIMIT ?"""
_BOUNCED_AT = """SELECT m.*, c.name AS connector FROM queued_messages AS m LEFT JOIN connectors AS c
        ON c.id = m.connector_id
    WHERE m.connector_id IS ? AND m.status IN ('expired', 'rejected') AND m.status <> 'queued' AND m.ended_at >= ?
    ORDER BY m.ended_at DESC, m.id DESC LIMIT ?"""
# One step on the index for each mail system, then at most so many entries of it.
_HOMELESS_AFTER = """SELECT backend FROM queued_messages INDEXED BY queued_messages_homeless
    WHERE status = 'queued' AND connector_id IS NULL AND backend > ? ORDER BY backend LIMIT 1"""
_HOMELESS_OF = """SELECT count(*), min(received_at), min(expires_at) FROM (
    SELECT received_at, expires_at FROM queued_messages INDEXED BY queued_messages_homeless
    WHERE status = 'queued' AND connector_id IS NULL AND backend = ? AND received_at < ?
    ORDER BY received_at LIMIT ?)"""


def clock(db: Database, connector_id: int | None) -> QueueClock:
    """When what waits at one connector came in, and when it bounces."""
    return _clocks(db.query(_CLOCK, [connector_id or 0])).get(connector_id, QueueClock())


def clocks(db: Database) -> dict[int | None, QueueClock]:
    """The same for every connector where something waits; the key None holds the unassigned."""
    return _clocks(db.query(_CLOCKS))


def flow(db: Database, connector_id: int | None, since: datetime, now: datetime) -> Flow:
    """What came and left at one connector after `since`, up to `now`, in whole minutes."""
    (found,) = db.query(_FLOW, [connector_id or 0, to_ms(since), to_ms(now)])
    return Flow(since=since, **found)


def top(db: Database, connector_id: int | None, limit: int = 5) -> TopList:
    """The recipient domains and the senders with most of what waits at one connector."""
    pairs = db.execute(_OLDEST, [connector_id, LOOKED_AT]).fetchall()
    domains = Counter(recipient.rpartition("@")[2].lower() for recipient, _ in pairs)
    senders = Counter(sender.lower() for _, sender in pairs)
    (waiting,) = db.execute(_WAITING, [connector_id or 0]).fetchone()
    return TopList(
        domains=_most(domains, limit), senders=_most(senders, limit), looked_at=len(pairs), waiting=int(waiting)
    )


def homeless(db: Database, before: datetime, most: int) -> tuple[Homeless, ...]:
    """What waits at no connector and came in before then, by mail system; of each at most so many are looked at."""
    found = []
    step = db.execute(_HOMELESS_AFTER, [""]).fetchone()
    while step is not None:
        count, oldest, first = db.execute(_HOMELESS_OF, [step[0], to_ms(before), most]).fetchone()
        if count:
            held = Homeless(
                backend=step[0], count=count, oldest_received_at=from_ms(oldest), first_expiry_at=from_ms(first)
            )
            found.append(held)
        step = db.execute(_HOMELESS_AFTER, [step[0]]).fetchone()
    return tuple(found)


def bounced(
    db: Database, *, connector_id: int | None = None, unassigned: bool = False, since: datetime, limit: int
) -> list[Bounce]:
    """What was rejected or expired since then, the newest first: at one connector, or anywhere.

    `unassigned`: only what belonged to no connector.
    """
    if connector_id is None and not unassigned:
        return [_bounce(row) for row in db.query(_BOUNCED, [to_ms(since), limit])]
    return [_bounce(row) for row in db.query(_BOUNCED_AT, [connector_id, to_ms(since), limit])]


def prune_flow(db: Database, before: datetime) -> int:
    """Forget what moved earlier; returns how many rows."""
    return db.execute("DELETE FROM queue_flow WHERE at < ?", [to_ms(before)]).rowcount


def _clocks(rows: Iterable[Mapping[str, Any]]) -> dict[int | None, QueueClock]:
    found: defaultdict[int | None, tuple[list[tuple[datetime, int]], ...]] = defaultdict(lambda: ([], []))
    for row in rows:
        found[row["connector_id"] or None][row["kind"]].append((from_ms(row["at"]), row["waiting"]))
    return {
        connector_id: QueueClock(received=tuple(received), expiries=tuple(expiries))
        for connector_id, (received, expiries) in found.items()
    }


def _most(counts: Counter[str], limit: int) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit])


def _bounce(row: Mapping[str, Any]) -> Bounce:
    return Bounce(
        backend=row["backend"],
        key=row["key"],
        sender=row["sender"],
        recipient=row["recipient"],
        connector=row["connector"],
        code=row["code"],
        reason=row["reason"],
        received_at=from_ms(row["received_at"]),
        ended_at=from_ms(row["ended_at"]),
        status=MessageStatus(row["status"]),
        presumed=row["presumed"] is not None,
    )
