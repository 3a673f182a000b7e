"""The queue as people look at it: every connector's clock, one connector in full, and how old the figures are.

Promises: costs the same however long the queues are (counters, not messages, are read, but for the top lists, which are
bounded); details that cost a query each are gathered for the most urgent connectors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlite_utils import Database

from bot.core.evidence import folded, run_of, sample_of
from bot.core.mail_clock import BOUNCES_OVER, PACE_OVER, MailClock, mail_clock
from bot.core.policy import Policy
from bot.core.two_views import disagreement, failing_codes
from bot.core.unassigned import UNASSIGNED
from bot.core.views import ConnectorView, IncidentView, OneQueue, QueueView, StaleSource, UnassignedQueue
from bot.services.address_ranges import allowed_from
from bot.services.triage import RUN_LENGTH, mail_flows
from storage import connectors, messages, probes, queue, syncs
from storage.queue_records import QueueClock
from storage.records import QueueSummary

DETAILED = 60
"""So many connectors, the most urgent ones, are looked at in detail."""
SHORTEST_WORD = 3
"""So much of the word "unassigned" at least has to be typed."""

_NEVER = datetime.max.replace(tzinfo=UTC)


def clock_of(
    db: Database, connector_id: int | None, waits: QueueSummary, now: datetime, held: QueueClock | None = None
) -> MailClock:
    """The clock of one connector (None: of what belongs to none). `held`: its buckets, if they are at hand."""
    return mail_clock(
        waits,
        queue.clock(db, connector_id) if held is None else held,
        now,
        flow=queue.flow(db, connector_id, now - PACE_OVER, now),
        bounced=queue.flow(db, connector_id, now - BOUNCES_OVER, now).bounced,
    )


def detailed(db: Database, rows: Sequence[ConnectorView], policy: Policy, now: datetime) -> list[ConnectorView]:
    """The same rows in the same order; the most urgent ones with clock, sample and disagreement."""
    held = queue.clocks(db)
    urgent = sorted(rows, key=lambda row: (row.queue.first_expiry_at or _NEVER, not row.incidents))[:DETAILED]
    chosen = {row.connector.id for row in urgent}
    return [
        _detailed(db, row, held.get(row.connector.id, QueueClock()), policy, now)
        if row.connector.id in chosen
        else row
        for row in rows
    ]  # fmt: skip


def _detailed(db: Database, row: ConnectorView, held: QueueClock, policy: Policy, now: datetime) -> ConnectorView:
    connector = row.connector
    row = replace(
        row,
        clock=clock_of(db, connector.id, row.queue, now, held),
        sample=sample_of(row.queue, policy, now),
    )
    if not row.incidents:
        return row
    seen = probes.recent(db, connector.id, RUN_LENGTH)
    run = run_of(seen)
    flows = mail_flows(db, connector.id, run, policy, now)
    failing = failing_codes(seen[0].document) if seen else ()
    allowed = allowed_from(db, connector.backend)
    differ = disagreement(row.queue, run, now=now, flows=flows, failing=failing, is_cloud=allowed is not None)
    return replace(row, disagreement=differ, allowed_from=allowed)


def is_stale(read_at: datetime | None, policy: Policy, now: datetime) -> bool:
    """Are figures that were read then too old to be taken for the present?"""
    return read_at is not None and now - read_at > policy.stale_after


def stale_sources(db: Database, policy: Policy, now: datetime) -> tuple[StaleSource, ...]:
    """The mail systems whose figures are old, and before them those that were never read: an empty queue isn't one."""
    found = [(run, syncs.last_success(db, name)) for name, run in syncs.latest(db).items()]
    told = (
        StaleSource(backend=run.backend, read_at=read_at, error=run.error)
        for run, read_at in found
        if read_at is None or is_stale(read_at, policy, now)
    )
    return tuple(sorted(told, key=lambda source: source.read_at is not None))


def queue_view(db: Database, rows: Sequence[ConnectorView], policy: Policy, now: datetime) -> QueueView:
    """What waits everywhere. `rows`: every connector (bot.services.views.connector_views)."""
    nowhere = messages.summary(db, None)
    return QueueView(
        now=now,
        connectors=tuple(detailed(db, rows, policy, now)),
        unassigned=folded(nowhere),
        unassigned_clock=clock_of(db, None, nowhere, now),
        stale=stale_sources(db, policy, now),
    )


def one_queue(db: Database, row: ConnectorView, policy: Policy, now: datetime) -> OneQueue:
    """What waits at one connector, in full."""
    mine = row.connector.id
    unread = (s for s in stale_sources(db, policy, now) if s.read_at is None and s.backend == row.connector.backend)
    return OneQueue(
        row=_detailed(db, row, queue.clock(db, mine), policy, now), top=queue.top(db, mine), never_read=tuple(unread)
    )


def means_unassigned(db: Database, typed: str) -> bool:
    """Is it the word for what belongs to no connector, or its beginning? A connector that is called so wins."""
    wanted = typed.strip().casefold()
    if len(wanted) < SHORTEST_WORD or not UNASSIGNED.startswith(wanted):
        return False
    found = connectors.find(db, wanted)
    return not (any(c.name.casefold() == wanted for c in found) if wanted == UNASSIGNED else found)


def unassigned_queue(db: Database, policy: Policy, now: datetime) -> UnassignedQueue:
    """What waits at no known connector, in full."""
    nowhere = messages.summary(db, None)
    return UnassignedQueue(
        now=now,
        queue=folded(nowhere),
        clock=clock_of(db, None, nowhere, now),
        top=queue.top(db, None),
        systems=tuple(held.backend for held in queue.homeless(db, now, 1)),
        stale=stale_sources(db, policy, now),
    )


def with_unassigned(db: Database, view: IncidentView, policy: Policy, now: datetime) -> IncidentView:
    """The incident of mail that belongs to no connector, with that mail."""
    found, told = unassigned_queue(db, policy, now), view.told.get("systems", ())
    stale = tuple(source for source in found.stale if source.backend in (*found.systems, *told))
    return replace(view, queue=found.queue, clock=found.clock, top=found.top, stale=stale)
