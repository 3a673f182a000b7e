"""Probes of known connectors: when, how many at once, and what is done with the answer.

Promises: never two probes of one connector at once (a second asker gets the first one's answer); the probe, what it
changes and when the next one is due are one transaction; a connector whose probe breaks here is only tried later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlite_utils import Database

from bot.core.blindness import Horizon
from bot.core.clock import Clock
from bot.core.events import EventKind
from bot.core.evidence import NETWORK_CODES
from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult
from bot.core.probe_schedule import destination, interval, record_of
from bot.probes.runner import ProbeRequest, request_for
from bot.services.monitor import blind_incident, tell_blind, tell_seeing
from bot.services.timeline import record_event
from bot.services.triage import triage_connector
from storage import connectors, incidents, probes
from storage.connection import Store
from storage.records import Connector, Incident, ProbeRecord

LOG = logging.getLogger(__name__)

LEASE_MARGIN = timedelta(seconds=30)
CLAIM_AGAIN = 0.5
"""Seconds after which a tick that still waits for probes looks for connectors that have become due."""
EGRESS_TIMEOUT = 5.0
EGRESS_KNOWN_FOR = timedelta(seconds=2)


class Probes(Protocol):
    """What is asked of bot.probes.runner.Prober."""

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        """See there."""
        ...

    async def egress_open(self, targets: Sequence[tuple[str, int]], timeout: float) -> bool:
        """See there."""
        ...


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
    ) -> None:
        self._store = store
        self._prober = prober
        self._policy = policy
        self._clock = clock
        self._default_port = default_port
        self._default_channel = default_channel
        self._egress = egress
        self._concurrency = concurrency
        self._timeout = timeout
        self._running: dict[int, asyncio.Task[ProbeRecord]] = {}
        self._askers: dict[int, list[str]] = {}
        self._horizon = Horizon(policy)
        self._egress_checked: tuple[datetime, bool] | None = None
        self._looked_round_at: datetime | None = None

    async def recover(self) -> None:
        """Call it at start: takes up a blindness that was open when the last process ended, and mends due times."""
        now = self._clock()
        await self.clock_jumped()
        found = await self._store.read(_dark_then)
        if found is not None:
            code, dark = found
            self._horizon.restore(dark, code, now)

    async def clock_jumped(self) -> None:
        """Call it after the clock was set: no probe waits longer than its interval."""
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
            await self._end_blindness()
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
        return await self._store.write(lambda db: connectors.claim_due(db, now, limit, lease))

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
            seen = await self._blind(connector, result, now)
            around = Around(
                askers=tuple(dict.fromkeys(self._askers.pop(connector_id, ()))), seen=seen, dark=self._horizon.dark()
            )
            return await self._store.write(lambda db: self._record(db, connector, result, now, around))
        except Exception:
            later = self._clock() + self._policy.probe_interval_failing
            await self._store.write(lambda db: connectors.schedule(db, connector_id, later))
            raise

    def _record(
        self, db: Database, connector: Connector, result: ProbeResult, now: datetime, around: Around
    ) -> ProbeRecord:
        record = record_of(connector, result, now)
        if not result.nothing_probed:  # otherwise its "ok" would say that mail gets through
            record = probes.record(db, record)
        open_ones = incidents.open_at(db, connector.id)
        for actor in () if result.nothing_probed else around.askers:
            for incident in open_ones:
                _tell_reprobed(db, incident, record, actor)
        if around.seen is not None:
            tell_blind(db, now, self._default_channel, seen=around.seen, connector_ids=around.dark)
        blind = blind_incident(db) is not None
        triage_connector(db, connector.id, self._policy, now, default_channel=self._default_channel, blind=blind)
        still_open = bool(incidents.open_at(db, connector.id))
        failing = still_open or not record.ok
        connectors.schedule(db, connector.id, now + interval(connector, self._policy, failing=failing))
        return record

    async def _blind(self, connector: Connector, result: ProbeResult, now: datetime) -> str | None:
        """What tells us that we are blind: a code, or "egress"; None: nothing does."""
        dark = result.code in NETWORK_CODES
        turned = dark and await self._was_fine(connector.id)
        self._horizon.note(connector.id, destination(connector), was_fine=turned, code=result.code, now=now)
        if dark and self._egress and not await self._egress_open(now):
            return "egress"
        if not turned:
            return None
        code = self._horizon.went_dark(now)
        if code is None:
            await self._look_round(now)
        return code

    async def _was_fine(self, connector_id: int) -> bool:
        before = await self._store.read(lambda db: probes.recent(db, connector_id, 1))
        return bool(before) and before[0].ok

    async def _egress_open(self, now: datetime) -> bool:
        """Can we reach anything? Asked once for all targets that go dark together."""
        checked = self._egress_checked
        if checked is None or abs(now - checked[0]) > EGRESS_KNOWN_FOR:
            is_open = await self._prober.egress_open(self._egress, EGRESS_TIMEOUT)
            checked = self._egress_checked = (now, is_open)
        return checked[1]

    async def _look_round(self, now: datetime) -> None:
        """A target went dark: probe some others soon, so that blindness shows before anything is opened."""
        last = self._looked_round_at
        if last is not None and abs(now - last) < self._policy.probe_interval_failing:
            return
        self._looked_round_at = now
        await self._store.write(lambda db: _hurry_others(db, 2 * self._policy.blind_after, now))

    async def _end_blindness(self) -> None:
        known = await self._store.read(blind_incident)
        if known is None:
            return
        now = self._clock()
        if self._egress and not await self._egress_open(now):
            return
        if self._horizon.sees_again(known.opened_at, now):
            await self._store.write(lambda db: tell_seeing(db, now))


def _tell_reprobed(db: Database, incident: Incident, record: ProbeRecord, actor: str) -> None:
    data = {
        "ok": record.ok,
        "code": record.code,
        "status": record.status,
        "stage": record.stage,
        "elapsed_ms": record.elapsed_ms,
    }
    record_event(db, incident.id, EventKind.REPROBED, now=record.at, actor=actor, data=data)


def _mend_due_times(db: Database, policy: Policy, now: datetime) -> None:
    for connector in connectors.every(db):
        latest = now + interval(connector, policy, failing=False)
        if connector.next_probe_at > latest:
            connectors.schedule(db, connector.id, latest)


def _hurry_others(db: Database, limit: int, now: datetime) -> None:
    """Make some connectors that were fine due now, each with another next hop."""
    newest = probes.latest(db)
    fine = [c for c in connectors.every(db) if c.enabled and (p := newest.get(c.id)) is not None and p.ok]
    for connector in list({destination(c): c for c in fine}.values())[:limit]:
        if connector.next_probe_at > now:
            connectors.schedule(db, connector.id, now)


def _dark_then(db: Database) -> tuple[str, list[tuple[int, str]]] | None:
    known = blind_incident(db)
    if known is None:
        return None
    evidence = incidents.last_evidence(db, known.id)
    found = (connectors.get(db, connector_id) for connector_id in evidence.get("connectors", ()))
    return str(evidence.get("seen", "")), [(c.id, destination(c)) for c in found if c is not None]
