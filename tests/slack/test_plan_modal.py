"""The Fix now dialog: everything in numbers before anybody can say yes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.core.by_hand import instructions
from bot.core.capabilities import Family, Place
from bot.core.fix_plan import Plan, PlanStep, SenderCount
from bot.slack.plan_modal import dry_run_view, plan_view
from storage.records import Action, ActionState, ConnectorFacts, ConnectorKind, StepKind
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


def test_a_command_stands_as_it_is_typed_and_a_page_of_the_admin_center_is_a_link(world: Any) -> None:
    piped = "Exchange Management Shell: Get-Queue | Where-Object {$_.NextHopConnector -eq 'k*1'} | Retry-Queue"
    page = "Admin center (https://admin.exchange.microsoft.com/#/connectors): Mail flow → Connectors"
    said = shown(plan_view(action(world), plan(by_hand=(piped, page)))).replace("\\'", "'")
    assert "Exchange Management Shell: `Get-Queue | Where-Object {$_.NextHopConnector -eq 'k*1'} | Retry-Queue`" in said
    assert "<https://admin.exchange.microsoft.com/#/connectors|Admin center>: Mail flow → Connectors" in said


def test_a_hostile_name_cannot_leave_its_quotes_in_what_is_shown(world: Any) -> None:
    site = ConnectorFacts(backend="x", key="k", name="x`; Remove-Mailbox jo #", kind=ConnectorKind.ON_PREMISES)
    disable = PlanStep(kind=StepKind.DISABLE_CONNECTOR, title="", effect="", count=0)
    told = instructions(Place(family=Family.EXCHANGE_SERVER), site, [disable])
    said = shown(plan_view(action(world), plan(by_hand=told))).replace("\\'", "'")
    assert "-Identity ('x' + [char]96 + '; Remove-Mailbox jo #') -Enabled $false`" in said


@pytest.mark.parametrize("number", [9, 60, 300])
def test_every_line_to_do_by_hand_is_shown_in_as_many_paragraphs_as_it_takes(world: Any, number: int) -> None:
    told = tuple(f"Shell, as root: printf '%s retry:4.3.2\\n' site{n}.test >> mfi_overrides" for n in range(number))
    notes = tuple(f"site{n}.test matches sub-domains: left alone." for n in range(number))
    for steps in (plan().steps, ()):
        view = plan_view(action(world), plan(steps=steps, by_hand=told, notes=notes))
        said = shown(view)
        assert not [
            n for n in range(number) if f"site{n}.test &gt;&gt;" not in said or f"site{n}.test matches" not in said
        ]
        assert not problems(view, "modal")


def test_what_does_not_fit_into_a_dialog_is_counted(world: Any) -> None:
    told = tuple(f"PowerShell: Set-AcceptedDomain -Identity '{'d' * 900}{n}'" for n in range(500))
    view = plan_view(action(world), plan(by_hand=told))
    shown_here = sum(f"'{'d' * 900}{n}'" in shown(view).replace("\\'", "'") for n in range(500))
    assert 100 < shown_here < 500
    assert f"… and {500 - shown_here} lines more: the same for the connector" in shown(view)
    assert not problems(view, "modal")


def test_a_dry_run_says_so_everywhere(world: Any) -> None:
    view = plan_view(action(world), plan(dry_run=True, by_hand=(), notes=()))
    assert "Dry run*: nothing will be changed" in shown(view)
    assert view["submit"]["text"] == "Run dry run"
    assert "nothing was changed" in shown(dry_run_view(["Reject 7 messages: …"]))
