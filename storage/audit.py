"""Who did or was refused what, and what came of it. The schema itself forbids changing or deleting an entry, and each
entry is tied to all before it (storage/audit_chain.py), so that a change from outside shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from storage.audit_chain import GENESIS, link
from storage.journal_records import AuditEntry
from storage.moments import from_ms, to_ms

_INSERT = "INSERT INTO audit (id, at, actor, verb, target, allowed, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_ALL = "SELECT id, at, actor, verb, target, allowed, detail, hash FROM audit ORDER BY id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainVerdict:
    """`broken_at`: the first entry that isn't as it was written, or whose predecessor is gone. `head`: the last hash.

    `knows`: is the hash that was asked for in the chain? None: none was.
    """

    entries: int
    head: str
    broken_at: int | None = None
    knows: bool | None = None


def append(db: Database, entry: AuditEntry) -> None:
    """Add one entry, for ever."""
    last, before = db.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone() or (0, GENESIS)
    number = max(last, _highest(db)) + 1
    words = (number, to_ms(entry.at), entry.actor, entry.verb, entry.target, int(entry.allowed), entry.detail)
    db.execute(_INSERT, [*words, link(before, words)])


def recent(db: Database, limit: int) -> list[AuditEntry]:
    """The last entries, newest first."""
    return list(map(_entry, db.query("SELECT * FROM audit ORDER BY id DESC LIMIT ?", [limit])))


def every(db: Database) -> Iterator[AuditEntry]:
    """All entries, oldest first, as they are read."""
    return map(_entry, db.query("SELECT * FROM audit ORDER BY id"))


def verify(db: Database, noted: str | None = None) -> ChainVerdict:
    """Work the whole chain out again, also whether its last entries are still there. `noted`: a hash from earlier."""
    before, expected, count, knows = GENESIS, 1, 0, noted == GENESIS
    for *words, found in db.execute(_ALL):
        before = link(before, words)
        if words[0] != expected or found != before:
            return ChainVerdict(entries=count, head=before, broken_at=expected, knows=None)
        expected, count, knows = expected + 1, count + 1, knows or found == noted
    cut = expected if _highest(db) >= expected else None
    return ChainVerdict(entries=count, head=before, broken_at=cut, knows=None if noted is None else knows)


def _highest(db: Database) -> int:
    """The highest number that was ever given: SQLite keeps it apart from the rows."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    return int(row[0]) if row else 0


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
