"""The outbox as rows: order, claims, what becomes of each."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from storage import connectors, incidents, outbox
from storage.connection import Store
from storage.records import (
    ConnectorFacts,
    ConnectorKind,
    IncidentState,
    OutboxItem,
    OutboxKind,
    OutboxState,
    Severity,
)

ROOT, REPLY = OutboxKind.ROOT, OutboxKind.REPLY
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def two(store: Store, now: datetime) -> None:
    """Incidents #1 and #2."""
    facts = ConnectorFacts(backend="lab", key="k", name="Contoso", kind=ConnectorKind.PARTNER)

    def work(db: Any) -> None:
        connectors.sync(db, "lab", [facts], now, complete=True)
        for code in ("4.4.315", "4.4.316"):
            incidents.insert(
                db, connector_id=1, code=code, severity=Severity.WARNING, now=now, first_failure_at=now, channel="C1"
            )

    await store.write(work)


async def owe(store: Store, now: datetime, *what: tuple[int, int, str, OutboxKind]) -> None:
    for incident_id, revision, channel, kind in what:
        await store.write(
            lambda db, i=incident_id, r=revision, c=channel, k=kind: outbox.enqueue(
                db, incident_id=i, revision=r, channel=c, kind=k, now=now
            )
        )


async def row(store: Store, item_id: int) -> OutboxItem:
    found = await store.read(lambda db: outbox.get(db, item_id))
    assert found is not None
    return found


async def test_owing_the_same_twice_is_owing_it_once(store: Store, two: None, now: datetime) -> None:
    await owe(store, now, (1, 1, "C1", ROOT), (1, 1, "C1", ROOT), (1, 1, "C1", REPLY), (1, 2, "C1", ROOT))
    found = await store.read(lambda db: outbox.recent(db, 9))
    assert [(i.revision, i.kind) for i in found] == [(2, ROOT), (1, REPLY), (1, ROOT)]
    assert len({i.uid for i in found}) == 3
    assert await store.read(lambda db: outbox.get(db, 99)) is None


async def test_the_head_of_a_channel_is_its_oldest_unfinished_row(store: Store, two: None, now: datetime) -> None:
    await owe(store, now, (1, 1, "C1", ROOT), (2, 1, "C2", ROOT), (1, 2, "C1", ROOT), (2, 2, "C2", ROOT))
    first, second = await store.read(outbox.heads)
    assert (first.revision, first.channel, second.revision, second.channel) == (1, "C1", 1, "C2")
    await store.write(lambda db: outbox.claim(db, first.id, now, now))
    assert [i.id for i in await store.read(outbox.heads)] == [first.id, second.id]
    await store.write(lambda db: outbox.sent(db, first.id, now, "1.0"))
    await store.write(lambda db: outbox.bury(db, second.id, "no"))
    assert [i.revision for i in await store.read(outbox.heads)] == [2, 2]


async def test_redraws_are_listed_apart_and_the_one_that_is_due_first_comes_first(
    store: Store, two: None, now: datetime
) -> None:
    await owe(store, now, (1, 1, "C1", ROOT), (2, 1, "C1", ROOT), (1, 2, "C1", REPLY), (2, 2, "C2", ROOT))
    for incident_id in (1, 2):
        await store.write(lambda db, i=incident_id: incidents.change(db, i, ts="1.0"))
    assert [i.id for i in await store.read(outbox.heads)] == [3]
    assert [i.id for i in await store.read(outbox.redraws)] == [1, 4]
    await store.write(lambda db: outbox.postpone(db, 1, now + MINUTE, "no"))
    assert [i.id for i in await store.read(outbox.redraws)] == [2, 4]


async def test_what_is_uncertain_is_looked_up_when_told(store: Store, two: None, now: datetime) -> None:
    await owe(store, now, (1, 1, "C1", ROOT), (2, 1, "C2", ROOT))
    await store.write(lambda db: outbox.claim(db, 1, now, now))
    assert await store.write(lambda db: outbox.look_at(db, now + MINUTE)) == 1
    assert [(await row(store, n)).next_at for n in (1, 2)] == [now + MINUTE, now]


async def test_a_row_is_claimed_once(store: Store, two: None, now: datetime) -> None:
    await owe(store, now, (1, 1, "C1", ROOT))
    assert await store.write(lambda db: outbox.claim(db, 1, now, now + MINUTE))
    assert not await store.write(lambda db: outbox.claim(db, 1, now, now + MINUTE))
    found = await row(store, 1)
    assert (found.state, found.attempts, found.attempt_at, found.next_at) == (
        OutboxState.SENDING,
        1,
        now,
        now + MINUTE,
    )


@pytest.mark.parametrize(("uncertain", "state"), [(False, OutboxState.PENDING), (True, OutboxState.SENDING)])
async def test_later_means_pending_or_still_uncertain(
    store: Store, two: None, now: datetime, uncertain: bool, state: OutboxState
) -> None:
    await owe(store, now, (1, 1, "C1", ROOT))
    await store.write(lambda db: outbox.claim(db, 1, now, now))
    await store.write(lambda db: outbox.postpone(db, 1, now + MINUTE, "why", uncertain=uncertain))
    found = await row(store, 1)
    assert (found.state, found.next_at, found.error) == (state, now + MINUTE, "why")


async def test_a_drawing_settles_the_redraws_up_to_its_revision_and_nothing_else(
    store: Store, two: None, now: datetime
) -> None:
    await owe(
        store, now,
        (1, 1, "C1", ROOT), (1, 2, "C1", ROOT), (1, 2, "C1", REPLY), (1, 3, "C1", ROOT),
        (2, 1, "C1", ROOT), (1, 1, "C2", ROOT),
    )  # fmt: skip
    first = await row(store, 1)
    assert await store.write(lambda db: outbox.settle(db, first, 2, now, "1.0")) == 2
    every = await store.read(lambda db: outbox.recent(db, 9))
    assert sorted(i.id for i in every if i.state is OutboxState.PENDING) == [3, 4, 5, 6]


async def test_a_renewed_row_is_a_new_message(store: Store, two: None, now: datetime) -> None:
    await owe(store, now, (1, 1, "C1", ROOT))
    before = await row(store, 1)
    await store.write(lambda db: outbox.sent(db, 1, now, "1.0"))
    await store.write(lambda db: outbox.renew(db, 1, now, "gone"))
    after = await row(store, 1)
    assert (after.state, after.ts, after.error) == (OutboxState.PENDING, None, "gone")
    assert after.uid != before.uid


async def test_what_a_channel_refuses_moves_with_its_order_and_leaves_a_dead_row(
    store: Store, two: None, now: datetime
) -> None:
    await owe(store, now, (1, 1, "C1", ROOT), (2, 1, "C1", ROOT), (1, 2, "C1", REPLY))
    first = await row(store, 1)
    await store.write(lambda db: outbox.move(db, first, "C9", now))
    await store.write(lambda db: outbox.entomb(db, first, now, "is_archived"))
    every = await store.read(lambda db: outbox.recent(db, 9))
    assert {i.id: i.channel for i in every if i.state is OutboxState.PENDING} == {1: "C9", 2: "C1", 3: "C9"}
    (dead,) = await store.read(lambda db: outbox.dead(db, 9))
    assert (dead.channel, dead.error, dead.incident_id) == ("C1", "is_archived", 1)
    assert await store.read(outbox.counts) == {OutboxState.PENDING: 3, OutboxState.DEAD: 1}


async def test_far_moments_are_cut(store: Store, two: None, now: datetime) -> None:
    await owe(store, now + timedelta(days=400), (1, 1, "C1", ROOT))
    await owe(store, now, (2, 1, "C1", ROOT))
    assert await store.write(lambda db: outbox.clamp(db, now + MINUTE)) == 1
    assert [(await row(store, n)).next_at for n in (1, 2)] == [now + MINUTE, now]


@pytest.mark.parametrize(
    ("changes", "revived"),
    [
        ({}, True),
        ({"state": IncidentState.RESOLVED}, False),
        ({"ts": "1.0"}, False),
        ({"channel": "C9"}, False),
    ],
)
async def test_only_open_incidents_without_any_message_are_revived(
    store: Store, two: None, now: datetime, changes: dict[str, Any], revived: bool
) -> None:
    await owe(store, now, (1, 1, "C1", ROOT), (1, 2, "C1", ROOT), (1, 2, "C1", REPLY))
    for item_id in (1, 2, 3):
        await store.write(lambda db, i=item_id: outbox.bury(db, i, "no"))
    await store.write(lambda db: incidents.change(db, 1, **changes))
    assert await store.write(lambda db: outbox.revive(db, now)) == int(revived)
    assert ((await row(store, 2)).state is OutboxState.PENDING) is revived
    assert (await row(store, 1)).state is OutboxState.DEAD


async def test_sent_rows_are_forgotten_and_dead_ones_stay(store: Store, two: None, now: datetime) -> None:
    await owe(store, now, (1, 1, "C1", ROOT), (1, 2, "C1", ROOT), (1, 3, "C1", ROOT))
    await store.write(lambda db: outbox.sent(db, 1, now, "1.0"))
    await store.write(lambda db: outbox.bury(db, 2, "no"))
    assert await store.write(lambda db: outbox.prune(db, now + MINUTE)) == 1
    assert [i.id for i in await store.read(lambda db: outbox.recent(db, 9))] == [3, 2]


async def test_only_the_failing_head_of_a_channel_is_late(store: Store, two: None, now: datetime) -> None:
    await owe(store, now, (1, 1, "C1", ROOT), (1, 2, "C1", ROOT), (2, 1, "C2", ROOT))
    for item_id in (1, 2):
        await store.write(lambda db, i=item_id: outbox.postpone(db, i, now, "down"))
    assert await store.read(lambda db: outbox.late(db, now, 9)) == []
    assert [i.id for i in await store.read(lambda db: outbox.late(db, now + MINUTE, 9))] == [1]
