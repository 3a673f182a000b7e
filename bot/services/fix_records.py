"""What Fix now writes: every function is one transaction's work, compares before it sets, and tells the timeline.

Refusals are sentences for the person who clicked; each attempt to act, allowed or not, leaves an audit row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlite_utils import Database

from bot.core.events import EventKind
from bot.core.fix_plan import Plan, would_do
from bot.core.policy import Policy
from bot.services.fix_audit import ITSELF, Refusal, came_of, done, refused, target_of, withheld
from bot.services.fix_steps import Reading, Work
from bot.services.timeline import record_event
from storage import actions, incidents
from storage.records import (
    Action,
    ActionState,
    ActionStep,
    IncidentState,
    StepKind,
    StepState,
)

AT_WORK = (ActionState.CLAIMED, ActionState.EXECUTING, ActionState.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The offer is the clicker's. `lines`: what is (in a dry run: would be) done.

    `execute` has to be called, except for a dry run and for what waits for a second person.
    """

    action: Action
    plan: Plan
    dry_run: bool
    lines: tuple[str, ...]

    @property
    def waits(self) -> bool:
        """Does it wait for somebody else's yes?"""
        return self.action.state is ActionState.CONFIRMING


def offer(db: Database, action: Action, plan: Plan) -> None:
    """Keep the offer, and on record to whom it was made, for which error, and what exactly it was."""
    actions.offer(db, action)
    steps = ", ".join(f"{step.kind} ({step.count})" for step in plan.steps) or "nothing"
    refused_ones = "".join(f"; refused: {one.kind}" for one in plan.refused)
    words = f"{action.id}: for {plan.code}: {steps}{refused_ones}; on facts {plan.digest}"
    done(db, plan, "fix.offer", action.offered_to or ITSELF, words, now=action.offered_at)


def submit(
    db: Database,
    action_id: str,
    actor: str,
    chosen: Sequence[StepKind],
    typed_name: str,
    *,
    policy: Policy,
    now: datetime,
) -> Claimed | Refusal:
    """1. Is the offer still there, is it the incident's moment, is the name right? 2. Claim. 3. Tell and audit."""
    action = actions.get(db, action_id)
    if action is None:
        unknown = Refusal(reason="This offer isn't known any more: open Fix now again.")
        return refused(db, "fix", actor, "an unknown offer", unknown, now=now)
    plan = Plan.from_json(action.plan)
    target = target_of(plan)
    steps = plan.pick(chosen)
    if refusal := spent(db, action, now) or _mistaken(plan, steps, typed_name, policy) or too_many(db, policy, now):
        return refused(db, "fix", actor, target, refusal, now=now)
    assert steps is not None
    if not plan.dry_run:
        taken = _take(db, action, actor, steps, policy=policy, now=now)
        if isinstance(taken, Refusal):
            return refused(db, "fix", actor, target, taken, now=now)
        action = taken
    if action.state is ActionState.CONFIRMING:
        _tell_request(db, action, plan, actor, now=now)
    else:
        tell_claim(db, action, plan, actor, steps, now=now)
    return Claimed(action=action, plan=plan, dry_run=plan.dry_run, lines=would_do(plan, steps))


def _take(
    db: Database, action: Action, actor: str, steps: Sequence[StepKind], *, policy: Policy, now: datetime
) -> Action | Refusal:
    """Claim it, or let it wait for a second person where two are needed; a retry is safe and needs one."""
    if policy.fix_approvals > 1 and not only_retry(steps):
        taken = actions.request(db, action.id, actor, steps, expires_at=now + policy.approval_expires, now=now)
    else:
        taken = actions.claim(db, action.id, actor, steps, now)
    return taken or busy(db, action)


def busy(db: Database, action: Action) -> Refusal:
    """Something else runs at this connector, or waits for a second person."""
    running = actions.running_at(db, action.connector_id)
    waiting = actions.requested_at_connector(db, action.connector_id)
    name = Plan.from_json(action.plan).connector_name
    return requested(waiting) if running is None and waiting is not None else another(name, running)


def _tell_request(db: Database, action: Action, plan: Plan, actor: str, *, now: datetime) -> None:
    """Somebody else is asked: the thread shows the whole plan, with the buttons to say yes or no."""
    data = {"action_id": action.id, "steps": list(would_do(plan, action.chosen)), "expires_at": action.expires_at}
    record_event(db, plan.incident_id, EventKind.FIX_REQUESTED, now=now, actor=actor, data=data)
    done(db, plan, "fix.request", actor, f"{action.id}: {', '.join(action.chosen)}", now=now)


def tell_claim(
    db: Database, action: Action, plan: Plan, actor: str, steps: Sequence[StepKind], *, now: datetime
) -> None:
    """It begins: the incident says so, the thread tells who and what, the audit log has it."""
    titles = [step.title for step in plan.steps if step.kind in steps]
    data = {
        "action_id": action.id, "steps": titles, "dry_run": plan.dry_run, "requested_by": action.requested_by,
        "retry": only_retry(steps),
    }  # fmt: skip
    changes: dict[str, Any] = {} if plan.dry_run else {"state": IncidentState.FIXING}
    record_event(db, plan.incident_id, EventKind.FIX_CLAIMED, now=now, actor=actor, data=data, **changes)
    words = f"{'dry run; ' if plan.dry_run else ''}{action.id}: {', '.join(steps)}"
    done(db, plan, "fix", actor, words, now=now)


def spent(db: Database, action: Action, now: datetime) -> Refusal | None:
    """Why this offer can't be taken any more, if so."""
    if action.state is ActionState.CONFIRMING and action.expires_at > now:
        return requested(action)
    if action.state is not ActionState.OFFERED:
        return already(action) if action.claimed_by else unclaimed(action)
    incident = incidents.get(db, action.incident_id)
    latest = actions.latest_for_incident(db, action.incident_id)
    if incident is None or incident.state is IncidentState.RESOLVED:
        return resolved(action.incident_id, latest)
    if incident.state in (IncidentState.FIXING, IncidentState.VERIFYING) and latest is not None:
        return already(latest)
    if action.expires_at <= now:
        return Refusal(reason="This offer is too old to act on: open Fix now again for the present figures.")
    return None


def too_many(db: Database, policy: Policy, now: datetime) -> Refusal | None:
    """The hourly cap, asked again where it is certain."""
    begun = actions.begun_since(db, now - timedelta(hours=1))
    if begun < policy.fixes_per_hour:
        return None
    return Refusal(reason=f"{begun} fixes were begun within the last hour, which is the most that is allowed.")


def requested(action: Action) -> Refusal:
    """It waits for a second person already."""
    since = f" since {action.requested_at:%H:%M} UTC" if action.requested_at else ""
    said = (
        f"<@{action.requested_by}> asked for this fix already; it waits{since} for a second person to approve it in "
        f"the thread of #{action.incident_id}."
    )
    return Refusal(reason=said, actor=action.requested_by, at=action.requested_at)


def unclaimed(action: Action) -> Refusal:
    """It waited for a second person, and that is over."""
    said = action.result or "It waited too long for an approval."
    return Refusal(reason=f"{said} Open Fix now again for the present figures.", at=action.finished_at)


def already(action: Action) -> Refusal:
    """Somebody did it: who and when."""
    who, when = _who_and_when(action)
    said = f"{who} did this already{when}; the thread of #{action.incident_id} tells how it goes."
    return Refusal(reason=said, actor=action.claimed_by, at=action.claimed_at)


def _who_and_when(action: Action) -> tuple[str, str]:
    who = f"<@{action.claimed_by}>" if action.claimed_by else "Somebody"
    return who, f" at {action.claimed_at:%H:%M} UTC" if action.claimed_at else ""


def resolved(incident_id: int, latest: Action | None) -> Refusal:
    """It is over; who ended it, and when, where a verified fix did. `latest`: the incident's last action."""
    if latest is None or latest.state is not ActionState.VERIFIED:
        return Refusal(reason=f"#{incident_id} is resolved already: there is nothing to fix.")
    who, when = _who_and_when(latest)
    said = f"{who} did this already{when}, it worked, and #{incident_id} is resolved: there is nothing to fix."
    return Refusal(reason=said, actor=latest.claimed_by, at=latest.claimed_at)


def another(connector_name: str, running: Action | None) -> Refusal:
    """Somebody is at work at this connector: who, and since when."""
    said = f"Another fix of “{connector_name}” is running"
    if running is None or running.claimed_by is None or running.claimed_at is None:
        return Refusal(reason=f"{said}.")
    who, at = running.claimed_by, running.claimed_at
    return Refusal(reason=f"{said}: <@{who}> started it at {at:%H:%M} UTC.", actor=who, at=at)


def _mistaken(plan: Plan, steps: Sequence[StepKind] | None, typed_name: str, policy: Policy) -> Refusal | None:
    if plan.dry_run == policy.actions_on:
        was = "a dry run" if plan.dry_run else "made while actions were allowed"
        return Refusal(reason=f"This offer was {was}, and that changed since: open Fix now again.")
    if steps is None:
        return Refusal(reason="Choose at least one of the offered steps; nothing was done.")
    if lacking := plan.lacking(steps):
        return Refusal(reason=f"Choose “{lacking.title}”, too: another chosen step needs it; nothing was done.")
    if not plan.accepts_name(typed_name):
        return Refusal(reason=f"That isn't the connector's name. Type “{plan.connector_name}”; nothing was done.")
    return None


# Running


def forbid(db: Database, action: Action, why: str, now: datetime) -> None:
    """A claim that may not be carried out after all: it fails before anything was touched, on record."""
    withheld(db, action, "fix", action.claimed_by, why=why, now=now)
    fail(db, action, f"{why}: nothing was done.", now)


def intend(db: Database, action: Action, work: Work, now: datetime) -> None:
    """The step is about to be done; nothing was touched yet. It has to be a planned one of a running action."""
    current = actions.get(db, action.id)
    if current is None or current.state is not ActionState.EXECUTING:
        raise LookupError(f"fix {action.id} isn't executing")
    if not actions.put_intent(db, action.id, action.chosen.index(work.kind), json.dumps(work.before), now):
        raise LookupError(f"{work.kind} of fix {action.id} was begun before")


def step_over(db: Database, action: Action, work: Work, reading: Reading, now: datetime) -> None:
    """The step was read back: keep the result, our own records, and tell."""
    state = StepState.DONE if reading.done else StepState.FAILED
    put(db, action, work.kind, state, now=now, detail=reading.detail, after=json.dumps(reading.after))
    work.note(db, action, now)
    _tell_step(db, action, work.kind, state=state, detail=reading.detail, now=now)


def step_failed(db: Database, action: Action, kind: StepKind, detail: str, now: datetime) -> None:
    """The step certainly didn't happen."""
    put(db, action, kind, StepState.FAILED, now=now, detail=detail)
    _tell_step(db, action, kind, state=StepState.FAILED, detail=detail, now=now)


def put(
    db: Database,
    action: Action,
    kind: StepKind,
    state: StepState,
    *,
    now: datetime,
    detail: str,
    after: str | None = None,
) -> None:
    """Keep what became of a step."""
    actions.put_result(db, action.id, action.chosen.index(kind), state, now, after=after, detail=detail)


def _tell_step(db: Database, action: Action, kind: StepKind, *, state: StepState, detail: str, now: datetime) -> None:
    step = Plan.from_json(action.plan).step(kind)
    came_of(db, action, "fix.step", f"{kind} {state}: {detail}", now)
    data = {"step": step.title if step else kind, "kind": kind, "state": state, "detail": detail}
    record_event(db, action.incident_id, EventKind.FIX_STEP, now=now, actor=action.claimed_by, data=data)


def finish(db: Database, action: Action, policy: Policy, now: datetime) -> None:
    """Every step is done: verification is due after the time that changes take."""
    retry = only_retry(action.chosen)
    wait = policy.retry_verify_after if retry else policy.verify_after
    due, look = now + wait, now + wait / policy.early_looks
    if actions.set_state(db, action.id, AT_WORK, ActionState.VERIFYING, verify_at=due, look_at=look) is None:
        return
    came_of(db, action, "fix.done", f"every step is done; verified from {due:%Y-%m-%d %H:%M} UTC on", now)
    slow = Plan.from_json(action.plan).slow and not retry
    data = {"action_id": action.id, "verify_at": due, "undoable": undoable(action), "slow": slow, "retry": retry}
    changes = unless_resolved(db, action, state=IncidentState.VERIFYING)
    record_event(db, action.incident_id, EventKind.FIX_FINISHED, now=now, actor=action.claimed_by, data=data, **changes)


def only_retry(steps: Sequence[StepKind]) -> bool:
    """Is waiting mail tried again, and nothing else done? That is safe, quick, and no fix."""
    return set(steps) == {StepKind.RETRY_QUEUE}


def undoable(action: Action) -> bool:
    """Is there a setting among what was chosen? Rejected mail and a retry can't be taken back."""
    return bool({StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR}.intersection(action.chosen))


def fail(
    db: Database, action: Action, detail: str, now: datetime, *, expected: Sequence[ActionState] = AT_WORK
) -> None:
    """It is over without success: steps that were never begun are skipped, the incident goes back to people.

    `expected`: VERIFYING where it is the verification that failed.
    """
    if actions.set_state(db, action.id, expected, ActionState.FAILED, finished_at=now, result=detail) is None:
        return
    for step in actions.steps(db, action.id):
        if step.state is StepState.PLANNED:
            actions.put_result(db, action.id, step.position, StepState.SKIPPED, now, detail="not begun")
    came_of(db, action, "fix.failed", detail, now)
    what = "verification" if ActionState.VERIFYING in expected else "fix"
    data = {"action_id": action.id, "detail": detail, "what": what, "undoable": undoable(action)}
    record_event(
        db, action.incident_id, EventKind.FIX_FAILED, now=now, actor=action.claimed_by, data=data, **back(db, action)
    )


def unreadable(db: Database, action: Action, step: ActionStep, why: str, *, until: datetime, now: datetime) -> None:
    """Whether a step took effect can't be told yet. Kept as the action's result, so that it is said once."""
    said = f"Whether it took effect can't be read: {why}. That is tried again until {until:%Y-%m-%d %H:%M} UTC."
    unknown = ActionState.UNKNOWN
    if actions.set_state(db, action.id, (unknown,), unknown, result=said) is not None:
        _tell_step(db, action, step.kind, state=step.state, detail=said, now=now)


def give_up_reading(db: Database, action: Action, step: ActionStep, why: str, now: datetime) -> None:
    """Nobody can tell what became of a step, and it is time that people can go on."""
    said = f"the outcome could not be read ({why})"
    step_failed(db, action, step.kind, said, now)
    fail(db, action, f"It is given up: {said}. {so_far(db, action)}. Look at the mail system itself.", now)


def so_far(db: Database, action: Action) -> str:
    """What became of the steps, in words, for a fix that stopped."""
    words = {StepState.DONE: "done", StepState.FAILED: "failed", StepState.PLANNED: "not begun"}
    plan = Plan.from_json(action.plan)
    found = [(plan.step(step.kind), step) for step in actions.steps(db, action.id)]
    return "; ".join(f"{words.get(s.state, s.state)}: {shown.title if shown else s.kind}" for shown, s in found)


def back(db: Database, action: Action) -> dict[str, Any]:
    """The state in which people take over again, as a change of the incident."""
    incident = incidents.get(db, action.incident_id)
    held = incident is not None and incident.acknowledged_by is not None
    return unless_resolved(db, action, state=IncidentState.ACKNOWLEDGED if held else IncidentState.FIRING)


def unless_resolved(db: Database, action: Action, **changes: object) -> dict[str, Any]:
    """These changes of the incident, or none where it is over already."""
    incident = incidents.get(db, action.incident_id)
    return {} if incident is None or incident.state is IncidentState.RESOLVED else changes
