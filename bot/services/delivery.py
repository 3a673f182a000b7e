"""The pump from outbox to Slack.

Promises: strict order per incident, and per channel among all that is posted (new alerts, replies, broadcasts); redraws
are idempotent pictures of the present and yield to posts; channels wait for nobody but themselves; about one message a
second per channel; a `Retry-After` is never answered early; a row is `sending` on disk before its request leaves, and
after an uncertain outcome (timeout, reset, kill) it is looked up before it is sent again. Nothing is dropped: a row
ends as sent or dead, and dead is only what Slack will never take, not what waits until somebody repairs a token or a
channel.
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

from bot.core.capabilities import Capability, Place
from bot.core.clock import Clock
from bot.core.policy import Policy
from bot.core.views import IncidentView
from bot.services import sending
from bot.services.outcomes import Outcomes
from bot.services.pacing import Pacing
from bot.services.ports import Poster
from bot.services.views import incident_view
from storage import outbox
from storage.connection import Store
from storage.records import OutboxItem, OutboxState

LOG = logging.getLogger(__name__)

POLL = 1.0
"""Seconds after which the pump looks for work that nobody nudged it for (another process may have written some)."""
LONGEST_WAIT = timedelta(minutes=2)
LOOK_BACK = timedelta(seconds=60)
"""So much earlier than our attempt the history is searched: Slack's clock is not ours."""
STORAGE_PAUSE = 10.0
"""Seconds for which a channel rests after a fault of our own storage."""


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
        places: Mapping[str, Place] | None = None,
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
        self._places = places or {}
        self._fallback = fallback_channel
        self._deadline = deadline
        self._drain = drain
        self._flying: dict[str, asyncio.Task[None]] = {}
        self._pacing = Pacing(monotonic)
        self._outcomes = Outcomes(
            store, self._pacing, clock, settle=self._settle, fallback=fallback_channel, jitter=jitter
        )
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
        """Call it after the clock was set: everything is due now, except what Slack or an uncertain outcome holds."""
        now = self._clock()
        await self._store.write(lambda db: (outbox.clamp(db, now), outbox.look_at(db, now + self._settle)))
        self._pacing.wake_incidents()
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
        """Start what may go now, one request per channel, posts first; returns the seconds until more may go."""
        now, wait = self._clock(), POLL
        self._pacing.forget_past()
        lanes = [(item, False) for item in await self._store.read(outbox.heads)]
        lanes += [(item, True) for item in await self._store.read(outbox.redraws)]
        for item, redraw in lanes:
            if item.channel in self._flying:
                continue
            late = max((item.next_at - now).total_seconds(), self._pacing.left(item, redraw=redraw))
            if late > 0:
                wait = min(wait, late)
            else:
                self._take_off(item)
        self.last_pass_at = now
        return max(wait, 0.01)

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
        2. Not due any more since it was listed? Then it rests.
        3. Uncertain? Look for it; found is sent, not found is sent again.
        4. Mark it `sending`, on disk. 5. Send what the incident is now. 6. Note the outcome.
        A failure of our own storage leaves the row as it is and pauses the channel.
        """
        try:
            now = self._clock()
            if not head.channel:
                await self._store.write(lambda db: sending.find_home(db, head, self._fallback, now))
                return
            redraws = self._pacing.redraws_may_go(head.channel)
            item = await self._store.write(lambda db: sending.first_needed(db, head, now, redraws=redraws))
            if item is None:
                return
            if item.next_at > now:
                self._pacing.rest(item.incident_id, (item.next_at - now).total_seconds())
                return
            view = await self._store.read(lambda db: self._view(db, item, now))
            if item.state is OutboxState.SENDING:
                await self._look_for(item, view)
            else:
                await self._send(item, view)
        except Exception:
            LOG.exception("outbox row %d could not be handled; its channel pauses", head.id)
            self._pacing.hold(head.channel, STORAGE_PAUSE)

    async def _send(self, item: OutboxItem, view: IncidentView) -> None:
        now = self._clock()
        look_again_at = now + self._settle
        claimed = await self._store.write(lambda db: outbox.claim(db, item.id, now, look_again_at))
        if not claimed:
            return
        self._pacing.hold(item.channel, self._pace)
        try:
            async with asyncio.timeout(self._deadline):
                ts = await sending.transmit(self._poster, item, view)
        except Exception as error:
            await self._outcomes.failed(item, view, error)
        else:
            await self._outcomes.arrived(item, view.incident.revision, ts)

    async def _look_for(self, item: OutboxItem, view: IncidentView) -> None:
        """Did it arrive? A redraw may simply be repeated; a new message is looked up in the channel's history.

        All its attempts are looked for, so that none of them can be doubled by a later one.
        """
        found = None
        if not sending.is_redraw(item, view):
            self._pacing.hold(item.channel, self._pace)
            try:
                async with asyncio.timeout(self._deadline):
                    found = await self._poster.find(item, view, item.created_at - LOOK_BACK)
            except Exception as error:
                await self._outcomes.look_failed(item, error)
                return
        if found is None:
            await self._outcomes.not_found(item)
        else:
            await self._outcomes.arrived(item, item.revision, found)

    def _view(self, db: Database, item: OutboxItem, now: datetime) -> IncidentView:
        view = incident_view(db, item.incident_id, self._policy, now, self._capabilities, places=self._places)
        assert view is not None, "an outbox row refers to its incident"
        return sending.with_event(db, view, item)
