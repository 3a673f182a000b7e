"""A mail system that can't be read is told once, after a few misses, and resolved by the next good read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.backends.ports import BackendError, Snapshot, Unreachable
from bot.core.policy import Policy
from bot.services.pace import Pace
from bot.services.syncing import Syncing
from bot.services.upkeep import Upkeep
from bot.services.views import incident_view, status_view
from storage import incidents, outbox
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind, Incident, IncidentState, MessageFacts, Severity


class Lab:
    """Can be read, or not; counts how often it was asked."""

    name, capabilities = "lab", frozenset()

    def __init__(self) -> None:
        self.error: str | None = None
        self.parts = Snapshot(messages=[])
        self.asked = 0

    async def snapshot(self) -> Snapshot:
        self.asked += 1
        if self.error:
            raise Unreachable(self.error)
        return self.parts


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def syncing(store: Store, lab: Any, clock: Any) -> Syncing:
    return Syncing(store, {"lab": lab}, Policy(), clock, default_channel="C1", monotonic=clock.monotonic)


async def tick(syncing: Syncing, clock: Any, times: int = 1, minutes: float = 5) -> None:
    for _ in range(times):
        await syncing.tick()
        clock.advance(minutes=minutes)


async def open_ones(store: Store) -> list[Incident]:
    return await store.read(lambda db: incidents.open_at(db, None))


async def test_it_is_told_once_after_three_misses_and_resolved_by_a_good_read(
    store: Store, syncing: Syncing, lab: Lab, clock: Any
) -> None:
    await tick(syncing, clock)
    read_at = clock.now - timedelta(minutes=5)
    lab.error = "connection refused: check MFI_LAB_URL"
    await tick(syncing, clock, 2)
    assert await open_ones(store) == []
    await tick(syncing, clock, 5)
    (told,) = await open_ones(store)
    assert (told.code, told.state, told.channel) == ("sync:lab", IncidentState.FIRING, "C1")
    assert told.first_failure_at == read_at + timedelta(minutes=5)
    view = await store.read(lambda db: incident_view(db, told.id, Policy(), clock.now, {}))
    assert view is not None
    assert view.told == {"by": ["sync"], "error": lab.error, "read_at": read_at.isoformat()}
    assert len(await store.read(outbox.heads)) == 1
    lab.error = None
    await tick(syncing, clock)
    assert await open_ones(store) == []
    last = await store.read(lambda db: incidents.last_resolved(db, None, "sync:lab"))
    assert last is not None
    assert last.resolution == "read again"


async def test_misses_within_a_short_time_tell_nothing(store: Store, syncing: Syncing, lab: Lab, clock: Any) -> None:
    lab.error = "no"
    await tick(syncing, clock, 9, minutes=1)
    assert await open_ones(store) == []
    await tick(syncing, clock, 3, minutes=1)
    assert len(await open_ones(store)) == 1


async def test_a_quick_interval_is_told_sooner(store: Store, lab: Any, clock: Any) -> None:
    quick = Syncing(
        store, {"lab": lab}, Policy(), clock, default_channel="C1", every=timedelta(seconds=3),
        monotonic=clock.monotonic,
    )  # fmt: skip
    lab.error = "no"
    for _ in range(15):
        await quick.tick()
        clock.advance(seconds=3)
    assert len(await open_ones(store)) == 1


async def test_a_good_read_between_begins_anew(store: Store, syncing: Syncing, lab: Lab, clock: Any) -> None:
    for _ in range(3):
        lab.error = "no"
        await tick(syncing, clock, 2, minutes=9)
        lab.error = None
        await tick(syncing, clock)
    assert await open_ones(store) == []


async def test_another_error_is_shown_instead(store: Store, syncing: Syncing, lab: Lab, clock: Any) -> None:
    lab.error = "first"
    await tick(syncing, clock, 4)
    lab.error = "second"
    await tick(syncing, clock, 2)
    (told,) = await open_ones(store)
    kept = await store.read(lambda db: incidents.last_evidence(db, told.id))
    assert kept["error"] == "second"
    assert told.revision == 2, "opened, then one redraw"


async def test_it_comes_again_as_a_new_one_that_follows_the_old(
    store: Store, syncing: Syncing, lab: Lab, clock: Any
) -> None:
    numbers = []
    for _ in range(2):
        lab.error = "no"
        await tick(syncing, clock, 4)
        numbers += [(i.id, i.previous_id) for i in await open_ones(store)]
        lab.error = None
        await tick(syncing, clock)
    assert numbers == [(1, None), (2, 1)]


async def test_a_list_that_grows_old_is_shown_as_old_and_told_like_one_that_cannot_be_read(
    store: Store, syncing: Syncing, lab: Lab, clock: Any
) -> None:
    begun = clock.now
    waits = MessageFacts(
        backend="lab", key="m1", recipient="user@contoso.test", sender="app@fabrikam.test", code="4.4.316",
        received_at=begun - timedelta(hours=1), expires_at=begun + timedelta(hours=23),
    )  # fmt: skip
    server = ConnectorFacts(
        backend="lab", key="c", name="Contoso", kind=ConnectorKind.ON_PREMISES, recipient_domains=("contoso.test",)
    )
    lab.parts = Snapshot(connectors=[server], messages=[waits], true_at=begun, overdue="look at the task")
    upkeep = Upkeep(store, Policy(), clock, default_channel="C1", monotonic=clock.monotonic)
    with pytest.raises(Unreachable, match="look at the task"):
        await syncing.sync("lab")
    for _ in range(12 * 20):
        await tick(syncing, clock)
        await upkeep.tick()
    (told,) = await open_ones(store)
    assert (told.code, told.first_failure_at, told.revision) == ("sync:lab", begun, 1)
    stuck = next(i for i in await store.read(incidents.open_everywhere) if i.code == "4.4.316")
    assert (stuck.severity, stuck.escalated) == (Severity.WARNING, 0)
    view = await store.read(lambda db: status_view(db, Policy(), clock.now))
    assert view.syncs["lab"] == "read 20 h ago (stale); last try failed: look at the task"
    assert [(s.backend, s.read_at) for s in view.stale] == [("lab", begun)]
    assert view.connectors[0].queue.total == 1

    lab.parts = Snapshot(connectors=[server], messages=[waits], true_at=clock.now)
    await tick(syncing, clock)
    await upkeep.tick()
    assert await open_ones(store) == []
    (stuck,) = await store.read(incidents.open_everywhere)
    assert (stuck.severity, stuck.escalated) == (Severity.CRITICAL, 1)


async def test_nothing_is_told_where_no_channel_is_known(store: Store, lab: Any, clock: Any) -> None:
    syncing = Syncing(store, {"lab": lab}, Policy(), clock, default_channel="", monotonic=clock.monotonic)
    lab.error = "no"
    await tick(syncing, clock, 5)
    assert await open_ones(store) == []


async def test_the_status_names_it_and_what_was_odd(store: Store, syncing: Syncing, lab: Lab, clock: Any) -> None:
    lab.error = "no way"
    await tick(syncing, clock, 4)
    view = await store.read(lambda db: status_view(db, Policy(), clock.now))
    assert [i.code for i in view.monitor] == ["sync:lab"]
    assert view.syncs["lab"] == "never read yet; last try failed: no way"


async def test_each_system_is_read_at_its_own_interval_and_less_often_while_it_fails(
    store: Store, lab: Any, clock: Any
) -> None:
    slow: Any = Lab()
    syncing = Syncing(
        store, {"lab": lab, "slow": slow}, Policy(), clock, default_channel="C1",
        every=timedelta(seconds=10), intervals={"slow": timedelta(minutes=1)}, monotonic=clock.monotonic,
    )  # fmt: skip
    for _ in range(12):
        await syncing.tick()
        clock.advance(seconds=10)
    assert (lab.asked, slow.asked) == (12, 2)
    lab.error = "no"
    for _ in range(12):
        await syncing.tick()
        clock.advance(seconds=10)
    assert 12 < lab.asked < 12 + 7
    with pytest.raises(BackendError):
        await syncing.sync("lab")


@pytest.mark.parametrize(("name", "longest"), [("fast", 900), ("slow", 3600)])
def test_a_failing_system_is_still_tried_regularly(name: str, longest: float) -> None:
    now = 0.0
    pace = Pace({"slow": timedelta(hours=1)}, timedelta(minutes=5), lambda: now)
    for _ in range(9):
        pace.read(name, good=False)
    now = longest - 60
    assert pace.due([name]) == []
    now = longest
    assert pace.due([name]) == [name]
