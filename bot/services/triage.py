"""From evidence to incidents, for one connector at a time, inside the transaction that brought the evidence.

So the fact, the incident's transition, its event and what Slack is owed are all there, or none of them is.
"""

from __future__ import annotations

import logging
from datetime import datetime

from sqlite_utils import Database

from bot.core.evidence import NAMELESS, ProbeRun, run_of, troubles
from bot.core.incidents import Decision, Known, Situation, decide
from bot.core.policy import Policy
from bot.services.timeline import record_event
from storage import connectors, incidents, messages, probes
from storage.records import Connector, Incident

LOG = logging.getLogger(__name__)

RUN_LENGTH = 60
"""So many probes are read to find the beginning of a run of failures."""


def triage_connector(
    db: Database, connector_id: int, policy: Policy, now: datetime, *, default_channel: str, blind: bool = False
) -> list[Incident]:
    """Look at everything known about one connector and do what it calls for; returns the incidents that changed.

    1. Read its last probes, its queue and its open incidents.
    2. Decide (bot/core/incidents.py): each decision carries its reason.
    3. Write each change with its event and outbox rows. Doing it twice changes nothing the second time.
    `blind`: our own network is suspect, so probes open nothing.
    """
    connector = connectors.get(db, connector_id)
    if connector is None:
        return []
    situation = _situation(db, connector, policy, now, blind=blind)
    return [
        _carry_out(db, connector, decision, now, default_channel)
        for decision in decide(situation)
        if decision.kind is not None
    ]


def due_for_triage(db: Database, policy: Policy, now: datetime) -> list[int]:
    """Connectors that time alone may have changed: mail that is stuck by now, and nobody opened an incident for it."""
    return incidents.stuck(db, now - policy.queue_settle, NAMELESS)


def mail_flows(db: Database, connector_id: int, run: ProbeRun) -> bool:
    """Did mail leave through a connector since the first failure of its present run of failing probes?"""
    return run.first_failure_at is not None and messages.left_since(db, connector_id, run.first_failure_at) > 0


def _situation(db: Database, connector: Connector, policy: Policy, now: datetime, *, blind: bool) -> Situation:
    run = _run(db, connector.id, policy)
    queue = messages.summary(db, connector.id)
    found = troubles(queue, run, policy, now)
    known = [Known(incident=i, told=incidents.last_evidence(db, i.id)) for i in incidents.open_at(db, connector.id)]
    past = {t.code: incidents.last_resolved(db, connector.id, t.code) for t in found}
    return Situation(
        connector=connector,
        troubles=found,
        run=run,
        policy=policy,
        now=now,
        known=known,
        past={code: incident for code, incident in past.items() if incident is not None},
        flows=mail_flows(db, connector.id, run),
        blind=blind,
    )


def _run(db: Database, connector_id: int, policy: Policy) -> ProbeRun:
    """The present run of probes. Steady good ones are told from a few rows: that is the case for nearly everything."""
    few = probes.recent(db, connector_id, max(policy.open_after, policy.resolve_after))
    if any(p.ok for p in few[:1]):
        return run_of(few)
    return run_of(probes.recent(db, connector_id, RUN_LENGTH))


def _carry_out(db: Database, connector: Connector, decision: Decision, now: datetime, default_channel: str) -> Incident:
    assert decision.kind is not None
    if decision.incident is not None:
        after = record_event(db, decision.incident.id, decision.kind, now=now, data=decision.data, **decision.changes)
    else:
        channel = connector.alert_channel or default_channel
        new = incidents.insert(
            db, connector_id=connector.id, code=decision.code, now=now, channel=channel, **decision.changes
        )
        after = record_event(db, new.id, decision.kind, now=now, data=decision.data)
    LOG.info("incident #%d of connector %d: %s, because %s", after.id, connector.id, decision.kind, decision.reason)
    return after
