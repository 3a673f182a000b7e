"""When each mail system's queue was read, and how it went: what tells a person how old the figures are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from storage.journal_records import SyncRun
from storage.moments import from_ms, optional_moment, optional_ms, to_ms

__all__ = ["SyncRun", "begin", "finish", "forget", "last_success", "latest", "misses", "prune"]

# Taken over: read well, or too old to count as a read but the best that is known.
_LAST_TAKEN_OVER = """SELECT ifnull(true_at, finished_at) FROM syncs WHERE backend = ?
    AND finished_at IS NOT NULL AND (error IS NULL OR true_at IS NOT NULL) ORDER BY id DESC LIMIT 1"""


def begin(db: Database, backend: str, now: datetime) -> int:
    """Note that a read starts; returns its id."""
    cursor = db.execute("INSERT INTO syncs (backend, started_at) VALUES (?, ?)", [backend, to_ms(now)])
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def finish(
    db: Database,
    sync_id: int,
    now: datetime,
    counts: Mapping[str, int],
    error: str | None = None,
    *,
    true_at: datetime | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Note how it ended. `true_at`: when what was read was so, if that isn't now.

    With an error and `true_at`: something was taken over, but it was too old to count as a read.
    """
    said = json.dumps(list(notes), ensure_ascii=False) if notes else None
    db.execute(
        "UPDATE syncs SET finished_at = ?, counts = ?, error = ?, true_at = ?, notes = ? WHERE id = ?",
        [to_ms(now), json.dumps(dict(counts)), error, optional_ms(true_at), said, sync_id],
    )


def latest(db: Database) -> dict[str, SyncRun]:
    """The newest read of each mail system, finished or not."""
    rows = db.query("SELECT * FROM syncs WHERE id IN (SELECT max(id) FROM syncs GROUP BY backend) ORDER BY backend")
    return {row["backend"]: _run(row) for row in rows}


def last_success(db: Database, backend: str) -> datetime | None:
    """When that was so which was taken over last: at the read's end, unless it said otherwise. None: nothing ever was.

    This, not the moment of the read, says how old the figures are.
    """
    row = db.execute(_LAST_TAKEN_OVER, [backend]).fetchone()
    return optional_moment(row[0]) if row else None


def misses(db: Database, backend: str) -> tuple[int, datetime | None]:
    """How many reads in a row have failed until now, and when the first of them began."""
    count, since = db.execute(
        """SELECT count(*), min(started_at) FROM syncs WHERE backend = ?1 AND error IS NOT NULL AND id > (
            SELECT ifnull(max(id), 0) FROM syncs WHERE backend = ?1 AND error IS NULL AND finished_at IS NOT NULL)""",
        [backend],
    ).fetchone()
    return int(count), optional_moment(since)


def forget(db: Database, backend: str) -> int:
    """Forget all reads of a mail system that is read no more; returns how many."""
    return db.execute("DELETE FROM syncs WHERE backend = ?", [backend]).rowcount


def prune(db: Database, before: datetime) -> int:
    """Forget older reads, but never the newest and the last that was taken over of a mail system; returns how many."""
    return db.execute(
        """DELETE FROM syncs WHERE started_at < ?
            AND id NOT IN (SELECT max(id) FROM syncs GROUP BY backend)
            AND id NOT IN (SELECT max(id) FROM syncs WHERE finished_at IS NOT NULL
                AND (error IS NULL OR true_at IS NOT NULL) GROUP BY backend)""",
        [to_ms(before)],
    ).rowcount


def _run(row: Mapping[str, Any]) -> SyncRun:
    return SyncRun(
        id=row["id"],
        backend=row["backend"],
        started_at=from_ms(row["started_at"]),
        finished_at=optional_moment(row["finished_at"]),
        counts=json.loads(row["counts"] or "{}"),
        error=row["error"],
        true_at=optional_moment(row["true_at"]),
        notes=tuple(json.loads(row["notes"] or "[]")),
    )
