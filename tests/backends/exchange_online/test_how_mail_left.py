"""Mail that a listing lacks: looked for again for a while, taken back when it waits again, left alone outside of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.backends.exchange_online.budget import Budget
from bot.backends.exchange_online.queue import Queue, with_agreed_codes
from bot.backends.exchange_online.trace_rows import Event, Listing, Ref, TraceRow, Whose
from bot.backends.ports import Snapshot
from bot.core.policy import Policy
from bot.services.syncing import Syncing
from storage import messages, queue
from storage.connection import Store
from storage.records import MessageFacts, MessageStatus
from tests.backends.exchange_online.bench import START, Clock

ONE: Ref = (f"{1:032x}", "r@onprem.test")


class Trace:
    """One message, as a listing's window and status find it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.row = TraceRow(*ONE, "a@b.test", START - timedelta(hours=2), "pending", 1000)
        self.told: tuple[Event, ...] = ()

    async def listing(self, since: datetime, *, status: str | None = None, **_: str | None) -> Listing:
        found = Listing()
        within = since <= self.row.received_at <= self._clock()
        found.take([self.row] if within and self.row.status == status else [])
        return found

    async def events(self, ref: Ref, received_at: datetime) -> tuple[Event, ...]:
        return self.told

    async def probe(self, *, patient: bool) -> None:
        return None


class Tenant:
    """Its queue alone, as a mail system to be synced."""

    name = "exo"

    def __init__(self, trace: Trace, clock: Clock) -> None:
        self.lifetime = timedelta(hours=24)
        self._trace, self._clock = trace, clock
        self.forget()

    def forget(self) -> None:
        self._queue = Queue("exo", self._trace, Budget(), self._clock, settle=timedelta(minutes=15), pick=lambda _: 0)

    async def snapshot(self) -> Snapshot:
        read = await self._queue.read([], [], self.lifetime)
        return Snapshot(messages=read.messages, ended=read.ended, vanished=read.vanished, notes=read.notes)


class Scene:
    """Reads once a minute and tells how the message stands."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, Clock()
        self.trace = Trace(self.clock)
        self.tenant = Tenant(self.trace, self.clock)
        tenants: Any = {"exo": self.tenant}
        self._syncing = Syncing(store, tenants, Policy(), self.clock, default_channel="C1")

    def restart(self) -> None:
        """What the process knew is lost, but for what is stored."""
        self.tenant.forget()

    async def reads(self, times: int = 1) -> MessageStatus:
        for _ in range(times):
            await self._syncing.sync("exo")
            self.clock.forward(minutes=1)
        (found,) = await self.store.read(lambda db: messages.get_refs(db, "exo", [ONE]))
        return found.status

    async def becomes(self, status: str, times: int = 1) -> MessageStatus:
        self.trace.row = replace(self.trace.row, status=status)
        return await self.reads(times)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with await Store.open(tmp_path / "mfi.db", sole=True) as store:
        yield Scene(store)


async def test_mail_that_one_listing_missed_waits_again(scene: Scene) -> None:
    assert await scene.reads() is MessageStatus.QUEUED
    assert await scene.becomes("gettingstatus") is MessageStatus.DELIVERED
    assert await scene.becomes("pending") is MessageStatus.QUEUED
    assert (await scene.store.read(lambda db: queue.clock(db, None))).waiting == 1


async def test_a_failure_that_is_told_late_is_no_delivery(scene: Scene) -> None:
    await scene.reads()
    await scene.becomes("gettingstatus", times=8)
    assert await scene.becomes("failed") is MessageStatus.REJECTED
    assert await scene.reads(3) is MessageStatus.REJECTED


async def test_a_shorter_lifetime_does_not_end_what_waits_already(scene: Scene) -> None:
    scene.trace.row = replace(scene.trace.row, received_at=START - timedelta(hours=20))
    await scene.reads()
    scene.tenant.lifetime = timedelta(hours=12)
    assert await scene.reads() is MessageStatus.QUEUED


async def test_what_is_tried_for_longer_than_it_lives_still_waits(scene: Scene) -> None:
    scene.trace.row = replace(scene.trace.row, received_at=START - timedelta(hours=24, minutes=50))
    assert await scene.reads(30) is MessageStatus.QUEUED
    assert await scene.becomes("failed") is MessageStatus.EXPIRED


async def test_a_clock_that_is_set_back_delivers_nothing(scene: Scene) -> None:
    await scene.reads()
    scene.clock.forward(hours=-3)
    assert await scene.reads(2) is MessageStatus.QUEUED
    scene.clock.forward(hours=3)
    assert await scene.reads() is MessageStatus.QUEUED
    assert await scene.becomes("delivered") is MessageStatus.DELIVERED


REJECTION = (
    "Reason: [{LED=550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient r@onprem.test not found by SMTP address "
    "lookup};{MSG=};{FQDN=};{IP=};{LRT=}]"
)


async def test_mail_that_was_rejected_has_not_expired_after_a_restart(scene: Scene) -> None:
    scene.trace.row = replace(scene.trace.row, received_at=START - timedelta(hours=20))
    scene.trace.told = (Event(at=START, name="fail", description=REJECTION, data={}),)
    await scene.reads()
    assert await scene.becomes("failed") is MessageStatus.REJECTED
    scene.clock.forward(hours=4, minutes=15)
    scene.restart()
    assert await scene.reads(2) is MessageStatus.REJECTED
    (bounced,) = await scene.store.read(lambda db: queue.bounced(db, since=START, limit=9))
    assert (bounced.status, bounced.code) == (MessageStatus.REJECTED, "5.1.10")


@pytest.mark.parametrize(
    ("away", "status"), [({"hours": 1}, MessageStatus.REJECTED), ({"hours": 25}, MessageStatus.EXPIRED)]
)
async def test_mail_that_failed_while_nobody_read_bounced(
    scene: Scene, away: dict[str, float], status: MessageStatus
) -> None:
    await scene.reads()
    scene.clock.forward(**away)
    scene.restart()
    assert await scene.becomes("failed") is status


async def test_what_a_first_read_found_is_told_once_more_and_then_no_longer(scene: Scene) -> None:
    scene.trace.row = replace(scene.trace.row, status="failed")
    told = [[m.status for m in (await scene.tenant.snapshot()).ended] for _ in range(4)]
    assert told == [[MessageStatus.REJECTED], [MessageStatus.REJECTED], [], []]


async def test_of_what_failed_at_some_time_before_a_first_read_nobody_says_that_it_expired(scene: Scene) -> None:
    scene.trace.row = replace(scene.trace.row, received_at=START - timedelta(hours=24), status="failed")
    assert (await scene.tenant.snapshot()).ended == []


class Garbled(Trace):
    """Gives some of the rows so that only `seen` of them can be told."""

    seen: Whose | None = None

    async def listing(self, since: datetime, *, status: str | None = None, **_: str | None) -> Listing:
        found = await super().listing(since, status=status)
        if self.seen is not None and status == "pending":
            found.rows.clear()
            found.take([self.seen, replace(self.row, key="another")])
        return found


@pytest.mark.parametrize("seen", [ONE, (ONE[0], None), (None, ONE[1]), (None, None)])
async def test_mail_that_may_be_behind_a_row_that_cannot_be_read_keeps_waiting(scene: Scene, seen: Whose) -> None:
    trace = Garbled(scene.clock)
    tenant = Tenant(trace, scene.clock)
    await tenant.snapshot()
    trace.seen = seen
    for _ in range(3):
        clouded = await tenant.snapshot()
        assert ONE in {(m.key, m.recipient) for m in clouded.messages or ()}
        assert "1 message that may be among them still counts as waiting" in clouded.notes[0]
        assert clouded.vanished is MessageStatus.GONE
    trace.seen = None
    assert [m.key for m in (await tenant.snapshot()).messages or ()] == [ONE[0]]
    trace.seen = seen
    scene.clock.forward(hours=24)
    assert [m.key for m in (await tenant.snapshot()).messages or ()] == ["another"]


@pytest.mark.parametrize("seen", [("yet another", None), (None, "somebody@else.test")])
async def test_a_row_that_cannot_be_read_keeps_nobody_elses_mail_waiting(scene: Scene, seen: Whose) -> None:
    trace = Garbled(scene.clock)
    tenant = Tenant(trace, scene.clock)
    await tenant.snapshot()
    trace.seen = seen
    assert [m.key for m in (await tenant.snapshot()).messages or ()] == ["another"]


async def test_an_odd_status_that_is_taken_back_is_told_no_longer(scene: Scene) -> None:
    class Held(Trace):
        async def listing(self, since: datetime, *, status: str | None = None, **_: str | None) -> Listing:
            found = Listing()
            found.take([self.row] if status == "pending" else [])
            return found

    held = Held(scene.clock)
    tenant = Tenant(held, scene.clock)
    await tenant.snapshot()
    held.row = replace(held.row, status="heldforreview")
    assert [m.status for m in (await tenant.snapshot()).ended] == [MessageStatus.GONE]
    held.row = replace(held.row, status="pending")
    again = await tenant.snapshot()
    assert [m.status for m in again.messages or ()] == [MessageStatus.QUEUED]
    assert again.ended == []


async def test_why_mail_waited_is_not_told_as_why_it_came_back(scene: Scene) -> None:
    scene.trace.told = (Event(at=START, name="defer", description="450 4.4.316 Connection refused", data={}),)
    await scene.reads()
    (waiting,) = await scene.store.read(lambda db: messages.get_refs(db, "exo", [ONE]))
    assert waiting.code == "4.4.316"
    assert await scene.becomes("failed") is MessageStatus.REJECTED
    (bounced,) = await scene.store.read(lambda db: queue.bounced(db, since=START, limit=9))
    assert (bounced.code, bounced.reason) == (None, None)


async def test_why_mail_waited_is_why_it_expired(scene: Scene) -> None:
    scene.trace.row = replace(scene.trace.row, received_at=START - timedelta(hours=23, minutes=50))
    scene.trace.told = (Event(at=START, name="defer", description="450 4.4.316 Connection refused", data={}),)
    await scene.reads()
    assert await scene.becomes("failed") is MessageStatus.EXPIRED
    (bounced,) = await scene.store.read(lambda db: queue.bounced(db, since=START, limit=9))
    assert bounced.code == "4.4.316"


def rejected(recipient: str, code: str | None = None) -> MessageFacts:
    return MessageFacts(
        backend="exo", key=recipient, recipient=recipient, sender="a@b.test", received_at=START,
        expires_at=START + timedelta(hours=24), status=MessageStatus.REJECTED, code=code,
        reason=f"550 {code}" if code else None,
    )  # fmt: skip


def test_unexplained_rejections_get_the_code_that_all_explained_ones_of_their_domain_give() -> None:
    told = with_agreed_codes([
        rejected("a@one.test", "5.1.10"), rejected("b@ONE.test"),
        rejected("a@two.test", "5.1.10"), rejected("b@two.test", "5.7.1"), rejected("c@two.test"),
        rejected("a@three.test"),
    ])  # fmt: skip
    assert [one.code for one in told] == ["5.1.10", "5.1.10", "5.1.10", "5.7.1", None, None]
    assert told[1].reason is None
