"""A tenant read into the database: what it says is taken over, and saying the same again writes no message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.core.policy import Policy
from bot.sandbox.mail_system import MailSystem
from bot.services.syncing import Syncing
from storage import connectors, messages
from storage.connection import Store
from storage.records import MessageStatus, QueuedMessage, SyncCounts
from tests.backends.exchange_online.bench import Clock, deliver


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "mfi.db")
    yield store
    await store.close()


async def queue(store: Store, mail: MailSystem) -> dict[str, QueuedMessage]:
    dashed = {e.recipient: _dashed(e.message.key) for e in mail.tenant.entries.values()}
    found = await store.read(lambda db: messages.get_refs(db, "exo", [(key, to) for to, key in dashed.items()]))
    return {message.recipient: message for message in found}


def _dashed(key: str) -> str:
    return "-".join((key[:8], key[8:12], key[12:16], key[16:20], key[20:]))


async def test_a_sync_stores_it_all_and_the_next_one_writes_no_message(
    store: Store, backend: ExchangeOnlineBackend, mail: MailSystem, clock: Clock
) -> None:
    syncing = Syncing(store, {"exo": backend}, Policy(), clock, default_channel="C1")
    first = await syncing.sync("exo")
    assert (first["connectors"].added, first["domains"].added, first["messages"].added) == (2, 3, 4)
    clock.forward(seconds=60)
    assert (await syncing.sync("exo"))["messages"] == SyncCounts(unchanged=4)
    listed = await store.read(connectors.every)
    by_name = {connector.name: connector.id for connector in listed}
    stored = await queue(store, mail)
    assert stored["bob@onprem.test"].connector_id == by_name["To on-prem"]
    assert stored["eve@fabrikam.test"].connector_id == by_name["Partner"]


async def test_what_left_is_stored_with_how_it_left(
    store: Store, backend: ExchangeOnlineBackend, mail: MailSystem, clock: Clock
) -> None:
    syncing = Syncing(store, {"exo": backend}, Policy(), clock, default_channel="C1")
    await syncing.sync("exo")
    refs = {entry.recipient: entry.ref for entry in mail.tenant.queued()}
    clock.forward(minutes=6)
    deliver(mail, refs["bob@onprem.test"], clock())
    mail.tenant.reject([refs["gone@onprem.test"]], "550 5.1.10 RESOLVER.ADR.RecipientNotFound", clock())
    await syncing.sync("exo")
    stored = await queue(store, mail)
    assert stored["bob@onprem.test"].status is MessageStatus.DELIVERED
    assert stored["gone@onprem.test"].status is MessageStatus.REJECTED
    assert stored["o'hara@onprem.test"].status is MessageStatus.QUEUED
