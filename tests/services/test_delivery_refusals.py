"""What Slack refuses: the channel, the token, the message, or in a word that nobody knows."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from bot.core.events import EventKind
from bot.core.views import IncidentView
from bot.services.delivery import Delivery
from bot.services.outcomes import POISON_AFTER
from bot.services.ports import Closed, Frozen, Permanent, Puzzling, RetryLater
from storage import outbox
from storage.connection import Store
from storage.records import Connector, IncidentState, OutboxItem, OutboxKind, OutboxState
from tests.services.slack_that_fails import Slack, drain, happens, make, opened, rows, the


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
