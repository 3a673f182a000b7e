"""What broken servers do from STARTTLS on: hang up, reset, answer nonsense, at each flight of the handshake."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping

from bot.sandbox.smtp_behaviours import Behaviour
from bot.sandbox.smtp_breakage import push, reset, silent
from bot.sandbox.smtp_mailbox import Line

HELLO = 4096
"""More than a ClientHello has."""

Handshake = Callable[[Line, ssl.SSLContext], Awaitable[None]]


async def _to_starttls(line: Line) -> None:
    """A normal session up to the STARTTLS command."""
    await line.say("220 mail ESMTP")
    while not (text := (await line.command()).strip().upper()).startswith("STARTTLS"):
        await line.say(*(("221 Bye",) if text == "QUIT" else ("250 mail", "250 STARTTLS")))


async def _to_handshake(line: Line) -> bytes:
    """Accept STARTTLS and wait for the ClientHello."""
    await _to_starttls(line)
    await line.say("220 Ready")
    return await line.reader.read(HELLO)


def answering(data: bytes) -> Handshake:
    """Answer the ClientHello with these bytes, then nothing more."""

    async def serve(line: Line, _: ssl.SSLContext) -> None:
        await _to_handshake(line)
        await push(line, data)
        await silent(line)

    return serve


async def _closes_at_starttls(line: Line, _: ssl.SSLContext) -> None:
    """Close instead of answering STARTTLS."""
    await _to_starttls(line)


async def _busy_at_starttls(line: Line, _: ssl.SSLContext) -> None:
    """No room, of all moments now."""
    await _to_starttls(line)
    await line.say("421 4.3.2 Too many connections")


async def _resets_at_starttls(line: Line, _: ssl.SSLContext) -> None:
    """Reset instead of answering STARTTLS."""
    await _to_starttls(line)
    await reset(line)


async def _accepts_closes(line: Line, _: ssl.SSLContext) -> None:
    """Accept STARTTLS and close."""
    await _to_starttls(line)
    await line.say("220 Ready")


async def _silent(line: Line, _: ssl.SSLContext) -> None:
    """Accept STARTTLS and say nothing in the handshake."""
    await _to_handshake(line)
    await silent(line)


async def _injection(line: Line, _: ssl.SSLContext) -> None:
    """Send a reply in clear text right behind the one to STARTTLS, to be taken for one under TLS."""
    await _to_starttls(line)
    await push(line, b"220 Ready\r\n250-mail <!channel>\r\n250 AUTH PLAIN\r\n")
    await silent(line)


async def _closes(line: Line, _: ssl.SSLContext) -> None:
    """Close at the ClientHello."""
    await _to_handshake(line)


async def _resets(line: Line, _: ssl.SSLContext) -> None:
    """Reset at the ClientHello."""
    await _to_handshake(line)
    await reset(line)


async def _closes_late(line: Line, context: ssl.SSLContext) -> None:
    """Close behind the server's first flight."""
    await _first_flight(line, context)


async def _resets_late(line: Line, context: ssl.SSLContext) -> None:
    """Reset when the client has answered the server's first flight."""
    await _first_flight(line, context)
    await line.reader.read(HELLO)
    await reset(line)


async def _first_flight(line: Line, context: ssl.SSLContext) -> None:
    """ServerHello and certificate, by hand."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(await _to_handshake(line))
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        await push(line, outgoing.read())


async def _closes_after(line: Line, context: ssl.SSLContext) -> None:
    """Finish the handshake, and close at the first command."""
    await _to_starttls(line)
    await line.say("220 Ready")
    await line.secure(context)
    await line.command()


async def _silent_after(line: Line, context: ssl.SSLContext) -> None:
    """Finish the handshake, and never answer a command."""
    await _to_starttls(line)
    await line.say("220 Ready")
    await line.secure(context)
    await silent(line)


def _alert(description: int) -> bytes:
    """A fatal alert as it is sent in the handshake."""
    return bytes([0x15, 3, 3, 0, 2, 2, description])


B = Behaviour

HANDSHAKES: Mapping[Behaviour, Handshake] = {
    B.STARTTLS_BUSY: _busy_at_starttls,
    B.STARTTLS_CLOSES: _closes_at_starttls,
    B.STARTTLS_RESETS: _resets_at_starttls,
    B.STARTTLS_ACCEPTS_CLOSES: _accepts_closes,
    B.STARTTLS_SILENT: _silent,
    B.STARTTLS_PLAIN: answering(b"500 5.5.2 What do you mean?\r\n"),
    B.INJECTION: _injection,
    B.TLS_ALERT: answering(_alert(40)),
    B.TLS_ALERT_INTERNAL: answering(_alert(80)),
    B.TLS_ALERT_VERSION: answering(_alert(70)),
    B.TLS_GARBAGE: answering(b"\x00\xff\x13\x37" * 16),
    B.TLS_CLOSES: _closes,
    B.TLS_RESETS: _resets,
    B.TLS_CLOSES_LATE: _closes_late,
    B.TLS_RESETS_LATE: _resets_late,
    B.TLS_CLOSES_AFTER: _closes_after,
    B.TLS_SILENT_AFTER: _silent_after,
}
"""The behaviours that are fine up to STARTTLS and have a script of their own from there."""
