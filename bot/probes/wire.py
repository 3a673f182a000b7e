"""One TCP connection of a probe, in clear text and then perhaps under TLS: bounded, and read no further than needed.

Promises: at most 64 KiB are taken from a peer in a session; after that the connection is cut. What is buffered is
visible, so that text smuggled in behind a STARTTLS reply is seen before the handshake begins. Nobody is left waiting:
data, end of file, errors and cuts all wake the one reader.

TLS runs over memory buffers here instead of asyncio's own layer: that is cheaper, sends alerts to the peer, and never
waits for a peer's farewell.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import cast

SESSION_BYTES = 64 * 1024
GOODBYE = 0.3
"""Seconds that the last bytes get to leave before the connection is cut."""
RECORD = 16 * 1024
LANDING = 8 * 1024
"""Bytes that are taken at once."""


def _expire(waiter: asyncio.Future[None]) -> None:
    """Nothing came in time."""
    if not waiter.done():
        waiter.set_exception(TimeoutError())


class Wire(asyncio.BufferedProtocol):
    """The protocol of one connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.error: BaseException | None = None
        self.flooded = False
        self.received = 0
        """Bytes that were taken from the peer."""
        self._landing = bytearray(LANDING)
        self._buffer = bytearray()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()
        self._session: ssl.SSLObject | None = None
        self._shaken = False
        self._flight = bytearray()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: no more than are allowed, and one by which it shows that there are more."""
        del sizehint  # no more than a hint
        return memoryview(self._landing)[: SESSION_BYTES + 1 - self.received]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came within the session's bound; cut the connection beyond it."""
        self.received += nbytes
        data = memoryview(self._landing)[:nbytes]
        if self.received > SESSION_BYTES:
            self.flooded = True
            self.abort()
        elif self._session is None:
            self._buffer += data
        else:
            self._incoming.write(data)
            if self._shaken:
                self._decrypt(self._session)
            else:
                self._flight += data
        self._wake()

    def eof_received(self) -> None:
        """Nothing more will come; what is buffered can still be read."""
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; `error` says why if it was not in peace."""
        self.error = self.error or exc
        self._ended = True
        self._lost.set()
        self._wake()

    @property
    def pending(self) -> bytes:
        """What has come and was not read."""
        return bytes(self._buffer)

    @property
    def open(self) -> bool:
        """Can it still be written to?"""
        return self.transport is not None and not self._ended and not self.transport.is_closing()

    @property
    def session(self) -> ssl.SSLObject | None:
        """The TLS session, from the beginning of its handshake."""
        return self._session

    @property
    def flight(self) -> bytes:
        """The server's part of the handshake, as it came."""
        return bytes(self._flight)

    def _wake(self) -> None:
        """There is news for the one who waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _news(self, until: float) -> None:
        """Wait for news up to this moment of the loop's clock. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        alarm = loop.call_at(until, _expire, waiter)
        try:
            await waiter
        finally:
            alarm.cancel()
            self._waiter = None

    async def secure(self, context: ssl.SSLContext, name: str | None, until: float) -> ssl.SSLObject:
        """Shake hands, offering `name` as SNI. Raises OSError (ssl.SSLError included), TimeoutError among them."""
        session = self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        while not self._shaken:
            try:
                session.do_handshake()
                self._shaken = True  # the last flight leaves with the first command
            except ssl.SSLWantReadError:
                self._flush()
                await self._more(until)
            except ssl.SSLError:
                self._flush()
                raise
        self._decrypt(session)
        return session

    async def _more(self, until: float) -> None:
        """Wait for the peer's part of the handshake. Raises OSError when there will be none in time."""
        while not self._incoming.pending:
            if self._ended or self.flooded:
                raise self.error if isinstance(self.error, OSError) else ConnectionError("closed")
            await self._news(until)

    def _decrypt(self, session: ssl.SSLObject) -> None:
        """Turn all that has come into text."""
        try:
            while data := session.read(RECORD):
                self._buffer += data
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self.error = self.error or error
            self._flush()
        self._ended = True

    def _flush(self) -> None:
        """Send what TLS wants to be sent."""
        if self._outgoing.pending and self.transport is not None and not self.transport.is_closing():
            self.transport.write(self._outgoing.read())

    def write(self, data: bytes) -> None:
        """Send; silently dropped when the peer is gone, the next read tells."""
        if not self.open or self.transport is None:
            return
        if self._session is None:
            self.transport.write(data)
        elif self._shaken:
            with contextlib.suppress(ssl.SSLError):
                self._session.write(data)
            self._flush()

    def unread(self, data: bytes) -> None:
        """Put back what was read too much."""
        self._buffer[:0] = data

    async def read(self, until: float) -> bytes:
        """All that has come since the last read, waiting for something if need be; empty at the end.

        Raises TimeoutError when nothing comes up to this moment of the loop's clock.
        """
        while not self._buffer and not self._ended and not self.flooded:
            await self._news(until)
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def abort(self) -> None:
        """Cut the connection now."""
        if self.transport is not None:
            self.transport.abort()

    async def close(self, seconds: float) -> None:
        """Close in peace within so many seconds (and never more than a moment), or cut if bytes are stuck."""
        if self.transport is None:
            return
        if self._session is not None and self._shaken and self.open:
            self._say_goodbye(self._session)
        self.transport.close()
        try:
            async with asyncio.timeout(min(GOODBYE, seconds)):
                await self._lost.wait()
        except TimeoutError:
            self.abort()
            await asyncio.sleep(0)

    def _say_goodbye(self, session: ssl.SSLObject) -> None:
        """Tell the peer that this is the end, without waiting for its answer."""
        with contextlib.suppress(ssl.SSLError):
            session.unwrap()
        self._flush()

    def own_literal(self) -> str:
        """This end's address as SMTP writes it where a host has no name."""
        name = self.transport.get_extra_info("sockname") if self.transport else None
        ip = str(name[0]).partition("%")[0] if name else "127.0.0.1"
        return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"
