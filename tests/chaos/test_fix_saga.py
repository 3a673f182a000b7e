"""Exactly one execution: under simultaneous clicks, and when the process is killed at each point of the saga.

Once per point with every test run, twenty times with MFI_CHAOS=full.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.core.events import EventKind
from bot.core.fix_plan import Plan
from bot.sandbox.mail_system import DomainType, Operation, Status
from bot.services.fix import Claimed, Fix, Refusal, Undone
from storage import audit, incidents
from storage.records import Action, ActionState, IncidentState
from tests.chaos.fix_saga import ACTS, ALL, RETRY, Mortal, Stage, fix_on, mortal, stage
from tests.chaos.site import count

pytestmark = pytest.mark.chaos

ROUNDS = count(small=1, full=20)
CLICKERS = 8
OFFERS = count(small=50, full=200)
POINTS = [
    "claimed",
    "executing",
    "looked",
    *(f"{point} {kind}" for kind in ALL for point in ("intended", "acted", "judged")),
    "finished",
]
LAST_WORDS = {
    ActionState.CONFIRMING: {EventKind.FIX_REQUESTED},
    ActionState.VERIFYING: {EventKind.FIX_FINISHED, EventKind.FIX_NOT_YET},
    ActionState.VERIFIED: {EventKind.FIX_VERIFIED},
    ActionState.FAILED: {EventKind.FIX_FAILED, EventKind.FIX_DECLINED, EventKind.FIX_LAPSED},
    ActionState.UNDONE: {EventKind.FIX_UNDONE},
}
"""What the thread has to say last of an action in each of the states in which it may rest."""


@pytest.fixture
async def killer() -> AsyncIterator[Mortal]:
    made = await mortal()
    yield made
    await made.end()


async def killed(killer: Mortal, on: Stage, job: str, action_id: str, point: str) -> None:
    assert await killer.run(str(on.path), on.system.api_url, job, action_id, point) == -signal.SIGKILL


async def restarted(on: Stage, *, after: timedelta = timedelta(0), approvals: int = 1) -> Fix:
    """What the bot does first when it is back."""
    fix = fix_on(on.store, on.backend, after=after, approvals=approvals)
    await fix.recover()
    return fix


async def stands_as_told(on: Stage, action_id: str) -> Action:
    """The action rests, the thread is told so as its last word, the incident follows, the audit chain holds."""
    action, events = await on.action(action_id), await on.events()
    assert events[-1].kind in LAST_WORDS[action.state]
    assert {event.id for event in events} <= await on.owed()
    incident = await on.store.read(lambda db: incidents.get(db, action.incident_id))
    assert incident is not None
    assert incident.state is not IncidentState.FIXING
    assert (incident.state is IncidentState.VERIFYING) == (action.state is ActionState.VERIFYING)
    verdict = await on.store.read(audit.verify)
    assert verdict.broken_at is None
    assert verdict.entries
    return action


async def finished_by_people(on: Stage, fix: Fix) -> None:
    """What was left is offered again, and only that is done."""
    offer = await on.offered()
    kinds = [kind for kind, act in zip(ALL, ACTS, strict=True) if not on.system.faults.seen.get(act)]
    assert [step.kind for step in Plan.from_json(offer.plan).steps] == kinds
    assert isinstance(await fix.submit(offer.id, "U1", kinds, "C0"), Claimed)
    await fix.execute(offer.id)


def nothing_twice(on: Stage) -> None:
    assert on.seen() == [1] * 3
    assert len(on.system.tenant.mailboxes["one@contoso.test"]) == 1
    assert on.system.tenant.entries[("m0-valid", "valid@d0.test")].status is Status.QUEUED


@pytest.mark.parametrize("point", POINTS)
async def test_a_fix_that_was_killed_is_never_done_twice_and_never_half_without_being_told(
    tmp_path: Path, killer: Mortal, point: str
) -> None:
    for number in range(ROUNDS):
        async with stage(tmp_path / f"{number}.db") as on:
            offer = await on.offered()
            await killed(killer, on, "fix", offer.id, point)
            begun = on.seen()
            fix = await restarted(on)
            after = await stands_as_told(on, offer.id)
            whole = point in ("claimed", "executing", "looked", "finished") or begun == [1] * 3
            assert after.state is (ActionState.VERIFYING if whole else ActionState.FAILED)
            assert max(on.seen()) <= 1
            if after.state is ActionState.FAILED:
                assert on.seen() == begun, "what was interrupted is not continued by itself"
                told = str((await on.events())[-1].data["detail"])
                for step, times in zip(Plan.from_json(offer.plan).steps, begun, strict=True):
                    begun_only = point == f"intended {step.kind}"
                    word = "done" if times else "failed" if begun_only else "not begun"
                    assert f"{word}: {step.title}" in told
                await finished_by_people(on, fix)
            nothing_twice(on)


async def waiting_for_a_second_person(on: Stage) -> str:
    offer = await on.offered()
    asked = await fix_on(on.store, on.backend, approvals=2).submit(offer.id, "U1", ALL, "C0")
    assert isinstance(asked, Claimed)
    return offer.id


async def test_a_request_survives_a_kill_and_runs_once_when_it_is_approved(tmp_path: Path, killer: Mortal) -> None:
    for number in range(ROUNDS):
        async with stage(tmp_path / f"{number}.db") as on:
            offer = await on.offered()
            await killed(killer, on, "ask", offer.id, "requested")
            fix = await restarted(on, approvals=2)
            assert (await stands_as_told(on, offer.id)).state is ActionState.CONFIRMING
            assert on.seen() == [0] * 3
            assert isinstance(await fix.approve(offer.id, "U2"), Claimed)
            await fix.execute(offer.id)
            nothing_twice(on)


@pytest.mark.parametrize("point", ["approved", "executing", "looked", "acted reject_invalid", "finished"])
async def test_an_approval_survives_a_kill_and_cannot_be_given_twice(
    tmp_path: Path, killer: Mortal, point: str
) -> None:
    for number in range(ROUNDS):
        async with stage(tmp_path / f"{number}.db") as on:
            action_id = await waiting_for_a_second_person(on)
            await killed(killer, on, "approve", action_id, point)
            fix = await restarted(on, approvals=2)
            whole = point != "acted reject_invalid"
            after = await stands_as_told(on, action_id)
            assert after.state is (ActionState.VERIFYING if whole else ActionState.FAILED)
            assert (after.requested_by, after.claimed_by) == ("U1", "U2")
            assert isinstance(await fix.approve(action_id, "U3"), Refusal)
            assert on.seen() == ([1] * 3 if whole else [1, 0, 0])


@pytest.mark.parametrize(("job", "point"), [("decline", "declined"), ("lapse", "lapsed")])
async def test_a_no_survives_a_kill(tmp_path: Path, killer: Mortal, job: str, point: str) -> None:
    for number in range(ROUNDS):
        async with stage(tmp_path / f"{number}.db") as on:
            action_id = await waiting_for_a_second_person(on)
            await killed(killer, on, job, action_id, point)
            fix = await restarted(on, approvals=2, after=timedelta(minutes=32))
            await fix.verify_due()
            assert (await stands_as_told(on, action_id)).state is ActionState.FAILED
            assert len([e for e in await on.events() if e.kind != EventKind.FIX_REQUESTED]) == 1
            assert on.seen() == [0] * 3


@pytest.mark.parametrize("point", ["claimed", "executing", "looked", "intended", "acted", "judged", "finished"])
async def test_a_killed_retry_is_asked_for_once_and_what_nobody_knows_is_said(
    tmp_path: Path, killer: Mortal, point: str
) -> None:
    for number in range(ROUNDS):
        async with stage(tmp_path / f"{number}.db") as on:
            await on.probed()
            offer = await on.offered(retry=True)
            word = f"{point} {RETRY[0]}" if point in ("intended", "acted", "judged") else point
            await killed(killer, on, "retry", offer.id, word)
            await restarted(on)
            after = await stands_as_told(on, offer.id)
            unsure = point in ("intended", "acted")
            assert after.state is (ActionState.FAILED if unsure else ActionState.VERIFYING)
            assert on.system.faults.seen.get(Operation.RETRY, 0) == (0 if point == "intended" else 1)
            steps = [event for event in await on.events() if event.kind == EventKind.FIX_STEP]
            assert len(steps) == 1
            assert ("can't be told" in str(steps[0].data["detail"])) is unsure


async def done(on: Stage) -> str:
    """A fix whose every step is done."""
    offer = await on.offered()
    fix = fix_on(on.store, on.backend)
    assert isinstance(await fix.submit(offer.id, "U1", ALL, "C0"), Claimed)
    await fix.execute(offer.id)
    return offer.id


@pytest.mark.parametrize(
    ("job", "point"),
    [
        ("look", "looking early"),
        ("look", "looked early"),
        ("verify", "verifying"),
        ("verify", "verdict"),
        ("verify", "verified"),
    ],
)
async def test_a_verification_that_was_killed_comes_to_one_verdict(
    tmp_path: Path, killer: Mortal, job: str, point: str
) -> None:
    for number in range(ROUNDS):
        async with stage(tmp_path / f"{number}.db") as on:
            action_id = await done(on)
            await killed(killer, on, job, action_id, point)
            fix = await restarted(on, after=timedelta(minutes=62))
            await fix.verify_due()
            await fix.verify_due()
            assert (await stands_as_told(on, action_id)).state is ActionState.VERIFIED
            assert [e.kind for e in await on.events()].count(EventKind.FIX_VERIFIED) == 1
            nothing_twice(on)


@pytest.mark.parametrize("point", ["undo begun", *(f"restored {kind}" for kind in reversed(ALL)), "undone"])
async def test_an_undo_that_was_killed_is_finished_and_told_once(tmp_path: Path, killer: Mortal, point: str) -> None:
    for number in range(ROUNDS):
        async with stage(tmp_path / f"{number}.db") as on:
            action_id = await done(on)
            await killed(killer, on, "undo", action_id, point)
            fix = await restarted(on, after=timedelta(minutes=62))
            assert (await stands_as_told(on, action_id)).state is ActionState.UNDONE
            assert [e.kind for e in await on.events()].count(EventKind.FIX_UNDONE) == 1
            assert on.system.tenant.connectors["c0"].enabled
            assert on.system.tenant.domains["d0.test"].type is DomainType.INTERNAL_RELAY
            assert on.seen() == [1, 2, 2], "done once, taken back once"
            again = await fix.undo(action_id, "U2")
            assert isinstance(again, Refusal)
            assert "undid this already" in again.reason


async def test_eight_submits_on_each_offer_make_one_execution_each(tmp_path: Path) -> None:
    async with stage(tmp_path / "mfi.db", OFFERS) as on:
        fix = fix_on(on.store, on.backend)
        offers = [await fix.offer(number, "U1") for number in on.numbers]
        assert all(isinstance(one, Action) for one in offers)

        async def click(offer: Action, clicker: int) -> Claimed | Refusal:
            outcome = await fix.submit(offer.id, f"U{clicker}", ALL, f"C{offer.connector_id - 1}")
            if isinstance(outcome, Claimed):
                await fix.execute(offer.id)
            return outcome

        clicks = [click(one, n) for one in offers if isinstance(one, Action) for n in range(CLICKERS)]
        outcomes = await asyncio.gather(*clicks)
        ran = sum(isinstance(one, Claimed) for one in outcomes)
        print(f"\n{CLICKERS} submits on each of {OFFERS} offers: {ran} runs")
        assert ran == OFFERS
        refusals = [one for one in outcomes if isinstance(one, Refusal)]
        assert len(refusals) == OFFERS * (CLICKERS - 1)
        assert all("did this already" in one.reason for one in refusals)
        assert on.seen() == [OFFERS] * 3
        assert len(on.system.tenant.mailboxes["one@contoso.test"]) == OFFERS
        tries = [e for e in await on.store.read(lambda db: list(audit.every(db))) if e.verb == "fix"]
        assert (sum(e.allowed for e in tries), len(tries)) == (OFFERS, OFFERS * CLICKERS)


async def test_eight_clickers_with_an_offer_each_execute_once(tmp_path: Path) -> None:
    async with stage(tmp_path / "mfi.db") as on:
        fix = fix_on(on.store, on.backend)
        offers = await asyncio.gather(*(fix.offer(on.numbers[0], f"U{n}") for n in range(CLICKERS)))
        ids = [one.id for one in offers if isinstance(one, Action)]
        assert len(set(ids)) == CLICKERS
        outcomes = await asyncio.gather(*(fix.submit(one, "U1", ALL, "C0") for one in ids))
        await asyncio.gather(*(fix.execute(one) for one in ids))
        assert sum(isinstance(one, Claimed) for one in outcomes) == 1
        assert on.seen() == [1] * 3


async def test_eight_people_who_undo_at_once_undo_it_once(tmp_path: Path) -> None:
    async with stage(tmp_path / "mfi.db") as on:
        action_id = await done(on)
        fix = fix_on(on.store, on.backend)
        outcomes = await asyncio.gather(*(fix.undo(action_id, f"U{n}") for n in range(CLICKERS)))
        assert sum(isinstance(one, Undone) for one in outcomes) == 1
        assert on.seen() == [1, 2, 2]
