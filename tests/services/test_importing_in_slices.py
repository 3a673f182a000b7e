"""`mfi import` of long lists: the bot beside it has its turn, and what is cut off is completed by the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.services.queue_adding import SLICE
from storage import messages, meta, syncs
from storage.connection import Busy, Store
from storage.records import SyncCounts
from tests.services.import_scene import CONNECTORS, HEADER, LED, row, take, total

MANY = 2 * SLICE + 500


def many(status: str = "Pending", detail: str = "") -> str:
    return HEADER + "".join(row(f"{i:032x}", f"u{i}@x.test", status, detail) for i in range(MANY))


class Watched:
    """The store, noting what each write changed; it is cut off when a write is one too many."""

    def __init__(self, store: Store, most: int = 1000) -> None:
        self._store = store
        self._most = most
        self.changed: list[int] = []
        self.read = store.read

    async def write(self, work: Callable[[Any], Any]) -> Any:
        if len(self.changed) == self._most:
            raise Busy("somebody writes")

        def counted(db: Any) -> Any:
            before = db.conn.total_changes
            result = work(db)
            self.changed.append(db.conn.total_changes - before)
            return result

        return await self._store.write(counted)


async def test_the_bot_has_its_turn_while_a_long_list_is_imported(store: Store, path: Path) -> None:
    seen: set[int] = set()

    async def the_bot_writes() -> None:
        while True:
            await store.write(lambda db: meta.put(db, "turn", "mine"))
            seen.add(await total(store))
            await asyncio.sleep(0.005)

    async with await Store.open(store.path) as beside:
        bot = asyncio.create_task(the_bot_writes())
        await take(beside, path, "messages", many())
        bot.cancel()
    assert {SLICE, 2 * SLICE} & seen, "it wrote between two slices"


async def test_new_changed_and_ended_mail_is_written_in_slices(store: Store, path: Path) -> None:
    for content, counts in (
        (many(), SyncCounts(added=MANY)),
        (many(detail=LED), SyncCounts(changed=MANY)),
        (many("Delivered"), SyncCounts(changed=MANY)),
    ):
        watched: Any = Watched(store)
        assert (await take(watched, path, "messages", content)).counts == counts
        assert len(watched.changed) == 3
    assert await total(store) == 0


async def test_an_import_that_is_cut_off_is_completed_by_the_next(store: Store, path: Path) -> None:
    cut_off: Any = Watched(store, most=1)
    with pytest.raises(Busy):
        await take(cut_off, path, "messages", many())
    assert await total(store) == SLICE
    assert await store.read(syncs.latest) == {}, "the figures are not as fresh as the file"
    assert (await take(store, path, "messages", many())).counts == SyncCounts(added=MANY - SLICE, unchanged=SLICE)
    assert (await take(store, path, "messages", many())).counts == SyncCounts(unchanged=MANY)
    assert await total(store) == MANY


async def test_connectors_adopt_a_long_queue_in_slices(store: Store, path: Path) -> None:
    await take(store, path, "messages", many())
    watched: Any = Watched(store)
    await take(watched, path, "connectors", [CONNECTORS[1] | {"RecipientDomains": ["x.test"]}])
    assert len(watched.changed) == 1 + 3
    assert {k: s.total for k, s in (await store.read(messages.summaries)).items()} == {1: MANY}


async def test_a_large_export_is_taken_without_holding_up_the_loop(store: Store, path: Path) -> None:
    lines = [row(f"{i:032x}", f"user{i % 500}@onprem.contoso.com", detail=LED) for i in range(20_000)]
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - before)

    watching = asyncio.create_task(watch())
    began = asyncio.get_running_loop().time()
    report = await take(store, path, "messages", HEADER + "".join(lines))
    watching.cancel()
    assert report.counts == SyncCounts(added=20_000)
    took = asyncio.get_running_loop().time() - began
    assert longest < took / 4, "the import is a small part of what the loop did meanwhile"
