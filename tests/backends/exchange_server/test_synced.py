"""From the drop folder into storage: nothing new writes nothing, a rejection ends as one, old data is told as old."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.backends.ports import MessageRef, Unreachable
from bot.core.policy import Policy
from bot.services.syncing import Syncing
from storage import connectors, messages, syncs
from storage.connection import Store
from storage.records import MessageStatus
from tests.backends.exchange_server.conftest import INVALID, VALID, Site, now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "mfi.db", sole=True) as opened:
        yield opened


async def test_a_queue_is_taken_over_once_and_a_rejection_ends_as_one(store: Store, acting: Site) -> None:
    bad, good = acting.waiting(INVALID), acting.waiting(VALID)
    backend = acting.backend(acts=True)
    syncing = Syncing(store, {"hub": backend}, Policy(), now, default_channel="C1")
    async with acting.server:
        assert (await syncing.sync("hub"))["messages"].added == 2
        again = (await syncing.sync("hub"))["messages"]
        assert (again.added, again.changed, again.missing, again.unchanged) == (0, 0, 0, 2)
        (hub,) = [c for c in await store.read(connectors.every) if c.name == "To on-prem"]
        waiting = (await store.read(messages.summaries))[hub.id]
        assert [(group.code, group.count) for group in waiting.by_code] == [("4.4.316", 2)]

        refs = [(acting.key_of(bad), INVALID), (acting.key_of(good), VALID)]
        await backend.reject([MessageRef(key=refs[0][0], recipient=INVALID)], "not found")
        await syncing.sync("hub")
        kept = await store.read(lambda db: messages.get_refs(db, "hub", refs))
        assert [(m.status, m.connector_id, m.code) for m in kept] == [
            (MessageStatus.REJECTED, hub.id, "4.4.316"),
            (MessageStatus.QUEUED, hub.id, "4.4.316"),
        ]


async def test_a_queue_that_is_not_whole_ends_nothing(store: Store, reading: Site) -> None:
    first, second = reading.waiting(VALID), reading.waiting(VALID)
    reading.server.run_once()
    syncing = Syncing(store, {"hub": reading.backend()}, Policy(), now, default_channel="C1")
    await syncing.sync("hub")
    reading.server.faults.max_messages = 1
    reading.server.run_once()
    with pytest.raises(Unreachable, match="-MaxMessages"):
        await syncing.sync("hub")
    refs = [(reading.key_of(one), VALID) for one in (first, second)]
    kept = await store.read(lambda db: messages.get_refs(db, "hub", refs))
    assert {m.status for m in kept} == {MessageStatus.QUEUED}
    assert len(kept) == 2
    assert (await store.read(syncs.latest))["hub"].error is not None
