"""Lost answers, kills and outages: the state is read, nothing is done twice, and the thread is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.backends.lab import LabBackend
from bot.core.events import EventKind
from bot.core.fix_plan import Plan
from bot.sandbox.mail_system import (
    Fault,
    Operation,
    Status,
)
from bot.services.fix import Fix, Refusal
from storage.records import (
    ActionState,
    IncidentState,
    StepKind,
    StepState,
)
from tests.services.fix_scene import ALL, HOUR, NAME, START, Scene


async def test_an_act_whose_answer_was_lost_is_read_and_goes_on_without_a_second_try(scene: Scene) -> None:
    scene.system.faults.set(Operation.SWITCH, Fault.DROP_AFTER)
    action_id = await scene.executed(scene.fix())
    assert (await scene.action(action_id)).state is ActionState.VERIFYING
    assert await scene.steps(action_id) == [StepState.DONE] * 3
    assert scene.system.faults.seen[Operation.SWITCH] == 1


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DROP_BEFORE, Fault.ERROR])
async def test_an_act_that_was_lost_on_the_way_is_read_as_not_done_and_fails(scene: Scene, fault: Fault) -> None:
    backend = LabBackend("lab", scene.system.api_url, timeout=0.3)
    scene.backend, former = backend, scene.backend
    scene.system.faults.set(Operation.REJECT, fault)
    action_id = await scene.executed(scene.fix())
    assert (await scene.action(action_id)).state is ActionState.FAILED
    assert await scene.steps(action_id) == [StepState.FAILED, StepState.SKIPPED, StepState.SKIPPED]
    assert scene.system.faults.seen[Operation.REJECT] == 1
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    await backend.close()
    scene.backend = former


async def test_what_cannot_be_read_back_stays_unknown_until_it_can(scene: Scene) -> None:
    fix = scene.fix(at="acted domain_authoritative", then=scene.fault(Operation.DOMAIN, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix, (StepKind.REJECT_INVALID, StepKind.DOMAIN_AUTHORITATIVE))
    assert (await scene.action(action_id)).state is ActionState.UNKNOWN
    await fix.recover()
    assert (await scene.action(action_id)).state is ActionState.UNKNOWN
    refused = await fix.undo(action_id, "U1")
    assert isinstance(refused, Refusal)
    scene.system.faults.clear()
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFYING
    assert scene.system.faults.seen[Operation.DOMAIN_TYPE] == 1


async def test_an_interrupted_fix_is_not_continued_but_told_and_can_be_offered_again(scene: Scene) -> None:
    fix = scene.fix(at="acted reject_invalid", then=scene.fault(Operation.LOOKUP, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix)
    assert (await scene.action(action_id)).state is ActionState.UNKNOWN
    scene.system.faults.clear()
    await scene.fix().recover()
    action = await scene.action(action_id)
    assert action.state is ActionState.FAILED
    assert "not continued. done: Reject 3 messages" in (action.result or "")
    again = Plan.from_json((await scene.offered(scene.fix())).plan)
    assert [s.kind for s in again.steps] == [StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR]


async def test_an_outcome_that_cannot_be_read_is_told_once_and_given_up_after_a_day(scene: Scene) -> None:
    fix = scene.fix(at="acted reject_invalid", then=scene.fault(Operation.LOOKUP, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix, (StepKind.REJECT_INVALID, StepKind.DISABLE_CONNECTOR))
    without = Fix(scene.store, {}, scene.probe, scene.policy, scene.clock)
    for _ in range(3):
        scene.clock.now += HOUR
        await without.recover()
    assert (await scene.action(action_id)).state is ActionState.UNKNOWN
    assert (await scene.told()).count("fix_step") == 1
    told = await scene.last(EventKind.FIX_STEP)
    assert told["detail"] == (
        "Whether it took effect can't be read: the mail system “lab” isn't among MFI_BACKENDS any more. "
        "That is tried again until 2026-11-25 08:00 UTC."
    )
    scene.clock.now = START + 24 * HOUR
    await without.recover()
    given_up = await scene.action(action_id)
    assert given_up.state is ActionState.FAILED
    assert "the outcome could not be read" in (given_up.result or "")
    assert await scene.steps(action_id) == [StepState.FAILED, StepState.SKIPPED]
    assert await scene.state() is IncidentState.FIRING
    scene.system.faults.clear()
    await scene.sync()
    await scene.offered(scene.fix())


async def test_a_mail_system_that_is_away_for_a_while_is_told_once_and_then_read(scene: Scene) -> None:
    fix = scene.fix(at="acted reject_invalid", then=scene.fault(Operation.LOOKUP, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix, (StepKind.REJECT_INVALID,))
    for _ in range(2):
        await scene.fix().recover()
    assert (await scene.told()).count("fix_step") == 1
    assert "the mail system can't be read" in (await scene.last(EventKind.FIX_STEP))["detail"]
    scene.system.faults.clear()
    await scene.fix().recover()
    assert (await scene.action(action_id)).state is ActionState.VERIFYING


async def test_a_claim_that_was_never_begun_runs_when_the_bot_is_back(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    await scene.fix().recover()
    assert (await scene.action(action.id)).state is ActionState.VERIFYING


async def test_a_claim_does_not_run_once_actions_are_switched_off(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    await scene.fix(actions_on=False).recover()
    assert "switched off (MFI_ACTIONS): nothing was done" in ((await scene.action(action.id)).result or "")
    assert await scene.steps(action.id) == [StepState.SKIPPED] * 3
    assert scene.system.tenant.connectors["c1"].enabled
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert await scene.state() is IncidentState.FIRING
    assert await scene.audited() == [("U1", "fix", False), ("U1", "fix", True)]


async def test_a_claim_does_not_run_for_somebody_who_may_not_fix_any_more(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    asked: list[str] = []

    async def no(user_id: str) -> bool:
        asked.append(user_id)
        return False

    later = Fix(scene.store, {"lab": scene.backend}, scene.probe, scene.policy, scene.clock, may_fix=no)
    await later.recover()
    assert asked == ["U1"]
    failed = await scene.action(action.id)
    assert failed.state is ActionState.FAILED
    assert "may not fix any more" in (failed.result or "")
    assert scene.system.tenant.connectors["c1"].enabled
    assert ("U1", "fix", False) in await scene.audited()


async def test_a_claim_from_before_a_long_outage_is_dropped(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    scene.clock.now += timedelta(minutes=11)
    await scene.fix().recover()
    failed = await scene.action(action.id)
    assert failed.state is ActionState.FAILED
    assert "down for too long" in (failed.result or "")
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}


async def test_a_saga_that_breaks_is_settled_at_the_next_tick(scene: Scene) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    action_id = await scene.executed(scene.fix(at="acted reject_invalid", then=broken))
    assert (await scene.action(action_id)).state is ActionState.EXECUTING
    await scene.fix().verify_due()
    assert (await scene.action(action_id)).state is ActionState.FAILED
    assert scene.system.faults.seen[Operation.REJECT] == 1
