"""Offers, claims and steps in the database: one winner, compared states, results that stay."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlite_utils import Database

from storage import actions
from storage.connection import immediate
from storage.migrations import migrations
from storage.records import Action, ActionState, StepKind, StepState

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
STEPS = (StepKind.REJECT_INVALID, StepKind.DISABLE_CONNECTOR)
OFFER = Action(
    id="a1",
    incident_id=1,
    connector_id=1,
    state=ActionState.OFFERED,
    offered_at=NOW,
    offered_to="U1",
    expires_at=LATER,
    plan="{}",
)


def opened(path: Path) -> Database:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA foreign_keys = ON")
    return Database(connection)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mfi.db"
    db = opened(path)
    db.execute("PRAGMA journal_mode = WAL")
    migrations.apply(db)
    for n in range(1, 51):
        db.execute(
            """INSERT INTO connectors (id, backend, key, name, kind, enabled, use_mx, smart_hosts, recipient_domains,
                tls_setting, next_probe_at, changed_at) VALUES (?, 'lab', ?, 'C', 'on_premises', 1, 0, '[]', '[]',
                'none', 0, 0)""",
            [n, f"k{n}"],
        )
        db.execute(
            """INSERT INTO incidents (id, connector_id, code, state, severity, opened_at, updated_at,
                first_failure_at, revision, channel) VALUES (?, ?, '4.4.316', 'firing', 'warning', 0, 0, 0, 0, 'C')""",
            [n, n],
        )
    db.close()
    return path


@pytest.fixture
def db(path: Path) -> Iterator[Database]:
    db = opened(path)
    yield db
    db.close()


def states(db: Database) -> dict[str, ActionState]:
    ids = [row["id"] for row in db.query("SELECT id FROM actions ORDER BY id")]
    return {one: found.state for one in ids if (found := actions.get(db, one))}


def test_an_offer_comes_back_as_it_was(db: Database) -> None:
    actions.offer(db, OFFER)
    assert actions.get(db, "a1") == OFFER
    assert actions.get(db, "a2") is None


def test_a_claim_names_the_clicker_and_plans_the_steps(db: Database) -> None:
    actions.offer(db, OFFER)
    claimed = actions.claim(db, "a1", "U2", STEPS, NOW)
    assert claimed is not None
    assert (claimed.state, claimed.claimed_by, claimed.claimed_at) == (ActionState.CLAIMED, "U2", NOW)
    assert claimed.chosen == STEPS
    assert [(s.position, s.kind, s.state) for s in actions.steps(db, "a1")] == [
        (0, StepKind.REJECT_INVALID, StepState.PLANNED),
        (1, StepKind.DISABLE_CONNECTOR, StepState.PLANNED),
    ]


def test_a_claim_is_refused_when_taken_expired_unknown_or_while_another_runs_there(db: Database) -> None:
    for one in ("a1", "a2"):
        actions.offer(db, replace(OFFER, id=one))
    actions.offer(db, replace(OFFER, id="b1", connector_id=2, incident_id=2))
    assert actions.claim(db, "nope", "U1", STEPS, NOW) is None
    assert actions.claim(db, "a1", "U1", STEPS, LATER) is None
    assert actions.claim(db, "a1", "U1", STEPS, NOW) is not None
    assert actions.claim(db, "a1", "U2", STEPS, NOW) is None
    assert actions.claim(db, "a2", "U2", STEPS, NOW) is None
    assert actions.claim(db, "b1", "U2", STEPS, NOW) is not None
    assert len(actions.steps(db, "a1")) == 2
    assert actions.steps(db, "a2") == []


def test_the_index_itself_forbids_two_running_actions_of_a_connector(db: Database) -> None:
    for one in ("a1", "a2"):
        actions.offer(db, replace(OFFER, id=one))
    actions.claim(db, "a1", "U1", STEPS, NOW)
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("UPDATE actions SET state = 'executing' WHERE id = 'a2'")


def test_eight_threads_on_each_of_fifty_offers_claim_fifty_times(path: Path, db: Database) -> None:
    offers = [f"o{n}" for n in range(1, 51)]
    for n, one in enumerate(offers, 1):
        actions.offer(db, replace(OFFER, id=one, connector_id=n, incident_id=n))
    wins: list[str] = []
    start = threading.Barrier(8)

    def click(who: str) -> None:
        mine = opened(path)
        start.wait()
        for one in offers:
            if immediate(mine, lambda d, one=one: actions.claim(d, one, who, STEPS, NOW)):
                wins.append(one)
        mine.close()

    threads = [threading.Thread(target=click, args=(f"U{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == sorted(offers)
    assert set(states(db).values()) == {ActionState.CLAIMED}


def test_a_state_changes_only_from_where_it_is_expected_to_be(db: Database) -> None:
    actions.offer(db, OFFER)
    actions.claim(db, "a1", "U1", STEPS, NOW)
    assert actions.set_state(db, "a1", (ActionState.EXECUTING,), ActionState.VERIFYING) is None
    moved = actions.set_state(
        db, "a1", (ActionState.CLAIMED, ActionState.EXECUTING), ActionState.VERIFYING, verify_at=LATER
    )
    assert moved is not None
    assert (moved.state, moved.verify_at, moved.claimed_by) == (ActionState.VERIFYING, LATER, "U1")
    same = actions.set_state(db, "a1", (ActionState.VERIFYING,), ActionState.VERIFYING, verify_attempts=1)
    assert same is not None
    assert (same.verify_at, same.verify_attempts) == (LATER, 1)
    done = actions.set_state(
        db, "a1", (ActionState.VERIFYING,), ActionState.VERIFIED, finished_at=LATER, result="ok", undone_by="U3"
    )
    assert done is not None
    assert (done.finished_at, done.result, done.undone_by) == (LATER, "ok", "U3")


def test_going_back_to_work_waits_until_nothing_else_runs_at_the_connector(db: Database) -> None:
    for one in ("a1", "a2"):
        actions.offer(db, replace(OFFER, id=one))
    actions.claim(db, "a1", "U1", STEPS, NOW)
    actions.set_state(db, "a1", (ActionState.CLAIMED,), ActionState.VERIFIED)
    actions.claim(db, "a2", "U1", STEPS, NOW)
    assert actions.set_state(db, "a1", (ActionState.VERIFIED,), ActionState.EXECUTING) is None
    actions.set_state(db, "a2", (ActionState.CLAIMED,), ActionState.FAILED)
    assert actions.set_state(db, "a1", (ActionState.VERIFIED,), ActionState.EXECUTING) is not None


def test_a_step_is_begun_once_and_its_result_stays(db: Database) -> None:
    actions.offer(db, OFFER)
    actions.claim(db, "a1", "U1", STEPS, NOW)
    assert actions.put_intent(db, "a1", 0, "before", NOW)
    assert not actions.put_intent(db, "a1", 0, "again", LATER)
    assert not actions.put_intent(db, "a1", 9, "none", LATER)
    actions.put_result(db, "a1", 0, StepState.DONE, LATER, after="after", detail="fine")
    actions.put_result(db, "a1", 0, StepState.UNDONE, LATER, detail="restored")
    step = actions.steps(db, "a1")[0]
    assert (step.before, step.after, step.detail) == ("before", "after", "restored")
    assert (step.state, step.intended_at, step.finished_at) == (StepState.UNDONE, NOW, LATER)


def test_what_is_due_runs_or_came_last_is_found(db: Database) -> None:
    for one, connector in (("a1", 1), ("a2", 1), ("b1", 2)):
        offer = replace(OFFER, id=one, connector_id=connector, incident_id=connector)
        actions.offer(db, replace(offer, offered_at=NOW + timedelta(minutes=one == "a2")))
    newest = actions.latest_for_incident(db, 1)
    assert newest is not None
    assert newest.id == "a2"
    assert actions.latest_for_incident(db, 9) is None
    actions.claim(db, "a1", "U1", STEPS, NOW)
    claimed = actions.latest_for_incident(db, 1)
    assert claimed is not None
    assert claimed.id == "a1"
    at_work = actions.running_at(db, 1)
    assert at_work is not None
    assert at_work.id == "a1"
    assert actions.running_at(db, 2) is None
    assert [a.id for a in actions.running(db)] == ["a1"]
    actions.set_state(db, "a1", (ActionState.CLAIMED,), ActionState.VERIFYING, verify_at=LATER)
    assert actions.due_to_verify(db, NOW) == []
    assert [a.id for a in actions.due_to_verify(db, LATER)] == ["a1"]
    assert actions.running(db) == []


def test_offers_that_nobody_took_are_forgotten_and_actions_are_kept(db: Database) -> None:
    for one in ("a1", "a2"):
        actions.offer(db, replace(OFFER, id=one))
    actions.claim(db, "a1", "U1", STEPS, NOW)
    assert actions.forget_offers(db, LATER) == 0
    assert actions.forget_offers(db, LATER + timedelta(seconds=1)) == 1
    assert list(states(db)) == ["a1"]
