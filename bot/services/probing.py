"""Probes of known connectors: when, how many at once, and what is done with the answer.

Promises: never two probes of one connector at once (a second asker gets the first one's answer); the probe, what it
changes and when the next one is due are one transaction; a connector whose probe breaks here is only tried later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.core.clock import Clock
from bot.core.events import EventKind
from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult
from bot.core.probe_schedule import interval, place, record_of, spread
from bot.probes.runner import request_for
from bot.services.monitor import probes_say_nothing, tell_blind
from bot.services.steadiness import Steadiness
from bot.services.timeline import record_event
from bot.services.triage import triage_connector
from bot.services.vantage import Probes, Vantage
from storage import connectors, incidents, probes
from storage.connection import Store
from storage.records import Connector, Incident, ProbeRecord

LOG = logging.getLogger(__name__)

LEASE_MARGIN = timedelta(seconds=30)
PROBED_SETTINGS = ("use_mx", "smart_hosts", "port", "recipient_domains", "tls_setting", "tls_domain")
"""What a probe depends on."""
CLAIM_AGAIN = 0.5
"""Seconds after which a tick that still waits for probes looks for connectors that have become due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What belongs to a probe besides its result: who asked for it, and what tells us that we are blind."""

    askers: Sequence[str]
    seen: str | None
    dark: Sequence[int]


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
        self._default_channel = default_channel
        self._concurrency = concurrency
        self._timeout = timeout
        self._running: dict[int, asyncio.Task[ProbeRecord]] = {}
        self._askers: dict[int, list[str]] = {}
        self._steadiness = Steadiness(clock, monotonic)
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
            free = self._concurrency - len(self._running)
            mine |= {self._start(connector.id) for connector in await self._claim(free)}
            await self._vantage.end_blindness(self._clock())
            if not mine:
                break
            done, mine = await asyncio.wait(mine, timeout=CLAIM_AGAIN, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*done, return_exceptions=True)

    async def close(self) -> None:
        """Give up the probes that still run; their connectors are due again when their leases end."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _claim(self, limit: int) -> list[Connector]:
        if limit <= 0:
            return []
        now, lease = self._clock(), timedelta(seconds=self._timeout) + LEASE_MARGIN
        return await self._store.write(lambda db: _claim(db, self._policy, now, limit, lease))

    def _start(self, connector_id: int) -> asyncio.Task[ProbeRecord]:
        task = self._running.get(connector_id)
        if task is None:
            task = asyncio.create_task(self._probe(connector_id), name=f"probe-{connector_id}")
            self._running[connector_id] = task
            task.add_done_callback(lambda done: self._ended(connector_id, done))
        return task

    def _ended(self, connector_id: int, task: asyncio.Task[ProbeRecord]) -> None:
        self._running.pop(connector_id, None)
        self._askers.pop(connector_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("the probe of connector %d broke off", connector_id, exc_info=error)

    async def _probe(self, connector_id: int) -> ProbeRecord:
        """1. Probe. 2. Are we blind? 3. Record, triage and schedule in one transaction.

        If anything of ours breaks, the connector is tried again after the failing interval, and the error is raised.
        """
        connector = await self._store.read(lambda db: connectors.get(db, connector_id))
        if connector is None:
            raise LookupError(f"there is no connector {connector_id}")
        try:
            result = await self._prober.probe(request_for(connector, self._default_port, self._timeout))
            now = self._clock()
            seen = await self._vantage.note(connector, result, now)
            around = Around(
                askers=tuple(dict.fromkeys(self._askers.pop(connector_id, ()))), seen=seen, dark=self._vantage.dark()
            )
            return await self._store.write(lambda db: self._record(db, connector, result, now, around))
        except Exception:
            later = self._clock() + self._policy.probe_interval_failing
            await self._store.write(lambda db: connectors.schedule(db, connector_id, later))
            raise

    def _record(
        self, db: Database, connector: Connector, result: ProbeResult, now: datetime, around: Around
    ) -> ProbeRecord:
        record = probes.record(db, record_of(connector, result, now))
        for actor in () if result.nothing_probed else around.askers:
            for incident in incidents.open_at(db, connector.id):
                _tell_reprobed(db, incident, record, actor)
        if around.seen is not None:
            tell_blind(db, now, self._default_channel, seen=around.seen, connector_ids=around.dark)
        if _was_changed(connector, connectors.get(db, connector.id)):
            return record  # it says nothing of the new settings, which are due at once
        triage_connector(
            db,
            connector.id,
            self._policy,
            now,
            default_channel=self._default_channel,
            blind=probes_say_nothing(db, self._policy, now),
            steady=self._steadiness.look(),
        )
        wait = interval(connector, self._policy, failing_for=_failing_for(db, record))
        connectors.schedule(db, connector.id, now + wait)
        return record


def _was_changed(probed: Connector, present: Connector | None) -> bool:
    """Does mail go elsewhere by now, or otherwise, than it did when the probe began?"""
    return present is not None and any(getattr(probed, name) != getattr(present, name) for name in PROBED_SETTINGS)


def _tell_reprobed(db: Database, incident: Incident, record: ProbeRecord, actor: str) -> None:
    data = {
        "ok": record.ok,
        "code": record.code,
        "status": record.status,
        "stage": record.stage,
        "elapsed_ms": record.elapsed_ms,
    }
    record_event(db, incident.id, EventKind.REPROBED, now=record.at, actor=actor, data=data)


def _claim(db: Database, policy: Policy, now: datetime, limit: int, lease: timedelta) -> list[Connector]:
    """Take what is due. A crowd that was only just listed is spread first."""
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


def _failing_for(db: Database, record: ProbeRecord) -> timedelta | None:
    """How long the trouble lasts, as far as an open outage knows; None: all is well."""
    begun = [i.first_failure_at for i in incidents.open_at(db, record.connector_id) if not i.is_warning]
    return record.at - min(begun, default=record.at) if begun or not record.ok else None
