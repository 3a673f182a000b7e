"""What people look at, gathered in one read: incidents, connectors, the bot's own state. Decides nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.core.capabilities import Capability, Place
from bot.core.changes import differences, first_bad
from bot.core.events import EventKind
from bot.core.evidence import folded, run_of, sample_of
from bot.core.forecast import plain_span
from bot.core.incidents import UNDONE
from bot.core.policy import Policy
from bot.core.two_views import disagreement, failing_codes
from bot.core.unassigned import UNASSIGNED
from bot.core.views import ConnectorView, IncidentView, OneQueue, QueueView, StatusView
from bot.services import departed, queue_views
from bot.services.address_ranges import allowed_from
from bot.services.triage import RUN_LENGTH, mail_flows
from storage import actions, connectors, incidents, messages, outbox, probes, syncs
from storage.journal_records import SyncRun
from storage.records import Incident, OutboxItem, QueueSummary

Capabilities = Mapping[str, frozenset[Capability]]
Places = Mapping[str, Place]

SHOWN = 10
NOTES_SHOWN = 3
LATE_AFTER = timedelta(minutes=2)


def incident_view(
    db: Database,
    incident_id: int,
    policy: Policy,
    now: datetime,
    capabilities: Capabilities,
    *,
    places: Places | None = None,
) -> IncidentView | None:
    """Everything about one incident as it is now; None: there is no such incident.

    `capabilities`, `places`: by backend; a mail system that nobody knows can do nothing and is Exchange Online.
    """
    incident = incidents.get(db, incident_id)
    if incident is None:
        return None
    previous = incidents.get(db, incident.previous_id) if incident.previous_id else None
    following = incidents.following(db, incident_id) if incident.resolution == UNDONE else None
    timeline = tuple(incidents.events(db, incident_id, without=EventKind.EVIDENCE))
    told = incidents.last_evidence(db, incident_id)
    connector = connectors.get(db, incident.connector_id) if incident.connector_id else None
    if connector is None:
        bare = IncidentView(
            incident=incident, connector=None, queue=QueueSummary(), now=now, events=timeline, previous=previous,
            told=told,
        )  # fmt: skip
        return queue_views.with_unassigned(db, bare, policy, now) if incident.code == UNASSIGNED else bare
    seen = probes.recent(db, connector.id, RUN_LENGTH)
    run = run_of(seen)
    action = actions.latest_for_incident(db, incident_id)
    queue = folded(messages.summary(db, connector.id))
    bad = first_bad(seen)
    good = probes.last_good(db, connector.id, before_id=bad.id if bad else None)
    read_at = syncs.last_success(db, connector.backend)
    allowed = allowed_from(db, connector.backend)
    return IncidentView(
        incident=incident,
        connector=connector,
        queue=queue,
        now=now,
        probe=seen[0] if seen else None,
        last_good=good,
        events=timeline,
        previous=previous,
        following=following,
        action=action,
        steps=tuple(actions.steps(db, action.id)) if action else (),
        disagreement=disagreement(
            queue,
            run,
            now=now,
            flows=mail_flows(db, connector.id, run, policy, now),
            failing=failing_codes(seen[0].document) if seen else (),
            is_cloud=allowed is not None,
        ),
        differences=differences(good, bad),
        capabilities=capabilities.get(connector.backend, frozenset()),
        place=(places or {}).get(connector.backend, Place()),
        queue_read_at=read_at,
        queue_stale=queue_views.is_stale(read_at, policy, now),
        clock=queue_views.clock_of(db, connector.id, queue, now),
        sample=sample_of(queue, policy, now),
        allowed_from=allowed,
        unconfigured=departed.left(db, connector),
        told=told,
    )


def connector_views(db: Database, now: datetime, policy: Policy | None = None) -> list[ConnectorView]:
    """One line per connector, by name. `policy` says when figures are old (without one: the usual)."""
    summaries, newest = messages.summaries(db), probes.latest(db)
    every, limits = connectors.every(db), policy or Policy()
    read = {name: syncs.last_success(db, name) for name in {c.backend for c in every}}
    open_ones = _by_connector(incidents.open_everywhere(db))
    return [
        ConnectorView(
            connector=connector,
            queue=folded(summaries.get(connector.id, QueueSummary())),
            now=now,
            probe=newest.get(connector.id),
            incidents=tuple(i for i in open_ones[connector.id] if not i.is_warning),
            warnings=tuple(i for i in open_ones[connector.id] if i.is_warning),
            queue_read_at=read[connector.backend],
            queue_stale=queue_views.is_stale(read[connector.backend], limits, now),
        )
        for connector in every
    ]


def queue_view(db: Database, policy: Policy, now: datetime) -> QueueView:
    """What waits everywhere, with the clock of each connector."""
    return queue_views.queue_view(db, connector_views(db, now, policy), policy, now)


def one_queue(db: Database, connector_id: int, policy: Policy, now: datetime) -> OneQueue | None:
    """What waits at one connector, in full; None: it is not known any more."""
    found = next((row for row in connector_views(db, now, policy) if row.connector.id == connector_id), None)
    return None if found is None else queue_views.one_queue(db, found, policy, now)


def status_view(db: Database, policy: Policy, now: datetime) -> StatusView:
    """How the bot itself and mail flow as a whole are doing."""
    waits = queue_view(db, policy, now)
    return StatusView(
        now=now,
        connectors=waits.connectors,
        unassigned=waits.unassigned,
        unassigned_clock=waits.unassigned_clock,
        stale=waits.stale,
        outbox=outbox.counts(db),
        dead=tuple(_line(item, now) for item in outbox.dead(db, SHOWN)),
        late=tuple(_line(item, now) for item in outbox.late(db, now - LATE_AFTER, SHOWN)),
        syncs={name: _sync_line(db, run, policy, now) for name, run in syncs.latest(db).items()},
        monitor=tuple(incidents.open_at(db, None)),
    )


def _by_connector(open_ones: list[Incident]) -> defaultdict[int | None, list[Incident]]:
    grouped: defaultdict[int | None, list[Incident]] = defaultdict(list)
    for incident in open_ones:
        grouped[incident.connector_id].append(incident)
    return grouped


def _line(item: OutboxItem, now: datetime) -> str:
    age = plain_span(now - item.created_at)
    return f"{item.kind} of #{item.incident_id} for {item.channel}, {age} old: {item.error or 'unknown error'}"


def _sync_line(db: Database, run: SyncRun, policy: Policy, now: datetime) -> str:
    good = syncs.last_success(db, run.backend)
    read = f"read {plain_span(now - good)} ago" if good else "never read yet"
    stale = " (stale)" if good and now - good > policy.stale_after else ""
    failing = f"; last try failed: {run.error}" if run.error else ""
    notes = "".join(f"; {note}" for note in run.notes[:NOTES_SHOWN])
    return f"{read}{stale}{failing}{notes}"
