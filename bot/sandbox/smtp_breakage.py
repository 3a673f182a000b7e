"""What the broken mail servers do once somebody is connected. One short coroutine per way to be broken."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping

from bot.sandbox.smtp_behaviours import Behaviour
from bot.sandbox.smtp_mailbox import Hangup, Line

DRIP = 0.02
"""Seconds between two bytes of a dripping server."""

Broken = Callable[[Line], Awaitable[None]]


async def _closes(_: Line) -> None:
    """Accept, and close at once."""


async def reset(line: Line) -> None:
    """Reset the connection when it is closed: at once, if that is all that is done."""
    taken = line.writer.get_extra_info("socket")
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def silent(line: Line) -> None:
    """Never say a word, until the client leaves."""
    while await line.reader.read(1024):
        pass


async def _drip(line: Line) -> None:
    """A greeting of many lines, a byte at a time, that never ends."""
    while True:
        for byte in b"220-please wait\r\n":
            await push(line, bytes([byte]))
            await asyncio.sleep(DRIP)


async def _flood(line: Line) -> None:
    """One line without an end, as fast as the client takes it."""
    await push(line, b"220 ")
    while True:
        await push(line, b"A" * 65536)


async def _endless(line: Line) -> None:
    """A greeting with more and more lines."""
    while True:
        await push(line, b"220-one more line\r\n" * 1000)


async def _cut(line: Line) -> None:
    """Close in the middle of the greeting."""
    await push(line, b"220 mail.exam")


async def _busy(line: Line) -> None:
    """Too many connections, bye."""
    await line.say("421 4.3.2 Too many connections, try again later")


async def _rejects(line: Line) -> None:
    """No service for you, but properly: every command gets 503 until QUIT."""
    await line.say("554 5.7.1 No SMTP service here")
    while (await line.command()).strip().upper() != "QUIT":
        await line.say("503 5.5.1 Only QUIT is accepted")
    await line.say("221 2.0.0 Bye")


async def _rejects_later(line: Line) -> None:
    """Not now."""
    await line.say("451 4.3.0 Temporary local problem, please try later")
    await line.command()


def _greeting(data: bytes) -> Broken:
    """Another protocol that greets first."""

    async def serve(line: Line) -> None:
        await push(line, data)
        await silent(line)

    return serve


async def _ftp(line: Line) -> None:
    """Greet like a mail server, and know none of its commands."""
    await line.say("220 ProFTPD Server ready")
    while (await line.command()).strip().upper() != "QUIT":
        await line.say("500 Command not understood")
    await line.say("221 Goodbye")


async def _ehlo_closes(line: Line) -> None:
    """Greet, then close at the first command, as a meddling firewall does."""
    await line.say("220 mail ESMTP")
    await line.command()


async def _ehlo_silent(line: Line) -> None:
    """Greet, then hang."""
    await line.say("220 mail ESMTP")
    await silent(line)


async def _ehlo_resets(line: Line) -> None:
    """Greet, then reset at the first command."""
    await _ehlo_closes(line)
    await reset(line)


async def _ehlo_busy(line: Line) -> None:
    """Greet, then find out that there is no room."""
    await _ehlo_closes(line)
    await line.say("421 4.3.2 System not accepting network messages")


async def _ehlo_endless(line: Line) -> None:
    """Never come to an end with what it can do."""
    await _ehlo_closes(line)
    while True:
        await push(line, b"250-X-ONE-MORE\r\n" * 1000)


async def _ehlo_cut(line: Line) -> None:
    """Close in the middle of the list of extensions."""
    await _ehlo_closes(line)
    await push(line, b"250-mail.example\r\n250-PIPEL")


async def _helo_closes(line: Line) -> None:
    """Refuse EHLO, and hang up at HELO."""
    await _ehlo_closes(line)
    await line.say("502 5.5.1 EHLO is not supported here")
    await line.command()


async def _ehlo_rejected(line: Line) -> None:
    """Know neither EHLO nor HELO."""
    await line.say("220 mail ESMTP")
    while (await line.command()).strip().upper() != "QUIT":
        await line.say("550 5.7.1 Access denied")
    await line.say("221 2.0.0 Bye")


async def push(line: Line, data: bytes) -> None:
    """Send raw bytes, no faster than they are taken. Raises Hangup."""
    if line.writer.is_closing():
        raise Hangup
    try:
        line.writer.write(data)
        await line.writer.drain()
    except OSError:
        raise Hangup from None


B = Behaviour

BREAKAGE: Mapping[Behaviour, Broken] = {
    B.CLOSES: _closes,
    B.RESETS: reset,
    B.SILENT: silent,
    B.DRIP: _drip,
    B.FLOOD: _flood,
    B.ENDLESS: _endless,
    B.CUT: _cut,
    B.BUSY: _busy,
    B.REJECTS: _rejects,
    B.REJECTS_LATER: _rejects_later,
    B.NOT_SMTP: _greeting(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    B.NOT_SMTP_POP3: _greeting(b"+OK POP3 ready\r\n"),
    B.NOT_SMTP_HTTP: _greeting(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    B.BINARY: _greeting(b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00\xff\xfe"),
    B.FTP: _ftp,
    B.EHLO_CLOSES: _ehlo_closes,
    B.EHLO_SILENT: _ehlo_silent,
    B.EHLO_RESETS: _ehlo_resets,
    B.EHLO_BUSY: _ehlo_busy,
    B.EHLO_ENDLESS: _ehlo_endless,
    B.EHLO_CUT: _ehlo_cut,
    B.EHLO_REJECTED: _ehlo_rejected,
    B.HELO_CLOSES: _helo_closes,
}
"""The behaviours that need a script of their own. Any other connected one is a good mailbox with options."""
