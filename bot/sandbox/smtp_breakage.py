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
CLIENT_HELLO = 5
HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"

Broken = Callable[[Line], Awaitable[None]]


async def _closes(_: Line) -> None:
    """Accept, and close at once."""


async def _resets(line: Line) -> None:
    """Accept, and reset at once."""
    taken = line.writer.get_extra_info("socket")
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _silent(line: Line) -> None:
    """Never say a word, until the client leaves."""
    while await line.reader.read(1024):
        pass


async def _drip(line: Line) -> None:
    """A greeting of many lines, a byte at a time, that never ends."""
    while True:
        for byte in b"220-please wait\r\n":
            await _push(line, bytes([byte]))
            await asyncio.sleep(DRIP)


async def _flood(line: Line) -> None:
    """One line without an end, as fast as the client takes it."""
    await _push(line, b"220 ")
    while True:
        await _push(line, b"A" * 65536)


async def _endless(line: Line) -> None:
    """A greeting with more and more lines."""
    while True:
        await _push(line, b"220-one more line\r\n" * 1000)


async def _cut(line: Line) -> None:
    """Close in the middle of the greeting."""
    await _push(line, b"220 mail.exam")


async def _busy(line: Line) -> None:
    """Too many connections, bye."""
    await line.say("421 4.3.2 Too many connections, try again later")


async def _rejects(line: Line) -> None:
    """No service for you, but properly: every command gets 503 until QUIT."""
    await line.say("554 5.7.1 No SMTP service here")
    while (await line.command()).strip().upper() != "QUIT":
        await line.say("503 5.5.1 Only QUIT is accepted")
    await line.say("221 2.0.0 Bye")


async def _not_smtp(line: Line) -> None:
    """Another protocol that greets first."""
    await _push(line, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    await _silent(line)


async def _binary(line: Line) -> None:
    """Another protocol that greets first and knows no lines."""
    await _push(line, b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00\xff\xfe")
    await _silent(line)


async def _ehlo_closes(line: Line) -> None:
    """Greet, then close at the first command, as a meddling firewall does."""
    await line.say("220 mail ESMTP")
    await line.command()


async def _ehlo_silent(line: Line) -> None:
    """Greet, then hang."""
    await line.say("220 mail ESMTP")
    await _silent(line)


async def _ehlo_rejected(line: Line) -> None:
    """Know neither EHLO nor HELO."""
    await line.say("220 mail ESMTP")
    while (await line.command()).strip().upper() != "QUIT":
        await line.say("550 5.7.1 Access denied")
    await line.say("221 2.0.0 Bye")


async def _to_starttls(line: Line) -> None:
    """A normal session up to the STARTTLS command."""
    await line.say("220 mail ESMTP")
    while not (text := (await line.command()).strip().upper()).startswith("STARTTLS"):
        await line.say(*(("221 Bye",) if text == "QUIT" else ("250 mail", "250 STARTTLS")))


async def _starttls_rejected(line: Line) -> None:
    """Offer STARTTLS, and then not have it."""
    await _to_starttls(line)
    await line.say("454 4.7.0 TLS not available due to local problem")
    while (await line.command()).strip().upper() != "QUIT":
        await line.say("503 5.5.1 Only QUIT is accepted")
    await line.say("221 2.0.0 Bye")


async def _starttls_closes(line: Line) -> None:
    """Close at STARTTLS."""
    await _to_starttls(line)


async def _starttls_accepts_closes(line: Line) -> None:
    """Accept STARTTLS and close."""
    await _to_starttls(line)
    await line.say("220 Ready")


async def _starttls_silent(line: Line) -> None:
    """Accept STARTTLS and say nothing in the handshake."""
    await _to_starttls(line)
    await line.say("220 Ready")
    await _silent(line)


async def _starttls_plain(line: Line) -> None:
    """Accept STARTTLS and answer the handshake in clear text."""
    await _to_starttls(line)
    await line.say("220 Ready")
    await line.reader.readexactly(CLIENT_HELLO)
    await line.say("500 5.5.2 What do you mean?")
    await _silent(line)


async def _injection(line: Line) -> None:
    """Send a reply in clear text right behind the one to STARTTLS, to be taken for one under TLS."""
    await _to_starttls(line)
    await _push(line, b"220 Ready\r\n250-mail <!channel>\r\n250 AUTH PLAIN\r\n")
    await _silent(line)


async def _tls_alert(line: Line) -> None:
    """Answer the handshake with an alert."""
    await _to_starttls(line)
    await line.say("220 Ready")
    await line.reader.readexactly(CLIENT_HELLO)
    await _push(line, HANDSHAKE_FAILURE)
    await _silent(line)


async def _push(line: Line, data: bytes) -> None:
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
    B.RESETS: _resets,
    B.SILENT: _silent,
    B.DRIP: _drip,
    B.FLOOD: _flood,
    B.ENDLESS: _endless,
    B.CUT: _cut,
    B.BUSY: _busy,
    B.REJECTS: _rejects,
    B.NOT_SMTP: _not_smtp,
    B.BINARY: _binary,
    B.EHLO_CLOSES: _ehlo_closes,
    B.EHLO_SILENT: _ehlo_silent,
    B.EHLO_REJECTED: _ehlo_rejected,
    B.STARTTLS_REJECTED: _starttls_rejected,
    B.STARTTLS_CLOSES: _starttls_closes,
    B.STARTTLS_ACCEPTS_CLOSES: _starttls_accepts_closes,
    B.STARTTLS_SILENT: _starttls_silent,
    B.STARTTLS_PLAIN: _starttls_plain,
    B.INJECTION: _injection,
    B.TLS_ALERT: _tls_alert,
}
"""The behaviours that need a script of their own. Any other connected one is a good mailbox with options."""
