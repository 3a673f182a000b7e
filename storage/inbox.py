"""What Slack already delivered to us, so that a redelivery is noticed."""

from __future__ import annotations

from datetime import datetime

from sqlite_utils import Database

from storage.moments import to_ms


def admit(db: Database, key: str, now: datetime) -> bool:
    """True exactly once per key: False means that it was seen before."""
    cursor = db.execute(
        "INSERT INTO inbox (key, seen_at) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", [key, to_ms(now)]
    )
    return cursor.rowcount == 1


def prune(db: Database, before: datetime) -> int:
    """Forget what was seen earlier; returns how many."""
    return db.execute("DELETE FROM inbox WHERE seen_at < ?", [to_ms(before)]).rowcount
