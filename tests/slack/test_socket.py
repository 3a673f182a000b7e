"""The guarded connection: it never storms, never clings to a dead ticket, survives outages, and ends quickly."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult

from bot.slack.client import make_client
from bot.slack.socket import GuardedSocket, Pace

QUICK = Pace(first=0.02, unreachable_most=0.1, refused_most=0.2, hopeless=0.6, young=5.0, hello=0.4, ping=1.0)
ADMIN, CHANNEL = "U0ADMINONE", "C0MAILALERTS"


async def authorize() -> AuthorizeResult:
    return AuthorizeResult(enterprise_id=None, team_id=None, bot_token="xoxb-x")


def answering_app() -> AsyncApp:
    app = AsyncApp(name="t", client=make_client(None, "http://127.0.0.1:1/"), authorize=authorize)

    @app.command("/mfi")
    async def command(ack: Any, body: dict[str, Any]) -> None:
        if body["text"] == "silence":
            return
        if body["text"] == "slow":
            await asyncio.sleep(0.2)
        await ack(text="heard") if body["text"] == "text" else await ack()

    return app


Make = Callable[..., Awaitable[GuardedSocket]]


@pytest.fixture
async def connect(slack: Any) -> AsyncIterator[Make]:
    made: list[GuardedSocket] = []

    async def start(token: str | None = None, url: str | None = None, pace: Pace = QUICK) -> GuardedSocket:
        client = make_client(None, url or slack.api_url, timeout=1)
        socket = GuardedSocket(answering_app(), token or slack.app_token, client, pace=pace, jitter=lambda: 0.5)
        made.append(socket)
        await socket.start()
        return socket

    yield start
    for socket in made:
        await socket.close()


async def until(condition: Callable[[], Any], timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(0.01)


async def test_it_connects_hears_and_acknowledges(slack: Any, connect: Make) -> None:
    socket = await connect()
    assert not socket.healthy
    await until(lambda: socket.healthy)
    assert socket.state == "connected"
    await slack.command(ADMIN, CHANNEL, "/mfi x", replies=0)
    assert [envelope.acked for envelope in slack.envelopes] == [True]


async def test_an_acknowledgement_can_carry_a_text(slack: Any, connect: Make) -> None:
    socket = await connect()
    await until(lambda: socket.healthy)
    answers = await slack.command(ADMIN, CHANNEL, "/mfi text")
    assert [answer.text for answer in answers] == ["heard"]


async def test_starting_twice_is_starting_once(slack: Any, connect: Make) -> None:
    socket = await connect()
    await socket.start()
    await until(lambda: socket.healthy)
    assert socket.attempts == 1


async def test_disconnected_right_after_hello_it_does_not_storm(slack: Any, connect: Make) -> None:
    slack.faults.disconnects = ["refresh_requested"] * 1000
    await connect()
    await asyncio.sleep(1.0)
    assert 3 <= len(slack.calls.of("apps.connections.open")) <= 12
    slack.faults.clear()
    await until(lambda: slack.connected)


async def test_a_dead_ticket_is_never_used_again(slack: Any, connect: Make) -> None:
    slack.faults.dead_tickets = 3
    socket = await connect()
    await until(lambda: socket.healthy)
    assert socket.attempts == 4
    assert slack.sockets.refused == 3


async def test_slack_may_be_down_at_the_start(slack: Any, connect: Make) -> None:
    await slack.down()
    socket = await connect()
    await until(lambda: socket.attempts >= 3)
    assert "can't be reached" in socket.state or socket.state == "connecting"
    await slack.up()
    await until(lambda: socket.healthy)


async def test_an_outage_is_survived(slack: Any, connect: Make) -> None:
    socket = await connect()
    await until(lambda: socket.healthy)
    await slack.down()
    await until(lambda: not socket.healthy)
    await slack.up()
    await until(lambda: socket.healthy)
    assert socket.attempts >= 2


async def test_an_asked_for_refresh_of_an_old_connection_is_followed_at_once(slack: Any, connect: Make) -> None:
    socket = await connect(pace=replace(QUICK, young=0.05, first=30, refused_most=60))
    await until(lambda: socket.healthy)
    await asyncio.sleep(0.1)
    await slack.disconnect()
    await until(lambda: socket.healthy and socket.attempts == 2)
    assert socket.state == "connected"


@pytest.mark.parametrize("reason", ["link_disabled", "too_many_websockets", "warning", "news"])
async def test_every_reason_to_leave_is_followed(
    slack: Any, connect: Make, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await connect()
    await until(lambda: socket.healthy)
    began = time.monotonic()
    await slack.disconnect(reason)
    await until(lambda: socket.attempts == 2)
    assert time.monotonic() - began >= (0.5 if reason == "link_disabled" else 0.0)
    if reason == "link_disabled":
        assert "switch it on" in caplog.text


@pytest.mark.parametrize("word", ["invalid_auth", "not_allowed_token_type", "account_inactive"])
async def test_a_refused_token_is_said_clearly_and_tried_rarely(
    slack: Any, connect: Make, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    slack.faults.error(word, "apps.connections.open", times=None)
    socket = await connect()
    await asyncio.sleep(0.5)
    assert socket.attempts == 1
    assert "SLACK_APP_TOKEN is not accepted" in socket.state
    assert slack.app_token not in caplog.text


async def test_a_rate_limit_is_respected(slack: Any, connect: Make) -> None:
    slack.faults.rate_limit("apps.connections.open", retry_after=1)
    socket = await connect()
    await until(lambda: socket.healthy)
    assert slack.calls.early == []
    assert socket.attempts == 2


@pytest.mark.parametrize(
    "break_it",
    [
        lambda s: s.faults.http(502, "apps.connections.open", times=2),
        lambda s: s.faults.html("apps.connections.open", times=2),
        lambda s: s.faults.hang("apps.connections.open", times=1),
        lambda s: s.faults.drop("apps.connections.open", times=2),
        lambda s: s.faults.error("internal_error", "apps.connections.open", times=2),
    ],
)
async def test_a_failing_ticket_office_only_delays(slack: Any, connect: Make, break_it: Callable[[Any], None]) -> None:
    break_it(slack)
    socket = await connect()
    await until(lambda: socket.healthy)
    assert socket.attempts >= 2, "the first try met the fault"


async def test_more_connections_than_ours_are_worth_a_warning(
    slack: Any, connect: Make, caplog: pytest.LogCaptureFixture
) -> None:
    slack.faults.ghosts = 2
    socket = await connect()
    await until(lambda: socket.healthy)
    assert "Slack counts 3 connections" in caplog.text


async def test_what_the_app_does_not_acknowledge_is_logged_without_its_contents(
    slack: Any, connect: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "bot")
    slack.sockets.ack_seconds = 0.2
    socket = await connect()
    await until(lambda: socket.healthy)
    await slack.command(ADMIN, CHANNEL, "/mfi silence")
    await until(lambda: "no acknowledgement" in caplog.text)
    assert "silence" not in caplog.text
    assert "response_url" not in caplog.text


async def test_closing_is_quick_and_final(slack: Any, connect: Make) -> None:
    socket = await connect()
    await until(lambda: socket.healthy)
    began = time.monotonic()
    await socket.close()
    await socket.close()
    assert time.monotonic() - began < 5
    assert not socket.healthy
    await until(lambda: not slack.connected)


async def test_closing_while_slack_is_down_is_quick_too(slack: Any, connect: Make) -> None:
    await slack.down()
    socket = await connect()
    await until(lambda: socket.attempts >= 1)
    began = time.monotonic()
    await socket.close()
    assert time.monotonic() - began < 3


# --- a server that the stand-in is too well-behaved to be ----------------------------------------------------------
class Odd:
    """Hands out tickets to a WebSocket that behaves as the test says."""

    def __init__(self) -> None:
        self.tickets = 0
        self.talk: Callable[[web.WebSocketResponse], Awaitable[None]] | None = None
        self.answer: dict[str, Any] | None = None
        self.frames: list[str] = []
        self.url = ""
        self.deaf = False

    async def open(self, request: web.Request) -> web.Response:
        self.tickets += 1
        return web.json_response(self.answer or {"ok": True, "url": f"ws{self.url[4:]}link"})

    async def link(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=not self.deaf)
        await socket.prepare(request)
        if self.talk:
            await self.talk(socket)
        async for frame in socket:
            self.frames.append(frame.data)
        return socket


@pytest.fixture
async def odd() -> AsyncIterator[Odd]:
    server = Odd()
    application = web.Application()
    application.router.add_post("/apps.connections.open", server.open)
    application.router.add_get("/link", server.link)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield server
    await runner.cleanup()


async def test_a_connection_that_never_says_hello_is_given_up(odd: Odd, connect: Make) -> None:
    socket = await connect("xapp-1", odd.url)
    await until(lambda: odd.tickets >= 2)
    assert not socket.healthy


async def test_an_answer_without_an_address_is_tried_again(odd: Odd, connect: Make) -> None:
    odd.answer = {"ok": True}
    socket = await connect("xapp-1", odd.url)
    await until(lambda: odd.tickets >= 2)
    assert "no address" in socket.state or socket.state == "connecting"


async def test_an_address_that_is_none_does_not_end_the_supervisor(odd: Odd, connect: Make) -> None:
    odd.answer = {"ok": True, "url": "nonsense"}
    socket = await connect("xapp-1", odd.url)
    await until(lambda: socket.attempts >= 3)
    assert not socket.healthy


async def test_frames_that_make_no_sense_are_ignored(odd: Odd, connect: Make) -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps({"type": "hello", "num_connections": 1}))
        for frame in ("[]", "{", "null", json.dumps({"type": "new"}), json.dumps({"envelope_id": 5})):
            await socket.send_str(frame)
        await socket.send_bytes(b"\x00")
        payload = {"command": "/mfi", "text": "x", "user_id": "U1", "team_id": "T1"}
        await socket.send_str(json.dumps({"type": "slash_commands", "envelope_id": "e1", "payload": payload}))

    odd.talk = talk
    socket = await connect("xapp-1", odd.url)
    await until(lambda: odd.frames)
    assert json.loads(odd.frames[0]) == {"envelope_id": "e1"}
    assert socket.healthy


async def test_an_acknowledgement_for_a_lost_connection_is_logged(
    odd: Odd, connect: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps({"type": "hello"}))
        payload = {"command": "/mfi", "text": "x", "user_id": "U1", "team_id": "T1"}
        await socket.send_str(json.dumps({"type": "slash_commands", "envelope_id": "e1", "payload": payload}))
        assert socket._req is not None and socket._req.transport is not None
        await asyncio.sleep(0)
        socket._req.transport.abort()

    odd.talk = talk
    await connect("xapp-1", odd.url)
    await until(lambda: odd.tickets >= 2)


def spoken(text: str, number: int = 1) -> str:
    payload = {"command": "/mfi", "text": text, "user_id": "U1", "team_id": "T1"}
    return json.dumps({"type": "slash_commands", "envelope_id": f"e{number}", "payload": payload})


async def test_closing_lets_a_running_answer_out_and_takes_nothing_new(odd: Odd, connect: Make) -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps({"type": "hello"}))
        await socket.send_str(spoken("slow"))
        await closing.wait()
        await socket.send_str(spoken("late", 2))

    odd.talk, closing = talk, asyncio.Event()
    socket = await connect("xapp-1", odd.url)
    await until(lambda: len(socket._tasks))
    closing.set()
    await socket.close()
    assert not socket.healthy
    await until(lambda: odd.frames)
    assert [json.loads(frame)["envelope_id"] for frame in odd.frames] == ["e1"]


async def test_an_answer_that_never_ends_does_not_hold_up_the_closing(odd: Odd, connect: Make) -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps({"type": "hello"}))
        await socket.send_str(spoken("slow"))

    odd.talk = talk
    socket = await connect("xapp-1", odd.url, replace(QUICK, close=0.2))
    await until(lambda: len(socket._tasks))
    await socket.close()
    assert len(socket._tasks) == 0
    assert odd.frames == []


async def test_a_connection_that_goes_deaf_is_replaced(odd: Odd, connect: Make) -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps({"type": "hello", "num_connections": 1}))

    odd.talk, odd.deaf = talk, True
    socket = await connect("xapp-1", odd.url, replace(QUICK, ping=0.2))
    await until(lambda: socket.healthy)
    await until(lambda: odd.tickets >= 2)
    assert socket.attempts >= 2


async def test_a_flood_of_envelopes_is_bounded(odd: Odd, connect: Make, caplog: pytest.LogCaptureFixture) -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps({"type": "hello"}))
        for number in range(300):
            payload = {"command": "/mfi", "text": "silence", "user_id": "U1", "team_id": "T1"}
            frame = {"type": "slash_commands", "envelope_id": f"e{number}", "payload": payload}
            await socket.send_str(json.dumps(frame))

    odd.talk = talk
    socket = await connect("xapp-1", odd.url)
    await until(lambda: caplog.text.count("was dropped") >= 100)
    assert socket.healthy
