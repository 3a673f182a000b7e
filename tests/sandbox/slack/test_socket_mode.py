"""Socket Mode as a bot meets it: tickets, hello, acknowledgements in time, disconnects, ghosts, duplicates."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import SandboxSlack

Json = dict[str, Any]


async def ticket(slack: SandboxSlack) -> str:
    client = AsyncWebClient(token=slack.app_token, base_url=slack.api_url, retry_handlers=[])
    return str((await client.apps_connections_open(app_token=slack.app_token))["url"])


class Socket:
    """A bare connection, closed at the end of the block."""

    def __init__(self, slack: SandboxSlack) -> None:
        self._slack = slack
        self._session = aiohttp.ClientSession()

    async def __aenter__(self) -> aiohttp.ClientWebSocketResponse:
        self.wire = await self._session.ws_connect(await ticket(self._slack))
        return self.wire

    async def __aexit__(self, *_exc: object) -> None:
        await self.wire.close()
        await self._session.close()


def quiet(app: AsyncApp) -> AsyncApp:
    """Acknowledge every command without a word."""

    @app.command("/mfi")
    async def command(ack: Any) -> None:
        await ack()

    return app


async def test_the_first_frame_is_hello_and_counts_connections(slack: SandboxSlack) -> None:
    async with Socket(slack) as first, Socket(slack) as second:
        hellos = [await each.receive_json() for each in (first, second)]
        assert [each["type"] for each in hellos] == ["hello", "hello"]
        assert [each["num_connections"] for each in hellos] == [1, 2]
        assert hellos[0]["connection_info"]["app_id"] == slack.workspace.app.app_id
        assert slack.connected
    await slack.wait_for(lambda: not slack.connected)


async def test_a_ticket_lets_in_once_and_a_dead_one_never(slack: SandboxSlack) -> None:
    async with aiohttp.ClientSession() as session:
        used = await ticket(slack)
        async with session.ws_connect(used):
            pass
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(used)
        slack.faults.dead_tickets = 1
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(await ticket(slack))
        assert caught.value.status == 403
        async with session.ws_connect(await ticket(slack)) as wire:
            assert (await wire.receive_json())["type"] == "hello"
    assert (slack.sockets.opened, slack.sockets.refused) == (2, 2)


async def test_pings_are_answered(slack: SandboxSlack) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(await ticket(slack), autoping=False) as wire:
        await wire.receive_json()
        await wire.ping(b"sdk-ping-pong:1")
        pong = await wire.receive(timeout=2)
    assert (pong.type, bytes(pong.data)) == (aiohttp.WSMsgType.PONG, b"sdk-ping-pong:1")


async def test_an_envelope_has_all_fields_and_its_acknowledgement_may_carry_the_answer(slack: SandboxSlack) -> None:
    async with Socket(slack) as wire:
        await wire.receive_json()
        typed = asyncio.ensure_future(slack.command("Reader", "mail-alerts", "/mfi   explain  4.4.316 "))
        frame = await wire.receive_json()
        await wire.send_str("not json")
        await wire.send_json({"envelope_id": "somebody else's"})
        await wire.send_json({"envelope_id": frame["envelope_id"], "payload": {"text": "answer"}})
        assert [each.text for each in await typed] == ["answer"]
    assert (frame["type"], frame["accepts_response_payload"]) == ("slash_commands", True)
    payload = frame["payload"]
    assert (payload["command"], payload["text"]) == ("/mfi", "explain  4.4.316")
    assert (payload["user_id"], payload["channel_name"]) == ("U0READER", "mail-alerts")
    assert payload["is_enterprise_install"] == "false"
    assert {"token", "team_id", "team_domain", "channel_id", "user_name", "api_app_id", "trigger_id"} <= set(payload)
    assert slack.envelopes[0].acked
    assert slack.envelopes[0].seconds < 0.6


async def test_a_command_that_nobody_acknowledges_shows_the_error_to_its_author(slack: SandboxSlack) -> None:
    (alone,) = await slack.command("Reader", "mail-alerts", "/mfi help")
    assert alone.failed
    assert "dispatch_failed" in alone.text
    async with Socket(slack) as wire:
        await wire.receive_json()
        (late,) = await slack.command("Reader", "mail-alerts", "/mfi help")
    assert "dispatch_failed" in late.text
    assert slack.envelopes[-1].seconds == float("inf")
    assert slack.ephemerals("Admin One") == []


async def test_an_acknowledgement_with_blocks_that_slack_refuses_is_an_error_for_the_author(
    slack: SandboxSlack,
) -> None:
    async with Socket(slack) as wire:
        await wire.receive_json()
        typed = asyncio.ensure_future(slack.command("Reader", "mail-alerts", "/mfi help"))
        frame = await wire.receive_json()
        bad: Json = {"blocks": [{"type": "sektion"}]}
        await wire.send_str(json.dumps({"envelope_id": frame["envelope_id"], "payload": bad}))
        (line,) = await typed
    assert "invalid_blocks" in line.text


async def test_each_payload_goes_to_one_of_several_connections(slack: SandboxSlack, app: AsyncApp, listen: Any) -> None:
    async with listen(quiet(app), 3):
        for _ in range(6):
            await slack.command("Reader", "mail-alerts", "/mfi help", replies=0)
    assert len(slack.envelopes) == 6
    assert all(each.acked for each in slack.envelopes)


async def test_an_eleventh_connection_is_told_that_there_are_too_many(slack: SandboxSlack) -> None:
    wires = [Socket(slack) for _ in range(11)]
    opened = [await each.__aenter__() for each in wires]
    await opened[-1].receive_json()
    assert (await opened[-1].receive_json())["reason"] == "too_many_websockets"
    assert len(slack.sockets.connections) == 10
    for each in wires:
        await each.__aexit__()


async def test_a_bot_that_is_told_to_refresh_comes_back(slack: SandboxSlack, app: AsyncApp, listen: Any) -> None:
    async with listen(quiet(app)):
        await slack.disconnect("refresh_requested")
        await slack.wait_for(lambda: slack.sockets.opened == 2 and slack.connected)
        assert await slack.command("Reader", "mail-alerts", "/mfi help", replies=0) == []
    assert slack.envelopes[-1].acked


async def test_a_disconnect_right_after_hello_on_demand(slack: SandboxSlack) -> None:
    slack.faults.disconnects.append("link_disabled")
    async with Socket(slack) as wire:
        assert [(await wire.receive_json())["type"] for _ in range(2)] == ["hello", "disconnect"]
        assert (await wire.receive()).type is aiohttp.WSMsgType.CLOSE
    assert not slack.connected


async def test_ghosts_swallow_their_share_and_are_counted_in_hello(slack: SandboxSlack) -> None:
    slack.faults.ghosts = 1
    async with Socket(slack) as wire:
        assert (await wire.receive_json())["num_connections"] == 2

        async def obey() -> None:
            async for frame in wire:
                await wire.send_json({"envelope_id": json.loads(frame.data)["envelope_id"]})

        obedient = asyncio.ensure_future(obey())
        for _ in range(2):
            await slack.command("Reader", "mail-alerts", "/mfi help", replies=0)
        await wire.close()
        await obedient
    assert sorted(each.acked for each in slack.envelopes) == [False, True]


async def test_a_lost_envelope_is_never_redelivered_but_a_duplicate_is_delivered_twice(
    slack: SandboxSlack, app: AsyncApp, listen: Any
) -> None:
    async with listen(quiet(app)):
        slack.faults.lost = 1
        (line,) = await slack.command("Reader", "mail-alerts", "/mfi help")
        assert line.failed
        slack.faults.duplicates = 1
        await slack.command("Reader", "mail-alerts", "/mfi help", replies=0)
    first, second, again = slack.envelopes
    assert (first.acked, second.acked, again.acked) == (False, True, True)
    assert (second.id != again.id, second.payload) == (True, again.payload)


async def test_an_event_is_delivered_again_until_somebody_acknowledges_it(
    slack: SandboxSlack, app: AsyncApp, listen: Any
) -> None:
    heard: list[str] = []

    @app.event("app_mention")
    async def mentioned(body: Json) -> None:
        heard.append(body["event_id"])

    async with listen(app):
        slack.faults.lost = 1
        slack.say("Reader", "mail-alerts", "@mfi 4.4.316?")
        await slack.wait_for(lambda: len(slack.envelopes) == 2 and slack.envelopes[1].acked)
    assert [each.attempt for each in slack.envelopes] == [0, 1]
    assert heard == [slack.envelopes[0].payload["event_id"]]


async def test_an_event_that_nobody_ever_takes_is_given_up(slack: SandboxSlack) -> None:
    slack.say("Reader", "mail-alerts", "<@U0SANDBOXBOT> hello")
    await slack.wait_for(lambda: len(slack.envelopes) == 3)
    slack.say("Reader", "mail-alerts", "nobody is mentioned")
    slack.gestures.send_event({"type": "reaction_added"})
    await asyncio.sleep(0.05)
    assert len(slack.envelopes) == 3


async def test_a_connection_that_breaks_while_sending_is_forgotten(slack: SandboxSlack) -> None:
    async with Socket(slack) as wire:
        await wire.receive_json()
        await slack.sockets.connections[0].close()
        (line,) = await slack.command("Reader", "mail-alerts", "/mfi help")
        assert line.failed
        assert not slack.connected


async def test_after_down_and_up_a_bot_connects_again_by_itself(
    slack: SandboxSlack, app: AsyncApp, listen: Any
) -> None:
    async with listen(quiet(app)):
        await slack.down()
        assert not slack.connected
        await slack.up()
        await slack.wait_for(lambda: slack.connected)
        await slack.command("Reader", "mail-alerts", "/mfi help", replies=0)
    assert slack.envelopes[-1].acked
