"""What the audit log and the thread say of a fix: who, what, when, why and with what result; also of every refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from bot.core.events import EventKind
from bot.sandbox.mail_system import Fault, Operation
from bot.services.fix import Claimed, Fix, Refusal, Undone
from bot.services.views import incident_view
from bot.slack import replies, thread
from knowledge.articles import articles
from storage import audit
from storage.journal_records import AuditEntry
from storage.records import Action, ActionState, StepKind
from tests.services.fix_scene import ALL, HOUR, NAME, START, Scene

TARGET = f"#1 {NAME}"
TWO = {"fix_approvals": 2}
Story = Callable[[Scene], Awaitable[object]]


async def log(scene: Scene) -> list[AuditEntry]:
    """The whole log, once it has been proved that nobody changed it."""
    entries = await scene.store.read(lambda db: list(audit.every(db)))
    verdict = await scene.store.read(audit.verify)
    assert (verdict.broken_at, verdict.entries) == (None, len(entries))
    return entries


async def asked(scene: Scene) -> tuple[Fix, str]:
    """U1 asks for a fix that U2 has to approve."""
    fix = scene.fix(**TWO)
    action = await scene.offered(fix)
    assert isinstance(await fix.submit(action.id, "U1", ALL, NAME), Claimed)
    return fix, action.id


async def test_a_whole_fix_of_two_people_is_told_step_by_step(scene: Scene) -> None:
    fix, action_id = await asked(scene)
    scene.clock.now += timedelta(minutes=1)
    assert isinstance(await fix.approve(action_id, "U2"), Claimed)
    await fix.execute(action_id)
    scene.clock.now = START + timedelta(minutes=62)
    await fix.verify_due()
    assert isinstance(await fix.undo(action_id, "U3"), Undone)

    entries = await log(scene)
    assert [(e.actor, e.verb) for e in entries] == [
        ("U1", "fix.offer"),
        ("U1", "fix.request"),
        ("U2", "fix.approve"),
        ("U2", "fix"),
        *[("U2", "fix.step")] * 3,
        ("U2", "fix.done"),
        ("U2", "fix.verified"),
        ("U3", "fix.undo"),
        ("U3", "fix.undone"),
    ]
    assert {e.target for e in entries} == {TARGET}
    assert all(e.allowed and action_id in e.detail for e in entries)
    by_verb = {e.verb: e for e in entries}
    why = by_verb["fix.offer"].detail
    assert "for 4.4.316: reject_invalid (3), domain_authoritative (1), disable_connector (2)" in why
    assert "which U1 asked for" in by_verb["fix.approve"].detail
    assert by_verb["fix.approve"].at == START + timedelta(minutes=1)
    assert "disable_connector done: “To on-premises” is disabled" in by_verb["fix.step"].detail
    assert "As set: of 3 messages to invalid recipients: 3 rejected." in by_verb["fix.verified"].detail
    assert "3 rejected messages can't be brought back" in by_verb["fix.undone"].detail


async def test_a_no_and_a_lapse_are_on_record(scene: Scene) -> None:
    fix, action_id = await asked(scene)
    assert isinstance(await fix.decline(action_id, "U2"), Action)
    fix, other = await asked(scene)
    scene.clock.now += timedelta(minutes=31)
    await fix.verify_due()
    ends = [(e.actor, e.verb, e.detail) for e in await log(scene) if e.verb in ("fix.decline", "fix.lapsed")]
    assert ends == [
        ("U2", "fix.decline", f"{action_id}: Declined by <@U2>."),
        ("mfi", "fix.lapsed", f"{other}: Nobody approved it in time."),
    ]


async def test_a_fix_that_failed_says_which_step_and_why(scene: Scene) -> None:
    scene.system.faults.set(Operation.DOMAIN_TYPE, Fault.REFUSE)
    action_id = await scene.executed(scene.fix())
    assert (await scene.action(action_id)).state is ActionState.FAILED
    failed = (await log(scene))[-1]
    assert (failed.actor, failed.verb) == ("U1", "fix.failed")
    assert "Stopped (lab refused: domain_type is not possible now)" in failed.detail
    assert "done: Reject 3 messages" in failed.detail
    assert "not begun: Disable the connector" in failed.detail


# Refusals


async def _wrong_name(scene: Scene) -> object:
    return await scene.fix().submit((await scene.offered(scene.fix())).id, "U2", ALL, "To somewhere")


async def _no_step(scene: Scene) -> object:
    return await scene.fix().submit((await scene.offered(scene.fix())).id, "U2", (), NAME)


async def _too_late(scene: Scene) -> object:
    offer = await scene.offered(scene.fix())
    scene.clock.now += timedelta(minutes=10)
    return await scene.fix().submit(offer.id, "U2", ALL, NAME)


async def _taken(scene: Scene) -> object:
    action_id = await scene.executed(scene.fix())
    return await scene.fix().submit(action_id, "U2", ALL, NAME)


async def _unknown_offer(scene: Scene) -> object:
    return await scene.fix().submit("nope", "U2", ALL, NAME)


async def _own_approval(scene: Scene) -> object:
    fix, action_id = await asked(scene)
    assert isinstance(await fix.decline(action_id, "U2"), Action)
    return await fix.approve(action_id, "U2")


async def _undo_of_nothing(scene: Scene) -> object:
    return await scene.fix().undo((await scene.offered(scene.fix())).id, "U2")


@pytest.mark.parametrize(
    ("story", "verb", "why"),
    [
        (_wrong_name, "fix", "That isn't the connector's name"),
        (_no_step, "fix", "Choose at least one of the offered steps"),
        (_too_late, "fix", "too old to act on"),
        (_taken, "fix", "<@U1> did this already"),
        (_unknown_offer, "fix", "This offer isn't known"),
        (_own_approval, "fix.approve", "Declined by <@U2>"),
        (_undo_of_nothing, "fix.undo", "There is nothing to undo yet"),
    ],
)
async def test_every_refusal_is_on_record_with_who_and_why(scene: Scene, story: Story, verb: str, why: str) -> None:
    refused = await story(scene)
    assert isinstance(refused, Refusal)
    last = (await log(scene))[-1]
    assert (last.actor, last.verb, last.allowed) == ("U2", verb, False)
    assert last.detail == refused.reason
    assert why in last.detail


# The thread, and `/mfi incident`


async def shown(scene: Scene) -> str:
    """What `/mfi incident` answers."""
    view = await scene.store.read(lambda db: incident_view(db, 1, scene.policy, scene.clock.now, {}))
    assert view is not None
    answer = replies.incident_reply(view, articles().for_code("4.4.316"), "https://contoso.slack.test/")
    return "\n".join(block["text"]["text"] for block in answer.blocks if "text" in block)


async def lines(scene: Scene, kind: EventKind) -> list[str]:
    """What the thread says of each event of this kind."""
    view = await scene.store.read(lambda db: incident_view(db, 1, scene.policy, scene.clock.now, {}))
    assert view is not None
    return [thread.event_line(event, view) for event in view.events if event.kind == kind]


async def test_who_clicked_stands_in_the_thread_and_in_the_incident_even_after_many_more_lines(scene: Scene) -> None:
    fix, action_id = await asked(scene)
    assert isinstance(await fix.approve(action_id, "U0SECOND"), Claimed)
    await fix.execute(action_id)
    scene.system.tenant.set_connector_enabled("c1", True, scene.clock.now)
    for _ in range(3):
        scene.clock.now += HOUR
        await fix.verify_due()
    assert "<@U0SECOND> approved the fix that <@U1> asked for" in (await lines(scene, EventKind.FIX_CLAIMED))[0]
    assert "could not be verified, and it is not looked at again" in (await lines(scene, EventKind.FIX_FAILED))[0]
    assert isinstance(await fix.undo(action_id, "U0THIRD"), Undone)
    assert "<@U0SECOND> approved the fix" in await shown(scene)
    assert "<@U0THIRD> undid the fix" in await shown(scene)


async def test_an_undo_that_is_not_complete_names_who_tried(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix, (StepKind.REJECT_INVALID, StepKind.DISABLE_CONNECTOR))
    scene.system.faults.set(Operation.SWITCH, Fault.REFUSE)
    assert isinstance(await fix.undo(action_id, "U0THIRD"), Refusal)
    told = await lines(scene, EventKind.FIX_FAILED)
    assert "<@U0THIRD> tried to undo the fix. Not everything could be set back; it can be tried again" in told[0]
    assert "remaining steps" not in told[0]
