"""A small https server for MTA-STS policies on loopback, good and broken."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from bot.sandbox.handshake import may_be_given_up

IDLE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one host answers. `silent`: nothing at all."""

    text: str = ""
    status: int = 200
    content_type: str = "text/plain"
    location: str | None = None
    silent: bool = False


class PolicyServer:
    """Serves `pages` (host name → page) under the address of policies; everything else is 404."""

    def __init__(self, context: ssl.SSLContext, pages: Mapping[str, Page]) -> None:
        self.pages = dict(pages)
        self.asked: list[str] = []
        """The hosts that were asked for a policy."""
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        assert self._server, "not started"
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(IDLE):
                    await may_be_given_up(writer.start_tls(self._context), writer.transport)
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                    await self._answer(head, writer)
        finally:
            writer.transport.abort()

    async def _answer(self, head: list[str], writer: asyncio.StreamWriter) -> None:
        """Find the page and send it."""
        host = next((line[5:].strip().rpartition(":")[0] for line in head if line.lower().startswith("host:")), "")
        page = self.pages.get(host, Page(status=404))
        self.asked.append(host)
        if not head[0].startswith("GET /.well-known/mta-sts.txt "):
            page = Page(status=404)
        if page.silent:
            await asyncio.sleep(IDLE)
        body = page.text.encode()
        lines = [f"HTTP/1.1 {page.status} x", f"Content-Type: {page.content_type}", f"Content-Length: {len(body)}"]
        lines += [f"Location: {page.location}"] if page.location else []
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
