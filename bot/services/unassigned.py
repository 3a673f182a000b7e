"""Mail that belongs to no connector: looked at after each read and each upkeep tick, told when much of it is stuck.

Promises: costs the same however long the queue is; while there is nothing to tell, nobody's turn to write is taken; two
processes that look at once open one incident.
"""

from __future__ import annotations

import logging
from datetime import datetime

from sqlite_utils import Database

from bot.core.incidents import Decision, Known
from bot.core.policy import Policy
from bot.core.unassigned import UNASSIGNED, UnassignedMail, decide_unassigned, enough
from bot.services.timeline import record_event
from bot.services.triage import is_frozen
from storage import incidents, messages, queue, syncs
from storage.connection import Store
from storage.records import Incident

LOG = logging.getLogger(__name__)


async def look_at_unassigned(
    store: Store, policy: Policy, now: datetime, *, default_channel: str, steady: bool
) -> Incident | None:
    """Do what such mail calls for; returns the incident if it changed. Without a channel none is opened."""

    def decide(db: Database) -> Decision:
        return decide_unassigned(unassigned_mail(db, policy, now, steady=steady))

    def carry_out(db: Database) -> Incident | None:
        return _carried_out(db, decide(db), now, default_channel)

    found = await store.read(decide)
    wanted = found.kind is not None and (found.incident is not None or default_channel)
    return await store.write(carry_out) if wanted else None


def unassigned_mail(db: Database, policy: Policy, now: datetime, *, steady: bool) -> UnassignedMail:
    """Everything that the decision depends on."""
    incident = next((i for i in incidents.open_at(db, None) if i.code == UNASSIGNED), None)
    return UnassignedMail(
        stuck=queue.homeless(db, now - policy.queue_settle, enough(policy)) if policy.unassigned_count else (),
        queue=messages.summary(db, None),
        frozen=[name for name in syncs.latest(db) if is_frozen(db, policy, now, name)],
        policy=policy,
        now=now,
        known=Known(incident=incident, told=incidents.last_evidence(db, incident.id)) if incident else None,
        previous=incidents.last_resolved(db, None, UNASSIGNED) if incident is None else None,
        steady=steady,
    )


def _carried_out(db: Database, decision: Decision, now: datetime, default_channel: str) -> Incident | None:
    """Decided anew within the transaction: another process may have been quicker."""
    if decision.kind is None:
        return None
    if decision.incident is not None:
        after = record_event(db, decision.incident.id, decision.kind, now=now, data=decision.data, **decision.changes)
    else:
        new = incidents.insert(
            db, connector_id=None, code=UNASSIGNED, now=now, channel=default_channel, **decision.changes
        )
        after = record_event(db, new.id, decision.kind, now=now, data=decision.data)
    LOG.info("incident #%d of mail without a connector: %s, because %s", after.id, decision.kind, decision.reason)
    return after
