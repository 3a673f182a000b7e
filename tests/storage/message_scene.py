"""How the tests of queued messages write and read them; `one` and its connectors stand in conftest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime, timedelta

from storage import messages
from storage.connection import Store
from storage.records import (
    MessageFacts,
    SyncCounts,
)

HOUR = timedelta(hours=1)
Rows = Iterable[tuple[MessageFacts, int | None]]


async def sync(store: Store, rows: Rows, now: datetime, *, complete: bool = False) -> SyncCounts:
    return await store.write(lambda db: messages.sync(db, "lab", list(rows), now, complete=complete))


async def only(store: Store, key: str = "m1") -> tuple[MessageFacts, int | None, int | None]:
    """The message as facts, its connector and its end."""
    (found,) = await store.read(lambda db: messages.get_refs(db, "lab", [(key, "user@contoso.com")]))
    ended = await store.read(
        lambda db: db.execute("SELECT ended_at FROM queued_messages WHERE id = ?", [found.id]).fetchone()[0]
    )
    return MessageFacts(**{f.name: getattr(found, f.name) for f in fields(MessageFacts)}), found.connector_id, ended
