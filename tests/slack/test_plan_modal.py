"""The Fix now dialog: everything in numbers before anybody can say yes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.core.fix_plan import Plan, PlanStep, SenderCount
from bot.slack.plan_modal import dry_run_view, plan_view
from storage.records import Action, ActionState, StepKind
from tests.slack.drawn import shown


def plan(**changes: Any) -> Plan:
    reject = PlanStep(
        kind=StepKind.REJECT_INVALID,
        title="Reject 7 messages",
        effect="3 senders get a bounce.",
        count=7,
        irreversible="A bounce can't be called back.",
        senders=(SenderCount(sender="app@fabrikam.test", count=6),),
        more_senders=1,
    )
    disable = PlanStep(kind=StepKind.DISABLE_CONNECTOR, title="Disable it", effect="2 stay queued.", count=2)
    made = Plan(
        incident_id=12, backend="lab", connector_key="k", connector_name="Contoso inbound", code="4.4.316",
        dry_run=False, waiting=9, valid_waiting=2, unknown_waiting=0, invalid_recipients=7, steps=(reject, disable),
        by_hand=("Tell the helpdesk.",), notes=("The domain stays as it is.",),
    )  # fmt: skip
    return replace(made, **changes)


def action(world: Any) -> Action:
    return Action(
        id="opaque-1", incident_id=12, connector_id=7, state=ActionState.OFFERED, offered_at=world.now,
        expires_at=world.now, plan="",
    )  # fmt: skip


def test_the_plan_is_shown_in_numbers_before_anybody_can_say_yes(world: Any) -> None:
    view = plan_view(action(world), plan())
    said = shown(view)
    for part in (
        "*9 messages waiting*: 2 for valid recipients, 7 for addresses",
        "*1. Reject 7 messages*",
        "Can't be undone:* A bounce",
        "`app@fabrikam.test` (6), 1 more",
        "Tell the helpdesk",
        "stays as it is",
        "It is: Contoso inbound",
    ):
        assert part in said, part
    assert view["private_metadata"] == "opaque-1"
    inputs = {b["block_id"]: b["element"] for b in view["blocks"] if b["type"] == "input"}
    assert set(inputs) == {"steps", "name"}
    assert inputs["steps"]["initial_options"] == inputs["steps"]["options"]
    assert [o["value"] for o in inputs["steps"]["options"]] == ["reject_invalid", "disable_connector"]


def test_recipients_that_nobody_knows_of_are_counted_apart(world: Any) -> None:
    view = plan_view(action(world), plan(unknown_waiting=3))
    assert "4 for addresses that the directory does not have, 3 for addresses that nobody knows of" in shown(view)


def test_messages_that_were_only_counted_are_counted_apart(world: Any) -> None:
    said = shown(plan_view(action(world), plan(waiting=14, unknown_waiting=3, unseen=5)))
    assert (
        "4 for addresses that the directory does not have, 3 for addresses that nobody knows of, 5 not looked" in said
    )


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_plan_without_steps_is_only_to_be_read(world: Any, dry_run: bool) -> None:
    view = plan_view(action(world), plan(steps=(), dry_run=dry_run))
    assert {block["type"] for block in view["blocks"]} == {"section"}
    assert "submit" not in view
    assert not problems(view, "modal")
    said = shown(view).replace("\\'", "'")
    assert "*By hand, because mfi can't or may not*" in said
    assert "Tell the helpdesk." in said
    assert "Dry run" not in said


def test_a_dry_run_does_not_claim_that_mfi_can_not(world: Any) -> None:
    said = shown(plan_view(action(world), plan(dry_run=True)))
    assert "*By hand instead*" in said
    assert "can't or may not" not in said


def test_a_dry_run_says_so_everywhere(world: Any) -> None:
    view = plan_view(action(world), plan(dry_run=True, by_hand=(), notes=()))
    assert "Dry run*: nothing will be changed" in shown(view)
    assert view["submit"]["text"] == "Run dry run"
    assert "nothing was changed" in shown(dry_run_view(["Reject 7 messages: …"]))
