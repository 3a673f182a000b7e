"""How an address treats those who want to connect: accept, refuse, or swallow. Linux loopback does all three truly.

Refused: the address is bound but nobody listens, so the kernel answers SYN with RST. Black hole: somebody listens but
the queue is full for good, so the kernel drops SYN and the client hears nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable

from bot.sandbox.smtp_mailbox import LINE, Hangup, Line

FILLERS = 3
"""Connections that fill the queue of a black hole."""

Serve = Callable[[Line], Awaitable[None]]


class Listener:
    """What stands at one address until it is closed."""

    async def close(self) -> None:
        """Go away, with all connections."""


class Refusing(Listener):
    """Holds the address so that nobody else listens there, and doesn't listen itself."""

    def __init__(self, ip: str, port: int) -> None:
        self._socket = _bound(ip, port)

    async def close(self) -> None:
        """Free the address."""
        self._socket.close()


class Swallowing(Listener):
    """A listener that never accepts and whose queue is full."""

    def __init__(self, ip: str, port: int) -> None:
        self._sockets = [_bound(ip, port)]
        self._sockets[0].listen(0)
        for _ in range(FILLERS):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            self._sockets.append(filler)
            with contextlib.suppress(BlockingIOError):
                filler.connect((ip, port))

    async def close(self) -> None:
        """Drop all that wait."""
        for each in reversed(self._sockets):
            each.close()


class Serving(Listener):
    """A real server; `serve` handles one connection each."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, ip: str, port: int) -> Serving:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, sock=_bound(ip, port), limit=LINE)
        return self

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client: its task is kept, so that it can be ended. One that was accepted just as we close is cut off."""
        if self._server is None or not self._server.is_serving():
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._handle(Line(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step never reaches its own `finally`.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _handle(self, line: Line) -> None:
        """One connection from begin to end."""
        try:
            with contextlib.suppress(Hangup, OSError, asyncio.IncompleteReadError):
                await self._serve(line)
            line.writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(1):
                    await line.writer.wait_closed()
        finally:
            line.writer.transport.abort()  # of the TLS, where it came to that


def _bound(ip: str, port: int) -> socket.socket:
    """A TCP socket bound to this address."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((ip, port))
    except OSError:
        made.close()
        raise
    made.setblocking(False)
    return made


def free_port(ips: list[str]) -> int:
    """A port that is free on all these addresses."""
    for _ in range(50):
        with contextlib.ExitStack() as held:
            first = held.enter_context(_bound(ips[0], 0))
            port = int(first.getsockname()[1])
            try:
                for ip in ips[1:]:
                    held.enter_context(_bound(ip, port))
            except OSError:
                continue
            return port
    raise OSError("no port is free on all loopback addresses of the sandbox")
