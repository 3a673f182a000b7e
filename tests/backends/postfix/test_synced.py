"""From a real Postfix through a sync into storage, and to what people look at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.backends.postfix import PostfixBackend
from bot.core.policy import Policy
from bot.core.views import ConnectorView
from bot.services.syncing import Syncing
from bot.services.views import connector_views
from storage.connection import Store
from tests.backends.postfix.real_postfix import RealPostfix, until


async def views(store: Store, syncing: Syncing) -> dict[str, ConnectorView]:
    """Sync, then look."""
    await syncing.sync("relay")
    return {v.connector.key: v for v in await store.read(lambda db: connector_views(db, datetime.now(UTC)))}


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
            return all(seen[postfix.key(n)].queue.for_code(c) is not None for n, c in codes.items())

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
