"""One TCP connection of a probe: bounded, never read ahead of need by more than one chunk.

Promises: at most 64 KiB are taken from a peer in a session; after that the connection is cut. What is buffered is
visible, so that text smuggled in behind a STARTTLS reply is seen before the handshake begins. Nobody is left waiting:
data, end of file, errors and cuts all wake the one reader.
"""

from __future__ import annotations

import asyncio
from typing import cast

SESSION_BYTES = 64 * 1024
GOODBYE = 0.3
"""Seconds that a peer gets to finish closing before it is cut off."""


class Wire(asyncio.Protocol):
    """The protocol of one connection; becomes the application side when TLS starts."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.error: BaseException | None = None
        self.flooded = False
        self._buffer = bytearray()
        self._received = 0
        self._ended = False
        self._news = asyncio.Event()
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; it is replaced by `upgraded` when TLS starts."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take what fits into the session's bound; cut the connection beyond it."""
        self._received += len(data)
        if self._received > SESSION_BYTES:
            self.flooded = True
            self.abort()
        else:
            self._buffer += data
        self._news.set()

    def eof_received(self) -> None:
        """Nothing more will come; what is buffered can still be read."""
        self._ended = True
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; `error` says why if it was not in peace."""
        self.error = self.error or exc
        self._ended = True
        self._lost.set()
        self._news.set()

    @property
    def pending(self) -> bytes:
        """What has come and was not read."""
        return bytes(self._buffer)

    @property
    def open(self) -> bool:
        """Can it still be written to?"""
        return self.transport is not None and not self._ended and not self.transport.is_closing()

    def upgraded(self, transport: asyncio.Transport) -> None:
        """TLS runs: from now on this transport is the one to use."""
        self.transport = transport

    def discard(self) -> None:
        """The handshake failed: cut the connection and forget it, nobody will report its end to us."""
        self.abort()
        self.transport = None
        self._ended = True

    def write(self, data: bytes) -> None:
        """Send; silently dropped when the peer is gone, the next read tells."""
        if self.open and self.transport is not None:
            self.transport.write(data)

    def unread(self, data: bytes) -> None:
        """Put back what was read too much."""
        self._buffer[:0] = data

    async def read(self) -> bytes:
        """All that has come since the last read, waiting for something if need be; empty at the end."""
        while not self._buffer and not self._ended and not self.flooded:
            self._news.clear()
            await self._news.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def abort(self) -> None:
        """Cut the connection now."""
        if self.transport is not None:
            self.transport.abort()

    async def close(self, seconds: float) -> None:
        """Close in peace within so many seconds (and never more than a moment), or cut if the peer won't play along."""
        if self.transport is None:
            return
        self.transport.close()
        try:
            async with asyncio.timeout(min(GOODBYE, seconds)):
                await self._lost.wait()
        except TimeoutError:
            self.abort()
            await asyncio.sleep(0)

    def own_literal(self) -> str:
        """This end's address as SMTP writes it where a host has no name."""
        name = self.transport.get_extra_info("sockname") if self.transport else None
        ip = str(name[0]).partition("%")[0] if name else "127.0.0.1"
        return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"
