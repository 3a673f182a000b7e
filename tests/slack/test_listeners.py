"""Nothing goes unacknowledged, nothing is done twice, and Slack's three seconds are kept."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from slack_bolt.request.async_request import AsyncBoltRequest

from bot.slack.listeners import build_app
from storage import audit

ADMIN, READER, CHANNEL = "U0ADMINONE", "U0READER", "C0MAILALERTS"
WHO = {"user": {"id": ADMIN, "team_id": "T1"}, "team": {"id": "T1"}}


async def dispatch(live: Any, **body: Any) -> Any:
    return await live.app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=body))


@pytest.mark.parametrize(
    "body",
    [
        {"command": "/other", "text": "x", "user_id": ADMIN, "team_id": "T1"},
        {"type": "block_actions", "actions": [{"action_id": "nobodys", "type": "button"}], **WHO},
        {"type": "block_actions", "actions": [{"action_id": "mfi.unknown", "type": "button"}], **WHO},
        {"type": "view_submission", "view": {"id": "V1", "callback_id": "other", "type": "modal"}, **WHO},
        {"type": "view_closed", "view": {"id": "V1", "callback_id": "other", "type": "modal"}, **WHO},
        {"type": "shortcut", "callback_id": "nobodys", **WHO},
        {"type": "message_action", "callback_id": "nobodys", **WHO},
        {"type": "block_suggestion", "action_id": "nobodys", "block_id": "b", "value": "x", **WHO},
        {"type": "event_callback", "event": {"type": "reaction_added", "user": READER}, "team_id": "T1"},
        {"type": "event_callback", "event": {"type": "message", "text": "hi", "user": READER}, "team_id": "T1"},
        {"type": "event_callback", "event": {"type": "message", "subtype": "new", "ts": "1.1"}, "team_id": "T1"},
        {"type": "event_callback", "event": {"type": "app_home_opened", "user": READER, "tab": "messages"}},
        {"type": "event_callback", "event": {"type": "app_uninstalled"}, "team_id": "T1"},
    ],
)
async def test_everything_that_is_not_ours_is_acknowledged_all_the_same(live: Any, body: dict[str, Any]) -> None:
    response = await dispatch(live, **body)
    assert response.status == 200


async def test_a_delivery_that_comes_twice_is_done_once(live: Any) -> None:
    await live.connector()
    live.slack.faults.duplicates = 1
    await live.command("probe contoso", ADMIN, replies=2)
    assert len(live.slack.envelopes) == 2
    assert all(envelope.acked for envelope in live.slack.envelopes)
    assert len(live.probing.asked) == 1


async def test_a_submission_that_comes_twice_is_claimed_once(live: Any) -> None:
    incident = await live.incident(await live.connector())
    await live.slack.command(ADMIN, CHANNEL, f"/mfi fix {incident.id}", replies=0)
    await live.slack.wait_for(lambda: (v := live.slack.modal(ADMIN)) and v.body["callback_id"] == "mfi.fix")
    await live.deps.tasks.settled(5)
    live.slack.faults.duplicates = 1
    outcome = await live.slack.submit(ADMIN, live.slack.modal(ADMIN), {"name": "Contoso inbound"})
    assert outcome.ok
    await live.deps.tasks.settled(5)
    assert len(live.fix.executed) == 1


async def test_an_acknowledgement_does_not_wait_for_the_work(live: Any) -> None:
    await live.connector()
    gate = asyncio.Event()
    probe = live.probing.probe

    async def slow(connector_id: int, *, actor: str | None = None) -> Any:
        await gate.wait()
        return await probe(connector_id, actor=actor)

    live.probing.probe = slow
    await live.slack.command(ADMIN, CHANNEL, "/mfi probe contoso")
    assert live.slack.envelopes[-1].seconds < 1
    gate.set()
    await live.deps.tasks.settled(5)


async def test_fifty_commands_at_once_are_acknowledged_in_a_second(live: Any) -> None:
    async def one(number: int) -> None:
        await live.slack.command(f"{'U0READER' if number % 2 else ADMIN}", CHANNEL, "/mfi status", replies=0)

    await asyncio.gather(*(one(number) for number in range(50)))
    await live.slack.wait_for(lambda: len(live.slack.envelopes) == 50)
    assert max(envelope.seconds for envelope in live.slack.envelopes) < 1
    await live.deps.tasks.settled(20)


async def test_a_busy_database_delays_no_acknowledgement_for_long_and_lets_nobody_act(live: Any) -> None:
    await live.connector()

    def hold(db: Any) -> None:
        time.sleep(2.2)

    busy = asyncio.create_task(live.store.write(hold))
    await asyncio.sleep(0.05)
    answers = await live.slack.command(ADMIN, CHANNEL, "/mfi probe contoso", timeout=4)
    assert live.slack.envelopes[-1].seconds < 2
    assert "too busy to note this" in answers[0].visible
    assert live.probing.asked == []
    await busy
    await live.deps.tasks.settled(5)


async def test_a_busy_database_refuses_a_submission_in_the_dialog(live: Any) -> None:
    incident = await live.incident(await live.connector())
    await live.slack.command(ADMIN, CHANNEL, f"/mfi fix {incident.id}", replies=0)
    await live.slack.wait_for(lambda: (v := live.slack.modal(ADMIN)) and v.body["callback_id"] == "mfi.fix")
    await live.deps.tasks.settled(5)

    def hold(db: Any) -> None:
        time.sleep(2.2)

    busy = asyncio.create_task(live.store.write(hold))
    await asyncio.sleep(0.05)
    await live.slack.submit(ADMIN, live.slack.modal(ADMIN), {"name": "Contoso inbound"})
    assert "too busy to note this" in str(live.slack.modal(ADMIN).body)
    await busy
    assert live.fix.executed == []


async def test_a_submission_that_breaks_says_so_in_the_dialog(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    incident = await live.incident(await live.connector())
    await live.slack.command(ADMIN, CHANNEL, f"/mfi fix {incident.id}", replies=0)
    await live.slack.wait_for(lambda: (v := live.slack.modal(ADMIN)) and v.body["callback_id"] == "mfi.fix")
    await live.deps.tasks.settled(5)

    async def broken(*_args: Any) -> Any:
        raise ValueError("boom")

    live.fix.submit = broken
    outcome = await live.slack.submit(ADMIN, live.slack.modal(ADMIN), {"name": "Contoso inbound"})
    assert outcome.error is None
    assert "Something went wrong" in str(live.slack.modal(ADMIN).body)
    assert "a submission failed" in caplog.text


async def test_a_listener_that_breaks_apologises_with_a_number(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_work: Any) -> Any:
        raise ValueError("boom")

    live.slack.sockets.ack_seconds = 0.2
    live.store.write = broken
    await live.slack.command(READER, CHANNEL, "/mfi status")
    await live.slack.wait_for(lambda: "a listener failed" in caplog.text)
    await live.deps.tasks.settled(5)
    assert any("Something went wrong" in m.text for m in live.slack.ephemerals(READER, CHANNEL))


async def test_an_error_without_a_person_is_only_logged(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    response = await dispatch(live, type="event_callback", event={"type": "app_home_opened", "tab": "home"})
    assert response.status == 200
    await live.deps.tasks.settled(5)


async def test_the_app_needs_no_slack_to_be_made(live: Any) -> None:
    await live.slack.down()
    before = len(live.slack.calls)
    assert build_app(live.deps) is not None
    assert len(live.slack.calls) == before


async def test_a_bot_may_not_give_commands(live: Any) -> None:
    await live.guard.learn_home()
    await live.connector()
    bot = live.slack.workspace.app.bot_user
    home = live.guard.home
    await dispatch(live, command="/mfi", text="probe contoso", user_id=bot, team_id=home.team_id, channel_id=CHANNEL)
    await live.deps.tasks.settled(5)
    assert live.probing.asked == []


async def test_a_stranger_may_not_even_read(live: Any) -> None:
    await live.guard.learn_home()
    where = {"channel_id": CHANNEL, "trigger_id": "t1"}
    await dispatch(live, command="/mfi", text="status", user_id="U0STRANGER", team_id="T0OTHER", **where)
    await live.deps.tasks.settled(5)
    texts = [str(call.args) for call in live.slack.calls if call.method.startswith("chat.")]
    assert texts
    assert all("You are not of this workspace" in text for text in texts)
    event = {"type": "app_home_opened", "tab": "home", "user": "U0STRANGER"}
    await dispatch(live, type="event_callback", event=event, team_id="T0OTHER", event_id="Ev1")
    await live.deps.tasks.settled(5)
    assert live.slack.calls.of("views.publish") == []
    assert await live.store.read(lambda db: audit.recent(db, 5)) == [], "reading, also in vain, is no act"
