"""The second person's yes or no: each function is one transaction's work, compares before it sets, tells and audits."""

from __future__ import annotations

from datetime import datetime

from sqlite_utils import Database

from bot.core.events import EventKind
from bot.core.fix_plan import Plan, would_do
from bot.core.policy import Policy
from bot.services import fix_records as records
from bot.services.fix_audit import Refusal, came_of, done, refused, target_of
from bot.services.fix_records import Claimed
from bot.services.timeline import record_event
from storage import actions, incidents
from storage.records import Action, ActionState, IncidentState


def approve(db: Database, action_id: str, actor: str, *, policy: Policy, now: datetime) -> Claimed | Refusal:
    """Claim what somebody else asked for, or say why not."""
    action = actions.get(db, action_id)
    if action is None:
        return refused(db, "fix.approve", actor, "an unknown fix", Refusal(reason="This fix isn't known."), now=now)
    plan = Plan.from_json(action.plan)
    if refusal := _not_approvable(db, action, actor, policy, now):
        return refused(db, "fix.approve", actor, target_of(plan), refusal, now=now)
    claimed = actions.approve(db, action_id, actor, now)
    if claimed is None:
        return refused(db, "fix.approve", actor, target_of(plan), records.busy(db, action), now=now)
    done(db, plan, "fix.approve", actor, f"{action_id}, which {action.requested_by} asked for", now=now)
    records.tell_claim(db, claimed, plan, actor, claimed.chosen, now=now)
    return Claimed(action=claimed, plan=plan, dry_run=False, lines=would_do(plan, claimed.chosen))


def decline(db: Database, action_id: str, actor: str, now: datetime) -> Action | Refusal:
    """Say no to what somebody asked for; whoever asked may take it back this way."""
    action = actions.get(db, action_id)
    if action is None:
        return refused(db, "fix.decline", actor, "an unknown fix", Refusal(reason="This fix isn't known."), now=now)
    if action.state is not ActionState.CONFIRMING:
        return refused(db, "fix.decline", actor, f"#{action.incident_id}", _decided(action), now=now)
    own = actor == action.requested_by
    said = "Withdrawn by the person who asked." if own else f"Declined by <@{actor}>."
    return _over(db, action, EventKind.FIX_DECLINED, said, actor=actor, now=now)


def lapse(db: Database, now: datetime) -> int:
    """What nobody approved in time is over, and the thread says so; how many were."""
    lapsed = actions.lapsed(db, now)
    for action in lapsed:
        _over(db, action, EventKind.FIX_LAPSED, "Nobody approved it in time.", actor=None, now=now)
    return len(lapsed)


def _over(db: Database, action: Action, kind: EventKind, said: str, *, actor: str | None, now: datetime) -> Action:
    waiting, failed = (ActionState.CONFIRMING,), ActionState.FAILED
    over = actions.set_state(db, action.id, waiting, failed, finished_at=now, result=said)
    assert over is not None, "read in this transaction"
    data = {"action_id": action.id, "requested_by": action.requested_by}
    record_event(db, action.incident_id, kind, now=now, actor=actor, data=data)
    plan = Plan.from_json(action.plan)
    if actor is None:
        came_of(db, action, "fix.lapsed", said, now)
    else:
        done(db, plan, "fix.decline", actor, f"{action.id}: {said}", now=now)
    return over


def _not_approvable(db: Database, action: Action, actor: str, policy: Policy, now: datetime) -> Refusal | None:
    if action.state is not ActionState.CONFIRMING:
        return _decided(action)
    if action.requested_by == actor:
        return Refusal(reason="You asked for this fix yourself: a second person has to approve it.")
    if action.expires_at <= now:
        return Refusal(reason="It waited too long for an approval: open Fix now again for the present figures.")
    if not policy.actions_on:
        return Refusal(reason="Actions were switched off (MFI_ACTIONS): nothing was done.")
    incident = incidents.get(db, action.incident_id)
    if incident is None or incident.state is IncidentState.RESOLVED:
        return records.resolved(action.incident_id, actions.latest_for_incident(db, action.incident_id))
    return records.too_many(db, policy, now)


def _decided(action: Action) -> Refusal:
    """Somebody was first, or its time is over."""
    if action.claimed_by:
        return records.already(action)
    return Refusal(reason=action.result or "This was decided already.", at=action.finished_at)
