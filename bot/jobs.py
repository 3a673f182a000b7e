"""The clockwork: a handful of fixed ticks on APScheduler, in memory; what is due stands in the database.

Promises: a tick never runs twice at once; a late one runs once, not as often as it was missed; an error in one tick is
logged and does not stop it; a clock that was set runs everything once and goes on from there; `stop` lets running ticks
end before it gives them up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

LOG = logging.getLogger(__name__)

JUMP = 5.0
"""Seconds by which wall clock and monotonic clock may drift apart between two looks."""
GUARD_EVERY = 1.0
DRAIN = 10.0

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One thing that is done again and again. `at_once`: the first time right at the start."""

    name: str
    every: timedelta
    work: Work
    at_once: bool = True


class Jobs:
    """Runs ticks. `on_jump` is awaited after a clock jump, before the ticks run."""

    def __init__(
        self,
        ticks: Sequence[Tick],
        *,
        on_jump: Sequence[Work] = (),
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        guard_every: float = GUARD_EVERY,
        drain: float = DRAIN,
    ) -> None:
        self._ticks = {tick.name: tick for tick in ticks}
        self._on_jump = on_jump
        self._wall = wall
        self._monotonic = monotonic
        self._guard_every = guard_every
        self._drain = drain
        self._scheduler: Any = AsyncIOScheduler(timezone=UTC)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._guard: asyncio.Task[None] | None = None
        self._finished: dict[str, datetime] = {}
        self._errors: dict[str, str] = {}

    @property
    def finished(self) -> Mapping[str, datetime]:
        """When each tick last ended well: a moment long ago means that something is stuck."""
        return self._finished

    @property
    def errors(self) -> Mapping[str, str]:
        """The last error of each tick whose last run failed."""
        return self._errors

    async def start(self) -> None:
        """Begin. Needs a running loop."""
        for tick in self._ticks.values():
            first = {"next_run_time": self._now()} if tick.at_once else {}
            self._scheduler.add_job(
                self._begin,
                "interval",
                args=[tick.name],
                id=tick.name,
                seconds=tick.every.total_seconds(),
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
                **first,
            )
        self._scheduler.add_listener(self._report, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
        self._scheduler.start()
        self._guard = asyncio.create_task(self._watch_clock(), name="clock-guard")

    async def stop(self) -> None:
        """Start nothing new, give running ticks ten seconds, then cancel them."""
        if self._guard is None:
            return
        self._guard.cancel()
        await asyncio.gather(self._guard, return_exceptions=True)
        self._guard = None
        self._scheduler.pause()
        running = list(self._running.values())
        if running:
            await asyncio.wait(running, timeout=self._drain)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)  # the scheduler ends itself in the loop's next turn

    def run_now(self, name: str | None = None) -> None:
        """Let one tick, or all, come at once instead of at its time."""
        for each in self._ticks if name is None else (name,):
            self._scheduler.modify_job(each, next_run_time=self._now())

    async def _begin(self, name: str) -> None:
        """Start one run of one tick, unless its last run has not ended yet."""
        if name not in self._running:
            task = asyncio.create_task(self._run(name), name=f"tick-{name}")
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name, None))

    async def _run(self, name: str) -> None:
        """Errors end here, so the next run comes in any case."""
        try:
            await self._ticks[name].work()
        except Exception as error:
            LOG.exception("tick %s failed; it runs again in %s", name, self._ticks[name].every)
            self._errors[name] = f"{type(error).__name__}: {error}"
        else:
            self._errors.pop(name, None)
            self._finished[name] = self._now()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)

    def _report(self, event: JobExecutionEvent) -> None:
        LOG.error("tick %s was not run: %s", event.job_id, event.exception or "missed")

    async def _watch_clock(self) -> None:
        """APScheduler trusts the wall clock: set back, it would sleep that long; set forward, it would run behind."""
        offset = self._wall() - self._monotonic()
        while True:
            await asyncio.sleep(self._guard_every)
            present = self._wall() - self._monotonic()
            if abs(present - offset) > JUMP:
                LOG.warning("the clock was set by %+.0f s; everything due is looked at again", present - offset)
                await self._after_jump()
            offset = present

    async def _after_jump(self) -> None:
        for work in self._on_jump:
            try:
                await work()
            except Exception:
                LOG.exception("a part could not adapt to the new clock")
        self.run_now()
