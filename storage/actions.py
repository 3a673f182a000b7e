"""Fix now offers and their steps.

Promises: an offer is claimed by exactly one caller (one UPDATE that compares and sets), and only while no other action
of its connector runs; every later change of state compares first, too. Intent and result of a step are rows of their
own, so that what was begun is known after a crash. Nothing here commits.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from storage.moments import from_ms, optional_moment, optional_ms, to_ms
from storage.records import Action, ActionState, ActionStep, StepKind, StepState

_GET = "SELECT * FROM actions WHERE id = ?"
_INSERT = """INSERT INTO actions (id, incident_id, connector_id, state, offered_at, offered_to, expires_at, plan)
    VALUES (?, ?, ?, 'offered', ?, ?, ?, ?)"""
_CLAIM = """UPDATE actions SET state = 'claimed', claimed_by = ?1, claimed_at = ?2, chosen = ?3
    WHERE id = ?4 AND state = 'offered' AND expires_at > ?2
        AND NOT EXISTS (SELECT 1 FROM actions AS other WHERE other.connector_id = actions.connector_id
            AND other.state IN ('claimed', 'executing', 'unknown'))
    RETURNING *"""
_REQUEST = """UPDATE actions SET state = 'confirming', requested_by = ?1, requested_at = ?2, chosen = ?3,
        expires_at = ?4
    WHERE id = ?5 AND state = 'offered' AND expires_at > ?2
        AND NOT EXISTS (SELECT 1 FROM actions AS other WHERE other.connector_id = actions.connector_id
            AND (other.state IN ('claimed', 'executing', 'unknown')
                OR (other.state = 'confirming' AND other.expires_at > ?2)))
    RETURNING *"""
_APPROVE = """UPDATE actions SET state = 'claimed', claimed_by = ?1, claimed_at = ?2
    WHERE id = ?3 AND state = 'confirming' AND expires_at > ?2 AND requested_by <> ?1
        AND NOT EXISTS (SELECT 1 FROM actions AS other WHERE other.connector_id = actions.connector_id
            AND other.state IN ('claimed', 'executing', 'unknown'))
    RETURNING *"""
_CHANGE = """UPDATE actions SET state = ?1, verify_at = coalesce(?2, verify_at),
        verify_attempts = coalesce(?3, verify_attempts), finished_at = coalesce(?4, finished_at),
        result = coalesce(?5, result), undone_by = coalesce(?6, undone_by), look_at = coalesce(?9, look_at)
    WHERE id = ?7 AND state IN (SELECT value FROM json_each(?8))
        AND (?1 NOT IN ('claimed', 'executing', 'unknown') OR NOT EXISTS (SELECT 1 FROM actions AS other
            WHERE other.connector_id = actions.connector_id AND other.id <> actions.id
            AND other.state IN ('claimed', 'executing', 'unknown')))
    RETURNING *"""
_DUE = "SELECT * FROM actions WHERE state = 'verifying' AND verify_at <= ? ORDER BY verify_at, id LIMIT ?"
_TO_LOOK_AT = """SELECT * FROM actions WHERE state = 'verifying' AND look_at <= ?1 AND verify_at > ?1
    ORDER BY look_at, id LIMIT ?2"""
_REQUESTS = "SELECT * FROM actions WHERE state = 'confirming' AND connector_id = ? ORDER BY requested_at DESC LIMIT 1"
_LAPSED = "SELECT * FROM actions WHERE state = 'confirming' AND expires_at <= ? ORDER BY expires_at, id LIMIT 50"
_BEGUN = "SELECT count(*) FROM actions WHERE claimed_at >= ?"
_RUNNING = "SELECT * FROM actions WHERE state IN ('claimed', 'executing', 'unknown') ORDER BY claimed_at, id"
_RUNNING_AT = "SELECT * FROM actions WHERE connector_id = ? AND state IN ('claimed', 'executing', 'unknown')"
_LATEST = """SELECT * FROM actions WHERE incident_id = ?
    ORDER BY claimed_at IS NULL, claimed_at DESC, offered_at DESC, id DESC LIMIT 1"""
_PLAN_STEP = "INSERT INTO action_steps (action_id, position, kind, state) VALUES (?, ?, ?, 'planned')"
_INTEND = """UPDATE action_steps SET state = 'intended', intended_at = ?, before = ?
    WHERE action_id = ? AND position = ? AND state = 'planned'"""
_RESULT = """UPDATE action_steps SET state = ?, finished_at = ?, after = coalesce(?, after), detail = ?
    WHERE action_id = ? AND position = ?"""
_STEPS = "SELECT * FROM action_steps WHERE action_id = ? ORDER BY position"
_VERIFY_BY = "UPDATE actions SET verify_at = ?1 WHERE state = 'verifying' AND verify_at > ?1"
_FORGET_OFFERS = "DELETE FROM actions WHERE state = 'offered' AND expires_at < ?"


def offer(db: Database, action: Action) -> None:
    """Keep a new offer."""
    to = (to_ms(action.offered_at), action.offered_to, to_ms(action.expires_at), action.plan)
    db.execute(_INSERT, (action.id, action.incident_id, action.connector_id, *to))


def get(db: Database, action_id: str) -> Action | None:
    """The action with this id."""
    return _first(db, _GET, action_id)


def claim(db: Database, action_id: str, actor: str, chosen: Collection[StepKind], now: datetime) -> Action | None:
    """Take the offer, with its chosen steps planned in their order; None: it is gone, over, or another one runs."""
    return _planned(db, _first(db, _CLAIM, actor, to_ms(now), json.dumps(list(chosen)), action_id))


def request(
    db: Database, action_id: str, actor: str, chosen: Collection[StepKind], *, expires_at: datetime, now: datetime
) -> Action | None:
    """Let the offer wait for a second person; None: it is gone, over, or another one runs or waits there."""
    return _first(db, _REQUEST, actor, to_ms(now), json.dumps(list(chosen)), to_ms(expires_at), action_id)


def approve(db: Database, action_id: str, actor: str, now: datetime) -> Action | None:
    """Take what somebody else asked for, with its steps planned; None: it can't be taken (any more) by this person."""
    return _planned(db, _first(db, _APPROVE, actor, to_ms(now), action_id))


def _planned(db: Database, claimed: Action | None) -> Action | None:
    if claimed is not None:
        for position, kind in enumerate(claimed.chosen):
            db.execute(_PLAN_STEP, (claimed.id, position, kind))
    return claimed


def set_state(
    db: Database,
    action_id: str,
    expected: Collection[ActionState],
    new: ActionState,
    *,
    verify_at: datetime | None = None,
    verify_attempts: int | None = None,
    finished_at: datetime | None = None,
    result: str | None = None,
    undone_by: str | None = None,
    look_at: datetime | None = None,
) -> Action | None:
    """Go on to `new` if it is in one of the expected states; None if it isn't. What isn't given stays as it is."""
    moments = (optional_ms(verify_at), verify_attempts, optional_ms(finished_at))
    where = (action_id, json.dumps(list(expected)))
    return _first(db, _CHANGE, new, *moments, result, undone_by, *where, optional_ms(look_at))


def steps(db: Database, action_id: str) -> list[ActionStep]:
    """The chosen steps, in the order in which they run."""
    return [_step(row) for row in db.query(_STEPS, [action_id])]


def put_intent(db: Database, action_id: str, position: int, before: str, now: datetime) -> bool:
    """Note that a planned step is about to be done, with the image of what it will touch. False: it wasn't planned."""
    return db.execute(_INTEND, (to_ms(now), before, action_id, position)).rowcount == 1


def put_result(
    db: Database,
    action_id: str,
    position: int,
    state: StepState,
    now: datetime,
    *,
    after: str | None = None,
    detail: str | None = None,
) -> None:
    """Note what became of a step, with the image read back."""
    db.execute(_RESULT, (state, to_ms(now), after, detail, action_id, position))


def due_to_verify(db: Database, now: datetime, limit: int = 50) -> list[Action]:
    """Actions whose verification is due, longest overdue first."""
    return [_action(row) for row in db.query(_DUE, [to_ms(now), limit])]


def due_to_look_at(db: Database, now: datetime, limit: int = 50) -> list[Action]:
    """Actions whose effect is to be looked at before their verification is due."""
    return [_action(row) for row in db.query(_TO_LOOK_AT, [to_ms(now), limit])]


def requested_at_connector(db: Database, connector_id: int) -> Action | None:
    """What waits for a second person at a connector; it may have lapsed."""
    return _first(db, _REQUESTS, connector_id)


def lapsed(db: Database, now: datetime) -> list[Action]:
    """What waited for a second person until its time was over."""
    return [_action(row) for row in db.query(_LAPSED, [to_ms(now)])]


def begun_since(db: Database, moment: datetime) -> int:
    """How many fixes were claimed since then."""
    return int(db.execute(_BEGUN, [to_ms(moment)]).fetchone()[0])


def verify_by(db: Database, latest: datetime) -> int:
    """No verification is due later than this: a clock that was ahead can't put it off. How many were."""
    return db.execute(_VERIFY_BY, [to_ms(latest)]).rowcount


def running(db: Database) -> list[Action]:
    """Claimed, executing or unknown: what a crash may have interrupted."""
    return [_action(row) for row in db.query(_RUNNING)]


def running_at(db: Database, connector_id: int) -> Action | None:
    """The action that runs at a connector; there is never more than one."""
    return _first(db, _RUNNING_AT, connector_id)


def latest_for_incident(db: Database, incident_id: int) -> Action | None:
    """The action that was claimed last; if none ever was, the newest offer."""
    return _first(db, _LATEST, incident_id)


def forget_offers(db: Database, before: datetime) -> int:
    """Drop offers that expired before then and that nobody took; how many went."""
    return db.execute(_FORGET_OFFERS, [to_ms(before)]).rowcount


def _first(db: Database, sql: str, *values: object) -> Action | None:
    # fetchall: a RETURNING statement has to run to its end before the transaction may
    cursor = db.execute(sql, values)
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    return _action(dict(zip(names, rows[0], strict=True))) if rows else None


def _action(row: Mapping[str, Any]) -> Action:
    return Action(
        id=row["id"],
        incident_id=row["incident_id"],
        connector_id=row["connector_id"],
        state=ActionState(row["state"]),
        offered_at=from_ms(row["offered_at"]),
        expires_at=from_ms(row["expires_at"]),
        plan=row["plan"],
        offered_to=row["offered_to"],
        chosen=tuple(StepKind(kind) for kind in json.loads(row["chosen"])),
        claimed_by=row["claimed_by"],
        claimed_at=optional_moment(row["claimed_at"]),
        verify_at=optional_moment(row["verify_at"]),
        verify_attempts=row["verify_attempts"],
        finished_at=optional_moment(row["finished_at"]),
        result=row["result"],
        undone_by=row["undone_by"],
        requested_by=row["requested_by"],
        requested_at=optional_moment(row["requested_at"]),
        look_at=optional_moment(row["look_at"]),
    )


def _step(row: Mapping[str, Any]) -> ActionStep:
    return ActionStep(
        action_id=row["action_id"],
        position=row["position"],
        kind=StepKind(row["kind"]),
        state=StepState(row["state"]),
        intended_at=optional_moment(row["intended_at"]),
        finished_at=optional_moment(row["finished_at"]),
        before=row["before"],
        after=row["after"],
        detail=row["detail"],
    )
