"""Lists of waiting mail: compared without writing, floods written in slices, ends told by evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.backends.ports import Snapshot
from bot.core.policy import Policy
from bot.services import queue_taking
from bot.services.queue_taking import compare
from bot.services.syncing import Syncing
from storage import connectors, messages, queue, syncs
from storage.connection import Store
from storage.queue_diff import CHUNK
from storage.records import ConnectorFacts, ConnectorKind, MessageFacts, MessageStatus, SyncCounts


def message(number: int, clock: Any, **more: Any) -> MessageFacts:
    received = clock.now - timedelta(minutes=20)
    usual: dict[str, Any] = {"received_at": received, "expires_at": received + timedelta(hours=24)}
    return MessageFacts(
        backend="lab", key=f"m{number}", recipient="user@contoso.test", sender="app@fabrikam.test", **(usual | more)
    )


def connector(name: str) -> ConnectorFacts:
    return ConnectorFacts(
        backend="lab", key=name.lower(), name=name, kind=ConnectorKind.ON_PREMISES,
        recipient_domains=(f"{name.lower()}.test",),
    )  # fmt: skip


class Lab:
    """Lists what it was given."""

    name, capabilities = "lab", frozenset()

    def __init__(self) -> None:
        self.parts = Snapshot()

    async def snapshot(self) -> Snapshot:
        return self.parts


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def syncing(store: Store, lab: Any, clock: Any) -> Syncing:
    return Syncing(store, {"lab": lab}, Policy(), clock, default_channel="C1", monotonic=clock.monotonic)


async def writes(store: Store) -> int:
    return await store.write(lambda db: db.conn.total_changes)


async def status_of(store: Store, number: int) -> MessageStatus:
    (found,) = await store.read(lambda db: messages.get_refs(db, "lab", [(f"m{number}", "user@contoso.test")]))
    return found.status


async def test_a_list_that_says_nothing_new_writes_its_own_run_only(
    store: Store, syncing: Syncing, lab: Lab, clock: Any
) -> None:
    lab.parts = Snapshot(messages=[message(n, clock, reason="450 4.4.316 refused") for n in range(50)])
    await syncing.sync("lab")
    before = await writes(store)
    counts = await syncing.sync("lab")
    assert counts["messages"] == SyncCounts(unchanged=50)
    assert await writes(store) - before == 2, "the run's begin and its end"


async def test_a_flood_is_written_in_slices_and_is_whole(store: Store, clock: Any) -> None:
    def listed(count: int) -> Iterator[tuple[MessageFacts, None]]:
        return ((message(n, clock), None) for n in range(count))

    many = 2 * CHUNK + 10
    taking = await compare(store, "lab", listed(many), clock.now)
    assert len(taking.rows) == 10
    assert (await store.read(lambda db: messages.summary(db, None))).total == 2 * CHUNK
    assert await store.write(taking.finish) == SyncCounts(added=many)
    taking = await compare(store, "lab", listed(5), clock.now)
    assert len(taking.vanished) <= queue_taking.SMALL
    assert await store.write(taking.finish) == SyncCounts(unchanged=5, missing=many - 5)
    assert (await store.read(lambda db: messages.summary(db, None))).total == 5


async def test_what_left_ends_as_the_mail_system_tells(store: Store, syncing: Syncing, lab: Lab, clock: Any) -> None:
    waiting = [message(n, clock) for n in range(5)]
    lab.parts = Snapshot(messages=waiting)
    await syncing.sync("lab")
    told = [MessageStatus.DELIVERED, MessageStatus.REJECTED, MessageStatus.EXPIRED]
    ended = [replace(m, status=status) for m, status in zip(waiting, told, strict=False)]
    stranger = message(99, clock, status=MessageStatus.DELIVERED)
    lab.parts = Snapshot(messages=waiting[4:], ended=[*ended, stranger])
    counts = await syncing.sync("lab")
    assert counts["messages"] == SyncCounts(changed=3, unchanged=1, missing=1)
    assert [await status_of(store, n) for n in range(5)] == [*told, MessageStatus.GONE, MessageStatus.QUEUED]
    assert await store.read(lambda db: messages.get_refs(db, "lab", [("m99", stranger.recipient)])) == []
    flow = await store.read(lambda db: queue.flow(db, None, clock.now - timedelta(hours=1), clock.now))
    assert (flow.arrived, flow.delivered, flow.bounced, flow.unknown) == (5, 1, 2, 1)


async def test_silence_means_delivered_where_the_mail_system_tells_of_every_failure(
    store: Store, syncing: Syncing, lab: Lab, clock: Any
) -> None:
    lab.parts = Snapshot(messages=[message(1, clock)])
    await syncing.sync("lab")
    lab.parts = Snapshot(messages=[], vanished=MessageStatus.DELIVERED)
    await syncing.sync("lab")
    assert await status_of(store, 1) is MessageStatus.DELIVERED


async def test_what_was_read_is_as_old_as_its_facts_and_keeps_its_notes(
    store: Store, syncing: Syncing, lab: Lab, clock: Any
) -> None:
    written = clock.now - timedelta(hours=1)
    lab.parts = Snapshot(messages=[], true_at=written, notes=("2 rows had no time",))
    await syncing.sync("lab")
    assert await store.read(lambda db: syncs.last_success(db, "lab")) == written
    run = (await store.read(syncs.latest))["lab"]
    assert (run.true_at, run.notes, run.finished_at) == (written, ("2 rows had no time",), clock.now)


async def test_facts_from_the_future_are_of_now(store: Store, syncing: Syncing, lab: Lab, clock: Any) -> None:
    lab.parts = Snapshot(messages=[], true_at=clock.now + timedelta(hours=1))
    await syncing.sync("lab")
    assert await store.read(lambda db: syncs.last_success(db, "lab")) == clock.now


async def test_mail_of_a_connector_that_is_no_longer_listed_shows_as_unassigned_and_keeps_its_history(
    store: Store, syncing: Syncing, lab: Lab, clock: Any
) -> None:

    def parts(names: Sequence[str]) -> Snapshot:
        return Snapshot(connectors=[connector(name) for name in names], messages=[message(1, clock)])

    lab.parts = parts(["Contoso", "Other"])
    await syncing.sync("lab")
    (contoso,) = (c for c in await store.read(connectors.every) if c.name == "Contoso")
    assert (await store.read(lambda db: messages.summary(db, contoso.id))).total == 1
    lab.parts = parts(["Other"])
    await syncing.sync("lab")
    gone = await store.read(lambda db: connectors.get(db, contoso.id))
    assert gone is not None
    assert gone.missing_since is not None
    new = replace(message(2, clock), recipient="second@contoso.test")
    lab.parts = Snapshot(connectors=[connector("Other")], messages=[message(1, clock), new])
    await syncing.sync("lab")
    assert (await store.read(lambda db: messages.summary(db, None))).total == 1
