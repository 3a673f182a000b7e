"""Mail that belongs to no connector, in a real store: told when much of it is stuck, by whichever tick comes first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.backends.ports import Snapshot, Unreachable
from bot.core.policy import Policy
from bot.services.syncing import Syncing
from bot.services.unassigned import look_at_unassigned
from bot.services.upkeep import Upkeep
from storage import incidents, messages, outbox
from storage.connection import Store
from storage.records import Incident, IncidentState, MessageFacts, OutboxKind, OutboxState, Severity

POLICY = Policy(unassigned_count=10)
HOUR = timedelta(hours=1)
FILTER = "connect to 127.0.0.1[127.0.0.1]:10024: Connection refused"


class Relay:
    """A mail system that lists what waits at no connector."""

    name, capabilities = "relay", frozenset()

    def __init__(self, clock: Any) -> None:
        self.clock, self.waiting, self.down = clock, list[MessageFacts](), False

    async def snapshot(self) -> Snapshot:
        if self.down:
            raise Unreachable("no answer")
        return Snapshot(messages=self.waiting)

    def hold(self, count: int, age: timedelta = timedelta(0)) -> None:
        received = self.clock.now - age
        self.waiting = [
            MessageFacts(
                backend="relay",
                key=f"m{n}",
                recipient=f"user{n}@contoso.test",
                sender="app@fabrikam.test",
                received_at=received,
                expires_at=received + 24 * HOUR,
                reason=FILTER,
            )
            for n in range(count)
        ]


@pytest.fixture
def relay(clock: Any) -> Relay:
    return Relay(clock)


@pytest.fixture
def syncing(store: Store, relay: Any, clock: Any) -> Syncing:
    return Syncing(store, {"relay": relay}, POLICY, clock, default_channel="C1", monotonic=clock.monotonic)


@pytest.fixture
def upkeep(store: Store, clock: Any) -> Upkeep:
    return Upkeep(store, POLICY, clock, default_channel="C1", monotonic=clock.monotonic)


async def opened(store: Store) -> Incident | None:
    return next(iter(await store.read(lambda db: incidents.open_at(db, None))), None)


async def test_a_content_filter_that_is_down_is_told_once_its_mail_is_stuck(
    store: Store, syncing: Syncing, relay: Relay, clock: Any
) -> None:
    relay.hold(10)
    await syncing.sync("relay")
    clock.advance(minutes=15)
    await syncing.sync("relay")
    assert await opened(store) is None, "no longer than in flight"
    clock.advance(minutes=1)
    await syncing.sync("relay")
    told = await opened(store)
    assert told is not None
    assert (told.connector_id, told.code, told.channel) == (None, "unassigned", "C1")
    assert (told.state, told.severity) == (IncidentState.FIRING, Severity.WARNING)
    assert told.first_failure_at == clock.now - timedelta(minutes=16)
    (owed,) = await store.read(outbox.heads)
    assert (owed.kind, owed.incident_id) == (OutboxKind.ROOT, told.id)


async def test_time_alone_tells_it_and_its_countdown(store: Store, upkeep: Upkeep, relay: Relay, clock: Any) -> None:
    """As with an imported file: nobody reads it again."""
    relay.hold(10)
    rows = [(m, None) for m in relay.waiting]
    await store.write(lambda db: messages.sync(db, "files", rows, clock.now, complete=False))
    await upkeep.tick()
    assert await opened(store) is None
    for _ in range(24 * 4 - 2):
        clock.advance(minutes=15)
        clock.advance(seconds=1)
        await upkeep.tick()
    told = await opened(store)
    assert told is not None
    assert (told.severity, told.escalated) == (Severity.CRITICAL, 4)
    kinds = [e.kind for e in await store.read(lambda db: incidents.events(db, told.id))]
    assert kinds.count("opened") == 1
    assert kinds.count("escalated") == 4
    assert kinds.count("evidence") < 40, "hours, and ten minutes near the end; not at each tick"


async def test_it_is_resolved_when_the_filter_takes_mail_again_and_comes_again_as_a_new_one(
    store: Store, syncing: Syncing, relay: Relay, clock: Any
) -> None:
    numbers = []
    for _ in range(2):
        relay.hold(10, HOUR)
        await syncing.sync("relay")
        told = await opened(store)
        assert told is not None
        numbers.append((told.id, told.previous_id))
        relay.hold(5, HOUR)
        await syncing.sync("relay")
        assert await opened(store) is not None
        relay.hold(4, HOUR)
        await syncing.sync("relay")
        assert await opened(store) is None
        clock.advance(minutes=5)
    assert numbers == [(1, None), (2, 1)]
    last = await store.read(lambda db: incidents.last_resolved(db, None, "unassigned"))
    assert last is not None
    assert last.resolution == "cleared"


async def test_a_relay_that_falls_silent_neither_ends_it_nor_makes_it_louder(
    store: Store, syncing: Syncing, upkeep: Upkeep, relay: Relay, clock: Any
) -> None:
    relay.hold(10, HOUR)
    await syncing.sync("relay")
    first = await opened(store)
    assert first is not None
    relay.down = True
    for _ in range(8):
        clock.advance(hours=1)
        await syncing.tick()
        await upkeep.tick()
    told = await store.read(lambda db: incidents.get(db, first.id))
    assert told is not None
    assert (told.state, told.severity, told.escalated) == (IncidentState.FIRING, Severity.WARNING, 0)
    assert (await store.read(lambda db: incidents.last_evidence(db, first.id)))["stale"] == ["relay"]
    relay.down = False
    await syncing.sync("relay")
    told = await store.read(lambda db: incidents.get(db, first.id))
    assert told is not None
    assert (told.severity, told.escalated) == (Severity.CRITICAL, 1)


async def test_old_figures_open_nothing(
    store: Store, syncing: Syncing, upkeep: Upkeep, relay: Relay, clock: Any
) -> None:
    relay.hold(10)
    await syncing.sync("relay")
    relay.down = True
    clock.advance(minutes=20)
    await syncing.tick()
    await upkeep.tick()
    assert await opened(store) is None


async def test_a_clock_that_was_set_opens_and_ends_nothing(
    store: Store, upkeep: Upkeep, relay: Relay, clock: Any
) -> None:
    relay.hold(10)
    rows = [(m, None) for m in relay.waiting]
    await store.write(lambda db: messages.sync(db, "files", rows, clock.now, complete=False))
    await upkeep.tick()
    clock.set(hours=2)
    await upkeep.tick()
    assert await opened(store) is None
    clock.advance(minutes=6)
    await upkeep.tick()
    assert await opened(store) is not None
    clock.set(hours=-2)
    await upkeep.tick()
    assert await opened(store) is not None


async def test_nothing_is_opened_where_no_channel_is_known_or_nobody_wants_it(
    store: Store, relay: Relay, clock: Any
) -> None:
    relay.hold(300, HOUR)
    rows = [(m, None) for m in relay.waiting]
    await store.write(lambda db: messages.sync(db, "files", rows, clock.now, complete=False))
    off = Policy(unassigned_count=0)
    assert await look_at_unassigned(store, POLICY, clock.now, default_channel="", steady=True) is None
    assert await look_at_unassigned(store, off, clock.now, default_channel="C1", steady=True) is None
    assert await opened(store) is None
    assert await look_at_unassigned(store, POLICY, clock.now, default_channel="C1", steady=True) is not None
    assert await look_at_unassigned(store, off, clock.now, default_channel="", steady=True) is not None
    last = await store.read(lambda db: incidents.last_resolved(db, None, "unassigned"))
    assert last is not None
    assert last.resolution == "unwatched"


async def test_looking_again_at_the_same_writes_nothing(store: Store, relay: Relay, clock: Any) -> None:
    relay.hold(10, 1.5 * HOUR)
    rows = [(m, None) for m in relay.waiting]
    await store.write(lambda db: messages.sync(db, "files", rows, clock.now, complete=False))
    for _ in range(3):
        await look_at_unassigned(store, POLICY, clock.now, default_channel="C1", steady=True)
        clock.advance(minutes=2)
    told = await opened(store)
    assert told is not None
    assert told.revision == 1
    assert (await store.read(outbox.counts))[OutboxState.PENDING] == 1
