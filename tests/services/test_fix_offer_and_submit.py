"""What Fix now offers, and what it takes to say yes: once, with the right name, on a fresh offer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.core.events import EventKind
from bot.core.fix_plan import Plan
from bot.sandbox.mail_system import (
    Status,
)
from bot.services.fix import Claimed, Fix, Refusal
from storage import actions, incidents
from storage.records import (
    ActionState,
    IncidentState,
    Severity,
    StepKind,
)
from tests.services.fix_scene import ALL, HOUR, NAME, START, Scene


async def test_an_offer_says_in_numbers_what_would_happen(scene: Scene) -> None:
    action = await scene.offered(scene.fix())
    plan = Plan.from_json(action.plan)
    assert (plan.waiting, plan.valid_waiting, plan.unknown_waiting, plan.invalid_recipients) == (5, 2, 0, 2)
    assert [step.title for step in plan.steps] == [
        "Reject 3 messages to 2 invalid recipients",
        "Make onprem.test Authoritative",
        f"Disable the connector “{NAME}”",
    ]
    assert [(s.sender, s.count) for s in plan.steps[0].senders] == [("one@contoso.test", 2), ("two@contoso.test", 1)]
    assert (action.state, action.expires_at) == (ActionState.OFFERED, START + timedelta(minutes=10))
    assert await scene.state() is IncidentState.FIRING


async def test_more_mail_than_is_looked_at_one_by_one_is_counted_to_the_last_message(scene: Scene) -> None:
    action_id = await scene.executed(scene.fix(), (StepKind.REJECT_INVALID,))
    for n in range(5000):
        scene.system.tenant.submit(
            "one@contoso.test", ["valid@onprem.test"], now=START, received_at=START - 4 * HOUR, key=f"x{n}"
        )
    scene.system.tenant.submit("one@contoso.test", ["late@onprem.test"], now=START, received_at=START, key="late")
    await scene.system.retry()
    await scene.sync()
    scene.clock.now += HOUR
    await scene.fix().verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFIED
    (line,) = [one for one in (await scene.last(EventKind.FIX_VERIFIED))["detail"] if "still waiting" in one]
    assert line.startswith("Not rejected and still waiting: 5000 for valid@onprem.test;")
    assert line.endswith("; and 3 more that were not looked at one by one.")
    await scene.sync()
    plan = Plan.from_json((await scene.offered(scene.fix())).plan)
    assert (plan.waiting, plan.valid_waiting, plan.unseen) == (5003, 5000, 3)
    assert [step.kind for step in plan.steps] == [StepKind.DISABLE_CONNECTOR]
    assert "Still queued then: 5003 messages" in plan.steps[0].effect


async def test_an_offer_made_while_the_mail_system_is_down_is_refused(scene: Scene) -> None:
    await scene.system.api_down()
    refused = await scene.fix().offer(scene.incident_id, "U1")
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith("No plan can be made now: lab can't be reached")


async def test_an_unknown_incident_has_no_offer(scene: Scene) -> None:
    assert await scene.fix().offer(77, "U1") == Refusal(reason="There is no incident #77.")


async def test_an_incident_of_no_connector_has_no_offer(scene: Scene) -> None:
    blind = await scene.store.write(
        lambda db: incidents.insert(
            db,
            connector_id=None,
            code="blind",
            severity=Severity.CRITICAL,
            now=START,
            first_failure_at=START,
            channel="C1",
        )
    )
    refused = await scene.fix().offer(blind.id, "U1")
    assert isinstance(refused, Refusal)
    assert "belongs to no connector" in refused.reason


async def test_a_partner_gets_no_offer(scene: Scene) -> None:
    tenant = scene.system.tenant
    tenant.add_connector(replace(tenant.connectors["c1"], kind="partner"))
    await scene.sync()
    refused = await scene.fix().offer(scene.incident_id, "U1")
    assert isinstance(refused, Refusal)
    assert "partner" in refused.reason


async def test_without_a_backend_the_plan_is_for_a_persons_hands(scene: Scene) -> None:
    fix = Fix(scene.store, {}, scene.probe, scene.policy, scene.clock)
    plan = Plan.from_json((await scene.offered(fix)).plan)
    assert plan.steps == ()
    assert any("Set-OutboundConnector -Identity 'To on-premises' -Enabled $false" in line for line in plan.by_hand)


async def test_submitting_claims_tells_and_audits_in_one_go(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    claimed = await fix.submit(action.id, "U1", ALL, f"  {NAME.upper()} ")
    assert isinstance(claimed, Claimed)
    assert claimed.action.state is ActionState.CLAIMED
    assert claimed.action.chosen == ALL
    assert await scene.state() is IncidentState.FIXING
    assert await scene.audited() == [("U1", "fix", True)]
    assert (await scene.last(EventKind.FIX_CLAIMED))["steps"][2] == f"Disable the connector “{NAME}”"


@pytest.mark.parametrize(
    ("steps", "name", "later", "words"),
    [
        (ALL, "To on-prem", timedelta(0), "isn't the connector's name"),
        ((), NAME, timedelta(0), "Choose at least one"),
        (ALL, NAME, timedelta(minutes=10), "too old"),
    ],
)
async def test_a_mistaken_submit_does_nothing_and_is_audited(
    scene: Scene, steps: tuple[StepKind, ...], name: str, later: timedelta, words: str
) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    scene.clock.now += later
    refused = await fix.submit(action.id, "U2", steps, name)
    assert isinstance(refused, Refusal)
    assert words in refused.reason
    assert (await scene.action(action.id)).state is ActionState.OFFERED
    assert await scene.audited() == [("U2", "fix", False)]
    assert await scene.state() is IncidentState.FIRING


async def test_an_unknown_offer_is_refused_and_audited(scene: Scene) -> None:
    assert isinstance(await scene.fix().submit("nope", "U1", ALL, NAME), Refusal)
    assert await scene.audited() == [("U1", "fix", False)]


async def test_the_second_clicker_is_told_who_did_it_and_when(scene: Scene) -> None:
    fix = scene.fix()
    first, second = await scene.offered(fix), await scene.offered(fix)
    await fix.submit(first.id, "U1", ALL, NAME)
    for offer in (first, second):
        refused = await fix.submit(offer.id, "U2", ALL, NAME)
        assert isinstance(refused, Refusal)
        assert (refused.actor, refused.at) == ("U1", START)
        assert refused.reason.startswith("<@U1> did this already at 08:00 UTC")
    again = await fix.offer(scene.incident_id, "U3")
    assert isinstance(again, Refusal)
    assert again.actor == "U1"


async def test_an_offer_for_a_resolved_incident_is_refused(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await scene.store.write(lambda db: incidents.change(db, scene.incident_id, state=IncidentState.RESOLVED))
    refused = await fix.submit(action.id, "U1", ALL, NAME)
    assert isinstance(refused, Refusal)
    assert "resolved already" in refused.reason
    again = await fix.offer(scene.incident_id, "U1")
    assert isinstance(again, Refusal)
    assert "resolved already" in again.reason


async def test_who_comes_after_the_proof_is_told_who_did_it_and_that_it_worked(scene: Scene) -> None:
    fix = scene.fix()
    before = await scene.offered(fix)
    await scene.executed(fix)
    scene.clock.now += HOUR
    await fix.verify_due()
    for refused in (await fix.offer(scene.incident_id, "U2"), await fix.submit(before.id, "U2", ALL, NAME)):
        assert isinstance(refused, Refusal)
        assert refused.reason == (
            "<@U1> did this already at 08:00 UTC, it worked, and #1 is resolved: there is nothing to fix."
        )
        assert (refused.actor, refused.at) == ("U1", START)


async def test_another_fix_of_the_same_connector_waits_its_turn(scene: Scene) -> None:
    fix = scene.fix()
    other = await scene.open_incident("4.4.315")
    action = await scene.offered(fix)
    blocker = replace(action, id="blocker", incident_id=other)
    await scene.store.write(lambda db: actions.offer(db, blocker))
    await scene.store.write(lambda db: actions.claim(db, "blocker", "U9", ALL, START))
    refused = await fix.submit(action.id, "U1", ALL, NAME)
    said = f"Another fix of “{NAME}” is running: <@U9> started it at 08:00 UTC."
    assert refused == Refusal(reason=said, actor="U9", at=START)
    assert await fix.offer(scene.incident_id, "U1") == refused


@pytest.mark.parametrize("offered_on", [True, False])
async def test_an_offer_made_under_the_other_setting_is_refused(scene: Scene, offered_on: bool) -> None:
    action = await scene.offered(scene.fix(actions_on=offered_on))
    refused = await scene.fix(actions_on=not offered_on).submit(action.id, "U1", ALL, NAME)
    assert isinstance(refused, Refusal)
    assert "open Fix now again" in refused.reason


async def test_a_dry_run_shows_what_it_would_do_and_touches_nothing(scene: Scene) -> None:
    fix = scene.fix(actions_on=False)
    action = await scene.offered(fix)
    assert len(Plan.from_json(action.plan).by_hand) == 5
    shown = await fix.submit(action.id, "U1", ALL, NAME)
    assert isinstance(shown, Claimed)
    assert shown.dry_run
    assert shown.lines[2].startswith(f"Disable the connector “{NAME}”: No more attempts")
    await fix.execute(action.id)
    assert (await scene.action(action.id)).state is ActionState.OFFERED
    assert await scene.state() is IncidentState.FIRING
    assert scene.system.tenant.connectors["c1"].enabled
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert (await scene.last(EventKind.FIX_CLAIMED))["dry_run"] is True
