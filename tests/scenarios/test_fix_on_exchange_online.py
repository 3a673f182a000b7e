"""Fix now on Exchange Online: it rejects nothing itself, so the bot changes settings and follows the mail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.core.events import EventKind
from bot.core.fix_plan import Plan
from bot.sandbox.exchange_online.faults import TenantFault
from bot.sandbox.mail_system import DomainType, Status
from bot.services.fix import Refusal, Undone
from storage import incidents
from storage.records import ActionState, IncidentState, StepKind
from tests.backends.exchange_online.bench import TO_ONPREM
from tests.scenarios.exchange_online_scene import BOTH, DOMAIN, SET_CONNECTOR, SET_DOMAIN, Scene, scene

GONE = ("gone@onprem.test", "gone@onprem.test", "left@onprem.test")


@pytest.fixture
async def dead_server(tmp_path: Path) -> AsyncIterator[Scene]:
    """Three messages to nobody and two to people wait; changes take 45 minutes, the trace is 8 minutes late."""
    async with scene(tmp_path) as made:
        made.tenant.settings.effect_delay = timedelta(minutes=45)
        made.tenant.trace.lag = timedelta(minutes=8)
        made.post(*GONE, "bob@onprem.test", "eve@onprem.test")
        await made.sync()
        yield made


async def test_the_plan_says_what_exchange_will_do_itself_and_whom_it_will_bounce(dead_server: Scene) -> None:
    plan = await dead_server.plan()
    assert [step.kind for step in plan.steps] == list(BOTH), "nobody can reject what waits in Exchange Online"
    domain, connector = plan.steps
    assert "At its next retry it rejects 3 messages to 2 invalid recipients" in domain.effect
    assert {recipient for _, recipient in domain.refs} == {"gone@onprem.test", "left@onprem.test"}
    assert "followed until it has ended" in domain.proof
    assert connector.count == 2
    assert plan.connector_key == TO_ONPREM
    assert plan.by_hand == (), "nothing is left for people to do"


async def test_domain_then_connector_are_set_and_the_mail_is_followed_until_exchange_has_rejected_it(
    dead_server: Scene,
) -> None:
    here, fix = dead_server, dead_server.fix()
    action_id = await here.executed(fix)
    assert (await here.action(action_id)).state is ActionState.VERIFYING
    assert here.changed() == {SET_DOMAIN: 1, SET_CONNECTOR: 1}
    assert [step["kind"] for step in await here.told(EventKind.FIX_STEP)] == list(BOTH)
    assert here.statuses("gone@onprem.test") == {Status.QUEUED}, "mail obeys a change only later"

    for _ in range(5):
        await here.later(fix, minutes=10)
        assert (await here.action(action_id)).state is ActionState.VERIFYING
    await here.later(fix, minutes=12)
    assert here.statuses("gone@onprem.test") == here.statuses("left@onprem.test") == {Status.REJECTED}
    (not_yet,) = await here.told(EventKind.FIX_NOT_YET)
    assert "Of the 3 messages that this was about: 3 still waiting." in not_yet["detail"], "the trace is late"

    await here.later(fix, minutes=12)
    (verified,) = await here.told(EventKind.FIX_VERIFIED)
    assert "Of the 3 messages that this was about: 3 rejected." in verified["detail"]
    assert (await here.action(action_id)).state is ActionState.VERIFIED
    assert here.statuses("bob@onprem.test") == here.statuses("eve@onprem.test") == {Status.QUEUED}
    assert len([item for item in here.mail.tenant.mailboxes["ann@contoso.test"] if item.ndr == "5.1.10"]) == 3
    number = here.number
    incident = await here.store.read(lambda db: incidents.get(db, number))
    assert incident is not None
    assert (incident.state, incident.resolution) == (IncidentState.RESOLVED, "retired")


@pytest.mark.parametrize("minutes", [30, 60])
async def test_however_long_a_change_takes_the_fix_is_verified_only_once_the_mail_was_rejected(
    dead_server: Scene, minutes: int
) -> None:
    here, fix = dead_server, dead_server.fix()
    here.tenant.settings.effect_delay = timedelta(minutes=minutes)
    action_id = await here.executed(fix)
    for _ in range(18):
        await here.later(fix, minutes=10)
        verified = (await here.action(action_id)).state is ActionState.VERIFIED
        assert not verified or here.statuses("gone@onprem.test") == {Status.REJECTED}
    assert verified


async def test_undo_sets_both_back_and_says_what_cannot_come_back(dead_server: Scene) -> None:
    here, fix = dead_server, dead_server.fix()
    action_id = await here.executed(fix)
    await here.later(fix, minutes=30)
    undone = await fix.undo(action_id, "U2")
    assert isinstance(undone, Undone), undone
    assert any("is enabled again" in line for line in undone.lines)
    assert any("onprem.test is Internal Relay again" in line for line in undone.lines)
    assert here.changed() == {SET_DOMAIN: 2, SET_CONNECTOR: 2}
    await here.later(fix, minutes=120)
    assert here.mail.tenant.connectors[TO_ONPREM].enabled
    assert here.mail.tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY
    assert here.statuses("gone@onprem.test") == {Status.QUEUED}, "it was taken back before mail obeyed it"


async def test_undo_leaves_alone_what_somebody_changed_since(dead_server: Scene) -> None:
    here, fix = dead_server, dead_server.fix()
    action_id = await here.executed(fix)
    here.tenant.settings.describe(TO_ONPREM, SmartHosts=["new.onprem.test"])
    undone = await fix.undo(action_id, "U2")
    assert isinstance(undone, Undone)
    assert any("was changed by somebody since and is left alone" in line for line in undone.lines)
    assert here.changed()[SET_CONNECTOR] == 1


async def test_a_lost_answer_is_read_not_repeated(dead_server: Scene) -> None:
    here = dead_server
    here.tenant.faults.set(TenantFault.ANSWER_LOST, on=SET_CONNECTOR, times=1)
    action_id = await here.executed(here.fix(), (DOMAIN, StepKind.DISABLE_CONNECTOR))
    assert (await here.action(action_id)).state is ActionState.VERIFYING
    assert here.changed() == {SET_DOMAIN: 1, SET_CONNECTOR: 1}


async def test_the_stored_plan_is_the_one_that_was_shown(dead_server: Scene) -> None:
    offer = await dead_server.offered(dead_server.fix())
    assert Plan.from_json(offer.plan).to_json() == offer.plan
    wrong = await dead_server.fix().submit(offer.id, "U1", BOTH, "To somewhere else")
    assert isinstance(wrong, Refusal)
    assert dead_server.changed() == {}
