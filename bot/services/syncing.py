"""Reading the mail systems: what they list becomes what we know, and what that changes is triaged with it.

Promises: a read is taken over whole, in one transaction with its consequences, or not at all (what a flood of changes
means is worked out right after it, and by upkeep and the next probes if that is cut off); a mail system that can't
be read keeps its last known figures, its failure is recorded, and the others are read all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import lru_cache

from sqlite_utils import Database

from bot.backends.ports import Backend, BackendError, Snapshot, Unreachable
from bot.core.assignment import Basis, assigner, basis
from bot.core.clock import Clock
from bot.core.policy import Policy
from bot.services.steadiness import Steadiness
from bot.services.triage import SLICE, due_for_triage, triage_many, triage_some
from knowledge.diagnose import diagnose
from storage import connectors, domains, incidents, messages, syncs
from storage.connection import Store
from storage.records import Connector, DomainFacts, MessageFacts, QueueSummary, SyncCounts

LOG = logging.getLogger(__name__)

DEADLINE = 120.0
"""Seconds for one read of one mail system."""

Counts = dict[str, SyncCounts]


class Syncing:
    """Reads the mail systems: one of them (`sync`), or all (`tick`)."""

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, Backend],
        policy: Policy,
        clock: Clock,
        *,
        default_channel: str,
        deadline: float = DEADLINE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._backends = backends
        self._policy = policy
        self._clock = clock
        self._default_channel = default_channel
        self._deadline = deadline
        self._steadiness = Steadiness(clock, monotonic)
        self._reading = {name: asyncio.Lock() for name in backends}

    async def sync(self, name: str) -> Counts:
        """Read one mail system now.

        1. Note that the read begins. 2. Ask for everything. 3. Take it over, triage what it changed and note the end,
        in one transaction; a flood of changes is triaged in slices after it. A failure is noted too, and raised as
        BackendError. KeyError: there is no such system.
        """
        backend = self._backends[name]
        async with self._reading[name]:
            now = self._clock()
            run = await self._store.write(lambda db: syncs.begin(db, name, now))
            try:
                snapshot = await self._read(backend)
                prepared = await self._prepared(name, snapshot)
                counts, due = await self._store.write(lambda db: self._take_over(db, name, run, snapshot, prepared))
            except Exception as error:
                await self._note_failure(run, error)
                raise
            await triage_many(
                self._store, due, self._policy, self._clock(), default_channel=self._default_channel,
                steady=self._steadiness.look(),
            )  # fmt: skip
            return counts

    async def tick(self) -> None:
        """Read all of them, side by side. Failures are in the log and in the status; the next tick tries again."""
        outcomes = await asyncio.gather(*(self.sync(name) for name in self._backends), return_exceptions=True)
        for name, outcome in zip(self._backends, outcomes, strict=True):
            if isinstance(outcome, BackendError):
                LOG.warning("mail system %s could not be read: %s", name, outcome)
            elif isinstance(outcome, Exception):
                LOG.error("mail system %s could not be taken over", name, exc_info=outcome)

    async def _read(self, backend: Backend) -> Snapshot:
        try:
            async with asyncio.timeout(self._deadline):
                snapshot = await backend.snapshot()
        except TimeoutError as error:
            raise Unreachable(f"it did not answer within {self._deadline:.0f} s") from error
        if snapshot.messages is None:
            return snapshot
        return replace(snapshot, messages=await asyncio.to_thread(_with_codes, snapshot.messages))

    async def _prepared(self, name: str, snapshot: Snapshot) -> _Assigned | None:
        """Who carries what, worked out before the transaction on what is stored now: mostly it is still so then."""
        facts = snapshot.messages
        if facts is None:
            return None
        mine, known = await self._store.read(lambda db: _roster(db, name))
        return await asyncio.to_thread(_assigned, mine, known, facts)

    async def _note_failure(self, run: int, error: Exception) -> None:
        now, line = self._clock(), " ".join(str(error).split())[:300] or type(error).__name__
        await self._store.write(lambda db: syncs.finish(db, run, now, {}, line))

    def _take_over(
        self, db: Database, name: str, run: int, snapshot: Snapshot, prepared: _Assigned | None
    ) -> tuple[Counts, list[int]]:
        """The counts, and whoever is still to be looked at: only in a flood are there any."""
        now = self._clock()
        before = messages.summaries(db)
        counts = _store(db, name, snapshot, prepared, now)
        syncs.finish(db, run, now, {f"{part}_{key}": n for part, c in counts.items() for key, n in asdict(c).items()})
        due, steady = touched(db, before, self._policy, now), self._steadiness.look()
        triage_some(db, due[:SLICE], self._policy, now, default_channel=self._default_channel, steady=steady)
        return counts, due[SLICE:]


def touched(db: Database, before: Mapping[int | None, QueueSummary], policy: Policy, now: datetime) -> list[int]:
    """Whom to look at after a change: another queue than `before`, mail that is stuck, or no longer watched.

    An open incident whose queue is the same is none of these: probes and the time bring it up by themselves.
    """
    after = messages.summaries(db)
    changed = {c for c in before.keys() | after.keys() if c is not None and before.get(c) != after.get(c)}
    return sorted(changed.union(due_for_triage(db, policy, now), incidents.at_retired_connectors(db)))


def _store(db: Database, name: str, snapshot: Snapshot, prepared: _Assigned | None, now: datetime) -> Counts:
    counts: Counts = {}
    if snapshot.connectors is not None:
        counts["connectors"] = connectors.sync(db, name, snapshot.connectors, now, complete=True)
    if snapshot.domains is not None:
        counts["domains"] = domains.sync(db, name, snapshot.domains, now, complete=True)
    if snapshot.messages is not None:
        mine, known = _roster(db, name)
        if prepared is None or prepared.basis != basis(mine, known):
            prepared = _assigned(mine, known, snapshot.messages)
        counts["messages"] = messages.sync(db, name, prepared.rows, now, complete=True)
    return counts


@dataclass(frozen=True, slots=True)
class _Assigned:
    """Each message with the connector that carries it; it holds as long as `basis` does."""

    basis: Basis
    rows: list[tuple[MessageFacts, int | None]]


def _roster(db: Database, name: str) -> tuple[list[Connector], list[DomainFacts]]:
    return [c for c in connectors.every(db) if c.backend == name], domains.every(db, name)


def _assigned(mine: Sequence[Connector], known: Sequence[DomainFacts], facts: Iterable[MessageFacts]) -> _Assigned:
    """As the mail system says, else as we find."""
    by_key = {c.key: c.id for c in mine}
    find = assigner(mine, known)
    rows = [(m, by_key[m.connector_key] if m.connector_key in by_key else find(m)) for m in facts]
    return _Assigned(basis(mine, known), rows)


def _with_codes(facts: Iterable[MessageFacts]) -> list[MessageFacts]:
    return [replace(m, code=_code(m.reason)) if m.code is None and m.reason else m for m in facts]


@lru_cache(maxsize=4096)
def _code(reason: str) -> str | None:
    """The code that a deferral reason means. Reasons repeat: thousands of messages wait for the same one."""
    return diagnose(reason).code
