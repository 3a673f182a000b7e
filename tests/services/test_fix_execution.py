"""Fix now acts on facts read again, step by step, each read back; what speaks against it stops the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.sandbox.mail_system import (
    DomainType,
    Fault,
    Operation,
    Status,
    TenantDomain,
)
from bot.services.fix import Fix
from storage import connectors, domains, incidents, messages
from storage.records import (
    ActionState,
    IncidentState,
    MessageStatus,
    StepKind,
    StepState,
)
from tests.services.fix_scene import ALL, HOUR, NAME, START, Scene


async def test_all_three_steps_are_done_read_back_and_told(scene: Scene) -> None:
    action_id = await scene.executed(scene.fix())
    tenant = scene.system.tenant
    assert scene.statuses("gone@onprem.test") == scene.statuses("left@onprem.test") == {Status.REJECTED}
    assert scene.statuses("valid@onprem.test") == {Status.QUEUED}
    assert [i.ndr for i in tenant.mailboxes["one@contoso.test"]] == ["5.1.10", "5.1.10"]
    assert [i.failed_recipient for i in tenant.mailboxes["two@contoso.test"]] == ["left@onprem.test"]
    assert tenant.domains["onprem.test"].type is DomainType.AUTHORITATIVE
    assert not tenant.connectors["c1"].enabled
    assert await scene.steps(action_id) == [StepState.DONE] * 3
    action = await scene.action(action_id)
    assert (action.state, action.verify_at) == (ActionState.VERIFYING, START + HOUR)
    assert await scene.state() is IncidentState.VERIFYING
    assert await scene.told() == [
        "opened",
        "fix_claimed",
        "fix_step",
        "fix_step",
        "fix_step",
        "fix_finished",
    ]


async def test_our_own_records_follow_at_once(scene: Scene) -> None:
    await scene.executed(scene.fix())
    connector = await scene.store.read(lambda db: connectors.by_key(db, "lab", "c1"))
    assert connector is not None
    assert not connector.enabled
    domain = await scene.store.read(lambda db: domains.get(db, "lab", "onprem.test"))
    assert domain is not None
    assert domain.type == "authoritative"
    rows = await scene.store.read(lambda db: messages.get_refs(db, "lab", [("m2", "gone@onprem.test")]))
    assert rows[0].status is MessageStatus.REJECTED


async def test_only_the_chosen_steps_run(scene: Scene) -> None:
    await scene.executed(scene.fix(), (StepKind.REJECT_INVALID,))
    assert scene.statuses("gone@onprem.test") == {Status.REJECTED}
    assert scene.system.tenant.connectors["c1"].enabled
    assert scene.system.tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY


async def test_a_second_execute_does_nothing(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    seen = dict(scene.system.faults.seen)
    await fix.execute(action_id)
    await fix.execute("nope")
    assert scene.system.faults.seen == seen


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"smart_hosts": ("127.0.0.2",)}, "smart hosts was 127.0.0.1 and is 127.0.0.2 now"),
        ({"name": "Renamed"}, "name was To on-premises"),
        ({"enabled": False}, "enabled was yes and is no now"),
    ],
)
async def test_a_connector_that_changed_since_the_offer_is_left_alone(
    scene: Scene, change: dict[str, Any], words: str
) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    tenant = scene.system.tenant
    tenant.add_connector(replace(tenant.connectors["c1"], **change))
    await fix.execute(action.id)
    failed = await scene.action(action.id)
    assert failed.state is ActionState.FAILED
    assert words in (failed.result or "")
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert await scene.steps(action.id) == [StepState.SKIPPED] * 3
    assert await scene.state() is IncidentState.FIRING


async def test_a_domain_that_changed_since_the_offer_stops_everything(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    scene.system.tenant.domains["onprem.test"] = TenantDomain(name="onprem.test", match_subdomains=True)
    await fix.execute(action.id)
    assert (await scene.action(action.id)).state is ActionState.FAILED
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}


async def test_a_connector_that_is_gone_stops_everything(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    del scene.system.tenant.connectors["c1"]
    await fix.execute(action.id)
    assert "no longer has the connector" in ((await scene.action(action.id)).result or "")


async def test_a_recipient_that_became_valid_keeps_its_mail_and_new_mail_is_not_touched(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", (StepKind.REJECT_INVALID,), NAME)
    tenant = scene.system.tenant
    tenant.add_recipients("gone@onprem.test")
    tenant.submit("one@contoso.test", ["late@onprem.test"], now=START, key="m9")
    await fix.execute(action.id)
    assert (await scene.action(action.id)).state is ActionState.VERIFYING
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert scene.statuses("left@onprem.test") == {Status.REJECTED}
    assert scene.statuses("late@onprem.test") == {Status.QUEUED}


async def test_a_partial_directory_answer_rejects_nobody(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    scene.system.faults.set(Operation.DIRECTORY, Fault.PARTIAL)
    await fix.execute(action.id)
    assert "gave no answer for 2 recipients, and unknown is not invalid" in (
        (await scene.action(action.id)).result or ""
    )
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert scene.system.tenant.connectors["c1"].enabled


async def test_facts_that_cannot_be_read_again_stop_everything(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    scene.system.faults.set(Operation.CONNECTOR, Fault.DROP_BEFORE)
    await fix.execute(action.id)
    assert "Nothing was done" in ((await scene.action(action.id)).result or "")
    assert await scene.state() is IncidentState.FIRING


async def test_a_backend_that_is_no_longer_configured_stops_everything(scene: Scene) -> None:
    action = await scene.offered(scene.fix())
    fix = Fix(scene.store, {}, scene.probe, scene.policy, scene.clock)
    await fix.submit(action.id, "U1", ALL, NAME)
    await fix.execute(action.id)
    assert "isn't among MFI_BACKENDS" in ((await scene.action(action.id)).result or "")


async def test_a_refused_step_stops_the_rest(scene: Scene) -> None:
    await scene.store.write(lambda db: incidents.change(db, scene.incident_id, acknowledged_by="U7"))
    scene.system.faults.set(Operation.DOMAIN_TYPE, Fault.REFUSE)
    action_id = await scene.executed(scene.fix())
    assert await scene.steps(action_id) == [StepState.DONE, StepState.FAILED, StepState.SKIPPED]
    action = await scene.action(action_id)
    assert action.state is ActionState.FAILED
    assert "done: Reject 3 messages" in (action.result or "")
    assert "not begun: Disable the connector" in (action.result or "")
    assert scene.system.tenant.connectors["c1"].enabled
    assert await scene.state() is IncidentState.ACKNOWLEDGED


async def test_a_step_refused_while_nothing_can_be_read_has_failed_for_certain(scene: Scene) -> None:
    scene.system.faults.set(Operation.REJECT, Fault.REFUSE)
    fix = scene.fix(at="intended reject_invalid", then=scene.fault(Operation.LOOKUP, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix)
    assert (await scene.action(action_id)).state is ActionState.FAILED
    assert await scene.steps(action_id) == [StepState.FAILED, StepState.SKIPPED, StepState.SKIPPED]
