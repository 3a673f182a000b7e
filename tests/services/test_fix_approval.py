"""With MFI_FIX_APPROVALS=2 nothing is touched before a second person said yes, in time, on an open incident."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from bot.core.events import EventKind
from bot.sandbox.mail_system import Operation
from bot.services.fix import Claimed, Fix, Refusal
from storage import audit, incidents
from storage.records import Action, ActionState, IncidentState, StepKind
from tests.services.fix_scene import ALL, HOUR, NAME, START, Scene

TWO = {"fix_approvals": 2}


async def requested(scene: Scene, fix: Fix) -> str:
    action = await scene.offered(fix)
    claimed = await fix.submit(action.id, "U1", ALL, NAME)
    assert isinstance(claimed, Claimed)
    assert claimed.waits
    return action.id


async def test_the_first_yes_only_asks_for_the_second(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    action_id = await requested(scene, fix)
    action = await scene.action(action_id)
    assert (action.state, action.requested_by, action.claimed_by) == (ActionState.CONFIRMING, "U1", None)
    assert action.expires_at == START + timedelta(minutes=30)
    assert await scene.state() is IncidentState.FIRING
    asked = await scene.last(EventKind.FIX_REQUESTED)
    assert len(asked["steps"]) == 3
    assert "Reject 3 messages to 2 invalid recipients" in asked["steps"][0]
    await fix.execute(action_id)
    await fix.recover()
    assert Operation.REJECT not in scene.system.faults.seen, "nothing was touched"


async def test_the_second_persons_yes_runs_it_under_both_names(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    action_id = await requested(scene, fix)
    approved = await fix.approve(action_id, "U2")
    assert isinstance(approved, Claimed)
    assert not approved.waits
    await fix.execute(action_id)
    assert (await scene.action(action_id)).state is ActionState.VERIFYING
    told = await scene.last(EventKind.FIX_CLAIMED)
    assert told["requested_by"] == "U1"
    entries = await scene.store.read(lambda db: list(audit.every(db)))
    told = [("U1", "fix.offer"), ("U1", "fix.request"), ("U2", "fix.approve")]
    assert [(e.actor, e.verb) for e in entries[:3]] == told
    assert scene.system.faults.seen[Operation.REJECT] == 1


@pytest.mark.parametrize(
    ("actor", "words"), [("U1", "a second person has to approve"), ("U2", "waited too long for an approval")]
)
async def test_neither_the_same_person_nor_a_late_one_can_approve(scene: Scene, actor: str, words: str) -> None:
    fix = scene.fix(**TWO)
    action_id = await requested(scene, fix)
    scene.clock.now += timedelta(minutes=31) if actor == "U2" else timedelta(0)
    refused = await fix.approve(action_id, actor)
    assert isinstance(refused, Refusal)
    assert words in refused.reason
    assert (await scene.action(action_id)).state is ActionState.CONFIRMING


@pytest.mark.parametrize("actor", ["U1", "U2"])
async def test_a_no_ends_it_and_says_whose_it_was(scene: Scene, actor: str) -> None:
    fix = scene.fix(**TWO)
    action_id = await requested(scene, fix)
    assert isinstance(await fix.decline(action_id, actor), Action)
    over = await scene.action(action_id)
    assert over.state is ActionState.FAILED
    assert over.result == ("Withdrawn by the person who asked." if actor == "U1" else "Declined by <@U2>.")
    assert (await scene.told())[-1] == EventKind.FIX_DECLINED
    for late in (await fix.approve(action_id, "U3"), await fix.decline(action_id, "U3")):
        assert isinstance(late, Refusal)
        assert late.reason == over.result
    assert isinstance(await fix.offer(scene.incident_id, "U3"), Action), "it can be offered anew"


async def test_what_nobody_approves_in_time_is_over_and_told_once(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    action_id = await requested(scene, fix)
    scene.clock.now += timedelta(minutes=30)
    await fix.verify_due()
    await fix.verify_due()
    assert (await scene.action(action_id)).result == "Nobody approved it in time."
    assert (await scene.told()).count(EventKind.FIX_LAPSED) == 1
    assert ("mfi", "fix.lapsed") in await scene.results()


async def test_a_dialog_of_a_request_that_is_over_says_how_it_ended(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    action_id = await requested(scene, fix)
    scene.clock.now += timedelta(minutes=30)
    late = await fix.submit(action_id, "U3", ALL, NAME)
    await fix.verify_due()
    lapsed = await fix.submit(action_id, "U3", ALL, NAME)
    assert isinstance(late, Refusal)
    assert isinstance(lapsed, Refusal)
    assert late.reason == "It waited too long for an approval. Open Fix now again for the present figures."
    assert lapsed.reason == "Nobody approved it in time. Open Fix now again for the present figures."


async def test_eight_yeses_run_it_once(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    action_id = await requested(scene, fix)
    answers = await asyncio.gather(*(fix.approve(action_id, f"U{n}") for n in range(2, 10)))
    assert sum(isinstance(one, Claimed) for one in answers) == 1
    assert all("did this already" in one.reason for one in answers if isinstance(one, Refusal))


async def test_only_one_request_waits_at_a_connector(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    other = await scene.offered(fix)
    action_id = await requested(scene, fix)
    again = await fix.submit(action_id, "U2", ALL, NAME)
    second = await fix.submit(other.id, "U2", ALL, NAME)
    for refused in (again, second):
        assert isinstance(refused, Refusal)
        assert "<@U1> asked for this fix already; it waits since 08:00 UTC for a second person" in refused.reason


async def test_a_request_is_not_run_once_its_incident_is_over_or_actions_are_off(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    action_id = await requested(scene, fix)
    off = await scene.fix(fix_approvals=2, actions_on=False).approve(action_id, "U2")
    assert isinstance(off, Refusal)
    assert "switched off" in off.reason
    full = await scene.fix(fix_approvals=2, fixes_per_hour=0).approve(action_id, "U2")
    assert isinstance(full, Refusal)
    assert "within the last hour" in full.reason
    number = scene.incident_id
    await scene.store.write(lambda db: incidents.change(db, number, state=IncidentState.RESOLVED))
    over = await fix.approve(action_id, "U2")
    assert isinstance(over, Refusal)
    assert "resolved already" in over.reason


async def test_both_people_must_still_be_allowed_when_it_runs(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    action_id = await requested(scene, fix)
    assert isinstance(await fix.approve(action_id, "U2"), Claimed)

    async def only_the_second(user_id: str) -> bool:
        return user_id == "U2"

    late = Fix(
        scene.store, {"lab": scene.backend}, scene.probe, scene.policy, scene.clock, settle=0.0, may_fix=only_the_second
    )
    await late.execute(action_id)
    assert (await scene.action(action_id)).state is ActionState.FAILED
    assert Operation.REJECT not in scene.system.faults.seen


async def test_unknown_requests_are_refused_and_on_record(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    for refused in (await fix.approve("nope", "U2"), await fix.decline("nope", "U2")):
        assert refused == Refusal(reason="This fix isn't known.")
    entries = await scene.store.read(lambda db: list(audit.every(db)))
    assert [(e.verb, e.allowed) for e in entries] == [("fix.approve", False), ("fix.decline", False)]


async def test_a_request_at_a_connector_where_a_fix_began_meanwhile_waits_in_vain(scene: Scene) -> None:
    fix = scene.fix(**TWO)
    first = await requested(scene, fix)
    one = scene.fix()
    scene.clock.now += timedelta(minutes=5)
    other = await one.offer(scene.incident_id, "U3")
    assert isinstance(other, Action)
    assert isinstance(await one.submit(other.id, "U3", (StepKind.REJECT_INVALID,), NAME), Claimed)
    refused = await fix.approve(first, "U2")
    assert isinstance(refused, Refusal)
    assert "Another fix" in refused.reason
    assert scene.clock.now < START + HOUR
