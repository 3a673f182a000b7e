"""Who did or was refused what. The schema itself forbids changing or deleting an entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from storage.moments import from_ms, to_ms
from storage.records import AuditEntry


def append(db: Database, entry: AuditEntry) -> None:
    """Add one entry, for ever."""
    db.execute(
        "INSERT INTO audit (at, actor, verb, target, allowed, detail) VALUES (?, ?, ?, ?, ?, ?)",
        [to_ms(entry.at), entry.actor, entry.verb, entry.target, int(entry.allowed), entry.detail],
    )


def recent(db: Database, limit: int) -> list[AuditEntry]:
    """The last entries, newest first."""
    return list(map(_entry, db.query("SELECT * FROM audit ORDER BY id DESC LIMIT ?", [limit])))


def _entry(row: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        at=from_ms(row["at"]),
        actor=row["actor"],
        verb=row["verb"],
        target=row["target"],
        allowed=bool(row["allowed"]),
        detail=row["detail"],
    )
