"""From a real Postfix through a sync into storage, and to what people look at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.backends.postfix import PostfixBackend
from bot.backends.postfix.recall import WAITED
from bot.core.policy import Policy
from bot.core.views import ConnectorView
from bot.services.syncing import Syncing
from bot.services.views import connector_views
from storage import messages
from storage.connection import Store
from storage.records import MessageFacts, MessageStatus, QueuedMessage
from tests.backends.postfix.real_postfix import RealPostfix, until


async def views(store: Store, syncing: Syncing) -> dict[str, ConnectorView]:
    """Sync, then look."""
    await syncing.sync("relay")
    return {v.connector.key: v for v in await store.read(lambda db: connector_views(db, datetime.now(UTC)))}


async def stored(store: Store, refs: Iterable[tuple[str, str]]) -> dict[str, QueuedMessage]:
    """What is known of these."""
    found = await store.read(lambda db: messages.get_refs(db, "relay", list(refs)))
    return {m.recipient: m for m in found}


def syncing_of(store: Store, backend: PostfixBackend) -> Syncing:
    return Syncing(store, {"relay": backend}, Policy(), lambda: datetime.now(UTC), default_channel="C1")


async def test_what_waits_is_seen_with_its_code_next_hop_and_age(postfix: RealPostfix, tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "mfi.db", sole=True) as store:
        syncing = syncing_of(store, postfix.backend())
        sent_at = datetime.now(UTC)
        for name in ("refused", "busy", "closes"):
            await postfix.send("games@senders.test", [f"alice@{name}.test", f"bob@{name}.test"])
        codes = {"refused": "4.4.316", "busy": "4.4.317", "closes": "4.4.318"}

        def all_told(seen: dict[str, ConnectorView]) -> bool:
            found = [seen[postfix.key(n)].queue.for_code(c) for n, c in codes.items()]
            return all(group is not None and group.count == 2 for group in found)

        seen = await until(lambda: views(store, syncing), all_told)
        for name, code in codes.items():
            queue = seen[postfix.key(name)].queue
            waiting = queue.for_code(code)
            assert waiting is not None and (waiting.count, queue.total) == (2, 2)
            assert abs(waiting.oldest_received_at - sent_at) < timedelta(seconds=30)
            assert waiting.first_expiry_at - waiting.oldest_received_at == timedelta(days=1)
            assert waiting.remote_ip == postfix.servers.servers[name].ip
        assert seen[postfix.key("good")].queue.total == 0
        again = await syncing.sync("relay")
        assert {part: (c.added, c.changed, c.missing) for part, c in again.items()} == {
            "connectors": (0, 0, 0), "domains": (0, 0, 0), "messages": (0, 0, 0),
        }  # fmt: skip


async def waiting_in(store: Store, syncing: Syncing, backend: PostfixBackend, count: int) -> list[MessageFacts]:
    """Sync until so many wait, each with its reason."""

    async def look() -> list[MessageFacts]:
        await syncing.sync("relay")
        return list((await backend.snapshot()).messages or ())

    found = await until(look, lambda seen: len(seen) == count and all(m.reason for m in seen))
    await syncing.sync("relay")
    return found


async def test_what_left_is_stored_as_the_log_says(postfix: RealPostfix, tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "mfi.db", sole=True) as store:
        backend = postfix.backend()
        syncing = syncing_of(store, backend)
        await postfix.send("games@senders.test", ["alice@refused.test", "bob@refused.test"])
        refs = [(m.key, m.recipient) for m in await waiting_in(store, syncing, backend, 2)]
        await postfix.servers.set_behaviour("refused", "good_plain")
        postfix.servers.set_recipients("refused", ["alice@refused.test"])
        await backend.retry(postfix.key("refused"))

        async def look() -> dict[str, MessageStatus]:
            await syncing.sync("relay")
            return {recipient: m.status for recipient, m in (await stored(store, refs)).items()}

        ended = await until(look, lambda found: MessageStatus.QUEUED not in found.values())
        assert ended == {"alice@refused.test": MessageStatus.DELIVERED, "bob@refused.test": MessageStatus.REJECTED}


async def test_what_left_while_the_bot_was_down_is_stored_as_the_log_says(postfix: RealPostfix, tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "mfi.db", sole=True) as store:
        before = postfix.backend()
        await postfix.send("games@senders.test", ["alice@refused.test"])
        (waiting,) = await waiting_in(store, syncing_of(store, before), before, 1)
        refs = [(waiting.key, waiting.recipient)]
        was = (await stored(store, refs))[waiting.recipient]
        await asyncio.sleep((waiting.received_at - datetime.now(UTC) + WAITED).total_seconds() + 1)
        await postfix.servers.set_behaviour("refused", "good_plain")
        await postfix.backend().retry(postfix.key("refused"))
        await until(postfix.backend(LOG="off").snapshot, lambda s: not s.messages)
        await syncing_of(store, postfix.backend()).sync("relay")
        now = (await stored(store, refs))[waiting.recipient]
        assert now == replace(was, status=MessageStatus.DELIVERED)
        assert (
            await store.read(lambda db: messages.get_refs(db, "relay", [(f"{waiting.key}1", waiting.recipient)])) == []
        )
