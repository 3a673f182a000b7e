"""What taking a fix back writes: each function is one transaction's work, compares before it sets, tells and audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.core.events import EventKind
from bot.core.fix_plan import Plan
from bot.core.incidents import UNDONE
from bot.core.policy import Policy
from bot.services import fix_records as records
from bot.services.fix_audit import Refusal, came_of, done, refused, target_of, withheld
from bot.services.fix_steps import Restored, Work
from bot.services.timeline import record_event
from storage import actions, connectors, incidents
from storage.records import Action, ActionState, StepKind, StepState

UNDOABLE = (ActionState.VERIFYING, ActionState.VERIFIED, ActionState.FAILED)


@dataclass(frozen=True, slots=True)
class Undone:
    """What was restored, and what couldn't be."""

    lines: tuple[str, ...]


def begin_undo(db: Database, action_id: str, actor: str, *, policy: Policy, now: datetime) -> Action | Refusal:
    """Take the action for its undoing; two can't, and no other fix of the connector runs meanwhile."""
    action = actions.get(db, action_id)
    if action is None:
        unknown = Refusal(reason="This fix isn't known.")
        return refused(db, "fix.undo", actor, "an unknown fix", unknown, now=now)
    plan = Plan.from_json(action.plan)
    target = target_of(plan)
    if refusal := _not_undoable(db, action, policy):
        return refused(db, "fix.undo", actor, target, refusal, now=now)
    begun = actions.set_state(db, action_id, UNDOABLE, ActionState.EXECUTING, undone_by=actor)
    if begun is None:
        busy = records.another(plan.connector_name, actions.running_at(db, action.connector_id))
        return refused(db, "fix.undo", actor, target, busy, now=now)
    done(db, plan, "fix.undo", actor, action_id, now=now)
    return begun


def _not_undoable(db: Database, action: Action, policy: Policy) -> Refusal | None:
    if action.state is ActionState.UNDONE or (action.undone_by and action.state in records.AT_WORK):
        return Refusal(
            reason=f"<@{action.undone_by}> undid this already.", actor=action.undone_by, at=action.finished_at
        )
    if action.state not in UNDOABLE:
        return Refusal(reason="There is nothing to undo yet: this fix hasn't been carried out.")
    if not any(step.before for step in actions.steps(db, action.id)):
        return Refusal(reason="There is nothing to undo: this fix changed nothing.")
    if not policy.actions_on:
        return Refusal(reason="Actions are switched off (MFI_ACTIONS), so nothing can be undone here.")
    return None


def step_restored(db: Database, action: Action, work: Work, restored: Restored, now: datetime) -> None:
    """One step of an undo is over."""
    state = StepState.UNDONE if restored.ok else StepState.FAILED
    records.put(db, action, work.kind, state, now=now, detail=restored.line)
    work.note(db, action, now)


def end_undo(db: Database, action: Action, results: Sequence[Restored], now: datetime) -> None:
    """Undone if everything that can be restored is; else failed, and it may be tried again."""
    lines = [restored.line for restored in results]
    ok = all(restored.ok for restored in results)
    state, kind = (ActionState.UNDONE, EventKind.FIX_UNDONE) if ok else (ActionState.FAILED, EventKind.FIX_FAILED)
    if actions.set_state(db, action.id, records.AT_WORK, state, finished_at=now, result="\n".join(lines)) is None:
        return
    came_of(db, action, "fix.undone" if ok else "fix.undo_failed", " ".join(lines), now)
    data = {"action_id": action.id, "detail": lines, "what": "undo"}
    changes = records.back(db, action) or _watched_anew(db, action)
    record_event(db, action.incident_id, kind, now=now, actor=action.undone_by, data=data, **changes)


def _watched_anew(db: Database, action: Action) -> dict[str, Any]:
    """An incident that was over because its connector was off: it stays over, but not for that reason any more."""
    incident, connector = incidents.get(db, action.incident_id), connectors.get(db, action.connector_id)
    on_again = connector is not None and connector.enabled and StepKind.DISABLE_CONNECTOR in action.chosen
    return {"resolution": UNDONE} if on_again and incident is not None and incident.resolution == "retired" else {}


def forbid_undo(db: Database, action: Action, refused: Sequence[Restored], now: datetime) -> None:
    """An undo that may not go on: it ends as it is, on record, and can be begun again."""
    withheld(db, action, "fix.undo", action.undone_by, why=refused[0].line, now=now)
    end_undo(db, action, refused, now)
