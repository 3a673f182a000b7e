"""Retry now: once the server works again, what waits is tried at once; and a look before the hour is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bot.core.events import EventKind
from bot.sandbox.mail_system import Fault, Operation
from bot.services.fix import Claimed, Fix, Refusal
from storage import messages, probes
from storage.records import Action, ActionState, IncidentState, MessageStatus, StepKind
from tests.services.fix_scene import ALL, HOUR, NAME, START, Scene

RETRY = (StepKind.RETRY_QUEUE,)


async def probed(scene: Scene, *, ok: bool = True) -> None:
    scene.probe.ok = ok
    record = replace(await scene.probe(1), stage="done" if ok else "connect", at=scene.clock.now)
    await scene.store.write(lambda db: probes.record(db, record))


async def offered(scene: Scene, fix: Fix) -> Action:
    offer = await fix.offer_retry(scene.incident_id, "U1")
    assert isinstance(offer, Action), offer
    return offer


async def ran(scene: Scene, fix: Fix) -> str:
    offer = await offered(scene, fix)
    claimed = await fix.submit(offer.id, "U1", RETRY, NAME)
    assert isinstance(claimed, Claimed)
    await fix.execute(offer.id)
    return offer.id


async def test_a_retry_needs_a_good_probe(scene: Scene) -> None:
    await probed(scene, ok=False)
    refused = await scene.fix().offer_retry(scene.incident_id, "U1")
    assert isinstance(refused, Refusal)
    assert "a retry would fail, too" in refused.reason


async def test_a_retry_runs_at_once_needs_one_person_and_is_looked_at_minutes_later(scene: Scene) -> None:
    await probed(scene)
    fix = scene.fix(fix_approvals=2)
    action_id = await ran(scene, fix)
    action = await scene.action(action_id)
    assert scene.system.faults.seen[Operation.RETRY] == 1
    assert (action.state, action.verify_at) == (ActionState.VERIFYING, START + timedelta(minutes=5))
    assert (await scene.last(EventKind.FIX_STEP))["detail"] == "of 5 messages that waited, 0 have left by now"
    assert (await scene.last(EventKind.FIX_FINISHED))["undoable"] is False
    for kind in (EventKind.FIX_CLAIMED, EventKind.FIX_FINISHED):
        assert (await scene.last(kind))["retry"] is True, kind
    undo = await fix.undo(action_id, "U1")
    assert not isinstance(undo, Refusal)
    assert "nothing to undo" in undo.lines[0]


async def test_mail_that_left_verifies_the_retry_before_its_time(scene: Scene) -> None:
    await probed(scene)
    fix = scene.fix()
    action_id = await ran(scene, fix)
    system = scene.system
    for entry in list(system.tenant.queued()):
        system.tenant.entries[entry.ref] = replace(entry, status=type(entry.status).DELIVERED, ended_at=START)
    scene.clock.now += timedelta(minutes=1)
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFIED
    told = await scene.last(EventKind.FIX_VERIFIED)
    assert told["retry"] is True
    lines = told["detail"]
    assert "Of the 5 messages that this was about: 5 delivered." in lines
    summary = await scene.store.read(lambda db: messages.summary(db, 1))
    assert summary.total == 0, "our own list knows it at once"
    assert await scene.state() is IncidentState.FIRING, "triage decides when it is over"


async def test_mail_that_stays_is_looked_at_again_and_finally_told(scene: Scene) -> None:
    await probed(scene)
    fix = scene.fix()
    action_id = await ran(scene, fix)
    states = []
    for _ in range(3):
        scene.clock.now += HOUR
        await fix.verify_due()
        states.append((await scene.action(action_id)).state)
    assert states == [ActionState.VERIFYING, ActionState.VERIFYING, ActionState.FAILED]
    told = (await scene.last(EventKind.FIX_FAILED))["detail"]
    assert "5 still waiting" in told
    assert "What to do:" in told


async def test_a_retry_that_the_mail_system_refuses_has_failed(scene: Scene) -> None:
    await probed(scene)
    scene.system.faults.set(Operation.RETRY, Fault.REFUSE)
    failed = await scene.action(await ran(scene, scene.fix()))
    assert failed.state is ActionState.FAILED
    assert "retry is not possible now" in (failed.result or "")


async def test_a_retry_whose_answer_is_lost_counts_as_asked_and_is_looked_at_like_any(scene: Scene) -> None:
    await probed(scene)
    scene.system.faults.set(Operation.RETRY, Fault.DROP_AFTER)
    action_id = await ran(scene, scene.fix())
    assert (await scene.action(action_id)).state is ActionState.VERIFYING
    assert scene.system.faults.seen[Operation.RETRY] == 1


async def test_a_rejection_that_is_seen_to_have_worked_need_not_wait_for_the_hour(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix, (StepKind.REJECT_INVALID,))
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFYING
    scene.clock.now += timedelta(minutes=10)
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFIED


async def test_settings_take_their_hour(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix, ALL)
    for _ in range(5):
        scene.clock.now += timedelta(minutes=10)
        await fix.verify_due()
        assert (await scene.action(action_id)).state is ActionState.VERIFYING
    scene.clock.now += timedelta(minutes=10)
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFIED


async def test_whoever_got_mail_through_the_connector_before_is_in_no_plan(scene: Scene) -> None:
    past = next(iter((await scene.backend.snapshot()).messages or ()))
    known = replace(past, key="old", recipient="Left@onprem.test", status=MessageStatus.DELIVERED)
    await scene.store.write(lambda db: messages.sync(db, "lab", [(known, 1)], START, complete=False))
    action = await scene.offered(scene.fix())
    assert '"left@onprem.test"' not in action.plan
    assert "got mail through this connector before" in action.plan
