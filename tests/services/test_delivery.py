"""From outbox to Slack: order, pace, and a pump that nothing stops."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

from bot.core.events import EventKind
from bot.core.views import IncidentView
from bot.services.delivery import Delivery
from bot.services.ports import RetryLater
from storage import outbox
from storage.connection import Store
from storage.records import Connector, IncidentState, OutboxItem, OutboxState
from tests.services.slack_that_fails import Slack, drain, happens, make, opened, rows, the


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
