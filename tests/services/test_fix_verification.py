"""An hour later it is looked whether the fix holds; the verdict says what it rests on."""

from __future__ import annotations

import pytest

from bot.core.events import EventKind
from bot.services.fix import Fix
from storage.records import (
    ActionState,
    IncidentState,
    ProbeRecord,
    StepKind,
)
from tests.services.fix_scene import HOUR, START, Scene


async def test_an_hour_later_the_fix_is_verified_and_the_incident_retires(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFYING
    scene.clock.now += HOUR
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFIED
    assert await scene.state() is IncidentState.RESOLVED
    assert (await scene.told())[-2:] == ["fix_verified", "resolved"]
    assert (await scene.last(EventKind.RESOLVED)) == {"reason": "retired"}
    assert (await scene.last(EventKind.FIX_VERIFIED))["detail"] == [
        "As set: of 3 messages to invalid recipients: 3 rejected.",
        "As set: onprem.test is Authoritative.",
        "As set: “To on-premises” is disabled.",
        "Not rejected and still waiting: 2 for valid@onprem.test; the first bounces at 2026-11-25 03:00 UTC.",
        "The connector is off: it is no longer probed.",
    ]
    assert scene.probe.asked == []


@pytest.mark.parametrize("ok", [True, False])
async def test_a_connector_that_stays_on_is_probed_and_its_incident_stays_open(scene: Scene, ok: bool) -> None:
    fix = scene.fix()
    scene.probe.ok = ok
    await scene.executed(fix, (StepKind.REJECT_INVALID,))
    scene.clock.now += HOUR
    await fix.verify_due()
    assert await scene.state() is IncidentState.FIRING
    line = (await scene.last(EventKind.FIX_VERIFIED))["detail"][-1]
    assert line == (
        "Probe: the smart host takes connections again."
        if ok
        else "Probe: 450 4.4.316 Connection refused; the error is still there."
    )


async def test_a_probe_that_breaks_costs_only_its_line(scene: Scene) -> None:
    async def broken(_connector_id: int) -> ProbeRecord:
        raise RuntimeError("a bug")

    fix = Fix(scene.store, {"lab": scene.backend}, broken, scene.policy, scene.clock, settle=0.0)
    await scene.executed(fix, (StepKind.REJECT_INVALID,))
    scene.clock.now += HOUR
    await fix.verify_due()
    assert (await scene.last(EventKind.FIX_VERIFIED))["detail"][-1] == "The probe couldn't be run."


async def test_no_mail_left_is_said_so(scene: Scene) -> None:
    fix = scene.fix()
    await scene.executed(fix)
    scene.clock.now += HOUR
    scene.system.tenant.reject([(key, "valid@onprem.test") for key in ("m1", "m4")], "", START)
    await fix.verify_due()
    assert "No mail waits at this connector any more." in (await scene.last(EventKind.FIX_VERIFIED))["detail"]


async def test_a_setting_that_somebody_put_back_is_not_yet_and_finally_failed(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.system.tenant.set_connector_enabled("c1", True, START)
    for expected in (ActionState.VERIFYING, ActionState.VERIFYING, ActionState.FAILED):
        scene.clock.now += HOUR
        await fix.verify_due()
        assert (await scene.action(action_id)).state is expected
    assert (await scene.told())[-3:] == ["fix_not_yet", "fix_not_yet", "fix_failed"]
    assert "Not as set: “To on-premises” is enabled." in ((await scene.action(action_id)).result or "")
    assert await scene.state() is IncidentState.FIRING


async def test_a_mail_system_that_is_down_at_verification_is_asked_again(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.clock.now += HOUR
    await scene.system.api_down()
    await fix.verify_due()
    assert "can't be read back" in (await scene.last(EventKind.FIX_NOT_YET))["detail"][0]
    await scene.system.api_up()
    scene.clock.now += HOUR
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFIED


async def test_a_backend_that_left_the_settings_is_not_yet(scene: Scene) -> None:
    await scene.executed(scene.fix())
    scene.clock.now += HOUR
    await Fix(scene.store, {}, scene.probe, scene.policy, scene.clock).verify_due()
    assert "isn't among MFI_BACKENDS" in (await scene.last(EventKind.FIX_NOT_YET))["detail"][0]


async def test_a_verification_that_breaks_is_put_off_not_repeated_at_every_tick(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    spoiled = "UPDATE actions SET plan = '{}' WHERE id = ?"
    await scene.store.write(lambda db: db.execute(spoiled, [action_id]) and None)
    scene.clock.now += HOUR
    await fix.verify_due()
    assert (await scene.action(action_id)).verify_at == START + 2 * HOUR
