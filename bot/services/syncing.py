"""Reading the mail systems: what they list becomes what we know, and what that changes is triaged with it.

Promises: a list that says nothing new writes nothing but its own run, and holds up nobody; a usual change is taken over
whole, in one transaction with its consequences; a flood is written in slices, each of them true, and what it means is
worked out right after it (and by upkeep and the next probes if that is cut off). A mail system that can't be read keeps
its last known figures, its failure is recorded and told after a few misses, and the others are read all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter

from sqlite_utils import Database

from bot.backends.ports import Backend, BackendError, Snapshot, Unreachable
from bot.core.assignment import assigner
from bot.core.clock import Clock
from bot.core.policy import Policy
from bot.services.pace import Pace
from bot.services.queue_taking import Taking, compare
from bot.services.steadiness import Steadiness
from bot.services.triage import SLICE, due_for_triage, triage_many, triage_some
from bot.services.unassigned import look_at_unassigned
from bot.services.unreadable import note_miss, note_read
from knowledge.diagnose import diagnose
from storage import connectors, domains, incidents, syncs
from storage.connection import Store
from storage.records import Connector, ConnectorFacts, DomainFacts, MessageFacts, MessageStatus, SyncCounts

LOG = logging.getLogger(__name__)

DEADLINE = 300.0
"""Seconds for one read of one mail system. A tenant with 300,000 waiting messages is listed in four minutes or so."""
USUAL = timedelta(minutes=1)
"""How often a mail system is taken to be read where nobody says."""

Counts = dict[str, SyncCounts]
Roster = tuple[list[Connector], list[DomainFacts]]

_STORED = attrgetter(*(f.name for f in fields(ConnectorFacts)))


class Syncing:
    """Reads the mail systems: one of them (`sync`), or all that are due (`tick`).

    `intervals`: how often each is read by `tick`; `every`: those that it lacks, None: at each tick.
    """

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, Backend],
        policy: Policy,
        clock: Clock,
        *,
        default_channel: str,
        deadline: float = DEADLINE,
        every: timedelta | None = None,
        intervals: Mapping[str, timedelta] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._backends = backends
        self._policy = policy
        self._clock = clock
        self._default_channel = default_channel
        self._deadline = deadline
        self._pace = Pace(intervals or {}, every or timedelta(0), monotonic)
        self._steadiness = Steadiness(clock, monotonic)
        self._reading = {name: asyncio.Lock() for name in backends}
        self._unstored: set[str] = set()

    async def sync(self, name: str) -> Counts:
        """Read one mail system now.

        1. Note that the read begins. 2. Ask for everything. 3. Take connectors and domains over, if they changed.
        4. Compare its queue with ours, write a flood of changes in slices. 5. Write the rest, triage what changed and
        note the end, in one transaction; whoever is still to be looked at has his turn after it.
        A failure is noted too, and raised as BackendError; so is a list that is too old, although it is taken over.
        KeyError: there is no such system.
        """
        backend = self._backends[name]
        async with self._reading[name]:
            begun = self._clock()
            run = await self._store.write(lambda db: syncs.begin(db, name, begun))
            try:
                snapshot = self._doubted(name, await self._read(backend))
                counts = await self._take_settings(name, snapshot)
                taking = await self._compare(name, snapshot)
                triaged = await self._store.write(
                    lambda db: self._finish(db, run, snapshot=snapshot, counts=counts, taking=taking, name=name)
                )
            except Exception as error:
                await self._note_failure(name, run, error)
                raise
            self._pace.read(name, good=True)
            self._unstored.discard(name)
            await self._look_at_the_rest(set() if taking is None else taking.touched, triaged)
            if snapshot.overdue is not None:
                raise Unreachable(snapshot.overdue)
            return counts

    def interval(self, name: str) -> timedelta:
        """How often this one is read by `tick`."""
        return self._pace.interval(name)

    async def tick(self, only: str | None = None) -> None:
        """Read this one if it is due, or all that are, side by side; it lasts as long as the slowest.

        Failures are in the log and the status; a later tick tries again.
        """
        due = self._pace.due(self._backends if only is None else (only,))
        outcomes = await asyncio.gather(*(self.sync(name) for name in due), return_exceptions=True)
        for name, outcome in zip(due, outcomes, strict=True):
            if isinstance(outcome, BackendError):
                LOG.warning("mail system %s could not be read: %s", name, outcome)
            elif isinstance(outcome, Exception):
                LOG.error("mail system %s could not be taken over", name, exc_info=outcome)

    async def _read(self, backend: Backend) -> Snapshot:
        try:
            async with asyncio.timeout(self._deadline):
                return await backend.snapshot()
        except TimeoutError as error:
            raise Unreachable(f"it did not answer within {self._deadline:.0f} s") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Unreachable("its read was broken off") from None  # by itself: nobody wants us to end

    def _doubted(self, name: str, snapshot: Snapshot) -> Snapshot:
        """As it is, unless the last one was not stored: then nobody says any more how left what it lacked."""
        doubtful = name in self._unstored
        self._unstored.add(name)
        return replace(snapshot, vanished=MessageStatus.GONE) if doubtful else snapshot

    async def _take_settings(self, name: str, snapshot: Snapshot) -> Counts:
        """Connectors and domains: mostly nothing changed, and then nobody's turn to write is taken."""
        if await self._store.read(lambda db: _same_settings(db, name, snapshot)):
            return _unchanged_settings(snapshot)
        now = self._clock()
        return await self._store.write(lambda db: _store_settings(db, name, snapshot, now))

    async def _compare(self, name: str, snapshot: Snapshot) -> Taking | None:
        if snapshot.messages is None:
            return None
        roster = await self._store.read(lambda db: _roster(db, name))
        now = self._clock()
        return await compare(
            self._store,
            name,
            _assigned(roster, snapshot.messages, routed=snapshot.routed),
            now,
            ended=_assigned(roster, snapshot.ended, routed=snapshot.routed),
            vanished=snapshot.vanished,
        )

    def _finish(
        self, db: Database, run: int, *, name: str, snapshot: Snapshot, counts: Counts, taking: Taking | None
    ) -> set[int]:
        """Write what is left, triage what it changed, note the end; returns who was triaged: in a flood not all."""
        now = self._clock()
        triaged: list[int] = []
        if taking is not None:
            counts["messages"] = taking.finish(db)
            triaged = sorted(taking.touched)[:SLICE]
        true_at = None if snapshot.true_at is None else min(snapshot.true_at, now)
        flat = {f"{part}_{key}": n for part, c in counts.items() for key, n in asdict(c).items()}
        syncs.finish(db, run, now, flat, snapshot.overdue, true_at=true_at, notes=snapshot.notes)
        steady = self._steadiness.look()
        if snapshot.overdue is None:
            note_read(db, name, now)
        else:
            self._note_miss(db, name, snapshot.overdue, now, steady=steady)
        if triaged:
            triage_some(db, triaged, self._policy, now, default_channel=self._default_channel, steady=steady)
        return set(triaged)

    async def _look_at_the_rest(self, touched: set[int], triaged: set[int]) -> None:
        """Whom to look at besides: the rest of a flood, mail that is stuck by now, connectors no longer watched.

        An open incident whose queue is the same is none of these: probes and the time bring it up by themselves.
        Then what belongs to no connector.
        """
        now = self._clock()
        due = touched | await self._store.read(lambda db: _waiting_for_a_look(db, self._policy, now))
        await triage_many(
            self._store, sorted(due - triaged), self._policy, now, default_channel=self._default_channel,
            steady=self._steadiness.look(),
        )  # fmt: skip
        await look_at_unassigned(
            self._store, self._policy, now, default_channel=self._default_channel, steady=self._steadiness.look()
        )

    async def _note_failure(self, name: str, run: int, error: Exception) -> None:
        now, line = self._clock(), " ".join(str(error).split())[:300] or type(error).__name__
        steady = self._steadiness.look()
        self._pace.read(name, good=False)

        def note(db: Database) -> None:
            syncs.finish(db, run, now, {}, line)
            self._note_miss(db, name, line, now, steady=steady)

        await self._store.write(note)

    def _note_miss(self, db: Database, name: str, line: str, now: datetime, *, steady: bool) -> None:
        interval = self._pace.interval(name) or USUAL
        note_miss(db, name, line, now, interval=interval, channel=self._default_channel, steady=steady)


def _waiting_for_a_look(db: Database, policy: Policy, now: datetime) -> set[int]:
    return {*due_for_triage(db, policy, now), *incidents.at_retired_connectors(db)}


def _same_settings(db: Database, name: str, snapshot: Snapshot) -> bool:
    mine, known = _roster(db, name)
    if snapshot.connectors is not None:
        listed = {f.key: _STORED(f) for f in snapshot.connectors}
        if listed != {c.key: _STORED(c) for c in mine}:
            return False
    return snapshot.domains is None or set(snapshot.domains) == set(known)


def _unchanged_settings(snapshot: Snapshot) -> Counts:
    parts = {"connectors": snapshot.connectors, "domains": snapshot.domains}
    return {part: SyncCounts(unchanged=len(listed)) for part, listed in parts.items() if listed is not None}


def _store_settings(db: Database, name: str, snapshot: Snapshot, now: datetime) -> Counts:
    counts: Counts = {}
    if snapshot.connectors is not None:
        counts["connectors"] = connectors.sync(db, name, snapshot.connectors, now, complete=True)
    if snapshot.domains is not None:
        counts["domains"] = domains.sync(db, name, snapshot.domains, now, complete=True)
    return counts


def _roster(db: Database, name: str) -> Roster:
    return [c for c in connectors.every(db) if c.backend == name], domains.every(db, name)


def _assigned(
    roster: Roster, facts: Sequence[MessageFacts], *, routed: bool
) -> Iterator[tuple[MessageFacts, int | None]]:
    """Each message with its code and its connector: the one that the mail system says, else the one that we find.

    `routed`: what the mail system says is all there is to know, so nothing is found instead.
    """
    mine, known = roster
    by_key = {c.key: c.id for c in mine}
    find = assigner(mine, known)
    for message in _with_codes(facts):
        carrier = by_key.get(message.connector_key or "")
        yield message, find(message) if carrier is None and not routed else carrier


def _with_codes(facts: Iterable[MessageFacts]) -> Iterator[MessageFacts]:
    for message in facts:
        yield replace(message, code=_code(message.reason)) if message.code is None and message.reason else message


@lru_cache(maxsize=4096)
def _code(reason: str) -> str | None:
    """The code that a deferral reason means. Reasons repeat: thousands of messages wait for the same one."""
    return diagnose(reason).code
