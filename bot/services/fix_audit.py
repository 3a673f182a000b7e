"""What Fix now leaves in the audit log: every try, allowed or refused, and everything that came of an allowed one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlite_utils import Database

from bot.core.fix_plan import Plan
from storage import audit
from storage.journal_records import AuditEntry
from storage.records import Action

ITSELF = "mfi"
"""Who it was where no person was: the bot."""
MOST_WORDS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why not, in one sentence for the person who asked. `actor`, `at`: who did it already, and when."""

    reason: str
    actor: str | None = None
    at: datetime | None = None


def target_of(plan: Plan) -> str:
    """What a fix is about, as the log names it."""
    return f"#{plan.incident_id} {plan.connector_name}"


def refused(db: Database, verb: str, actor: str, target: str, refusal: Refusal, *, now: datetime) -> Refusal:
    """The refusal, put on record."""
    entry = AuditEntry(at=now, actor=actor, verb=verb, target=target, allowed=False, detail=refusal.reason)
    audit.append(db, entry)
    return refusal


def done(db: Database, plan: Plan, verb: str, actor: str, detail: str, *, now: datetime) -> None:
    """Somebody was allowed to, and it begins."""
    audit.append(db, AuditEntry(at=now, actor=actor, verb=verb, target=target_of(plan), allowed=True, detail=detail))


def withheld(db: Database, action: Action, verb: str, actor: str | None, *, why: str, now: datetime) -> None:
    """Somebody's earlier yes is not carried out."""
    target = target_of(Plan.from_json(action.plan))
    entry = AuditEntry(at=now, actor=actor or ITSELF, verb=verb, target=target, allowed=False, detail=why)
    audit.append(db, entry)


def came_of(db: Database, action: Action, verb: str, detail: str, now: datetime) -> None:
    """A result, under the name of the person whose will it was."""
    words = f"{action.id}: {detail}"[:MOST_WORDS]
    actor = (action.undone_by if verb.startswith("fix.undo") else action.claimed_by) or ITSELF
    done(db, Plan.from_json(action.plan), verb, actor, words, now=now)
