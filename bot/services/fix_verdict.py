"""What a verification writes: verified, not yet, or failed; each function is one transaction's work."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.core.events import EventKind
from bot.core.policy import Policy
from bot.services.fix_audit import came_of
from bot.services.fix_records import back, fail, only_retry, undoable, unless_resolved
from bot.services.fix_verification import Verdict
from bot.services.timeline import record_event
from storage import actions, messages
from storage.records import Action, ActionState, IncidentState

WHAT_TO_DO = (
    "What to do: undo it, or look in the mail system at what isn't as set, then open Fix now again for present facts."
)


def look_later(db: Database, action: Action, policy: Policy, now: datetime) -> None:
    """The evidence doesn't suffice yet: look once more before the verification is due."""
    same = ActionState.VERIFYING
    look = now + policy.verify_after / policy.early_looks
    actions.set_state(db, action.id, (same,), same, look_at=look)


def judged(db: Database, action: Action, verdict: Verdict, policy: Policy, now: datetime) -> None:
    """Verified, not yet, or failed after the last try; a retired connector's incident is resolved.

    Only if it is still being verified: an undo that began meanwhile has the last word. What was seen of its messages is
    kept in any case.
    """
    if verdict.seen:
        rows = [(message, action.connector_id) for message in verdict.seen]
        messages.sync(db, verdict.seen[0].backend, rows, now, complete=False)
    if verdict.holds:
        _verified(db, action, verdict, now)
    elif action.verify_attempts + 1 < policy.verify_attempts:
        _not_yet(db, action, verdict, policy, now)
    else:
        detail = f"{' '.join(verdict.lines)} {WHAT_TO_DO}"
        fail(db, action, detail, now, expected=(ActionState.VERIFYING,))


def _verified(db: Database, action: Action, verdict: Verdict, now: datetime) -> None:
    result = "\n".join(verdict.lines)
    verified = ActionState.VERIFIED
    if actions.set_state(db, action.id, (ActionState.VERIFYING,), verified, finished_at=now, result=result) is None:
        return
    came_of(db, action, "fix.verified", " ".join(verdict.lines), now)
    again = {} if verdict.retired else back(db, action)
    data = _told(action, verdict)
    record_event(db, action.incident_id, EventKind.FIX_VERIFIED, now=now, data=data, **again)
    resolution = {"state": IncidentState.RESOLVED, "resolved_at": now, "resolution": "retired"}
    if verdict.retired and (changes := unless_resolved(db, action, **resolution)):
        record_event(db, action.incident_id, EventKind.RESOLVED, now=now, data={"reason": "retired"}, **changes)


def _not_yet(db: Database, action: Action, verdict: Verdict, policy: Policy, now: datetime) -> None:
    due, tries = now + policy.verify_after, action.verify_attempts + 1
    same = ActionState.VERIFYING
    if actions.set_state(db, action.id, (same,), same, verify_at=due, verify_attempts=tries) is not None:
        came_of(db, action, "fix.not_yet", " ".join(verdict.lines), now)
        data = _told(action, verdict) | {"next_at": due}
        record_event(db, action.incident_id, EventKind.FIX_NOT_YET, now=now, data=data)


def _told(action: Action, verdict: Verdict) -> dict[str, Any]:
    """What the thread tells of a verification."""
    lines, retry = list(verdict.lines), only_retry(action.chosen)
    return {"action_id": action.id, "detail": lines, "undoable": undoable(action), "retry": retry}
