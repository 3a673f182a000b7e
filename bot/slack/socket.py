"""Keeps one Socket Mode connection, without ever storming Slack.

Promises: every attempt uses a fresh ticket; attempts that fail or die young are spaced by a growing, jittered delay;
Slack being down at start only delays; a refused app token or a switched-off Socket Mode is tried again rarely and said
clearly; a connection that says nothing is noticed and replaced; `close` lets running answers out before it disconnects
and takes at most five seconds.
Why not the SDK's own client: it retries one dead ticket for ever, reconnects without any delay when it is disconnected
right after hello (thousands of tickets in seconds), never reports a bad token, and keeps no reference to its tasks.
Envelopes hold secrets (response addresses) and people's words: they are never logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.services.ports import RetryLater
from bot.slack.errors import TOKEN_REFUSED, error_word, meaning
from bot.slack.tasks import Tasks

LOG = logging.getLogger(__name__)
DICE = random.SystemRandom()

HOPELESS = TOKEN_REFUSED | frozenset(
    {"missing_scope", "forbidden_team", "link_disabled", "access_denied", "no_permission", "app_not_found"}
)
"""Nothing but a person can repair these."""

HINTS = {"link_disabled": "Socket Mode is switched off in the app's settings: switch it on"}
REFUSED_HINT = "SLACK_APP_TOKEN is not accepted: it must be an app-level token (xapp-…) with connections:write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to wait, in seconds. `after` is the whole policy of reconnecting."""

    first: float = 0.5
    unreachable_most: float = 10.0
    refused_most: float = 30.0
    hopeless: float = 300.0
    young: float = 30.0
    """A connection that lived shorter than this counts as a failure."""
    hello: float = 10.0
    ping: float = 10.0
    close: float = 5.0

    def after(self, failures: int, most: float) -> float:
        """The delay after so many failures in a row."""
        return float(min(most, self.first * 2 ** min(failures - 1, 16))) if failures else 0.0


class Lost(Exception):
    """A connection ended or could not be made. `reason` is fit for a log line and for /mfi status."""

    def __init__(self, reason: str, *, most: float, at_least: float = 0.0) -> None:
        super().__init__(reason)
        self.most = most
        self.at_least = at_least


class GuardedSocket:
    """The bot's ear: receives envelopes, hands them to the app, sends the acknowledgements."""

    def __init__(
        self,
        app: AsyncApp,
        app_token: str,
        client: AsyncWebClient,
        *,
        pace: Pace | None = None,
        jitter: Callable[[], float] = DICE.random,
    ) -> None:
        self._app = app
        self._token = app_token
        self._client = client
        self._pace = pace or Pace()
        self._jitter = jitter
        self._supervisor: asyncio.Task[None] | None = None
        self._tasks = Tasks(limit=200)
        self._websocket: aiohttp.ClientWebSocketResponse | None = None
        self._greeted = False
        self._closing = False
        self.attempts = 0
        self.state = "not started"

    @property
    def healthy(self) -> bool:
        """Connected, and Slack has said hello."""
        return self._greeted and self._websocket is not None and not self._websocket.closed

    async def start(self) -> None:
        """Begin to connect; returns at once, whether or not Slack is there."""
        if self._supervisor is None:
            self._closing = False
            self._supervisor = asyncio.create_task(self._supervise(), name="slack-socket")

    async def close(self) -> None:
        """Take nothing new, let running answers out for a moment, then disconnect. At most five seconds.

        The connection must outlive the answers: they carry the acknowledgements of work that is done already.
        """
        supervisor, self._supervisor = self._supervisor, None
        self.state = "closed"
        if supervisor is None:
            return
        self._closing = True
        await self._tasks.settled(self._pace.close / 2)
        supervisor.cancel()
        await asyncio.wait({supervisor}, timeout=self._pace.close / 2)
        await self._tasks.close(0)

    async def _supervise(self) -> None:
        """Connect, listen until lost, wait, again: for ever."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._connection()
                raise Lost("the connection ended", most=self._pace.refused_most)
            except Exception as error:
                lost = error if isinstance(error, Lost) else Lost("unexpected", most=self._pace.refused_most)
                if lost is not error:
                    LOG.exception("Slack: the connection failed in an unexpected way")
                failures = 0 if self._greeted and loop.time() - began >= self._pace.young else failures + 1
                delay = max(lost.at_least, self._pace.after(failures, lost.most)) * (0.75 + self._jitter() / 2)
                self.state = f"disconnected: {lost}"
                LOG.log(logging.INFO if failures == 0 else logging.WARNING, "Slack: %s; again in %.1f s", lost, delay)
            finally:
                self._greeted = False
                self._websocket = None
            await asyncio.sleep(delay)

    async def _connection(self) -> None:
        """One ticket, one connection, until it ends."""
        self.attempts += 1
        self.state = "connecting"
        ticket = await self._ticket()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            try:
                async with (
                    asyncio.timeout(self._pace.hello) as patience,
                    session.ws_connect(
                        ticket,
                        heartbeat=self._pace.ping,
                        proxy=self._client.proxy,
                        ssl=self._client.ssl if self._client.ssl is not None else True,
                        timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                    ) as websocket,
                ):
                    self._websocket = websocket
                    await self._listen(websocket, patience)
            except TimeoutError as error:
                raise Lost("Slack did not say hello", most=self._pace.refused_most) from error
            except aiohttp.WSServerHandshakeError as error:
                raise Lost(f"Slack refused the ticket (HTTP {error.status})", most=self._pace.refused_most) from error
            except (aiohttp.ClientError, OSError) as error:
                raise Lost(
                    f"the connection failed ({type(error).__name__})", most=self._pace.unreachable_most
                ) from error

    async def _ticket(self) -> str:
        """A fresh address to connect to. Each serves one connection only, so none is ever kept."""
        try:
            answer = await self._client.apps_connections_open(app_token=self._token)
        except SlackApiError as error:
            raise self._refused(error) from error
        except Exception as error:
            raise Lost(str(meaning(error, repeatable=True)), most=self._pace.unreachable_most) from error
        url = answer.get("url")
        if not isinstance(url, str):
            raise Lost("Slack gave no address to connect to", most=self._pace.refused_most)
        return url

    def _refused(self, error: SlackApiError) -> Lost:
        word = error_word(error)
        if word in HOPELESS:
            return Lost(
                HINTS.get(word, REFUSED_HINT) + f" ({word})", most=self._pace.hopeless, at_least=self._pace.hopeless
            )
        known = meaning(error, repeatable=True)
        pause = known.seconds if isinstance(known, RetryLater) else None
        return Lost(str(known), most=self._pace.refused_most, at_least=pause or 0.0)

    async def _listen(self, websocket: aiohttp.ClientWebSocketResponse, patience: asyncio.Timeout) -> None:
        """Read frames until the connection ends. Slack greets first, or the connection is worth nothing."""
        async for frame in websocket:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            envelope = _object(frame.data)
            kind = envelope.get("type")
            if kind == "hello":
                patience.reschedule(None)
                self._hello(envelope)
            elif kind == "disconnect":
                await self._tasks.settled(1.0)
                self._disconnected(str(envelope.get("reason") or "no reason"))
            elif envelope.get("envelope_id") and not self._closing:
                self._tasks.spawn(self._answer(websocket, envelope), f"envelope {kind}")
        raise Lost(f"the connection was closed (code {websocket.close_code})", most=self._pace.refused_most)

    def _hello(self, envelope: dict[str, Any]) -> None:
        self._greeted = True
        self.state = "connected"
        connections = envelope.get("num_connections")
        LOG.info("Slack: connected (connection %s of this app)", connections)
        if isinstance(connections, int) and connections > 1:
            LOG.warning(
                "Slack counts %s connections of this app: clicks may go to another process, or to one that died",
                connections,
            )

    def _disconnected(self, reason: str) -> None:
        """Slack asks us to leave. A routine refresh is followed at once; anything else waits its turn."""
        if reason in HOPELESS:
            raise Lost(HINTS.get(reason, reason), most=self._pace.hopeless, at_least=self._pace.hopeless)
        raise Lost(f"Slack asked to reconnect ({reason[:40]})", most=self._pace.refused_most)

    async def _answer(self, websocket: aiohttp.ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        """Let the app handle it, then acknowledge: exactly one frame, or none when the app does not answer."""
        request = SocketModeRequest.from_dict(envelope)
        if request is None:
            return
        response = await run_async_bolt_app(self._app, request)
        if response.status != 200:
            LOG.warning("no acknowledgement for a %s envelope (status %s)", request.type, response.status)
            return
        answer: dict[str, Any] = {"envelope_id": request.envelope_id}
        if response.body:
            body = _object(response.body)
            answer["payload"] = body or {"text": response.body}
        try:
            await websocket.send_str(json.dumps(answer))
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            LOG.warning("an acknowledgement was lost with its connection (%s)", type(error).__name__)


def _object(text: str) -> dict[str, Any]:
    """The JSON object in it, or an empty one."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
