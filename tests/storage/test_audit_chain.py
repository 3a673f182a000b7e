"""The audit log shows what was changed in it from outside, wherever that was."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils

from storage import audit
from storage.audit_chain import GENESIS
from storage.connection import Store
from storage.journal_records import AuditEntry
from storage.migrations import migrations


async def filled(store: Store, now: datetime, count: int = 5) -> None:
    for n in range(count):
        entry = AuditEntry(
            at=now + timedelta(minutes=n), actor=f"U{n}", verb="fix", target=f"#{n}", allowed=n != 2, detail="“so”"
        )
        await store.write(lambda db, e=entry: audit.append(db, e))


async def test_an_untouched_log_is_whole_and_knows_every_hash_that_it_ever_had(store: Store, now: datetime) -> None:
    heads = [GENESIS]
    for _ in range(3):
        await filled(store, now, 1)
        heads.append((await store.read(audit.verify)).head)
    verdict = await store.read(audit.verify)
    assert (verdict.entries, verdict.broken_at, verdict.knows) == (3, None, None)
    for head in heads:
        assert (await store.read(lambda db, h=head: audit.verify(db, h))).knows is True
    assert (await store.read(lambda db: audit.verify(db, "f" * 64))).knows is False


async def test_an_empty_log_is_whole(store: Store) -> None:
    assert await store.read(audit.verify) == audit.ChainVerdict(entries=0, head=GENESIS)


@pytest.mark.parametrize(
    ("change", "broken_at"),
    [
        ("UPDATE audit SET actor = 'U9' WHERE id = 2", 2),
        ("UPDATE audit SET allowed = 1 WHERE id = 3", 3),
        ("UPDATE audit SET at = at + 1 WHERE id = 5", 5),
        ("UPDATE audit SET hash = upper(hash) WHERE id = 1", 1),
        ("DELETE FROM audit WHERE id = 1", 1),
        ("DELETE FROM audit WHERE id = 4", 4),
        ("DELETE FROM audit WHERE id = 5", 5),
        ("DELETE FROM audit WHERE id > 1", 2),
        ("DELETE FROM audit", 1),
    ],
)
async def test_a_change_from_outside_is_found_where_it_was_made(
    store: Store, now: datetime, change: str, broken_at: int
) -> None:
    await filled(store, now)

    def tamper(db: sqlite_utils.Database) -> None:
        db.execute("DROP TRIGGER audit_is_append_only")
        db.execute("DROP TRIGGER audit_keeps_everything")
        db.execute(change)

    await store.write(tamper)
    assert (await store.read(audit.verify)).broken_at == broken_at


async def test_numbers_go_on_after_the_last_entry_was_taken_away(store: Store, now: datetime) -> None:
    await filled(store, now)

    def cut(db: sqlite_utils.Database) -> None:
        db.execute("DROP TRIGGER audit_keeps_everything")
        db.execute("DELETE FROM audit WHERE id = 5")

    await store.write(cut)
    await filled(store, now, 1)
    assert (await store.read(audit.verify)).broken_at == 5


def test_entries_from_before_the_chain_are_taken_into_it(tmp_path: Path, now: datetime) -> None:
    db: Any = sqlite_utils.Database(tmp_path / "old.db")
    migrations.apply(db, stop_before="audit_chain")
    row = "INSERT INTO audit (at, actor, verb, target, allowed, detail) VALUES (1, 'U1', 'fix', '#1', 1, ?)"
    db.execute(row, ["one"])
    db.execute(row, ["two"])
    db.conn.commit()
    migrations.apply(db)
    verdict = audit.verify(db)
    assert (verdict.entries, verdict.broken_at) == (2, None)
    assert [entry.detail for entry in audit.every(db)] == ["one", "two"]
    with pytest.raises(Exception, match="append-only"):
        db.execute("UPDATE audit SET detail = ''")
    db.close()
