"""The audit log for people and machines: rows as plain dicts (the JSON), drawn as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlite_utils import Database

from bot.terminal.tables import table
from storage import audit
from storage.journal_records import AuditEntry

SHOWN = 200
COLUMNS = ("id", "at", "actor", "verb", "target", "allowed", "detail")


def read(db: Database, *, whole: bool) -> list[dict[str, Any]]:
    """Every entry, oldest first; or the last ones, newest first."""
    return [_row(entry) for entry in (audit.every(db) if whole else audit.recent(db, SHOWN))]


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table."""
    if not rows:
        return "Nobody has done anything yet."
    heads = ("Entry", "When", "Who", "What", "On", "Allowed", "Detail")
    return table(heads, [_cells(row) for row in rows])


def _cells(row: Mapping[str, Any]) -> list[str]:
    allowed = "yes" if row["allowed"] else "refused"
    when = f"{row['at']:%Y-%m-%d %H:%M:%SZ}"
    return [str(row["id"]), when, row["actor"], row["verb"], row["target"], allowed, row["detail"]]


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in COLUMNS}
