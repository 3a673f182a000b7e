"""Undo brings back what nobody changed since, and says what it cannot bring back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bot.core.views import IncidentView
from bot.sandbox.mail_system import (
    DomainType,
    Fault,
    Operation,
)
from bot.services.fix import Fix, Refusal, Undone
from bot.services.triage import triage_connector
from bot.services.views import incident_view
from storage import actions, audit, connectors, incidents, outbox
from storage.records import (
    ActionState,
    IncidentState,
    OutboxKind,
    ProbeRecord,
    StepKind,
    StepState,
)
from tests.services.fix_scene import ALL, HOUR, NAME, START, Scene


@pytest.mark.parametrize("verified", [False, True])
async def test_undo_restores_the_settings_and_says_what_it_cannot_restore(scene: Scene, verified: bool) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    if verified:
        scene.clock.now += HOUR
        await fix.verify_due()
    undone = await fix.undo(action_id, "U2")
    assert undone == Undone(
        (
            "“To on-premises” is enabled again.",
            "onprem.test is Internal Relay again.",
            "3 rejected messages can't be brought back; every sender has a bounce.",
        )
    )
    tenant = scene.system.tenant
    assert tenant.connectors["c1"].enabled
    assert tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY
    connector = await scene.store.read(lambda db: connectors.by_key(db, "lab", "c1"))
    assert connector is not None
    assert connector.enabled
    action = await scene.action(action_id)
    assert (action.state, action.undone_by) == (ActionState.UNDONE, "U2")
    assert await scene.steps(action_id) == [StepState.UNDONE] * 3
    assert await scene.state() is (IncidentState.RESOLVED if verified else IncidentState.FIRING)
    assert ("U2", "fix.undo", True) in await scene.audited()
    incident = await scene.store.read(lambda db: incidents.get(db, scene.incident_id))
    assert incident is not None
    assert incident.resolution == ("undone" if verified else None)


async def test_a_card_whose_fix_was_undone_points_to_the_incident_that_goes_on(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.clock.now += HOUR
    await fix.verify_due()
    await fix.undo(action_id, "U2")
    old = scene.incident_id

    def look(db: Any) -> tuple[IncidentView, int]:
        view = incident_view(db, old, scene.policy, scene.clock.now, {})
        assert view is not None
        return view, sum(item.incident_id == old and item.kind is OutboxKind.ROOT for item in outbox.recent(db, 99))

    before, owed = await scene.store.read(look)
    assert before.following is None
    scene.clock.now += HOUR

    connector_id = (await scene.action(action_id)).connector_id
    await scene.store.write(
        lambda db: triage_connector(db, connector_id, scene.policy, scene.clock.now, default_channel="C1")
    )
    after, more = await scene.store.read(look)
    assert after.following is not None
    assert (after.following.previous_id, after.following.id != old) == (old, True)
    assert more == owed + 1


async def test_a_connector_that_an_undo_leaves_off_keeps_its_incident_as_retired(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.clock.now += HOUR
    await fix.verify_due()
    tenant = scene.system.tenant
    tenant.add_connector(replace(tenant.connectors["c1"], smart_hosts=("127.0.0.3",)))
    await fix.undo(action_id, "U2")
    incident = await scene.store.read(lambda db: incidents.get(db, scene.incident_id))
    assert incident is not None
    assert incident.resolution == "retired"


@pytest.mark.parametrize("holds", [True, False])
async def test_a_verification_that_ends_under_a_running_undo_changes_nothing(scene: Scene, holds: bool) -> None:
    def broken() -> None:
        raise RuntimeError("the undo is at work for a while")

    async def undone_meanwhile(connector_id: int) -> ProbeRecord:
        with pytest.raises(RuntimeError):
            await scene.fix(at="undo begun", then=broken).undo(action_id, "U2")
        assert (await scene.action(action_id)).state is ActionState.EXECUTING
        return await scene.probe(connector_id)

    action_id = await scene.executed(scene.fix(), (StepKind.REJECT_INVALID, StepKind.DOMAIN_AUTHORITATIVE))
    found = DomainType.AUTHORITATIVE if holds else DomainType.INTERNAL_RELAY
    scene.system.tenant.set_domain_type("onprem.test", found)
    scene.clock.now += HOUR
    last_try = replace(scene.policy, verify_attempts=1)
    await Fix(scene.store, {"lab": scene.backend}, undone_meanwhile, last_try, scene.clock, settle=0.0).verify_due()
    assert (await scene.action(action_id)).state is ActionState.UNDONE
    assert (await scene.told())[-2:] == ["fix_finished", "fix_undone"]
    assert scene.system.tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY


async def test_eight_undo_clicks_undo_once(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    outcomes = await asyncio.gather(*(fix.undo(action_id, f"U{n}") for n in range(8)))
    assert sum(isinstance(one, Undone) for one in outcomes) == 1
    refused = [one for one in outcomes if isinstance(one, Refusal)]
    assert {one.actor for one in refused} == {(await scene.action(action_id)).undone_by}
    assert scene.system.faults.seen[Operation.SWITCH] == 2


async def test_what_somebody_changed_since_is_left_alone(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    tenant = scene.system.tenant
    tenant.add_connector(replace(tenant.connectors["c1"], smart_hosts=("127.0.0.3",)))
    tenant.set_domain_type("onprem.test", DomainType.EXTERNAL_RELAY)
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert undone.lines[0] == "“To on-premises” was changed by somebody since and is left alone."
    assert undone.lines[1] == "onprem.test was changed since: it is External Relay now, and is left alone."
    assert not tenant.connectors["c1"].enabled


async def test_what_takes_effect_only_after_it_was_read_back_is_undone_as_our_own(scene: Scene) -> None:
    scene.system.faults.set(Operation.REJECT, Fault.DROP_BEFORE)
    rejecting = await scene.executed(scene.fix(), (StepKind.REJECT_INVALID,))
    scene.system.faults.set(Operation.DOMAIN_TYPE, Fault.DROP_BEFORE)
    typing = await scene.executed(scene.fix(), (StepKind.DOMAIN_AUTHORITATIVE,))
    scene.system.faults.set(Operation.SWITCH, Fault.DROP_BEFORE)
    switching = await scene.executed(scene.fix(), (StepKind.DISABLE_CONNECTOR,))
    assert {(await scene.action(a)).state for a in (rejecting, typing, switching)} == {ActionState.FAILED}
    scene.system.faults.clear()
    tenant = scene.system.tenant
    tenant.reject([("m2", "gone@onprem.test")], "", START)
    tenant.set_domain_type("onprem.test", DomainType.AUTHORITATIVE)
    tenant.set_connector_enabled("c1", False, START)
    said = [await scene.fix().undo(action_id, "U1") for action_id in (switching, typing, rejecting)]
    assert said == [
        Undone(("“To on-premises” is enabled again.",)),
        Undone(("onprem.test is Internal Relay again.",)),
        Undone(("1 rejected message can't be brought back; every sender has a bounce.",)),
    ]
    assert tenant.connectors["c1"].enabled
    assert tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY


async def test_what_somebody_put_back_already_needs_no_undo(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.system.tenant.set_connector_enabled("c1", True, START)
    scene.system.tenant.set_domain_type("onprem.test", DomainType.INTERNAL_RELAY)
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert undone.lines[:2] == ("“To on-premises” is enabled already.", "onprem.test is Internal Relay already.")


async def test_a_connector_that_is_gone_cannot_be_restored(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    del scene.system.tenant.connectors["c1"]
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert "gone from the mail system" in undone.lines[0]


async def test_an_undo_that_fails_can_be_tried_again(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.system.faults.set(Operation.SWITCH, Fault.REFUSE)
    refused = await fix.undo(action_id, "U1")
    assert isinstance(refused, Refusal)
    assert "not complete" in refused.reason
    assert (await scene.action(action_id)).state is ActionState.FAILED
    scene.system.faults.clear()
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert undone.lines == ("“To on-premises” is enabled again.",)


async def test_a_fix_that_failed_halfway_can_be_undone(scene: Scene) -> None:
    scene.system.faults.set(Operation.SWITCH, Fault.REFUSE)
    fix = scene.fix()
    action_id = await scene.executed(fix)
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert scene.system.tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY


async def test_an_interrupted_undo_is_finished_at_the_next_start(scene: Scene) -> None:
    def broken() -> None:
        raise RuntimeError("killed")

    action_id = await scene.executed(scene.fix())
    with pytest.raises(RuntimeError):
        await scene.fix(at="undo begun", then=broken).undo(action_id, "U1")
    await scene.fix().recover()
    assert (await scene.action(action_id)).state is ActionState.UNDONE
    assert scene.system.tenant.connectors["c1"].enabled


async def test_an_interrupted_undo_ends_as_it_is_once_actions_are_switched_off(scene: Scene) -> None:
    def broken() -> None:
        raise RuntimeError("killed")

    action_id = await scene.executed(scene.fix())
    with pytest.raises(RuntimeError):
        await scene.fix(at="undo begun", then=broken).undo(action_id, "U2")
    await scene.fix(actions_on=False).recover()
    ended = await scene.action(action_id)
    assert (ended.state, ended.result) == (
        ActionState.FAILED,
        "Actions were switched off (MFI_ACTIONS); nothing more was done.",
    )
    assert not scene.system.tenant.connectors["c1"].enabled
    assert (await scene.audited())[0] == ("U2", "fix.undo", False)
    assert isinstance(await scene.fix().undo(action_id, "U2"), Undone)


async def test_undo_is_refused_where_there_is_nothing_to_undo(scene: Scene) -> None:
    fix = scene.fix()
    unknown = await fix.undo("nope", "U1")
    assert isinstance(unknown, Refusal)
    action = await scene.offered(fix)
    early = await fix.undo(action.id, "U1")
    assert isinstance(early, Refusal)
    assert "nothing to undo yet" in early.reason
    await fix.submit(action.id, "U1", ALL, NAME)
    del scene.system.tenant.connectors["c1"]
    await fix.execute(action.id)
    nothing = await fix.undo(action.id, "U1")
    assert isinstance(nothing, Refusal)
    assert "changed nothing" in nothing.reason
    assert [a[2] for a in await scene.audited()] == [False, True, False, False]


async def test_undo_is_refused_while_actions_are_off_or_another_fix_runs(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    off = await scene.fix(actions_on=False).undo(action_id, "U1")
    assert isinstance(off, Refusal)
    assert "MFI_ACTIONS" in off.reason
    other = replace(await scene.action(action_id), id="blocker", incident_id=await scene.open_incident("4.4.315"))
    await scene.store.write(lambda db: actions.offer(db, replace(other, expires_at=START + HOUR)))
    await scene.store.write(lambda db: actions.claim(db, "blocker", "U9", ALL, START))
    blocked = await fix.undo(action_id, "U1")
    assert isinstance(blocked, Refusal)
    assert "Another fix" in blocked.reason


async def test_everything_that_came_of_a_yes_is_on_record_under_its_name(scene: Scene) -> None:
    fix = scene.fix()
    number = await scene.executed(fix)
    scene.clock.now += HOUR
    await fix.verify_due()
    assert isinstance(await fix.undo(number, "U2"), Undone)
    verbs = ["fix.offer", "fix.step", "fix.step", "fix.step", "fix.done", "fix.verified"]
    assert await scene.results() == [*(("U1", verb) for verb in verbs), ("U2", "fix.undone")]
    assert (await scene.store.read(audit.verify)).broken_at is None
