"""Response URLs: how often, how long and how they may be answered."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import SandboxSlack
from bot.sandbox.slack.seed import ALERTS, READER
from tests.sandbox.slack.forms import ROW, post


async def reply(url: str, **body: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        return answer.status, await answer.text()


@pytest.fixture
async def url(slack: SandboxSlack, client: AsyncWebClient) -> str:
    """The response URL of a click on a public message."""
    outcome = await slack.click("Reader", await post(client, slack, ROW), "go")
    assert outcome.envelope
    return str(outcome.envelope.payload["response_url"])


async def test_a_response_url_takes_five_replies_in_half_an_hour(timed: SandboxSlack, clock: Any) -> None:
    timed.sockets.ack_seconds = 0.01
    await timed.command("Reader", "mail-alerts", "/mfi help")
    first = timed.envelopes[-1].payload["response_url"]
    assert [(await reply(first, text="x"))[0] for _ in range(5)] == [200] * 5
    status, body = await reply(first, text="x")
    assert (status, "used_url" in body) == (404, True)
    await timed.command("Reader", "mail-alerts", "/mfi help")
    second = timed.envelopes[-1].payload["response_url"]
    clock.forward(30 * 60 + 1)
    status, body = await reply(second, text="x")
    assert (status, "expired_url" in body) == (404, True)


async def test_a_reply_is_private_unless_it_says_otherwise(slack: SandboxSlack, url: str) -> None:
    assert await reply(url, text="quiet") == (200, "ok")
    await reply(url, text="loud", response_type="in_channel")
    root = slack.messages("mail-alerts")[0]
    await reply(url, text="inside", response_type="in_channel", thread_ts=root.ts)
    assert [each.text for each in slack.ephemerals("Reader")] == ["quiet"]
    assert [each.text for each in slack.messages("mail-alerts")] == ["alert", "loud"]
    assert [each.text for each in slack.thread("mail-alerts", root.ts)] == ["inside"]
    status, body = await reply(url, text="x", thread_ts="1.1")
    assert (status, "thread_not_found" in body) == (400, True)


async def test_the_original_can_be_replaced_and_deleted(slack: SandboxSlack, url: str) -> None:
    await reply(url, replace_original=True, text="changed")
    assert slack.messages("mail-alerts")[0].text == "changed"
    await reply(url, delete_original=True)
    assert slack.messages("mail-alerts") == []


async def test_a_note_can_be_replaced_and_deleted_only_so(slack: SandboxSlack, client: AsyncWebClient) -> None:
    await client.chat_postEphemeral(channel=ALERTS, user=READER, text="note", blocks=[ROW])
    (note,) = slack.ephemerals("Reader")
    outcome = await slack.click("Reader", note, "go")
    assert outcome.envelope
    address = outcome.envelope.payload["response_url"]
    await reply(address, replace_original=True, text="changed")
    assert [each.text for each in slack.ephemerals("Reader")] == ["changed"]
    await reply(address, delete_original=True)
    assert slack.ephemerals("Reader") == []


async def test_what_slack_refuses_in_a_reply_is_refused_and_costs_a_use(slack: SandboxSlack, url: str) -> None:
    status, body = await reply(url, text="x", blocks=[{"type": "sektion"}])
    assert (status, "invalid_blocks" in body) == (400, True)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, data="{") as answer:
        assert answer.status == 400
    for _ in range(4):
        await reply(url, text="x")
    assert (await reply(url, text="x"))[0] == 404


async def test_faults_reach_response_urls_too(slack: SandboxSlack, url: str) -> None:
    slack.faults.rate_limit("response_url", retry_after=2)
    assert (await reply(url, text="x"))[0] == 429
    slack.faults.http(500, "response_url")
    assert (await reply(url, text="x"))[0] == 500
    slack.faults.drop("response_url")
    slack.faults.accept_then_drop("response_url")
    for _ in range(2):
        with pytest.raises(aiohttp.ClientError):
            await reply(url, text="cut")
    slack.faults.hang("response_url", seconds=0.01)
    with pytest.raises(aiohttp.ClientError):
        await reply(url, text="x")
    assert [each.text for each in slack.ephemerals("Reader")] == ["cut"]


async def test_replies_to_a_command_are_returned_in_order(slack: SandboxSlack, app: AsyncApp, listen: Any) -> None:
    @app.command("/mfi")
    async def command(ack: Any, respond: Any) -> None:
        await ack("one")
        await asyncio.sleep(0.01)
        await respond("two")

    async with listen(app):
        got = await slack.command("Reader", "mail-alerts", "/mfi help", replies=2)
        (unknown,) = await slack.command("Reader", "mail-alerts", "/nonsense")
    assert [each.text for each in got] == ["one", "two"]
    assert "not a valid command" in unknown.text
