"""What people do, and what a slack_bolt app hears of it: clicks, the Home tab, shortcuts."""

from __future__ import annotations

from typing import Any

import pytest
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import BadGesture, Channel, SandboxSlack
from bot.sandbox.slack.seed import ALERTS, READER
from tests.sandbox.slack.forms import NOTICE, ROW, Heard, Json, post


# --- clicks --------------------------------------------------------------------------------------------------------
async def test_a_click_carries_everything_that_slack_sends(
    slack: SandboxSlack, client: AsyncWebClient, app: AsyncApp, heard: Heard, listen: Any
) -> None:
    async with listen(app):
        message = await post(client, slack, ROW)
        assert message.has_action("go")
        assert (await slack.click("Reader", message, "menu", "b")).ok
    (body,) = heard.bodies
    assert body["type"] == "block_actions"
    assert (body["user"]["id"], body["team"]["id"], body["channel"]["id"]) == (READER, slack.workspace.team_id, ALERTS)
    assert body["container"] == {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": ALERTS,
        "is_ephemeral": False,
    }
    assert body["message"]["ts"] == message.ts
    assert body["actions"][0]["selected_option"]["value"] == "b"
    assert body["state"]["values"]["row"]["menu"]["selected_option"]["value"] == "b"
    assert {"token", "api_app_id", "trigger_id", "response_url", "enterprise"} <= set(body)
    assert body["is_enterprise_install"] is False


async def test_a_click_in_a_thread_names_the_thread_and_one_on_a_note_has_no_message(
    slack: SandboxSlack, client: AsyncWebClient, app: AsyncApp, heard: Heard, listen: Any
) -> None:
    async with listen(app):
        root = await client.chat_postMessage(channel=ALERTS, text="root")
        await client.chat_postMessage(channel=ALERTS, text="x", thread_ts=root["ts"], blocks=[ROW])
        (reply,) = slack.thread("mail-alerts", root["ts"])
        await slack.click("Reader", reply, "menu", "a", block_id="row")
        await client.chat_postEphemeral(channel=ALERTS, user=READER, text="note", blocks=[ROW])
        (note,) = slack.ephemerals("Reader")
        await slack.click("Reader", note, "menu", "a")
    in_thread, private = heard.bodies
    assert in_thread["container"]["thread_ts"] == root["ts"]
    assert private["container"]["is_ephemeral"] is True
    assert "message" not in private


async def test_what_no_client_allows_is_a_bad_gesture_and_sends_nothing(
    slack: SandboxSlack, client: AsyncWebClient
) -> None:
    message = await post(client, slack, ROW)
    note = await client.chat_postEphemeral(channel=ALERTS, user=READER, text="note", blocks=[ROW])
    assert note["ok"]
    slack.workspace.add_channel(Channel(id="C0OTHER", name="other"))
    for gesture in (
        slack.click("Reader", message, "nothing"),
        slack.click("Reader", message, "menu", "not offered"),
        slack.click("Admin One", slack.ephemerals("Reader")[0], "go"),
        slack.shortcut("Reader", "nothing", message),
    ):
        with pytest.raises(BadGesture):
            await gesture
    for channel, text in (("mail-alerts", "  "), ("other", "hello")):
        with pytest.raises(BadGesture):
            slack.say("Reader", channel, text)
    assert not slack.envelopes


async def test_a_click_that_nobody_acknowledges_shows_the_error(slack: SandboxSlack, client: AsyncWebClient) -> None:
    outcome = await slack.click("Reader", await post(client, slack, ROW), "go")
    assert (outcome.ok, outcome.error) == (False, "dispatch_failed")


async def test_a_trigger_opens_one_view_within_three_seconds(timed: SandboxSlack, clock: Any, client_for: Any) -> None:
    client = client_for(timed)
    tickets = timed.tickets
    used = tickets.trigger(READER)
    await client.views_open(trigger_id=used.id, view=NOTICE)
    late = tickets.trigger(READER)
    clock.forward(3.1)
    for trigger, word in (
        (used.id, "exchanged_trigger_id"),
        (late.id, "expired_trigger_id"),
        ("1.2.3", "invalid_trigger_id"),
    ):
        with pytest.raises(SlackApiError) as caught:
            await client.views_open(trigger_id=trigger, view=NOTICE)
        assert caught.value.response["error"] == word


# --- the Home tab and shortcuts ------------------------------------------------------------------------------------
async def test_the_home_tab_is_published_when_somebody_looks(
    slack: SandboxSlack, client: AsyncWebClient, app: AsyncApp, listen: Any
) -> None:
    home = {"type": "home", "blocks": [ROW]}
    events: list[Json] = []

    @app.event("app_home_opened")
    async def opened(event: Json) -> None:
        events.append(event)
        await client.views_publish(user_id=event["user"], view=home)

    async with listen(app):
        assert await slack.open_home("Reader")
        view = await slack.open_home("Reader")
    assert view is slack.home("Reader")
    assert slack.home("Admin One") is None
    assert "view" not in events[0]
    assert events[1]["view"]["id"] == view.id
    for stale in ("old", None):
        call = client.views_publish(user_id=READER, view=home, hash=stale or view.hash)
        if stale is None:
            await call
            continue
        with pytest.raises(SlackApiError) as caught:
            await call
        assert caught.value.response["error"] == "hash_conflict"


async def test_a_home_tab_that_nobody_publishes_stays_as_it_is(slack: SandboxSlack) -> None:
    assert await slack.open_home("Reader", timeout=0.05) is None


async def test_shortcuts_carry_the_message_or_nothing(
    slack: SandboxSlack, app: AsyncApp, heard: Heard, listen: Any
) -> None:
    said = slack.say("Reader", "mail-alerts", "550 5.4.316 & more")
    async with listen(app):
        assert (await slack.shortcut("Reader", "explain", said)).ok
        assert (await slack.shortcut("Reader", "probe")).ok
    message, everywhere = heard.bodies
    assert (message["type"], message["message"]["text"]) == ("message_action", "550 5.4.316 &amp; more")
    assert (everywhere["type"], everywhere["callback_id"]) == ("shortcut", "probe")
