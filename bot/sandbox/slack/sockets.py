"""Socket Mode: connections of the bot, and envelopes that must be acknowledged within three seconds.

Promises: a ticket lets in once; the first frame is `hello` with the number of connections; each payload goes to exactly
one connection (or, when ghosts are about, to nobody); at most ten connections.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from aiohttp import WSMsgType, web

from bot.sandbox.slack.methods.world import World
from bot.sandbox.slack.workspace import Json

MAX_CONNECTIONS: Final = 10
Kind = Literal["slash_commands", "interactive", "events_api"]


@dataclass(slots=True, kw_only=True)
class Envelope:
    """One delivery to the bot and its acknowledgement."""

    id: str
    kind: Kind
    payload: Json
    sent_at: float
    attempt: int = 0
    acked_at: float | None = None
    response: Json = field(default_factory=dict)
    """What the acknowledgement carried."""

    @property
    def acked(self) -> bool:
        """Whether the bot acknowledged it in time."""
        return self.acked_at is not None

    @property
    def seconds(self) -> float:
        """How long the bot took; infinite without an acknowledgement."""
        return float("inf") if self.acked_at is None else self.acked_at - self.sent_at


class Sockets:
    """Every open connection and every envelope that was sent."""

    def __init__(self, world: World, *, ack_seconds: float = 3.0) -> None:
        self._world = world
        self.ack_seconds = ack_seconds
        self.connections: list[web.WebSocketResponse] = []
        self.opened = 0
        """How many connections there have been."""
        self.refused = 0
        """How many handshakes were refused."""
        self.envelopes: deque[Envelope] = deque(maxlen=10_000)
        self._turn = 0
        self._waiting: dict[str, tuple[Envelope, asyncio.Event]] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        if self._world.faults.dead_tickets > 0 or not self._world.tickets.admit(request.query.get("ticket", "")):
            self._world.faults.dead_tickets = max(0, self._world.faults.dead_tickets - 1)
            self.refused += 1
            return web.Response(status=403, text="invalid ticket")
        socket = web.WebSocketResponse(heartbeat=30.0, max_msg_size=1_000_000)
        await socket.prepare(request)
        self.opened += 1
        self.connections.append(socket)
        self._world.workspace.changes.touch()
        try:
            await self._greet(socket)
            await self._read(socket)
        finally:
            self._forget(socket)
        return socket

    async def _greet(self, socket: web.WebSocketResponse) -> None:
        await self._send(
            socket, {**self._hello(), "num_connections": len(self.connections) + self._world.faults.ghosts}
        )
        if len(self.connections) > MAX_CONNECTIONS:
            await self._part(socket, "too_many_websockets")
        elif self._world.faults.disconnects:
            await self._part(socket, self._world.faults.disconnects.pop(0))

    def _hello(self) -> Json:
        debug = {"host": "applink-sandbox", "build_number": 1, "approximate_connection_time": 18060}
        return {"type": "hello", "debug_info": debug, "connection_info": {"app_id": self._world.app.app_id}}

    async def _read(self, socket: web.WebSocketResponse) -> None:
        async for frame in socket:
            if frame.type is WSMsgType.TEXT:
                self._acknowledge(frame.data)

    def _acknowledge(self, text: str) -> None:
        """Take one acknowledgement; what isn't one is ignored, as Slack does."""
        try:
            frame = json.loads(text)
            envelope, event = self._waiting.pop(frame["envelope_id"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        payload = frame.get("payload")
        envelope.acked_at = self._world.workspace.now()
        envelope.response = payload if isinstance(payload, dict) else {}
        event.set()

    async def deliver(self, kind: Kind, payload: Mapping[str, Any], *, attempt: int = 0) -> Envelope:
        """Send a payload to one connection and wait for its acknowledgement, at most the deadline."""
        faults = self._world.faults
        envelope = await self._deliver_once(kind, dict(payload), attempt)
        if faults.duplicates > 0:
            faults.duplicates -= 1
            await self._deliver_once(kind, dict(payload), attempt)
        return envelope

    async def _deliver_once(self, kind: Kind, payload: Json, attempt: int) -> Envelope:
        now = self._world.workspace.now()
        envelope = Envelope(id=str(uuid.uuid4()), kind=kind, payload=payload, sent_at=now, attempt=attempt)
        self.envelopes.append(envelope)
        acked = asyncio.Event()
        self._waiting[envelope.id] = (envelope, acked)
        try:
            if await self._route(envelope):
                async with asyncio.timeout(self.ack_seconds):
                    await acked.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.pop(envelope.id, None)
        return envelope

    async def _route(self, envelope: Envelope) -> bool:
        """Send to the next connection in turn; False when nobody is connected, True even when it is lost."""
        faults, connections = self._world.faults, list(self.connections)
        if not connections and not faults.ghosts:
            return False
        if faults.lost > 0:
            faults.lost -= 1
            return True
        self._turn = (self._turn + 1) % (len(connections) + faults.ghosts)
        if self._turn < len(connections):
            await self._send(connections[self._turn], _frame(envelope))
        return True

    async def disconnect(self, reason: str = "refresh_requested", *, only: int | None = None) -> None:
        """Tell connections (or only the first so many) to go, and close them."""
        for socket in self.connections[:only]:
            await self._part(socket, reason)

    async def _part(self, socket: web.WebSocketResponse, reason: str) -> None:
        await self._send(socket, {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-sandbox"}})
        self._forget(socket)
        await socket.close()

    def _forget(self, socket: web.WebSocketResponse) -> None:
        if socket in self.connections:
            self.connections.remove(socket)
            self._world.workspace.changes.touch()

    async def _send(self, socket: web.WebSocketResponse, frame: Json) -> None:
        try:
            await socket.send_str(json.dumps(frame))
        except (ConnectionError, RuntimeError):
            self._forget(socket)


def _frame(envelope: Envelope) -> Json:
    frame = {
        "envelope_id": envelope.id,
        "type": envelope.kind,
        "payload": envelope.payload,
        "accepts_response_payload": _takes_response(envelope),
    }
    if envelope.kind == "events_api":
        frame |= {"retry_attempt": envelope.attempt, "retry_reason": "timeout" if envelope.attempt else ""}
    return frame


def _takes_response(envelope: Envelope) -> bool:
    return envelope.kind == "slash_commands" or envelope.payload.get("type") in ("view_submission", "block_suggestion")
