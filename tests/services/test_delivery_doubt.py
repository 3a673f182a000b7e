"""What may have arrived is looked for: nothing is lost, and nothing is posted twice."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.core.events import EventKind
from bot.services.delivery import Delivery
from bot.services.outcomes import LOOKS, POISON_AFTER
from bot.services.ports import Ambiguous, Closed, Permanent, Puzzling, RetryLater
from storage import incidents, outbox
from storage.connection import Store
from storage.records import Connector, IncidentState, OutboxItem, OutboxState
from tests.services.slack_that_fails import Slack, drain, happens, make, opened, rows, the


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
