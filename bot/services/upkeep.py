"""What time alone brings: mail that is stuck by now, escalation marks that pass, queue samples, and forgetting.

Promises: what can't be taken back waits until the clock has run evenly for some minutes, after it was set and after
the start; and nothing that a mail system still lists is ended here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from sqlite_utils import Database

from bot.core.alerts import critical_reason, passed_marks
from bot.core.clock import Clock
from bot.core.policy import Policy
from bot.services.steadiness import Steadiness
from bot.services.triage import due_for_triage, is_frozen, triage_many
from bot.services.unassigned import look_at_unassigned
from storage import actions, connectors, inbox, incidents, messages, outbox, probes, queue, syncs
from storage.connection import Store
from storage.incidents import Waiting
from storage.records import CodeCount, Severity

SAMPLE_EVERY = timedelta(minutes=5)
REVIVE_EVERY = timedelta(minutes=15)
PRUNE_EVERY = timedelta(hours=1)
KEEP_PROBES = timedelta(days=30)
KEEP_SAMPLES = timedelta(days=30)
KEEP_FLOW = timedelta(days=3)
KEEP_SYNCS = timedelta(days=7)
KEEP_SENT = timedelta(days=30)
KEEP_INBOX = timedelta(hours=24)
KEEP_OFFERS = timedelta(days=1)
EXPIRY_GRACE = timedelta(hours=1)
"""A mail system that is read regularly reports the end itself. Elsewhere, what outlived its time by so much ends."""
KEEP_INCIDENTS = timedelta(days=400)


class Upkeep:
    """One tick, called every few seconds, that does whatever of it is due."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        clock: Clock,
        *,
        default_channel: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._default_channel = default_channel
        self._steadiness = Steadiness(clock, monotonic)
        self._sampled_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._pruned_at: datetime | None = None
        self._revived_at: datetime | None = None

    async def clock_jumped(self) -> None:
        """Call it after the clock was set: what was due by the old time is due within its usual time by the new one."""
        self._steadiness.jumped()
        await self._mend_verifications()

    async def tick(self) -> None:
        """1. Escalate and open what has become due, at connectors and for mail that has none.

        2. Sample queues, end mail that nobody reads any more. 3. Forget what is too old.
        4. An open incident whose message was given up is tried again: the channel may have been put right. While the
        clock is not steady nothing is escalated, sampled, ended or forgotten.
        """
        now, steady = self._clock(), self._steadiness.look()
        proven = self._steadiness.proven
        sampling = steady and _is_due(self._sampled_at, SAMPLE_EVERY, now)
        due = await self._store.read(lambda db: suspects(db, self._policy, now, steady=steady, every_open=sampling))
        await triage_many(self._store, due, self._policy, now, default_channel=self._default_channel, steady=steady)
        await look_at_unassigned(self._store, self._policy, now, default_channel=self._default_channel, steady=steady)
        if sampling:
            await self._mend_verifications()
            await self._store.write(lambda db: sample_queues(db, now))
            self._sampled_at = now
        if proven and _is_due(self._ended_at, SAMPLE_EVERY, now):
            await self._store.write(lambda db: self._end_unread(db, now))
            self._ended_at = now
        if proven and _is_due(self._pruned_at, PRUNE_EVERY, now):
            await self._store.write(lambda db: prune(db, now))
            self._pruned_at = now
        if _is_due(self._revived_at, REVIVE_EVERY, now):
            await self._store.write(lambda db: outbox.revive(db, now))
            self._revived_at = now

    def _end_unread(self, db: Database, now: datetime) -> int:
        return messages.expire(db, now - EXPIRY_GRACE, read_since=now - self._policy.stale_after)

    async def _mend_verifications(self) -> None:
        latest = self._clock() + self._policy.verify_after
        await self._store.write(lambda db: actions.verify_by(db, latest))


def suspects(
    db: Database, policy: Policy, now: datetime, *, steady: bool = True, every_open: bool = False
) -> list[int]:
    """The connectors that time alone may have changed, and only those.

    `every_open`: also whoever has an open incident, for its countdown and its quiet time. Not `steady`: the time is
    suspect, so only what does not depend on it counts.
    """
    due = set(incidents.at_retired_connectors(db))
    if every_open:
        due |= {i.connector_id for i in incidents.open_everywhere(db) if i.connector_id is not None}
    if steady:
        due |= set(due_for_triage(db, policy, now))
        louder = {w.connector_id for w in incidents.waiting(db) if may_be_told_louder(w, policy, now)}
        due |= _timely(db, louder, policy, now) if louder else louder
    return sorted(due)


def _timely(db: Database, connector_ids: set[int], policy: Policy, now: datetime) -> set[int]:
    """Without those whose queue is frozen: no mark passes by it alone, and what bears it out brings its own look."""
    backends = {c.id: c.backend for c in map(partial(connectors.get, db), connector_ids) if c is not None}
    frozen = {name for name in set(backends.values()) if is_frozen(db, policy, now, name)}
    return {connector_id for connector_id, name in backends.items() if name not in frozen}


def may_be_told_louder(waiting: Waiting, policy: Policy, now: datetime) -> bool:
    """Can more marks have passed than were told, or can it have become critical? Triage then looks closely."""
    everything = CodeCount(
        code=None,
        count=waiting.waiting,
        oldest_received_at=waiting.oldest_received_at,
        first_expiry_at=waiting.first_expiry_at,
    )
    if waiting.severity is Severity.WARNING and critical_reason(everything, policy, now):
        return True
    return len(passed_marks(everything, policy, now)) > waiting.escalated


def sample_queues(db: Database, now: datetime) -> None:
    """Note how much waits at each connector where something does."""
    messages.sample_all(db, now)


def prune(db: Database, now: datetime) -> None:
    """Forget what nobody looks at any more. Whatever is open, waits or is owed stays."""
    probes.prune(db, now - KEEP_PROBES)
    messages.prune(db, now - KEEP_SAMPLES)
    queue.prune_flow(db, now - KEEP_FLOW)
    syncs.prune(db, now - KEEP_SYNCS)
    outbox.prune(db, now - KEEP_SENT)
    actions.forget_offers(db, now - KEEP_OFFERS)
    inbox.prune(db, now - KEEP_INBOX)
    incidents.prune(db, now - KEEP_INCIDENTS)


def _is_due(last: datetime | None, every: timedelta, now: datetime) -> bool:
    """Also when the clock was set back: then the last time lies ahead."""
    return last is None or abs(now - last) >= every
