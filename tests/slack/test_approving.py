"""Approve, Decline and Retry now: asked of Slack at the click, answered, run once, and on record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.core.events import EventKind
from bot.services.fix import Refusal
from storage import actions, audit
from storage.records import ActionState, OutboxKind
from tests.slack.clicks import notes, posted

ADMIN, OTHER_ADMIN, READER = "U0ADMINONE", "U0ADMINTWO", "U0READER"


async def asked_for(live: Any) -> tuple[str, Any]:
    """The thread's message that asks for a second person, and the id of what it asks for."""
    data = {
        "action_id": "soon",
        "expires_at": "2026-03-02T03:30:00+00:00",
        "steps": ["Reject 7 messages: a bounce each"],
    }
    message = await posted(live, OutboxKind.BROADCAST, kind=EventKind.FIX_REQUESTED, actor=ADMIN, **data)
    action = await live.fix.request(ADMIN)
    for block in message.blocks:
        for element in block.get("elements", []):
            if element.get("action_id") in ("mfi.approve", "mfi.decline"):
                element["value"] = action.id
    return action.id, message


def labels(message: Any) -> list[str]:
    return [e["text"]["text"] for b in message.blocks for e in b.get("elements", []) if e["type"] == "button"]


async def state_of(live: Any, action_id: str) -> Any:
    return await live.store.read(lambda db: actions.get(db, action_id))


async def test_the_request_shows_steps_until_when_and_both_buttons(live: Any) -> None:
    _, message = await asked_for(live)
    assert f"<@{ADMIN}> asks for a fix of `Contoso inbound`" in message.visible
    assert "A second person has to approve it" in message.visible
    assert "• Reject 7 messages: a bounce each" in message.visible
    assert "before <!date^1772422200^" in message.visible
    assert labels(message) == ["Approve…", "Decline"]


async def test_a_second_admins_approval_runs_it_once(live: Any) -> None:
    action_id, message = await asked_for(live)
    await live.slack.click(OTHER_ADMIN, message, "mfi.approve")
    assert "It runs: the thread tells each step" in await notes(live, OTHER_ADMIN)
    assert live.fix.executed == [action_id]
    assert (await state_of(live, action_id)).claimed_by == OTHER_ADMIN
    (row, *_) = await live.store.read(lambda db: audit.recent(db, 5))
    assert (row.actor, row.verb, row.allowed) == (OTHER_ADMIN, "approve", True)


async def test_buttons_that_had_their_effect_are_shown_no_more(live: Any) -> None:
    _, message = await asked_for(live)
    told_apart_by = message.metadata
    await live.slack.click(ADMIN, message, "mfi.approve")
    await notes(live, ADMIN)
    assert labels(message) == ["Approve…", "Decline"], "a refusal leaves the decision to others"
    await live.slack.click(OTHER_ADMIN, message, "mfi.approve")
    await notes(live, OTHER_ADMIN)
    assert labels(message) == []
    assert "• Reject 7 messages: a bounce each" in message.visible
    assert message.metadata == told_apart_by


async def test_a_message_that_slack_does_not_redraw_spoils_no_approval(live: Any, caplog: Any) -> None:
    action_id, message = await asked_for(live)
    live.slack.faults.error("cant_update_message", "chat.update")
    await live.slack.click(OTHER_ADMIN, message, "mfi.approve")
    assert "It runs: the thread tells each step" in await notes(live, OTHER_ADMIN)
    assert live.fix.executed == [action_id]
    assert "a message could not be redrawn: cant_update_message" in caplog.text


async def test_whoever_asked_cannot_approve_but_can_take_it_back(live: Any) -> None:
    action_id, message = await asked_for(live)
    await live.slack.click(ADMIN, message, "mfi.approve")
    assert "a second person has to approve it" in await notes(live, ADMIN)
    live.slack.faults.error("cant_update_message", "chat.update")  # so that somebody else can still click
    await live.slack.click(ADMIN, message, "mfi.decline")
    assert "Declined: nothing was done" in await notes(live, ADMIN, 2)
    assert (await state_of(live, action_id)).state is ActionState.FAILED
    await live.slack.click(OTHER_ADMIN, message, "mfi.decline")
    assert "decided already" in await notes(live, OTHER_ADMIN)
    assert live.fix.executed == []


@pytest.mark.parametrize("button", ["mfi.approve", "mfi.decline"])
async def test_a_reader_decides_nothing_and_hears_who_may(live: Any, button: str) -> None:
    action_id, message = await asked_for(live)
    await live.slack.click(READER, message, button)
    assert "not one of the people who may act" in await notes(live, READER)
    assert (await state_of(live, action_id)).state is ActionState.CONFIRMING


async def test_a_button_with_an_id_of_nothing_is_refused(live: Any) -> None:
    _, message = await asked_for(live)
    live.fix.refusal = Refusal(reason="This fix isn't known.")
    await live.slack.click(OTHER_ADMIN, message, "mfi.approve")
    assert "🚫 This fix isn't known." in await notes(live, OTHER_ADMIN)


async def test_retry_now_runs_without_a_dialog(live: Any) -> None:
    message = await posted(live, probe=live.world.probe(True))
    await live.slack.click(ADMIN, message, "mfi.retry")
    assert "It runs" in await notes(live, ADMIN)
    assert len(live.fix.executed) == 1


async def test_a_retry_that_makes_no_sense_is_explained_and_on_record(live: Any) -> None:
    message = await posted(live, probe=live.world.probe(True))
    live.fix.refusal = Refusal(reason="Our last probe failed, so a retry would fail, too.")
    await live.slack.click(ADMIN, message, "mfi.retry")
    assert "🚫 Our last probe failed" in await notes(live, ADMIN)
    rows = await live.store.read(lambda db: audit.recent(db, 2))
    assert [(r.verb, r.allowed) for r in rows] == [("retry", False), ("retry", True)]


async def test_a_dry_run_of_a_retry_says_what_it_would_do(live: Any) -> None:
    message = await posted(live, probe=live.world.probe(True))
    live.fix.plan = replace(live.fix.plan, dry_run=True)
    await live.slack.click(ADMIN, message, "mfi.retry")
    assert "Dry run" in await notes(live, ADMIN)
    assert live.fix.executed == []
