"""Rate limits as Slack sets them, and faults on demand."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import SandboxSlack
from bot.sandbox.slack.seed import ALERTS, PARTNERS
from tests.sandbox.slack.api_calls import ClientFor, error_of


async def test_messages_come_in_a_burst_and_then_one_a_second(
    timed: SandboxSlack, clock: Any, client_for: ClientFor
) -> None:
    client = client_for(timed)
    for number in range(5):
        await client.chat_postMessage(channel=ALERTS, text=str(number))
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=ALERTS, text="too fast")
    assert (caught.value.response.status_code, caught.value.response["error"]) == (429, "ratelimited")
    assert caught.value.response.headers["Retry-After"] == "1"
    await client.chat_postMessage(channel=PARTNERS, text="another channel is another bucket")
    assert await error_of(client.chat_postMessage(channel=ALERTS, text="early")) == "ratelimited"
    clock.forward(1.0)
    await client.chat_postMessage(channel=ALERTS, text="in time")
    assert [call.args["text"] for call in timed.calls.early] == ["early"]
    assert len(timed.messages("mail-alerts")) == 6


async def test_other_methods_have_their_tiers_and_the_message_pace_can_be_switched_off(
    timed: SandboxSlack, client_for: ClientFor
) -> None:
    client = client_for(timed)
    timed.limits.message_interval = 0
    for number in range(12):
        await client.chat_postMessage(channel=ALERTS, text=str(number))
    for _ in range(20):
        await client.usergroups_list()
    assert await error_of(client.usergroups_list()) == "ratelimited"


async def test_a_rate_limit_on_demand_holds_for_its_whole_time(
    timed: SandboxSlack, clock: Any, client_for: ClientFor
) -> None:
    client = client_for(timed)
    timed.faults.rate_limit("chat.postMessage", retry_after=30, channel=ALERTS)
    for _ in range(2):
        assert await error_of(client.chat_postMessage(channel=ALERTS, text="x")) == "ratelimited"
    await client.chat_postMessage(channel=PARTNERS, text="x")
    clock.forward(30)
    await client.chat_postMessage(channel=ALERTS, text="x")
    assert [call.status for call in timed.calls.of("chat.postMessage")] == [429, 429, 200, 200]
    assert len(timed.calls.early) == 1


@pytest.mark.parametrize("word", ["token_revoked", "invalid_auth", "account_inactive", "fatal_error"])
async def test_an_error_word_on_demand(slack: SandboxSlack, client: AsyncWebClient, word: str) -> None:
    slack.faults.error(word, times=None)
    for _ in range(3):
        assert await error_of(client.chat_postMessage(channel=ALERTS, text="x")) == word
    slack.faults.clear()
    await client.chat_postMessage(channel=ALERTS, text="x")
    assert len(slack.messages("mail-alerts")) == 1


async def test_server_errors_and_pages_instead_of_json(slack: SandboxSlack, client: AsyncWebClient) -> None:
    for status in (500, 502, 504):
        slack.faults.http(status, body="<html>")
        with pytest.raises(SlackApiError) as caught:
            await client.chat_postMessage(channel=ALERTS, text="x")
        assert caught.value.response.status_code == status
    slack.faults.html()
    with pytest.raises(SlackApiError):
        await client.chat_postMessage(channel=ALERTS, text="x")
    assert slack.messages("mail-alerts") == []


async def test_accepted_then_dropped_is_stored_and_the_caller_never_knows(
    slack: SandboxSlack, client: AsyncWebClient
) -> None:
    slack.faults.accept_then_drop()
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel=ALERTS, text="stored")
    slack.faults.drop()
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel=ALERTS, text="lost")
    slack.faults.error_after("internal_error")
    assert await error_of(client.chat_postMessage(channel=ALERTS, text="done all the same")) == "internal_error"
    assert [each.text for each in slack.messages("mail-alerts")] == ["stored", "done all the same"]
    assert [call.status for call in slack.calls] == [0, 0, 200]
    assert [call.ok for call in slack.calls] == [True, False, False]


async def test_a_hanging_answer_ends_in_the_callers_own_timeout(slack: SandboxSlack, client_for: ClientFor) -> None:
    client = client_for(slack, timeout=0.2)
    slack.faults.hang(seconds=30)
    slack.faults.accept_then_hang(seconds=30)
    for _ in range(2):
        with pytest.raises(asyncio.TimeoutError):
            await client.chat_postMessage(channel=ALERTS, text="x")
    assert len(slack.messages("mail-alerts")) == 1


async def test_a_hang_that_ends_is_a_cut_connection(slack: SandboxSlack, client: AsyncWebClient) -> None:
    slack.faults.hang(seconds=0.05)
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel=ALERTS, text="x")


async def test_down_refuses_connections_and_up_is_the_same_workspace_on_the_same_port(
    slack: SandboxSlack, client: AsyncWebClient
) -> None:
    await client.chat_postMessage(channel=ALERTS, text="before")
    await slack.down()
    await slack.down()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.chat_postMessage(channel=ALERTS, text="during")
    await slack.up()
    await slack.up()
    await client.chat_postMessage(channel=ALERTS, text="after")
    assert [each.text for each in slack.messages("mail-alerts")] == ["before", "after"]


async def test_waiting_for_what_never_comes_ends(slack: SandboxSlack) -> None:
    with pytest.raises(TimeoutError):
        await slack.wait_for(lambda: slack.messages("mail-alerts"), timeout=0.05)
    assert await slack.wait_for(lambda: slack.messages("mail-alerts"), timeout=0.05, fail=False) == []
    with pytest.raises(KeyError):
        slack.workspace.user("Nobody")
    with pytest.raises(KeyError):
        slack.messages("nowhere")
