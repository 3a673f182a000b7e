"""The views on the queue: exact whoever wrote it, and the same after an older database was brought up to date."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from storage import connectors, messages, queue
from storage.connection import Store
from storage.queue_diff import end
from storage.queue_records import Flow, Homeless, QueueClock, TopList
from storage.records import ConnectorFacts, ConnectorKind, MessageFacts, MessageStatus

HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)


@pytest.fixture
async def store(store: Store, now: datetime) -> Store:
    facts = [ConnectorFacts(backend="lab", key=k, name=k, kind=ConnectorKind.PARTNER, use_mx=True) for k in "abc"]
    await store.write(lambda db: connectors.sync(db, "lab", facts, now, complete=True))
    return store


@pytest.fixture
def one(now: datetime) -> MessageFacts:
    return MessageFacts(
        backend="lab",
        key="m1",
        recipient="user@Contoso.com",
        sender="App@fabrikam.com",
        received_at=now - HOUR,
        expires_at=now + 23 * HOUR,
        code="4.4.316",
        reason="450 4.4.316 Connection refused",
    )


async def sync(store: Store, rows: list[tuple[MessageFacts, int | None]], now: datetime) -> None:
    await store.write(lambda db: messages.sync(db, "lab", rows, now, complete=True))


async def test_the_clock_counts_by_quarters_of_an_hour(store: Store, now: datetime, one: MessageFacts) -> None:
    late = replace(one, key="m2", received_at=now - timedelta(minutes=46))
    later = replace(one, key="m3", received_at=now - timedelta(minutes=45), expires_at=now + HOUR)
    await sync(store, [(one, 1), (late, 1), (later, 1), (replace(one, key="m4"), None)], now)
    expected = QueueClock(
        received=((now - HOUR, 2), (now - 3 * QUARTER, 1)), expiries=((now + HOUR, 1), (now + 23 * HOUR, 2))
    )
    assert await store.read(lambda db: queue.clock(db, 1)) == expected
    assert expected.waiting == 3
    homeless = QueueClock(received=((now - HOUR, 1),), expiries=((now + 23 * HOUR, 1),))
    assert await store.read(queue.clocks) == {None: homeless, 1: expected}
    assert await store.read(lambda db: queue.clock(db, None)) == homeless
    assert await store.read(lambda db: queue.clock(db, 2)) == QueueClock()


async def test_what_came_and_left_is_told_since_a_moment(store: Store, now: datetime, one: MessageFacts) -> None:
    rows = [(replace(one, key=f"m{n}"), 1) for n in range(5)]
    await sync(store, rows, now)
    ends = [MessageStatus.DELIVERED, MessageStatus.REJECTED, MessageStatus.EXPIRED]
    ended = [(replace(facts, status=status), c) for (facts, c), status in zip(rows, ends, strict=False)]
    await sync(store, [*ended, rows[4]], now + 2 * HOUR)

    async def flow(since: datetime, till: datetime) -> Flow:
        return await store.read(lambda db: queue.flow(db, 1, since, till))

    since = now - 2 * HOUR
    found = await flow(since, now + 2 * HOUR)
    assert found == Flow(since=since, arrived=5, delivered=1, bounced=2, unknown=1)
    assert found.left == 4
    assert await flow(now, now + 2 * HOUR) == Flow(since=now, delivered=1, bounced=2, unknown=1)
    assert await flow(now, now + HOUR) == Flow(since=now)
    assert await store.read(lambda db: queue.flow(db, None, since, now + 2 * HOUR)) == Flow(since=since)
    assert await store.write(lambda db: queue.prune_flow(db, now)) == 1
    assert await flow(since, now + 2 * HOUR) == Flow(since=since, delivered=1, bounced=2, unknown=1)


async def test_what_left_is_counted_as_what_its_end_turned_out_to_be(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    """Each of four seemed to be delivered: one waits again, one came back, one was; of one nothing more is heard."""
    rows = [(replace(one, key=f"m{n}"), 1) for n in range(4)]
    await sync(store, rows, now)

    async def seem_delivered(keys: list[str], at: datetime) -> None:
        found = await store.read(lambda db: messages.get_refs(db, "lab", [(key, one.recipient) for key in keys]))
        await store.write(lambda db: end(db, [m.id for m in found], at, MessageStatus.DELIVERED))

    async def flow() -> Flow:
        return await store.read(lambda db: queue.flow(db, 1, now, now + HOUR))

    await seem_delivered(["m0", "m1", "m2", "m3"], now + QUARTER)
    assert await flow() == Flow(since=now, delivered=4)
    told = [MessageStatus.QUEUED, MessageStatus.REJECTED, MessageStatus.DELIVERED]
    listed = [(replace(rows[n][0], status=status), 2) for n, status in enumerate(told)]
    await store.write(lambda db: messages.sync(db, "lab", listed, now + 2 * QUARTER, complete=False))
    assert await flow() == Flow(since=now, delivered=2, bounced=1)
    await seem_delivered(["m0"], now + 3 * QUARTER)
    assert await flow() == Flow(since=now, delivered=2, bounced=1), "it waited at another connector since"
    assert await store.read(lambda db: queue.flow(db, 2, now, now + HOUR)) == Flow(since=now, delivered=1)


async def test_a_new_message_with_the_key_of_one_that_left_takes_nothing_back(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    await sync(store, [(one, 1)], now)
    await sync(store, [(replace(one, status=MessageStatus.DELIVERED), 1)], now + QUARTER)
    await sync(store, [(replace(one, received_at=now + HOUR), 1)], now + 2 * HOUR)
    assert (await store.read(lambda db: queue.flow(db, 1, now, now + 3 * HOUR))).delivered == 1


async def test_mail_that_ended_before_it_was_ever_seen_waiting_did_not_move(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    await sync(store, [(replace(one, status=MessageStatus.DELIVERED), 1)], now)
    assert await store.read(lambda db: queue.flow(db, 1, now - 2 * HOUR, now)) == Flow(since=now - 2 * HOUR)


async def test_who_has_most_of_the_waiting_mail(store: Store, now: datetime, one: MessageFacts) -> None:
    rows = [replace(one, key=f"a{n}") for n in range(3)]
    rows += [replace(one, key=f"b{n}", recipient=f"u{n}@b.test", sender="b@x.test") for n in range(2)]
    rows += [replace(one, key="c", recipient="u@a.test", sender="a@x.test")]
    await sync(store, [(facts, 1) for facts in rows], now)
    assert await store.read(lambda db: queue.top(db, 1, limit=2)) == TopList(
        domains=(("contoso.com", 3), ("b.test", 2)),
        senders=(("app@fabrikam.com", 3), ("b@x.test", 2)),
        looked_at=6,
        waiting=6,
    )
    assert await store.read(lambda db: queue.top(db, None)) == TopList()


async def test_what_bounced_is_listed_newest_first(store: Store, now: datetime, one: MessageFacts) -> None:
    for hours, status in enumerate((MessageStatus.EXPIRED, MessageStatus.REJECTED, MessageStatus.DELIVERED)):
        rows = [(replace(one, key=f"m{hours}", status=status), hours + 1)]
        await store.write(lambda db, r=rows, h=hours: messages.sync(db, "lab", r, now + h * HOUR, complete=False))
    found = await store.read(lambda db: queue.bounced(db, since=now, limit=10))
    assert [(b.key, b.connector, b.status, b.ended_at) for b in found] == [
        ("m1", "b", MessageStatus.REJECTED, now + HOUR),
        ("m0", "a", MessageStatus.EXPIRED, now),
    ]
    assert (found[1].sender, found[1].recipient, found[1].code, found[1].received_at) == (
        one.sender, one.recipient, one.code, one.received_at,
    )  # fmt: skip
    assert [b.key for b in await store.read(lambda db: queue.bounced(db, connector_id=1, since=now, limit=9))] == ["m0"]
    assert await store.read(lambda db: queue.bounced(db, since=now + HOUR, limit=1)) == found[:1]
    assert await store.read(lambda db: queue.bounced(db, since=now + 2 * HOUR, limit=1)) == []


async def test_what_waits_at_no_connector_is_counted_by_mail_system_and_no_further_than_asked(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    early = replace(one, key="early", received_at=now - 3 * HOUR, expires_at=now + 21 * HOUR)
    young = replace(one, key="young", received_at=now - QUARTER)
    await sync(store, [(one, None), (early, None), (young, None), (replace(one, key="held"), 1)], now)
    elsewhere = [(replace(one, backend="relay", key=f"r{n}"), None) for n in range(5)]
    await store.write(lambda db: messages.sync(db, "relay", elsewhere, now, complete=True))
    only_young = [(replace(young, backend="zzz"), None)]
    await store.write(lambda db: messages.sync(db, "zzz", only_young, now, complete=True))
    lab = Homeless(backend="lab", count=2, oldest_received_at=now - 3 * HOUR, first_expiry_at=now + 21 * HOUR)
    relay = Homeless(backend="relay", count=3, oldest_received_at=now - HOUR, first_expiry_at=now + 23 * HOUR)
    assert await store.read(lambda db: queue.homeless(db, now - QUARTER, 3)) == (lab, relay)
    assert await store.read(lambda db: queue.homeless(db, now - timedelta(days=1), 3)) == ()


async def test_counting_what_belongs_to_no_connector_is_a_step_on_its_own_index_and_no_sorting(store: Store) -> None:
    for statement, values in ((queue._HOMELESS_AFTER, [""]), (queue._HOMELESS_OF, ["lab", 0, 3])):
        plan = await store.read(
            lambda db, told=(f"EXPLAIN QUERY PLAN {statement}", values): db.execute(*told).fetchall()
        )
        steps = " / ".join(row[3] for row in plan)
        assert "SEARCH queued_messages USING" in steps
        assert "INDEX queued_messages_homeless (backend" in steps
        assert "TEMP B-TREE" not in steps


async def test_what_bounced_is_told_apart_by_connector_or_by_having_none(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    came_back = replace(one, status=MessageStatus.EXPIRED)
    rows = [(one, 1), (replace(one, key="m2"), None)]
    await sync(store, rows, now)
    await sync(store, [(came_back, 1), (replace(came_back, key="m2"), None)], now + HOUR)

    async def keys(**where: bool | int) -> list[str]:
        return await store.read(lambda db: [b.key for b in queue.bounced(db, since=now, limit=9, **where)])

    assert sorted(await keys()) == ["m1", "m2"]
    assert await keys(connector_id=1) == ["m1"]
    assert await keys(unassigned=True) == ["m2"]
