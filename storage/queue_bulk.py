"""Many new messages at once: written without a trigger each, counted in one go, in the same transaction.

The counters come out as the triggers would have made them; a test holds both against a full recount.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlite_utils import Database

from storage.message_rows import INSERT_NEW, Values
from storage.queue_schema import BUCKET_MS, MINUTE_MS

_BEGIN = "INSERT INTO queue_bulk (id) VALUES (1)"
_END = "DELETE FROM queue_bulk"
_INSERTED = """SELECT connector_id, received_at, expires_at, code FROM queued_messages
    WHERE id > ? AND status = 'queued'"""
_GROUPS = """INSERT INTO queue_groups (connector_id, code, waiting) VALUES (?, ?, ?)
    ON CONFLICT (connector_id, code) DO UPDATE SET waiting = waiting + excluded.waiting"""
_BUCKETS = """INSERT INTO queue_buckets (connector_id, kind, at, waiting) VALUES (?, ?, ?, ?)
    ON CONFLICT (connector_id, kind, at) DO UPDATE SET waiting = waiting + excluded.waiting"""
_FLOW = """INSERT INTO queue_flow (connector_id, at, arrived) VALUES (?, ?, ?)
    ON CONFLICT (connector_id, at) DO UPDATE SET arrived = arrived + excluded.arrived"""


def insert(db: Database, rows: Sequence[Values]) -> int:
    """Write those of these rows that are not there yet, and return how many that were."""
    if not rows:
        return 0
    (before,) = db.execute("SELECT ifnull(max(id), 0) FROM queued_messages").fetchone()
    db.execute(_BEGIN)
    inserted = max(db.conn.executemany(INSERT_NEW, rows).rowcount, 0)
    db.execute(_END)
    queued = [row[4:5] + row[7:9] + row[10:11] for row in rows if row[9] == "queued"]
    _count(db, queued if inserted == len(rows) else db.execute(_INSERTED, [before]).fetchall())
    return inserted


def _count(db: Database, queued: Iterable[Sequence[Any]]) -> None:
    groups: Counter[tuple[int, str]] = Counter()
    buckets: Counter[tuple[int, int, int]] = Counter()
    flow: Counter[tuple[int, int]] = Counter()
    for connector, received, expires, code in queued:
        connector_id = connector or 0
        groups[connector_id, code or ""] += 1
        buckets[connector_id, 0, _start(received, BUCKET_MS)] += 1
        buckets[connector_id, 1, _start(expires, BUCKET_MS)] += 1
        flow[connector_id, _start(received, MINUTE_MS)] += 1
    for statement, counts in ((_GROUPS, groups), (_BUCKETS, buckets), (_FLOW, flow)):
        db.conn.executemany(statement, [(*key, count) for key, count in counts.items()])


def _start(moment: int, width: int) -> int:
    """The start of the bucket; towards 1970, as SQLite divides."""
    return moment // width * width if moment >= 0 else -(-moment // width * width)
