"""Probes of known connectors: when, how many at once, and what is done with the answer.

Promises: never two probes of one connector at once (a second asker gets the first one's answer); the probe, what it
changes and when the next one is due are one transaction; a connector whose probe breaks here is only tried later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.core.clock import Clock
from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult
from bot.core.probe_schedule import interval, place, spread
from bot.probes.runner import request_for
from bot.services.recording import Finished, Recorder
from bot.services.steadiness import Steadiness
from bot.services.vantage import Probes, Vantage
from storage import connectors, incidents
from storage.connection import Store
from storage.records import Connector, ProbeRecord

LOG = logging.getLogger(__name__)

LEASE_MARGIN = timedelta(seconds=30)
CLAIM_AGAIN = 0.5
"""Seconds after which a tick that still waits for probes looks for connectors that have become due."""
GATHER = 0.005
"""Seconds for which a claim waits for more room."""
BACKLOG = 2
"""So many times as many probes as may be dialling are under way at most, those included that wait to be written."""


class Probing:
    """Probes what is due (`tick`) or what somebody asks for (`probe`)."""

    def __init__(
        self,
        store: Store,
        prober: Probes,
        policy: Policy,
        clock: Clock,
        *,
        default_port: int,
        default_channel: str,
        egress: Sequence[tuple[str, int]] = (),
        concurrency: int = 64,
        timeout: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._prober = prober
        self._policy = policy
        self._clock = clock
        self._default_port = default_port
        self._concurrency = concurrency
        self._timeout = timeout
        self._dialling = 0
        self._room = asyncio.Event()
        self._running: dict[int, asyncio.Task[ProbeRecord]] = {}
        self._askers: dict[int, list[str]] = {}
        self._steadiness = Steadiness(clock, monotonic)
        self._recorder = Recorder(store, policy, default_channel=default_channel, steady=self._steadiness.look)
        self._vantage = Vantage(store, prober, policy, egress=egress)

    async def recover(self) -> None:
        """Call it at start: takes up a blindness that was open when the last process ended, and mends due times."""
        await self._mend()
        await self._vantage.recover(self._clock())

    async def clock_jumped(self) -> None:
        """Call it after the clock was set: no probe waits longer than its interval."""
        self._steadiness.jumped()
        await self._mend()

    async def _mend(self) -> None:
        now = self._clock()
        await self._store.write(lambda db: _mend_due_times(db, self._policy, now))

    async def probe(self, connector_id: int, *, actor: str | None = None) -> ProbeRecord:
        """Probe one connector now and act on it; `actor` asked, so its open incidents say so.

        LookupError: there is no such connector.
        """
        if actor is not None:
            self._askers.setdefault(connector_id, []).append(actor)
        return await asyncio.shield(self._start(connector_id))

    async def tick(self) -> None:
        """Probe everything that is due, as many at once as allowed, until nothing is due any more."""
        mine: set[asyncio.Task[ProbeRecord]] = set()
        while True:
            self._room.clear()
            mine |= {self._start(connector.id, connector) for connector in await self._claim(self._free())}
            await self._vantage.end_blindness(self._clock())
            mine = {task for task in mine if not task.done()}
            if not mine:
                break
            await self._wait_for_room()

    def _free(self) -> int:
        """How many may begin: what only waits to be written holds no connection, but there is an end to that, too."""
        return min(self._concurrency - self._dialling, BACKLOG * self._concurrency - len(self._running))

    async def _wait_for_room(self) -> None:
        """Wait until a probe has ended, and for a moment for others that do: claiming one by one costs too much."""
        try:
            async with asyncio.timeout(CLAIM_AGAIN):
                await self._room.wait()
        except TimeoutError:
            return
        if self._dialling:
            await asyncio.sleep(GATHER)

    async def close(self) -> None:
        """Give up the probes that still run; their connectors are due again when their leases end."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._recorder.close()

    async def _claim(self, limit: int) -> list[Connector]:
        if limit <= 0:
            return []
        now, lease = self._clock(), timedelta(seconds=self._timeout) + LEASE_MARGIN
        return await self._store.write(lambda db: _claim(db, self._policy, now, limit, lease))

    def _start(self, connector_id: int, connector: Connector | None = None) -> asyncio.Task[ProbeRecord]:
        task = self._running.get(connector_id)
        if task is None:
            task = asyncio.create_task(self._probe(connector_id, connector), name=f"probe-{connector_id}")
            self._running[connector_id] = task
            task.add_done_callback(lambda done: self._ended(connector_id, done))
        return task

    def _ended(self, connector_id: int, task: asyncio.Task[ProbeRecord]) -> None:
        self._running.pop(connector_id, None)
        self._room.set()
        self._askers.pop(connector_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("the probe of connector %d broke off", connector_id, exc_info=error)

    async def _probe(self, connector_id: int, connector: Connector | None) -> ProbeRecord:
        """1. Probe. 2. Are we blind? 3. Record, triage and schedule in one transaction (bot/services/recording.py).

        If anything of ours breaks, the connector is tried again after the failing interval, and the error is raised.
        """
        if connector is None:
            connector = await self._store.read(lambda db: connectors.get(db, connector_id))
            if connector is None:
                raise LookupError(f"there is no connector {connector_id}")
        try:
            result = await self._dial(connector)
            now = self._clock()
            seen = await self._vantage.note(connector, result, now)
            askers = tuple(dict.fromkeys(self._askers.pop(connector_id, ())))
            dark = self._vantage.dark() if seen is not None else ()
            finished = Finished(connector=connector, result=result, at=now, askers=askers, seen=seen, dark=dark)
            return await self._recorder.record(finished, more=lambda: len(self._running))
        except Exception:
            later = self._clock() + self._policy.probe_interval_failing
            await self._store.write(lambda db: connectors.schedule(db, connector_id, later))
            raise

    async def _dial(self, connector: Connector) -> ProbeResult:
        self._dialling += 1
        try:
            return await self._prober.probe(request_for(connector, self._default_port, self._timeout))
        finally:
            self._dialling -= 1
            self._room.set()


def _claim(db: Database, policy: Policy, now: datetime, limit: int, lease: timedelta) -> list[Connector]:
    """Take what is due. A crowd that was only just listed is spread first."""
    if connectors.new_ones_next(db, now, limit):
        _spread(db, connectors.newcomers(db, now), policy, now)
    return connectors.claim_due(db, now, limit, lease)


def _mend_due_times(db: Database, policy: Policy, now: datetime) -> None:
    """After a pause or a clock that was set: nobody waits longer than its interval, and not everybody comes at once.

    Connectors with an open outage keep their place.
    """
    every = [c for c in connectors.every(db) if c.enabled]
    for connector in every:
        if connector.next_probe_at > now + interval(connector, policy):
            connectors.schedule(db, connector.id, now + interval(connector, policy) * place(connector))
    failing = {i.connector_id for i in incidents.open_everywhere(db) if not i.is_warning}
    _spread(db, [c for c in every if c.next_probe_at <= now and c.id not in failing], policy, now)


def _spread(db: Database, due: Sequence[Connector], policy: Policy, now: datetime) -> None:
    for connector_id, at in spread(due, policy, now).items():
        connectors.schedule(db, connector_id, at)
