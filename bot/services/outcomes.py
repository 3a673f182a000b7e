"""What the outcome of a request means for its row, and how long the next try waits.

Promises: every outcome is noted on disk; a message that may have arrived is never sent again before it was looked for;
a refused token or channel costs no message; nothing is tried again for ever without somebody hearing of it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from bot.core.backoff import delay
from bot.core.clock import Clock
from bot.core.views import IncidentView
from bot.services import sending
from bot.services.pacing import Pacing
from bot.services.ports import (
    Ambiguous,
    Closed,
    DeliveryError,
    Frozen,
    MessageGone,
    Permanent,
    Puzzling,
    RetryLater,
)
from storage import outbox
from storage.connection import Store
from storage.records import OutboxItem

LOG = logging.getLogger(__name__)

DOWN_BASE, DOWN_CAP = timedelta(seconds=0.5), timedelta(seconds=4)
"""While Slack can't be reached it is tried this often, so that the first message leaves soon after it returns."""
CLOSED_BASE = timedelta(minutes=2)
"""A refused token or channel is tried again after one to two minutes at first, and at least every five later."""
POISON_AFTER = 12
"""An unknown error is retried so often; then the row goes elsewhere or is dead: it can't hold its channel for ever."""
LOOKS = 3
"""A history with too much in it is looked through so often; then the row is sent again."""


class Outcomes:
    """Notes what became of requests. `settle`: how long until a message must be visible in the history."""

    def __init__(
        self,
        store: Store,
        pacing: Pacing,
        clock: Clock,
        *,
        settle: timedelta,
        fallback: str | None,
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._pacing = pacing
        self._clock = clock
        self._settle = settle
        self._fallback = fallback
        self._jitter = jitter
        self._riddles: Counter[int] = Counter()

    async def arrived(self, item: OutboxItem, revision: int, ts: str | None) -> None:
        """It is in Slack as message `ts`, and shows the incident as of `revision` at least."""
        await self._store.write(lambda db: sending.delivered(db, item, revision, ts, self._clock()))
        del self._riddles[item.id]

    async def not_found(self, item: OutboxItem) -> None:
        """It certainly did not arrive, or nobody can tell: it is sent again."""
        del self._riddles[item.id]
        now, reason = self._clock(), item.error or "not known to have arrived"
        await self._store.write(lambda db: outbox.postpone(db, item.id, now, reason))

    async def look_failed(self, item: OutboxItem, error: Exception) -> None:
        """It could not be looked up: that is tried again later, or it is sent again when looking would never tell."""
        if self._is_vain(item, error):
            LOG.warning("outbox row %d can't be looked up (%s); it is sent again", item.id, _line(error))
            await self.not_found(item)
        elif isinstance(error, RetryLater):
            await self._limited(item, error, redraw=False, uncertain=True)
        else:
            wait = self._closed_wait(1) if isinstance(error, Closed) else self._wait(self._riddles[item.id])
            await self._postpone(item, error, max(wait, self._settle), uncertain=True)

    def _is_vain(self, item: OutboxItem, error: Exception) -> bool:
        """Would looking again never tell? Then a second message is the lesser evil. A Slack that is away will tell."""
        if isinstance(error, RetryLater | Closed):
            return False
        self._riddles[item.id] += 1
        tries = LOOKS if isinstance(error, Puzzling) else POISON_AFTER
        return isinstance(error, Permanent) or self._riddles[item.id] >= tries

    async def failed(self, item: OutboxItem, view: IncidentView, error: Exception) -> None:
        """It was not taken, or nobody knows."""
        redraw, now = sending.is_redraw(item, view), self._clock()
        if isinstance(error, MessageGone):
            await self._store.write(lambda db: sending.start_anew(db, item, now, str(error)))
        elif isinstance(error, Frozen):
            LOG.warning("the message of incident #%d stays as it is: %s", item.incident_id, error)
            await self.arrived(item, view.incident.revision, view.incident.ts)
        elif isinstance(error, Permanent):
            await self._give_up(item, error)
        elif isinstance(error, Closed):
            await self._refused(item, error, redraw=redraw)
        elif isinstance(error, RetryLater):
            await self._limited(item, error, redraw=redraw)
        elif isinstance(error, Ambiguous | TimeoutError):
            wait = self._down_wait(item) if redraw else max(self._wait(item.attempts + 1), self._settle)
            await self._postpone(item, error, wait, uncertain=not redraw)
        else:
            await self._puzzled(item, error)

    async def _give_up(self, item: OutboxItem, error: Exception, *, elsewhere: bool = True) -> None:
        LOG.error("outbox row %d can't be delivered to %s: %s", item.id, item.channel, _line(error))
        now, fallback = self._clock(), self._fallback if elsewhere else None
        await self._store.write(lambda db: sending.give_up(db, item, fallback, now, _line(error)))
        del self._riddles[item.id]

    async def _refused(self, item: OutboxItem, error: Closed, *, redraw: bool) -> None:
        """A channel: the incident goes on in the fallback channel. The token, or even that channel: it waits."""
        if not error.everywhere and sending.has_elsewhere(item, self._fallback):
            await self._give_up(item, error)
            return
        LOG.error("nothing can be delivered to %s until somebody repairs this: %s", item.channel, error)
        wait = self._closed_wait(item.attempts + 1)
        self._pacing.hold(item.channel, wait.total_seconds(), redraw=redraw)
        await self._postpone(item, error, wait)

    async def _limited(self, item: OutboxItem, error: RetryLater, *, redraw: bool, uncertain: bool = False) -> None:
        """Try again when Slack says so, else soon."""
        if error.seconds is None:
            await self._postpone(item, error, self._down_wait(item), uncertain=uncertain)
            return
        if error.everywhere:
            self._pacing.hold_everybody(error.seconds)
        if redraw:
            self._pacing.hold_redraws(error.seconds)
        else:
            self._pacing.hold(item.channel, error.seconds, redraw=False)
        await self._postpone(item, error, timedelta(seconds=error.seconds), uncertain=uncertain)

    async def _puzzled(self, item: OutboxItem, error: Exception) -> None:
        """An error that nobody foresaw: tried again with growing pauses, but not for ever."""
        self._riddles[item.id] += 1
        if self._riddles[item.id] < POISON_AFTER:
            await self._postpone(item, error, self._wait(self._riddles[item.id]))
            return
        LOG.error("outbox row %d failed %d times", item.id, POISON_AFTER, exc_info=error)
        gave_up = DeliveryError(f"gave up: {_line(error)}")
        await self._give_up(item, gave_up, elsewhere=isinstance(error, DeliveryError))

    async def _postpone(self, item: OutboxItem, error: Exception, wait: timedelta, *, uncertain: bool = False) -> None:
        """Try again after a while. In doubt it rests by a clock that nobody sets: it is looked up in due time."""
        LOG.warning("outbox row %d for %s is late: %s", item.id, item.channel, _line(error))
        if uncertain:
            self._pacing.rest(item.incident_id, wait.total_seconds())
        until = self._clock() + wait
        await self._store.write(lambda db: outbox.postpone(db, item.id, until, _line(error), uncertain=uncertain))

    def _wait(self, attempt: int) -> timedelta:
        return delay(attempt, self._jitter())

    def _down_wait(self, item: OutboxItem) -> timedelta:
        return delay(item.attempts + 1, self._jitter(), base=DOWN_BASE, cap=DOWN_CAP)

    def _closed_wait(self, attempt: int) -> timedelta:
        return delay(attempt, self._jitter(), base=CLOSED_BASE)


def _line(error: Exception) -> str:
    """One line about an error, for the status view."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
