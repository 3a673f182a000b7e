"""The pump from outbox to Slack.

Promises: strict order per channel; channels wait for nobody but themselves; about one message a second per channel; a
`Retry-After` is never answered early; a row is `sending` on disk before its request leaves, and after an uncertain
outcome (timeout, reset, kill) it is looked up before it is sent again. Nothing is dropped: a row ends as sent or dead.
Trusts: that the Poster sorts its failures into the kinds of bot/services/ports.py; anything else is retried.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.core.backoff import delay
from bot.core.capabilities import Capability
from bot.core.clock import Clock
from bot.core.policy import Policy
from bot.core.views import IncidentView
from bot.services import sending
from bot.services.ports import Ambiguous, MessageGone, Permanent, Poster, RetryLater
from bot.services.views import incident_view
from storage import outbox
from storage.connection import Store
from storage.records import OutboxItem, OutboxState

LOG = logging.getLogger(__name__)

POLL = 1.0
"""Seconds after which the pump looks for work that nobody nudged it for (another process may have written some)."""
DOWN_CAP = timedelta(seconds=4)
"""While Slack can't be reached it is tried this often, so that the first message leaves soon after it returns."""
LONGEST_WAIT = timedelta(minutes=2)
LOOK_BACK = timedelta(seconds=60)
"""So much earlier than our attempt the history is searched: Slack's clock is not ours."""
POISON_AFTER = 12
"""An unknown error is retried so often; then the row is dead, so that it can't hold its channel for ever."""


class Delivery:
    """Delivers the outbox. `run` it as a task; `nudge` it after writing; `step` is one pass, for tests.

    Seconds: `pace` between two requests to one channel; `settle` until a message must be visible in the history;
    `deadline` for one request; `drain` for requests under way when told to stop.
    """

    def __init__(
        self,
        store: Store,
        poster: Poster,
        clock: Clock,
        *,
        pace: float = 1.0,
        settle: float = 10.0,
        policy: Policy | None = None,
        capabilities: Mapping[str, frozenset[Capability]] | None = None,
        fallback_channel: str | None = None,
        deadline: float = 60.0,
        drain: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._poster = poster
        self._clock = clock
        self._pace = pace
        self._settle = timedelta(seconds=settle)
        self._policy = policy or Policy()
        self._capabilities = capabilities or {}
        self._fallback = fallback_channel
        self._deadline = deadline
        self._drain = drain
        self._monotonic = monotonic
        self._jitter = jitter
        self._flying: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        self._everybody_waits_until = float("-inf")
        self._redraws_wait_until = float("-inf")
        self._wake = asyncio.Event()
        self.last_pass_at: datetime | None = None
        """When the pump last looked at the outbox: a moment long ago means that it is stuck."""

    def nudge(self) -> None:
        """There is something new to deliver."""
        self._wake.set()

    async def recover(self) -> None:
        """Call it at start: quick, and needs no Slack.

        1. Rows that a dead process left `sending` stay so; the pump looks them up when `settle` has passed.
        2. The message of an open incident that was given up (a wrong token, a missing invitation) is tried once more.
        3. Nothing waits longer than LONGEST_WAIT, whatever the clock was when that was decided.
        """
        now = self._clock()
        await self._store.write(lambda db: (outbox.clamp(db, now + LONGEST_WAIT), outbox.revive(db, now)))
        self.nudge()

    async def clock_jumped(self) -> None:
        """Call it after the clock was set: everything is due now, but what Slack asked us to wait is still kept."""
        now = self._clock()
        await self._store.write(lambda db: outbox.clamp(db, now))
        self.nudge()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then give requests under way `drain` seconds. The rest stays for later."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._rest(await self._guarded_pass(), stopping)
        finally:
            stopping.cancel()
            await self._land()

    async def step(self) -> bool:
        """One pass over all channels, waiting for the outcome. False: nothing was due."""
        await self._start_due()
        flying = list(self._flying.values())
        await asyncio.gather(*flying)
        return bool(flying)

    async def _guarded_pass(self) -> float:
        try:
            return await self._start_due()
        except Exception:
            LOG.exception("the outbox could not be read; trying again")
            return POLL

    async def _rest(self, seconds: float, stopping: asyncio.Task[bool]) -> None:
        nudged = asyncio.create_task(self._wake.wait())
        await asyncio.wait({nudged, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        nudged.cancel()
        self._wake.clear()

    async def _land(self) -> None:
        flying = list(self._flying.values())
        if flying:
            await asyncio.wait(flying, timeout=self._drain)
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)

    async def _start_due(self) -> float:
        """Start the first row of every channel that may send now; returns the seconds until the next one may."""
        now, tick, wait = self._clock(), self._monotonic(), POLL
        for item in await self._store.read(outbox.heads):
            if item.channel in self._flying:
                continue
            late = max((item.next_at - now).total_seconds(), self._pause(item.channel) - tick)
            if late > 0:
                wait = min(wait, late)
            else:
                self._take_off(item)
        self.last_pass_at = now
        return max(wait, 0.01)

    def _pause(self, channel: str) -> float:
        return max(self._not_before.get(channel, float("-inf")), self._everybody_waits_until)

    def _take_off(self, item: OutboxItem) -> None:
        task = asyncio.create_task(self._attend(item), name=f"deliver-{item.id}")
        self._flying[item.channel] = task
        task.add_done_callback(lambda done: self._landed(item.channel))

    def _landed(self, channel: str) -> None:
        self._flying.pop(channel, None)
        self._wake.set()

    async def _attend(self, head: OutboxItem) -> None:
        """Bring the first row of a channel one step further.

        1. Its incident's message missing? Then that comes first, for a reply needs it.
        2. Uncertain? Look for it; found is sent, not found is sent again.
        3. Mark it `sending`, on disk. 4. Send what the incident is now. 5. Note the outcome.
        A failure of our own storage leaves the row as it is and pauses the channel.
        """
        try:
            now = self._clock()
            if not head.channel:
                await self._store.write(lambda db: sending.find_home(db, head, self._fallback, now))
                return
            item = await self._store.write(lambda db: sending.first_needed(db, head, now))
            if item is None:
                return
            view = await self._store.read(lambda db: self._view(db, item, now))
            if item.state is OutboxState.SENDING:
                await self._look_for(item, view)
            else:
                await self._send(item, view)
        except Exception:
            LOG.exception("outbox row %d could not be handled; its channel pauses", head.id)
            self._hold(head.channel, self._wait(5).total_seconds())

    async def _send(self, item: OutboxItem, view: IncidentView) -> None:
        now = self._clock()
        look_again_at = now + self._settle
        if sending.is_redraw(item, view) and (early := self._redraws_wait_until - self._monotonic()) > 0:
            self._hold(item.channel, early)
            return
        claimed = await self._store.write(lambda db: outbox.claim(db, item.id, now, look_again_at))
        if not claimed:
            return
        self._hold(item.channel, self._pace)
        try:
            async with asyncio.timeout(self._deadline):
                ts = await sending.transmit(self._poster, item, view)
        except Exception as error:
            await self._failed(item, view, error)
        else:
            await self._store.write(lambda db: sending.delivered(db, item, view, ts, self._clock()))

    async def _look_for(self, item: OutboxItem, view: IncidentView) -> None:
        """Did it arrive? A redraw may simply be repeated; a new message is looked up in the channel's history."""
        since = (item.attempt_at or item.created_at) - LOOK_BACK
        found = None
        if not sending.is_redraw(item, view):
            self._hold(item.channel, self._pace)
            try:
                async with asyncio.timeout(self._deadline):
                    found = await self._poster.find(item, view, since)
            except Permanent as error:
                LOG.warning("outbox row %d can't be looked up (%s); it is sent again", item.id, error)
            except Exception as error:
                await self._postpone(item, error, uncertain=True)
                return
        now = self._clock()
        if found is not None:
            await self._store.write(lambda db: sending.delivered(db, item, view, found, now))
        else:
            reason = item.error or "not known to have arrived"
            await self._store.write(lambda db: outbox.postpone(db, item.id, now, reason))

    async def _failed(self, item: OutboxItem, view: IncidentView, error: Exception) -> None:
        now = self._clock()
        if isinstance(error, MessageGone):
            await self._store.write(lambda db: sending.start_anew(db, item, now, str(error)))
        elif isinstance(error, Permanent):
            LOG.error("outbox row %d can't be delivered to %s: %s", item.id, item.channel, error)
            await self._store.write(lambda db: sending.give_up(db, item, self._fallback, now, str(error)))
        elif isinstance(error, Ambiguous | TimeoutError) and not sending.is_redraw(item, view):
            await self._postpone(item, error, uncertain=True)
        elif isinstance(error, RetryLater | Ambiguous | TimeoutError) or item.attempts + 1 < POISON_AFTER:
            if sending.is_redraw(item, view) and isinstance(error, RetryLater):
                self._redraws_wait_until = self._monotonic() + (error.seconds or 0.0)  # Slack limits them together
            await self._postpone(item, error, uncertain=False)
        else:
            LOG.error("outbox row %d failed %d times; giving up", item.id, POISON_AFTER, exc_info=error)
            await self._store.write(lambda db: outbox.bury(db, item.id, f"gave up: {_line(error)}"))

    async def _postpone(self, item: OutboxItem, error: Exception, *, uncertain: bool) -> None:
        """Try again: when Slack says so, else after a growing while. In doubt, not before the message can be seen."""
        LOG.warning("outbox row %d for %s is late: %s", item.id, item.channel, _line(error))
        wait = self._wait(item.attempts + 1, slack_is_down=isinstance(error, RetryLater))
        if isinstance(error, RetryLater) and error.seconds is not None:
            wait = timedelta(seconds=error.seconds)
            self._hold(item.channel, error.seconds)
            if error.everywhere:
                self._everybody_waits_until = max(self._everybody_waits_until, self._monotonic() + error.seconds)
        elif uncertain and not isinstance(error, RetryLater):
            wait = max(wait, self._settle)
        until = self._clock() + wait
        await self._store.write(lambda db: outbox.postpone(db, item.id, until, _line(error), uncertain=uncertain))

    def _wait(self, attempt: int, *, slack_is_down: bool = False) -> timedelta:
        if slack_is_down:
            return delay(attempt, self._jitter(), base=timedelta(seconds=0.5), cap=DOWN_CAP)
        return delay(attempt, self._jitter())

    def _hold(self, channel: str, seconds: float) -> None:
        self._not_before[channel] = max(self._not_before.get(channel, 0.0), self._monotonic() + seconds)

    def _view(self, db: Database, item: OutboxItem, now: datetime) -> IncidentView:
        view = incident_view(db, item.incident_id, self._policy, now, self._capabilities)
        assert view is not None, "an outbox row refers to its incident"
        return sending.with_event(db, view, item)


def _line(error: Exception) -> str:
    """One line about an error, for the status view."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
