"""From outbox to Slack: order, pace, doubt, refusal. Slack is a few lines that fail as told."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.core.events import EventKind
from bot.core.views import IncidentView
from bot.services.delivery import Delivery
from bot.services.outcomes import LOOKS, POISON_AFTER
from bot.services.ports import Ambiguous, Closed, Frozen, MessageGone, Permanent, Puzzling, RetryLater
from bot.services.timeline import record_event
from storage import incidents, outbox
from storage.connection import Store
from storage.records import Connector, Incident, IncidentState, OutboxItem, OutboxKind, OutboxState, Severity

Failure = Exception | Callable[[], Awaitable[None]] | None


class Slack:
    """Keeps (channel, what) of what it took. `failures`: one per request. `accepts`: takes it even when it fails."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.failures: list[Exception | None] = []
        self.accepts = False
        self.readable: Exception | None = None
        self.posts: list[tuple[str, str]] = []
        self.redraws: list[tuple[int, int]] = []
        self.times: list[tuple[str, datetime]] = []
        self.uids: dict[str, str] = {}
        self.gone: set[str] = set()
        self.looked_since: list[datetime] = []

    def _request(self, item: OutboxItem) -> Exception | None:
        self.times.append((item.channel, self.clock()))
        return self.failures.pop(0) if self.failures else None

    def _take(self, item: OutboxItem, view: IncidentView) -> str:
        event = next((e for e in view.events if e.id == item.event_id), None)
        what = "root" if item.kind is OutboxKind.ROOT else str(event.kind if event else "?")
        self.posts.append((item.channel, f"#{item.incident_id} {what}"))
        assert item.uid not in self.uids, "posted twice"
        self.uids[item.uid] = f"{len(self.posts)}.0"
        return self.uids[item.uid]

    async def post(self, item: OutboxItem, view: IncidentView) -> str:
        failure = self._request(item)
        if item.kind is not OutboxKind.ROOT:
            assert view.incident.ts is not None, "a reply without its message"
            if view.incident.ts in self.gone:
                raise MessageGone("thread_not_found")
        if failure is not None:
            if self.accepts:
                self._take(item, view)
            raise failure
        return self._take(item, view)

    async def redraw(self, item: OutboxItem, view: IncidentView) -> None:
        failure = self._request(item)
        if view.incident.ts in self.gone:
            raise MessageGone("message_not_found")
        if failure is not None:
            raise failure
        self.redraws.append((item.incident_id, view.incident.revision))

    async def find(self, item: OutboxItem, view: IncidentView, since: datetime) -> str | None:
        self.looked_since.append(since)
        if self.readable is not None:
            raise self.readable
        return self.uids.get(item.uid)


@pytest.fixture
def slack(clock: Any) -> Slack:
    return Slack(clock)


@pytest.fixture
def delivery(store: Store, slack: Slack, clock: Any) -> Delivery:
    return make(store, slack, clock)


def make(store: Store, slack: Any, clock: Any, **more: Any) -> Delivery:
    return Delivery(store, slack, clock, monotonic=clock.monotonic, jitter=lambda: 1.0, **more)


async def opened(store: Store, at: Connector, clock: Any, channel: str = "C1", code: str = "4.4.316") -> Incident:
    def work(db: Any) -> Incident:
        new = incidents.insert(
            db,
            connector_id=at.id,
            code=code,
            severity=Severity.WARNING,
            now=clock(),
            first_failure_at=clock(),
            channel=channel,
        )
        return record_event(db, new.id, EventKind.OPENED, now=clock(), data={"by": "probe"})

    return await store.write(work)


async def happens(store: Store, incident: Incident, kind: EventKind, clock: Any, **changes: object) -> Incident:
    return await store.write(lambda db: record_event(db, incident.id, kind, now=clock(), **changes))


async def drain(delivery: Delivery, clock: Any, *, seconds: float = 600, step: float = 1.0) -> None:
    """Let time pass until nothing is owed any more."""
    for _ in range(int(seconds / step)):
        while await delivery.step():
            pass
        clock.advance(seconds=step)


async def rows(store: Store, state: OutboxState | None = None) -> list[OutboxItem]:
    every = await store.read(lambda db: outbox.recent(db, 10_000))
    return [item for item in reversed(every) if state in (None, item.state)]


async def the(store: Store, incident: Incident) -> Incident:
    found = await store.read(lambda db: incidents.get(db, incident.id))
    assert found is not None
    return found


async def test_posts_the_message_and_remembers_where_it_is(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    assert await delivery.step()
    assert slack.posts == [("C1", "#1 root")]
    assert (await the(store, incident)).ts == "1.0"
    assert not await delivery.step()


async def test_a_later_change_redraws_it_and_replies_in_order(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    await drain(delivery, clock, seconds=3)
    await happens(store, incident, EventKind.ACKNOWLEDGED, clock, actor="U0ADMIN1")
    await happens(store, incident, EventKind.RESOLVED, clock, state=IncidentState.RESOLVED)
    await drain(delivery, clock, seconds=9)
    assert slack.posts == [("C1", "#1 root"), ("C1", "#1 acknowledged"), ("C1", "#1 resolved")]
    assert slack.redraws == [(1, 3)], "the first redraw drew the present, so the second one was not needed"


async def test_many_pending_changes_cost_one_message(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    for _ in range(50):
        await happens(store, incident, EventKind.EVIDENCE, clock)
    await drain(delivery, clock, seconds=5)
    assert (slack.posts, slack.redraws) == ([("C1", "#1 root")], [])
    assert {item.state for item in await rows(store)} == {OutboxState.SENT}


async def test_a_change_while_the_request_is_under_way_is_drawn_afterwards(
    store: Store, contoso: Connector, clock: Any
) -> None:
    class Busy(Slack):
        async def post(self, item: OutboxItem, view: IncidentView) -> str:
            await happens(store, incident, EventKind.EVIDENCE, clock)
            return await super().post(item, view)

    slack = Busy(clock)
    incident = await opened(store, contoso, clock)
    await drain(make(store, slack, clock), clock, seconds=5)
    assert slack.redraws == [(1, 2)]


async def test_one_message_a_second_per_channel_and_channels_do_not_wait_for_each_other(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    for n in range(10):
        await opened(store, contoso, clock, channel=f"C{n % 2}", code=f"4.4.{n}")
    await drain(delivery, clock, seconds=8, step=0.25)
    for channel in ("C0", "C1"):
        times = [at for where, at in slack.times if where == channel]
        assert len(times) == 5
        assert all(b - a >= timedelta(seconds=1) for a, b in itertools.pairwise(times))
        assert times[-1] - times[0] <= timedelta(seconds=4.5)


async def test_retry_after_is_never_answered_early_and_other_channels_go_on(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock, channel="C1")
    slack.failures = [RetryLater("429", 30.0)]
    begun = clock()
    await delivery.step()
    await opened(store, contoso, clock, channel="C2", code="4.4.315")
    await drain(delivery, clock, seconds=40, step=0.5)
    assert slack.posts == [("C2", "#2 root"), ("C1", "#1 root")]
    assert [at - begun for where, at in slack.times if where == "C1"] == [timedelta(0), timedelta(seconds=30)]


async def test_a_limit_of_the_whole_workspace_stops_every_channel(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock, channel="C1")
    slack.failures = [RetryLater("429", 20.0, everywhere=True)]
    begun = clock()
    await delivery.step()
    await opened(store, contoso, clock, channel="C2", code="4.4.315")
    await drain(delivery, clock, seconds=25, step=0.5)
    assert min(at for where, at in slack.times if where == "C2") - begun == timedelta(seconds=20)


async def test_limited_redraws_wait_together_while_new_messages_go_on(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    one = await opened(store, contoso, clock, channel="C1")
    two = await opened(store, contoso, clock, channel="C2", code="4.4.315")
    await drain(delivery, clock, seconds=3)
    await happens(store, one, EventKind.EVIDENCE, clock)
    slack.failures = [RetryLater("429", 15.0)]
    limited_at = clock()
    await delivery.step()
    await happens(store, two, EventKind.EVIDENCE, clock)
    await opened(store, contoso, clock, channel="C3", code="4.4.318")
    slack.times.clear()
    await drain(delivery, clock, seconds=30, step=0.5)
    times = {where: at - limited_at for where, at in slack.times}
    assert times["C3"] < timedelta(seconds=2)
    assert min(times["C1"], times["C2"]) >= timedelta(seconds=15)


async def test_slack_down_for_hours_only_delays_and_keeps_the_order(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await delivery.recover()
    slack.failures = [RetryLater("Slack can't be reached")] * 100_000
    for n in range(3):
        await opened(store, contoso, clock, code=f"4.4.{n}")
    await drain(delivery, clock, seconds=3600)
    assert slack.posts == []
    slack.failures.clear()
    back = clock()
    await drain(delivery, clock, seconds=10)
    assert slack.posts == [("C1", f"#{n} root") for n in (1, 2, 3)]
    assert min(at for _, at in slack.times if at >= back) - back <= timedelta(seconds=5)


async def test_accepted_but_unanswered_is_one_message(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    slack.failures, slack.accepts = [Ambiguous("timeout")], True
    await delivery.step()
    assert [item.state for item in await rows(store)] == [OutboxState.SENDING]
    clock.advance(seconds=9)
    assert not await delivery.step(), "the message may not be visible yet"
    clock.advance(seconds=2)
    await drain(delivery, clock, seconds=5)
    assert slack.posts == [("C1", "#1 root")]
    assert (await the(store, incident)).ts == "1.0"


async def test_unanswered_and_not_accepted_is_sent_again(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    slack.failures = [Ambiguous("timeout")]
    await drain(delivery, clock, seconds=30)
    assert slack.posts == [("C1", "#1 root")]


async def test_a_doubtful_row_holds_back_what_follows_it(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    await opened(store, contoso, clock, code="4.4.315")
    slack.failures, slack.readable = [Ambiguous("timeout")], RetryLater("history is limited", 20.0)
    await drain(delivery, clock, seconds=15)
    assert slack.posts == []
    slack.readable = None
    await drain(delivery, clock, seconds=60)
    assert slack.posts == [("C1", "#1 root"), ("C1", "#2 root")]


async def test_where_history_may_not_be_read_it_is_sent_again(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    slack.failures, slack.readable = [Ambiguous("timeout")], Permanent("missing_scope")
    await drain(delivery, clock, seconds=30)
    assert slack.posts == [("C1", "#1 root")]


async def test_what_is_found_after_all_shows_the_past_and_is_redrawn(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    slack.failures, slack.accepts = [Ambiguous("timeout")], True
    await delivery.step()
    slack.accepts = False
    await happens(store, incident, EventKind.RESOLVED, clock, state=IncidentState.RESOLVED)
    await drain(delivery, clock, seconds=30)
    assert slack.posts == [("C1", "#1 root"), ("C1", "#1 resolved")]
    assert slack.redraws == [(1, 2)]


async def test_every_attempt_of_a_row_is_looked_for_not_only_the_last(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    begun = clock()
    await opened(store, contoso, clock)
    slack.failures = [RetryLater("down")] * 100 + [Ambiguous("timeout")]
    await drain(delivery, clock, seconds=900)
    assert slack.looked_since == [begun - timedelta(minutes=1)]


async def test_a_history_with_too_much_in_it_is_given_up_after_some_looks(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    await opened(store, contoso, clock, code="4.4.315")
    slack.failures, slack.readable = [Ambiguous("timeout")], Puzzling("too much to look through")
    await drain(delivery, clock, seconds=60)
    assert len(slack.looked_since) == LOOKS
    assert slack.posts == [("C1", "#1 root"), ("C1", "#2 root")]


async def test_a_history_that_always_fails_does_not_block_its_channel_for_ever(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    slack.failures, slack.readable = [Ambiguous("timeout")], Ambiguous("Slack answered HTTP 500")
    await drain(delivery, clock, seconds=3600, step=5)
    assert len(slack.looked_since) == POISON_AFTER
    assert slack.posts == [("C1", "#1 root")]


@pytest.mark.parametrize("error", [RetryLater("Slack can't be reached"), Closed("invalid_auth")])
async def test_a_slack_that_is_away_is_waited_for_however_long_before_anything_is_doubled(
    store: Store, contoso: Connector, clock: Any, slack: Slack, error: Exception
) -> None:
    delivery = make(store, slack, clock)
    await opened(store, contoso, clock)
    slack.failures, slack.accepts, slack.readable = [Ambiguous("timeout")], True, error
    await drain(delivery, clock, seconds=7200, step=5)
    slack.readable = None
    await drain(delivery, clock, seconds=400, step=5)
    assert slack.posts == [("C1", "#1 root")]


async def test_rows_listed_before_an_outcome_was_noted_are_not_looked_up_too_early(
    store: Store, contoso: Connector, clock: Any, slack: Slack
) -> None:
    class Late:
        """Its first list of what is due comes from before the request."""

        stale: list[OutboxItem] | None = None

        async def read(self, work: Any) -> Any:
            found = await store.read(work)
            if work is outbox.heads and self.stale is None:
                self.stale = found
            return self.stale if work is outbox.heads else found

        write = staticmethod(store.write)

    await opened(store, contoso, clock)
    slack.failures, slack.accepts = [Ambiguous("timeout")], True
    delivery = make(Late(), slack, clock)
    await delivery.step()
    await delivery.step()
    assert slack.looked_since == []
    clock.advance(seconds=10)
    await delivery.step()
    assert len(slack.looked_since) == 1


@pytest.mark.parametrize("hours", [-1, 1])
async def test_the_clock_set_anew_does_not_shorten_the_settling_time(
    store: Store, contoso: Connector, clock: Any, slack: Slack, hours: int
) -> None:
    ticking = [0.0]
    delivery = Delivery(store, slack, clock, monotonic=lambda: ticking[0], jitter=lambda: 1.0)
    await opened(store, contoso, clock)
    slack.failures, slack.accepts = [Ambiguous("timeout")], True
    await delivery.step()
    clock.advance(hours=hours)
    await delivery.step()
    await delivery.clock_jumped()
    ticking[0] = 9.0
    clock.advance(seconds=9)
    await delivery.step()
    assert slack.looked_since == []
    ticking[0] = 11.0
    clock.advance(seconds=2)
    await delivery.step()
    assert len(slack.looked_since) == 1


async def test_a_doubtful_redraw_is_simply_repeated(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    await drain(delivery, clock, seconds=3)
    await happens(store, incident, EventKind.EVIDENCE, clock)
    slack.failures = [Ambiguous("timeout")]
    await drain(delivery, clock, seconds=10)
    assert slack.redraws == [(1, 2)]


async def test_left_sending_by_a_dead_process_it_is_looked_up_after_the_settling_time(
    store: Store, contoso: Connector, clock: Any, slack: Slack
) -> None:
    await opened(store, contoso, clock)
    first = (await rows(store))[0]
    await store.write(lambda db: outbox.claim(db, first.id, clock(), clock() + timedelta(seconds=10)))
    slack.uids[first.uid] = "7.0"
    reborn = make(store, slack, clock)
    await reborn.recover()
    assert not await reborn.step()
    clock.advance(seconds=10)
    await reborn.step()
    assert (await the(store, await opened(store, contoso, clock, code="x"))).ts is None
    found = await store.read(lambda db: incidents.get(db, 1))
    assert found is not None
    assert (found.ts, slack.posts) == ("7.0", [])


async def test_a_redraw_left_sending_is_drawn_again(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    await drain(delivery, clock, seconds=3)
    await happens(store, incident, EventKind.EVIDENCE, clock)
    pending = (await rows(store, OutboxState.PENDING))[0]
    await store.write(lambda db: outbox.claim(db, pending.id, clock(), clock()))
    await drain(make(store, slack, clock), clock, seconds=5)
    assert slack.redraws == [(1, 2)]


async def test_a_channel_that_refuses_for_good_leaves_a_dead_row_and_the_next_incident_still_comes(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    await happens(store, incident, EventKind.ACKNOWLEDGED, clock)
    slack.failures = [Permanent("not_in_channel"), Permanent("not_in_channel")]
    await drain(delivery, clock, seconds=5)
    dead = await rows(store, OutboxState.DEAD)
    assert [item.kind for item in dead] == [OutboxKind.ROOT, OutboxKind.ROOT, OutboxKind.REPLY]
    assert dead[0].error == "not_in_channel"
    await opened(store, contoso, clock, code="4.4.315")
    await drain(delivery, clock, seconds=5)
    assert slack.posts == [("C1", "#2 root")]


@pytest.mark.parametrize("fallback", [None, "C1", "CDEFAULT"])
async def test_a_token_refused_for_hours_buries_nothing(
    store: Store, contoso: Connector, clock: Any, slack: Slack, fallback: str | None
) -> None:
    delivery = make(store, slack, clock, fallback_channel=fallback)
    one = await opened(store, contoso, clock)
    two = await opened(store, contoso, clock, code="4.4.315")
    await drain(delivery, clock, seconds=5)
    slack.failures = [Closed("Slack refuses: invalid_auth", everywhere=True)] * 1000
    await happens(store, one, EventKind.ESCALATED, clock)
    await happens(store, two, EventKind.RESOLVED, clock, state=IncidentState.RESOLVED)
    slack.times.clear()
    await drain(delivery, clock, seconds=7200, step=5)
    assert await rows(store, OutboxState.DEAD) == []
    late = await store.read(lambda db: outbox.late(db, clock(), 9))
    assert late[0].error == "Slack refuses: invalid_auth"
    assert len(slack.times) < 2 * 7200 / 120, "it is not hammered"
    slack.failures.clear()
    await drain(delivery, clock, seconds=400)
    assert slack.posts[2:] == [("C1", "#1 escalated"), ("C1", "#2 resolved")]
    assert {incident for incident, _ in slack.redraws} == {1, 2}
    assert {item.state for item in await rows(store)} == {OutboxState.SENT}


async def test_a_refused_token_is_tried_again_within_one_to_five_minutes(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    slack.failures = [Closed("invalid_auth")] * 6
    await drain(delivery, clock, seconds=1800)
    gaps = [(b - a).total_seconds() for (_, a), (_, b) in itertools.pairwise(slack.times)]
    assert gaps == [120, 240, 300, 300, 300, 300]


async def test_a_channel_that_takes_no_posts_is_still_redrawn(store: Store, contoso: Connector, clock: Any) -> None:
    class ReadOnly(Slack):
        async def post(self, item: OutboxItem, view: IncidentView) -> str:
            if item.kind is not OutboxKind.ROOT:
                raise Closed("restricted_action")
            return await super().post(item, view)

    slack = ReadOnly(clock)
    delivery = make(store, slack, clock)
    incident = await opened(store, contoso, clock)
    await drain(delivery, clock, seconds=3)
    await happens(store, incident, EventKind.ESCALATED, clock)
    await drain(delivery, clock, seconds=3)
    await happens(store, incident, EventKind.EVIDENCE, clock)
    await drain(delivery, clock, seconds=3)
    assert slack.redraws == [(1, 2), (1, 3)]


async def test_a_reply_refused_where_redraws_pass_goes_on_in_the_fallback_channel_with_its_message(
    store: Store, contoso: Connector, clock: Any
) -> None:
    class NoPosts(Slack):
        closed = False

        async def post(self, item: OutboxItem, view: IncidentView) -> str:
            if self.closed and item.channel == "C1":
                raise Closed("restricted_action")
            return await super().post(item, view)

    slack = NoPosts(clock)
    delivery = make(store, slack, clock, fallback_channel="CDEFAULT")
    incident = await opened(store, contoso, clock)
    await drain(delivery, clock, seconds=3)
    slack.closed = True
    await happens(store, incident, EventKind.ESCALATED, clock)
    await drain(delivery, clock, seconds=30)
    assert slack.posts[1:] == [("CDEFAULT", "#1 root"), ("CDEFAULT", "#1 escalated")]
    assert (await the(store, incident)).channel == "CDEFAULT"


async def test_a_message_that_can_not_be_edited_any_more_stays_and_the_thread_goes_on(
    store: Store, contoso: Connector, clock: Any
) -> None:
    class EditsClosed(Slack):
        async def redraw(self, item: OutboxItem, view: IncidentView) -> None:
            raise Frozen("edit_window_closed")

    slack = EditsClosed(clock)
    delivery = make(store, slack, clock)
    incident = await opened(store, contoso, clock)
    for _ in range(24):
        await happens(store, incident, EventKind.EVIDENCE, clock)
        await drain(delivery, clock, seconds=5)
    await happens(store, incident, EventKind.RESOLVED, clock)
    await drain(delivery, clock, seconds=5)
    assert slack.posts == [("C1", "#1 root"), ("C1", "#1 resolved")]
    assert {item.state for item in await rows(store)} == {OutboxState.SENT}


async def test_a_refused_incident_goes_on_in_the_fallback_channel(
    store: Store, contoso: Connector, clock: Any, slack: Slack
) -> None:
    incident = await opened(store, contoso, clock, channel="CBAD")
    await happens(store, incident, EventKind.ACKNOWLEDGED, clock)
    delivery = make(store, slack, clock, fallback_channel="CDEFAULT")
    slack.failures = [Permanent("is_archived")]
    await drain(delivery, clock, seconds=10)
    assert slack.posts == [("CDEFAULT", "#1 root"), ("CDEFAULT", "#1 acknowledged")]
    assert (await the(store, incident)).channel == "CDEFAULT"
    assert [(item.channel, item.error) for item in await rows(store, OutboxState.DEAD)] == [("CBAD", "is_archived")]
    await happens(store, incident, EventKind.RESOLVED, clock)
    await drain(delivery, clock, seconds=10)
    assert slack.posts[-1] == ("CDEFAULT", "#1 resolved")


async def test_a_channel_archived_later_moves_its_incident_with_its_thread(
    store: Store, contoso: Connector, clock: Any, slack: Slack
) -> None:
    delivery = make(store, slack, clock, fallback_channel="CDEFAULT")
    incident = await opened(store, contoso, clock, channel="C1")
    await drain(delivery, clock, seconds=3)
    await happens(store, incident, EventKind.ACKNOWLEDGED, clock)
    slack.failures = [Permanent("is_archived")]
    await drain(delivery, clock, seconds=10)
    assert slack.posts == [("C1", "#1 root"), ("CDEFAULT", "#1 root"), ("CDEFAULT", "#1 acknowledged")]


async def test_what_even_the_fallback_refuses_is_dead(
    store: Store, contoso: Connector, clock: Any, slack: Slack
) -> None:
    delivery = make(store, slack, clock, fallback_channel="CDEFAULT")
    await opened(store, contoso, clock, channel="CBAD")
    slack.failures = [Permanent("invalid_auth"), Permanent("invalid_auth")]
    await drain(delivery, clock, seconds=10)
    assert [item.channel for item in await rows(store, OutboxState.DEAD)] == ["CDEFAULT", "CBAD"]


@pytest.mark.parametrize("fallback", ["CDEFAULT", None])
async def test_opened_where_no_channel_was_known_it_goes_to_the_usual_one(
    store: Store, contoso: Connector, clock: Any, slack: Slack, fallback: str | None
) -> None:
    await opened(store, contoso, clock, channel="")
    await drain(make(store, slack, clock, fallback_channel=fallback), clock, seconds=5)
    assert slack.posts == ([("CDEFAULT", "#1 root")] if fallback else [])
    dead = [item.error for item in await rows(store, OutboxState.DEAD)]
    assert dead == ([] if fallback else ["no alert channel is set (MFI_ALERT_CHANNEL)"])


async def test_a_row_that_another_pump_took_is_left_to_it(
    store: Store, contoso: Connector, clock: Any, slack: Slack
) -> None:
    class Slow:
        """Somebody else claims the row just before we do."""

        async def read(self, work: Any) -> Any:
            return await store.read(work)

        async def write(self, work: Any) -> Any:
            for item in await rows(store, OutboxState.PENDING) if self.armed else ():
                await store.write(lambda db, i=item.id: outbox.claim(db, i, clock(), clock() + timedelta(hours=1)))
            self.armed = True
            return await store.write(work)

        armed = False

    await opened(store, contoso, clock)
    await make(Slow(), slack, clock).step()
    assert slack.posts == []


async def test_a_row_settled_meanwhile_needs_nothing(
    store: Store, contoso: Connector, clock: Any, slack: Slack
) -> None:
    class Slow:
        async def read(self, work: Any) -> Any:
            return await store.read(work)

        async def write(self, work: Any) -> Any:
            await store.write(lambda db: outbox.sent(db, 1, clock(), "9.0"))
            return await store.write(work)

    await opened(store, contoso, clock)
    await make(Slow(), slack, clock).step()
    assert slack.posts == []


async def test_an_open_incident_that_was_given_up_is_tried_again_at_the_next_start(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    slack.failures = [Permanent("invalid_auth")]
    await drain(delivery, clock, seconds=3)
    assert slack.posts == []
    reborn = make(store, slack, clock)
    await reborn.recover()
    await drain(reborn, clock, seconds=3)
    assert slack.posts == [("C1", "#1 root")]


async def test_a_deleted_message_is_posted_again_when_it_should_be_redrawn(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    await drain(delivery, clock, seconds=3)
    slack.gone.add("1.0")
    await happens(store, incident, EventKind.EVIDENCE, clock)
    await drain(delivery, clock, seconds=5)
    assert slack.posts == [("C1", "#1 root"), ("C1", "#1 root")]
    assert (await the(store, incident)).ts == "2.0"


async def test_a_reply_to_a_deleted_message_brings_the_message_back_first(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    await happens(store, incident, EventKind.ACKNOWLEDGED, clock)
    await delivery.step()
    slack.gone.add("1.0")
    await drain(delivery, clock, seconds=10)
    assert slack.posts == [("C1", "#1 root"), ("C1", "#1 root"), ("C1", "#1 acknowledged")]


async def test_a_reply_finds_the_redraw_that_waits_behind_it_when_its_message_is_gone(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    await happens(store, incident, EventKind.ACKNOWLEDGED, clock)
    await delivery.step()
    slack.gone.add("1.0")
    clock.advance(seconds=2)
    await delivery.step()
    await happens(store, incident, EventKind.EVIDENCE, clock)
    await drain(delivery, clock, seconds=10)
    assert slack.posts == [("C1", "#1 root"), ("C1", "#1 root"), ("C1", "#1 acknowledged")]


async def test_an_unknown_error_is_retried_with_growing_pauses(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    slack.failures = [ValueError("what?")] * 5
    await drain(delivery, clock, seconds=60)
    assert slack.posts == [("C1", "#1 root")]
    times = [at for _, at in slack.times]
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
    assert gaps == [1, 2, 4, 8, 16]


async def test_a_poisonous_row_dies_in_the_end_so_that_the_channel_goes_on(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    await opened(store, contoso, clock, code="4.4.315")
    slack.failures = [ValueError("can't render")] * POISON_AFTER
    await drain(delivery, clock, seconds=3600, step=5)
    (dead,) = await rows(store, OutboxState.DEAD)
    assert dead.error == "gave up: can't render"
    assert slack.posts == [("C1", "#2 root")]


@pytest.mark.parametrize("fallback", [None, "CDEFAULT"])
async def test_a_word_that_nobody_knows_holds_its_channel_for_minutes_only(
    store: Store, contoso: Connector, clock: Any, slack: Slack, fallback: str | None
) -> None:
    delivery = make(store, slack, clock, fallback_channel=fallback)
    await opened(store, contoso, clock)
    await opened(store, contoso, clock, code="4.4.315")
    slack.failures = [Puzzling("Slack answered under_the_weather")] * POISON_AFTER
    await drain(delivery, clock, seconds=1800)
    times = [at for channel, at in slack.times if channel == "C1"]
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
    assert gaps[:-1] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    (dead,) = await rows(store, OutboxState.DEAD)
    assert dead.error == "gave up: Slack answered under_the_weather"
    assert sorted(slack.posts) == [("C1", "#2 root")] + ([("CDEFAULT", "#1 root")] if fallback else [])


async def test_an_outage_before_an_unknown_word_does_not_use_up_its_tries(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    slack.failures = [*[RetryLater("down")] * 100, Puzzling("maintenance"), Puzzling("maintenance")]
    await drain(delivery, clock, seconds=900)
    assert slack.posts == [("C1", "#1 root")]


async def test_a_new_alert_does_not_wait_for_the_redraws_of_others(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    many = [await opened(store, contoso, clock, code=f"4.9.{n}") for n in range(30)]
    await drain(delivery, clock, seconds=31)
    for one in many:
        await happens(store, one, EventKind.EVIDENCE, clock)
    slack.failures = [None, RetryLater("429", 60.0)]
    await delivery.step()
    clock.advance(seconds=1)
    await delivery.step()
    new = await opened(store, contoso, clock, code="4.4.316")
    clock.advance(seconds=1)
    await delivery.step()
    assert slack.posts[-1] == ("C1", f"#{new.id} root")
    assert len(slack.redraws) == 1
    await drain(delivery, clock, seconds=100)
    assert sorted(incident for incident, _ in slack.redraws) == [one.id for one in many]


async def test_a_reply_waits_for_the_redraw_of_its_own_incident_unless_redraws_are_limited(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    await drain(delivery, clock, seconds=3)
    await happens(store, incident, EventKind.ESCALATED, clock)
    await delivery.step()
    assert (len(slack.posts), slack.redraws) == (1, [(1, 2)])
    await drain(delivery, clock, seconds=3)
    slack.failures = [RetryLater("429", 60.0)]
    await happens(store, incident, EventKind.ACKNOWLEDGED, clock)
    await drain(delivery, clock, seconds=3)
    assert (slack.posts[-1], slack.redraws) == (("C1", "#1 acknowledged"), [(1, 2)])
    await drain(delivery, clock, seconds=60)
    assert slack.redraws == [(1, 2), (1, 3)]


async def test_a_message_that_a_reply_needs_is_not_posted_before_it_is_due(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    await happens(store, incident, EventKind.ACKNOWLEDGED, clock)
    await delivery.step()
    slack.gone.add("1.0")
    clock.advance(seconds=2)
    await delivery.step()
    await happens(store, incident, EventKind.EVIDENCE, clock)
    slack.times.clear()
    slack.failures = [RetryLater("down")] * 4
    begun = clock()
    await drain(delivery, clock, seconds=20, step=0.25)
    assert [(at - begun).total_seconds() for _, at in slack.times] == [1.0, 2.0, 3.0, 5.0, 9.0, 10.0]
    assert slack.posts[1:] == [("C1", "#1 root"), ("C1", "#1 acknowledged")]


async def test_slack_being_down_never_kills_a_row(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    slack.failures = [RetryLater("no")] * 500
    await drain(delivery, clock, seconds=3000)
    assert slack.posts == [("C1", "#1 root")]


async def test_a_storage_fault_pauses_the_channel_and_loses_nothing(
    store: Store, contoso: Connector, clock: Any, slack: Slack
) -> None:
    class Shaky:
        broken = True

        async def read(self, work: Any) -> Any:
            return await store.read(work)

        async def write(self, work: Any) -> Any:
            if self.broken:
                raise OSError("disk full")
            return await store.write(work)

    shaky = Shaky()
    delivery = make(shaky, slack, clock)  # type: ignore[arg-type]
    await opened(store, contoso, clock)
    await drain(delivery, clock, seconds=20)
    assert slack.posts == []
    shaky.broken = False
    await drain(delivery, clock, seconds=20)
    assert slack.posts == [("C1", "#1 root")]


async def test_an_old_event_is_told_even_when_the_timeline_grew_long(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    incident = await opened(store, contoso, clock)
    for _ in range(210):
        await happens(store, incident, EventKind.REPROBED, clock)
    await drain(delivery, clock, seconds=3)
    assert slack.posts[1] == ("C1", "#1 reprobed")


async def test_the_clock_set_back_by_an_hour_delays_nothing(
    store: Store, contoso: Connector, clock: Any, slack: Slack
) -> None:
    ticking = [0.0]
    delivery = Delivery(store, slack, clock, monotonic=lambda: ticking[0], jitter=lambda: 1.0)
    await opened(store, contoso, clock)
    clock.advance(hours=-1)
    await delivery.clock_jumped()
    ticking[0] = 5.0
    await delivery.step()
    assert slack.posts == [("C1", "#1 root")]


async def test_at_start_nothing_waits_for_a_far_moment_but_a_short_retry_after_is_kept(
    store: Store, contoso: Connector, clock: Any, slack: Slack, delivery: Delivery
) -> None:
    await opened(store, contoso, clock)
    (row,) = await rows(store)
    await store.write(lambda db: outbox.postpone(db, row.id, clock() + timedelta(seconds=30), "429"))
    await delivery.recover()
    clock.advance(seconds=29)
    assert not await delivery.step()
    await store.write(lambda db: outbox.postpone(db, row.id, clock() + timedelta(days=365), "?"))
    await delivery.recover()
    clock.advance(seconds=121)
    assert await delivery.step()


async def test_the_pump_wakes_when_nudged_and_stops_when_told(store: Store, contoso: Connector, clock: Any) -> None:
    posted = asyncio.Event()

    class Quick(Slack):
        async def post(self, item: OutboxItem, view: IncidentView) -> str:
            posted.set()
            return await super().post(item, view)

    delivery, stop = Delivery(store, Quick(clock), clock), asyncio.Event()
    pump = asyncio.create_task(delivery.run(stop))
    await asyncio.sleep(0)
    await opened(store, contoso, clock)
    delivery.nudge()
    await asyncio.wait_for(posted.wait(), 5)
    stop.set()
    await asyncio.wait_for(pump, 5)
    assert delivery.last_pass_at == clock()


async def test_the_pump_survives_an_unreadable_outbox(store: Store, contoso: Connector, clock: Any) -> None:
    class Broken:
        tried = asyncio.Event()

        async def read(self, work: Any) -> Any:
            self.tried.set()
            raise OSError("no")

    broken, stop = Broken(), asyncio.Event()
    delivery = Delivery(broken, Slack(clock), clock)  # type: ignore[arg-type]
    pump = asyncio.create_task(delivery.run(stop))
    for _ in range(2):
        await asyncio.wait_for(broken.tried.wait(), 5)
        broken.tried.clear()
        delivery.nudge()
    stop.set()
    await asyncio.wait_for(pump, 5)
    assert pump.exception() is None
    assert delivery.last_pass_at is None, "a pass that read nothing is none"


async def test_stopped_in_the_middle_of_a_request_the_row_stays_uncertain(
    store: Store, contoso: Connector, clock: Any
) -> None:
    begun = asyncio.Event()

    class Hanging(Slack):
        async def post(self, item: OutboxItem, view: IncidentView) -> str:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    delivery, stop = Delivery(store, Hanging(clock), clock, drain=0.05), asyncio.Event()
    pump = asyncio.create_task(delivery.run(stop))
    await opened(store, contoso, clock)
    delivery.nudge()
    await asyncio.wait_for(begun.wait(), 5)
    stop.set()
    await asyncio.wait_for(pump, 5)
    assert [item.state for item in await rows(store)] == [OutboxState.SENDING]


async def test_a_request_that_hangs_is_given_up_as_uncertain(store: Store, contoso: Connector, clock: Any) -> None:
    class Hanging(Slack):
        async def post(self, item: OutboxItem, view: IncidentView) -> str:
            await asyncio.Event().wait()
            raise AssertionError

    await opened(store, contoso, clock)
    await make(store, Hanging(clock), clock, deadline=0.01).step()
    (row,) = await rows(store)
    assert (row.state, row.error) == (OutboxState.SENDING, "TimeoutError")


class Killed(BaseException):
    """The process dies here."""


class Mortal:
    """A store that dies before or after its n-th write."""

    def __init__(self, store: Store, dies_at: int, *, after: bool) -> None:
        self.store, self.left, self.after = store, dies_at, after

    async def read(self, work: Any) -> Any:
        return await self.store.read(work)

    async def write(self, work: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        done = await self.store.write(work)
        if self.left == 0:
            raise Killed
        return done


@pytest.mark.parametrize("seed", range(25))
async def test_killed_between_any_two_steps_nothing_is_lost_or_doubled(
    tmp_path: Path, contoso: Connector, store: Store, clock: Any, seed: int
) -> None:
    """Kills before and after every commit, random failures, and always a new process on the same database."""
    dice = random.Random(seed)
    slack = Slack(clock)
    made = [await opened(store, contoso, clock, channel=f"C{n % 2}", code=f"4.4.{n}") for n in range(4)]
    for incident in made:
        await happens(store, incident, EventKind.ACKNOWLEDGED, clock)
        await happens(store, incident, EventKind.RESOLVED, clock)
    for _ in range(60):
        slack.accepts = dice.random() < 0.5
        slack.failures = [Ambiguous("reset")] if dice.random() < 0.3 else []
        mortal = Mortal(store, dice.randint(1, 6), after=dice.random() < 0.5)
        delivery = make(mortal, slack, clock)
        try:
            await delivery.recover()
            await drain(delivery, clock, seconds=15)
        except Killed:
            await asyncio.gather(*delivery._flying.values(), return_exceptions=True)
    await drain(make(store, slack, clock), clock, seconds=60)
    for n, incident in enumerate(made):
        told = [what for _, what in slack.posts if what.startswith(f"#{incident.id} ")]
        assert told == [f"#{incident.id} {what}" for what in ("root", "acknowledged", "resolved")], f"incident {n}"
    assert {item.state for item in await rows(store)} == {OutboxState.SENT}
