"""The schema is what the design names, STRICT, and nothing makes a table besides the migrations."""

from __future__ import annotations

import ast
import re
import sqlite3
from datetime import datetime
from pathlib import Path

import pytest

from storage import connection
from storage.audit import append
from storage.connection import Store
from storage.journal_records import AuditEntry

TABLES = {
    *("meta", "connectors", "accepted_domains", "recipients", "complete_directories", "queued_messages"),
    *("queue_samples", "syncs", "probes", "incidents", "incident_events", "outbox", "actions", "action_steps"),
    *("inbox", "audit", "queue_groups", "queue_buckets", "queue_flow", "queue_bulk", "message_names"),
}
NOT_OURS = {"_sqlite_migrations", "sqlite_sequence"}


async def test_the_tables_are_those_of_the_design(store: Store) -> None:
    assert set(await store.read(lambda db: db.table_names())) == TABLES | NOT_OURS


async def test_every_table_is_strict(store: Store) -> None:
    listed = await store.read(lambda db: db.execute("PRAGMA table_list").fetchall())
    strict = {name for _, name, kind, _, _, is_strict in listed if kind == "table" and is_strict}
    assert strict == TABLES


def literals(source: str) -> list[str]:
    """All text constants that are no docstrings."""
    tree = ast.parse(source)
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    found = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docstrings)
    return [n.value for n in found if isinstance(n.value, str)]


def test_no_module_names_a_table_that_does_not_exist() -> None:
    package = Path(connection.__file__).parent
    sql = "\n".join(text for module in package.glob("*.py") for text in literals(module.read_text()))
    named = set(re.findall(r"\b(?:INSERT INTO|DELETE FROM|UPDATE|FROM|JOIN) ([a-z_]+)\b", sql))
    assert named - {"json_each"} - NOT_OURS - {"action_steps_with_retry"} == TABLES


async def test_the_audit_log_can_only_grow(store: Store, now: datetime) -> None:
    await store.write(lambda db: append(db, AuditEntry(at=now, actor="U1", verb="ack", target="#1", allowed=True)))
    for statement in ("UPDATE audit SET actor = 'U2'", "DELETE FROM audit", "REPLACE INTO audit SELECT * FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            await store.write(lambda db, s=statement: db.execute(s))
