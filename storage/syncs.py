"""When each mail system's queue was read, and how it went: what tells a person how old the figures are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from storage.journal_records import SyncRun
from storage.moments import from_ms, optional_moment, to_ms

__all__ = ["SyncRun", "begin", "finish", "last_success", "latest", "prune"]


def begin(db: Database, backend: str, now: datetime) -> int:
    """Note that a read starts; returns its id."""
    cursor = db.execute("INSERT INTO syncs (backend, started_at) VALUES (?, ?)", [backend, to_ms(now)])
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def finish(db: Database, sync_id: int, now: datetime, counts: Mapping[str, int], error: str | None = None) -> None:
    """Note how it ended."""
    db.execute(
        "UPDATE syncs SET finished_at = ?, counts = ?, error = ? WHERE id = ?",
        [to_ms(now), json.dumps(dict(counts)), error, sync_id],
    )


def latest(db: Database) -> dict[str, SyncRun]:
    """The newest read of each mail system, finished or not."""
    rows = db.query("SELECT * FROM syncs WHERE id IN (SELECT max(id) FROM syncs GROUP BY backend) ORDER BY backend")
    return {row["backend"]: _run(row) for row in rows}


def last_success(db: Database, backend: str) -> datetime | None:
    """When the last read that succeeded was finished; None if none ever did."""
    moment: int | None = db.execute(
        "SELECT max(finished_at) FROM syncs WHERE backend = ? AND error IS NULL", [backend]
    ).fetchone()[0]
    return optional_moment(moment)


def prune(db: Database, before: datetime) -> int:
    """Forget older reads, but never the newest and the newest good one of a mail system; returns how many."""
    return db.execute(
        """DELETE FROM syncs WHERE started_at < ?
            AND id NOT IN (SELECT max(id) FROM syncs GROUP BY backend)
            AND id NOT IN (SELECT max(id) FROM syncs WHERE finished_at IS NOT NULL AND error IS NULL
                GROUP BY backend)""",
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
    )
