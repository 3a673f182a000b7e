"""Queued messages: only changes are written, ends are final, and what waits is summed up rightly."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta

import pytest
from sqlite_utils import Database

from storage import messages, queue, syncs
from storage.connection import Store
from storage.queue_diff import CHUNK, Comparison, end
from storage.records import (
    CodeCount,
    MessageFacts,
    MessageStatus,
    QueueSummary,
    SyncCounts,
)
from tests.storage.message_scene import HOUR, only, sync

pytestmark = pytest.mark.usefixtures("three_connectors")


async def test_every_fact_comes_back(store: Store, now: datetime, one: MessageFacts) -> None:
    assert await sync(store, [(one, 1)], now) == SyncCounts(added=1)
    assert await only(store) == (one, 1, None)


async def test_the_same_again_writes_nothing(store: Store, now: datetime, one: MessageFacts) -> None:
    rows = [(one, 1), (replace(one, key="m2", code=None, reason=None, evidence_at=None, connector_key=None), None)]
    await sync(store, rows, now)
    before = await store.write(lambda db: db.conn.total_changes)
    assert await sync(store, rows, now + HOUR, complete=True) == SyncCounts(unchanged=2)
    assert await store.write(lambda db: db.conn.total_changes) == before


CHANGES = [
    {"sender": "other@fabrikam.com"},
    {"received_at": datetime.fromisoformat("2026-11-24T04:00Z")},
    {"expires_at": datetime.fromisoformat("2026-11-25T09:00Z")},
    {"status": MessageStatus.REJECTED},
    {"size": 5},
    {"code": "4.4.315"},
    {"reason": "450 4.4.316 other words"},
    {"remote_host": None},
    {"remote_ip": "203.0.113.11"},
    {"evidence_at": datetime.fromisoformat("2026-11-24T06:30Z")},
    {"connector_key": "b"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: next(iter(c)))
async def test_any_change_is_written(store: Store, now: datetime, one: MessageFacts, change: dict[str, object]) -> None:
    await sync(store, [(one, 1)], now)
    assert await sync(store, [(replace(one, **change), 1)], now + HOUR) == SyncCounts(changed=1)
    assert (await only(store))[0] == replace(one, **change)


def test_every_fact_is_among_the_changes() -> None:
    assert {next(iter(c)) for c in CHANGES} == {f.name for f in fields(MessageFacts)} - {"backend", "key", "recipient"}


async def test_a_row_without_evidence_or_size_erases_neither(store: Store, now: datetime, one: MessageFacts) -> None:
    await sync(store, [(one, 1)], now)
    bare = replace(
        one, size=None, code=None, reason=None, remote_host=None, remote_ip=None, evidence_at=None, connector_key=None
    )
    assert await sync(store, [(bare, 2)], now) == SyncCounts(unchanged=1)
    assert await only(store) == (one, 1, None)


async def test_older_evidence_does_not_replace_newer(store: Store, now: datetime, one: MessageFacts) -> None:
    await sync(store, [(one, 1)], now)
    older = replace(one, code="4.4.315", reason="450 4.4.315 timed out", evidence_at=now - HOUR)
    assert await sync(store, [(older, 1)], now) == SyncCounts(unchanged=1)
    assert (await only(store))[0] == one


@pytest.mark.parametrize(
    "case",  # what we had, what the new row brings, its connector, the connector that results (it was 1)
    [
        ("nothing", "nothing", 2, 2),  # connectors changed: the recipient's domain has another one now
        ("nothing", "nothing", None, 1),  # but a row that knows less takes nothing away
        ("nothing", "evidence", 2, 2),
        ("evidence", "nothing", 2, 1),
        ("evidence", "evidence", 2, 2),
        ("evidence", "evidence", None, None),
        ("evidence", "key", 2, 2),
    ],
)
async def test_who_decides_on_the_connector(
    store: Store, one: MessageFacts, case: tuple[str, str, int | None, int | None]
) -> None:
    had, brings, to, becomes = case
    now = one.received_at
    bare = replace(one, code=None, reason=None, remote_host=None, remote_ip=None, evidence_at=None, connector_key=None)
    kinds = {"nothing": bare, "evidence": replace(one, connector_key=None), "key": replace(bare, connector_key="b")}
    await sync(store, [(kinds[had], 1)], now)
    await sync(store, [(kinds[brings], to)], now)
    assert (await only(store))[1] == becomes


@pytest.mark.parametrize(
    "case",  # how it stood, how it is listed now, how it stands then
    [
        ("queued", "delivered", "delivered"),
        ("queued", "expired", "expired"),
        ("gone", "queued", "queued"),
        ("gone", "delivered", "delivered"),
        ("delivered", "queued", "delivered"),
        ("expired", "queued", "expired"),
        ("rejected", "queued", "rejected"),
        ("rejected", "expired", "expired"),
    ],
)
async def test_an_end_is_final_unless_it_was_a_guess(
    store: Store, now: datetime, one: MessageFacts, case: tuple[str, str, str]
) -> None:
    was, listed, becomes = case
    await sync(store, [(replace(one, status=MessageStatus(was)), 1)], now)
    await sync(store, [(replace(one, status=MessageStatus(listed)), 1)], now + HOUR)
    found, _, ended = await only(store)
    assert found.status == becomes
    assert (ended is None) == (becomes == "queued")
    first_end = now if was != "queued" else now + HOUR
    assert ended is None or ended == round(first_end.timestamp() * 1000)


@pytest.mark.parametrize("listed", [MessageStatus.QUEUED, MessageStatus.REJECTED])
async def test_an_end_that_a_list_only_implied_gives_way_to_what_is_said(
    store: Store, now: datetime, one: MessageFacts, listed: MessageStatus
) -> None:
    await sync(store, [(one, 1)], now)

    def lack(db: Database) -> None:
        end(db, Comparison.begin(db, one.backend, now).unlisted(db), now + HOUR, MessageStatus.DELIVERED)

    await store.write(lack)
    assert (await only(store))[0].status is MessageStatus.DELIVERED
    assert await sync(store, [(replace(one, status=listed), 1)], now + 2 * HOUR) == SyncCounts(changed=1)
    assert (await only(store))[0].status is listed
    await sync(store, [(one, 1)], now + 3 * HOUR)
    assert (await only(store))[0].status is listed


async def test_a_new_message_that_reuses_the_key_of_an_ended_one_waits(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    await sync(store, [(replace(one, status=MessageStatus.DELIVERED), 1)], now)
    again = replace(one, received_at=now + HOUR, expires_at=now + 25 * HOUR)
    assert await sync(store, [(again, 1)], now + 2 * HOUR) == SyncCounts(changed=1)
    assert await only(store) == (again, 1, None)


async def test_what_a_whole_list_lacks_is_gone_but_only_of_that_mail_system(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    await sync(store, [(one, 1), (replace(one, key="m2"), 1), (replace(one, key="m3"), None)], now)
    await store.write(lambda db: messages.sync(db, "files", [(replace(one, backend="files"), 1)], now, complete=True))
    assert await sync(store, [(one, 1)], now + HOUR, complete=True) == SyncCounts(unchanged=1, missing=2)
    assert (await only(store, "m2"))[0].status is MessageStatus.GONE
    assert (await store.read(lambda db: messages.summary(db, 1))).total == 2
    assert await sync(store, [], now + HOUR) == SyncCounts()


@pytest.mark.parametrize("listed_again", [MessageStatus.QUEUED, MessageStatus.DELIVERED])
async def test_what_a_list_lacks_after_its_time_was_up_bounced_until_somebody_says_otherwise(
    store: Store, now: datetime, one: MessageFacts, listed_again: MessageStatus
) -> None:
    await sync(store, [(one, 1), (replace(one, key="m2", expires_at=one.expires_at + HOUR), 1)], now)
    assert await sync(store, [], one.expires_at, complete=True) == SyncCounts(missing=2)
    assert (await only(store))[0].status is MessageStatus.EXPIRED
    assert (await only(store, "m2"))[0].status is MessageStatus.GONE
    flow = await store.read(lambda db: queue.flow(db, 1, now, one.expires_at))
    assert (flow.bounced, flow.unknown) == (1, 1)
    assert await sync(store, [(replace(one, status=listed_again), 1)], one.expires_at) == SyncCounts(changed=1)
    assert (await only(store))[0].status is listed_again


async def test_a_presumed_bounce_is_marked_as_such_until_it_is_told(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    await sync(store, [(one, 1)], now)
    await sync(store, [], one.expires_at, complete=True)

    async def presumed() -> list[bool]:
        return [bounce.presumed for bounce in await store.read(lambda db: queue.bounced(db, since=now, limit=9))]

    assert await presumed() == [True]
    told = [(replace(one, status=MessageStatus.EXPIRED), 1)]
    assert await sync(store, told, one.expires_at + HOUR) == SyncCounts(changed=1)
    assert await presumed() == [False]
    assert await sync(store, told, one.expires_at + HOUR) == SyncCounts(unchanged=1)
    assert await sync(store, [(one, 1)], one.expires_at + HOUR) == SyncCounts(unchanged=1), "its end is final"


async def test_a_message_listed_twice_counts_once(store: Store, now: datetime, one: MessageFacts) -> None:
    assert await sync(store, [(replace(one, size=1), 1), (one, 1)], now) == SyncCounts(added=1)
    assert (await only(store))[0] == one
    assert await sync(store, [(one, 1), (one, 1)], now, complete=True) == SyncCounts(unchanged=1)


async def test_what_somebody_changes_while_a_list_is_looked_at_is_not_lacked_by_that_list(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    late = replace(one, key="m2")
    await sync(store, [(one, 1), (late, 1)], now)
    await store.write(lambda db: messages.assign(db, [(1, None)]))  # it has no digest now, the other has one

    def look(db: Database) -> list[int]:
        comparison = Comparison.begin(db, one.backend, now)
        messages.sync(db, one.backend, [(one, 1)], now, complete=False)
        messages.assign(db, [(2, 2)])
        comparison.look(db, iter([(one, 1), (late, 1)]))
        return comparison.unlisted(db)

    assert await store.write(look) == []


async def test_what_waits_is_summed_up_by_code_most_urgent_first(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    early = replace(one, key="m2", expires_at=now + HOUR, received_at=now - 3 * HOUR, evidence_at=now - HOUR)
    early = replace(early, reason="older words")
    other = replace(one, key="m3", code="4.4.315", expires_at=now + 2 * HOUR, reason="timed out", evidence_at=None)
    silent = replace(one, key="m4", code=None, reason=None, remote_host=None, remote_ip=None, evidence_at=None)
    ended = replace(one, key="m5", status=MessageStatus.DELIVERED)
    rows = [(one, 1), (early, 1), (other, 1), (silent, 1), (ended, 1), (replace(one, key="m6"), 2)]
    await sync(store, [*rows, (replace(silent, key="m7", connector_key=None), None)], now)
    summary = await store.read(lambda db: messages.summary(db, 1))
    assert summary.by_code == (
        CodeCount(
            code="4.4.316",
            count=2,
            oldest_received_at=now - 3 * HOUR,
            first_expiry_at=now + HOUR,
            reason="450 4.4.316 Connection refused",
            remote_host="mail.contoso.com",
            remote_ip="203.0.113.10",
        ),
        CodeCount(
            code="4.4.315",
            count=1,
            oldest_received_at=now - HOUR,
            first_expiry_at=now + 2 * HOUR,
            reason="timed out",
            remote_host="mail.contoso.com",
            remote_ip="203.0.113.10",
        ),
        CodeCount(code=None, count=1, oldest_received_at=now - HOUR, first_expiry_at=now + 23 * HOUR),
    )
    assert (summary.total, summary.oldest_received_at, summary.first_expiry_at) == (4, now - 3 * HOUR, now + HOUR)
    everything = await store.read(messages.summaries)
    assert {key: s.total for key, s in everything.items()} == {1: 4, 2: 1, None: 1}
    assert everything[1] == summary
    assert await store.read(lambda db: messages.summary(db, None)) == everything[None]
    assert await store.read(lambda db: messages.summary(db, 3)) == QueueSummary()


async def test_the_waiting_are_listed_oldest_first(store: Store, now: datetime, one: MessageFacts) -> None:
    rows = [(replace(one, key=f"m{i}", received_at=now - timedelta(minutes=i)), 1) for i in range(1, 5)]
    await sync(store, [*rows, (replace(one, key="x", connector_key=None), None)], now)
    found = await store.read(lambda db: messages.waiting(db, 1, limit=3))
    assert [m.key for m in found] == ["m4", "m3", "m2"]
    assert [m.key for m in await store.read(lambda db: messages.waiting(db, None))] == ["x"]


async def test_messages_are_given_to_other_connectors(store: Store, now: datetime, one: MessageFacts) -> None:
    await sync(store, [(one, None)], now)
    await store.write(lambda db: messages.assign(db, [(1, 3)]))
    assert (await only(store))[1] == 3


async def test_only_messages_without_a_connector_are_adopted(store: Store, now: datetime, one: MessageFacts) -> None:
    await sync(store, [(one, None)], now)
    for connector_id in (3, 1):
        await store.write(lambda db, c=connector_id: messages.adopt(db, [(1, c)]))
    assert (await only(store))[1] == 3


async def test_only_what_we_track_is_found(store: Store, now: datetime, one: MessageFacts) -> None:
    hostile = replace(one, key="'\"];--", recipient="o'x\"@contoso.com")
    await sync(store, [(one, 1), (hostile, 1)], now)
    refs = [("m1", "user@contoso.com"), ("m1", "else@contoso.com"), (hostile.key, hostile.recipient)]
    found = await store.read(lambda db: messages.get_refs(db, "lab", refs))
    assert [m.key for m in found] == ["m1", hostile.key]
    assert await store.read(lambda db: messages.get_refs(db, "files", refs)) == []


async def test_only_what_came_in_and_left_in_time_counts_as_passed(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    for hours, status in enumerate([MessageStatus.DELIVERED, MessageStatus.DELIVERED, MessageStatus.EXPIRED]):
        await sync(store, [(replace(one, key=f"m{hours}", received_at=now, status=status), 1)], now + hours * HOUR)
    await sync(store, [(replace(one, key="elsewhere", status=MessageStatus.DELIVERED), 2), (one, 1)], now + 9 * HOUR)

    async def passed(received: datetime, left: datetime, till: datetime = now + 9 * HOUR) -> int:
        return await store.read(lambda db: messages.passed_since(db, 1, received=received, left=left, now=till))

    assert await passed(now - HOUR, now) == 2
    assert await passed(now - HOUR, now + HOUR) == 1
    assert await passed(now - HOUR, now, now) == 1, "a moment ahead: the clock was set back since"
    assert await passed(now, now) == 0


@pytest.mark.parametrize("case", [(None, None, 1), (0, None, 0), (0, "down", 1), (-1, None, 1)])
async def test_mail_is_given_up_after_its_time_only_where_nobody_reads_its_source(
    store: Store, now: datetime, one: MessageFacts, case: tuple[int | None, str | None, int]
) -> None:
    """`case`: so many hours after its time the source was read, the error of that, how many messages end."""
    read, error, ends = case
    later = one.expires_at + HOUR
    await sync(store, [(one, 1)], now)
    if read is not None:
        at = later + read * HOUR
        await store.write(lambda db: syncs.finish(db, syncs.begin(db, "lab", at), at, {}, error))
    assert await store.write(lambda db: messages.expire(db, one.expires_at, read_since=later)) == 0, "not yet"
    assert await store.write(lambda db: messages.expire(db, later, read_since=later)) == ends
    assert (await only(store))[0].status is (MessageStatus.GONE if ends else MessageStatus.QUEUED)
    await sync(store, [(one, 1)], later)
    assert (await only(store))[0].status is MessageStatus.QUEUED, "listed again, it waits again"


async def test_samples_tell_how_a_queue_grew(store: Store, now: datetime, one: MessageFacts) -> None:
    for count in range(3):
        await sync(store, [(replace(one, key=str(i)), 1) for i in range(count)], now)
        await store.write(lambda db, c=count: messages.sample(db, 1, now + c * HOUR))
    found = await store.read(lambda db: messages.samples(db, 1, now + HOUR))
    assert found == [(now + HOUR, 1), (now + 2 * HOUR, 2)]


async def test_old_ends_and_samples_are_forgotten_what_waits_never(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    await sync(store, [(one, 1), (replace(one, key="m2", status=MessageStatus.DELIVERED), 1)], now)
    await store.write(lambda db: messages.sample(db, 1, now))
    assert await store.write(lambda db: messages.prune(db, now)) == 0
    assert await store.write(lambda db: messages.prune(db, now + HOUR)) == 2
    assert (await store.read(lambda db: messages.summary(db, 1))).total == 1


async def test_a_long_list_is_written_once_and_again_not_at_all(store: Store, now: datetime, one: MessageFacts) -> None:
    many = 2 * CHUNK + 1
    rows = [(replace(one, key=f"{i:032x}"), i % 3 + 1) for i in range(many)]
    for wanted in (SyncCounts(added=many), SyncCounts(unchanged=many)):
        before = await store.write(lambda db: db.conn.total_changes)
        assert await sync(store, rows, now, complete=True) == wanted
        written = await store.write(lambda db: db.conn.total_changes) - before
        assert written >= wanted.added
        assert bool(written) is bool(wanted.added)
    summaries = await store.read(messages.summaries)
    assert {connector_id: summary.total for connector_id, summary in summaries.items()} == dict.fromkeys(
        (1, 2, 3), many // 3
    )
