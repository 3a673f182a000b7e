"""A strict little SMTP server conversation that really accepts mail (RFC 5321, STARTTLS per RFC 3207).

Strict as real servers are: commands out of order get 503, lines must end with CR LF, STARTTLS forgets everything said
before it and refuses text sent along with it, unknown recipients get 550 5.1.1, and mail is counted as accepted only
when the 250 behind its data was written.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bot.sandbox.handshake import may_be_given_up

LINE = 2048
SIZE = 10 * 1024 * 1024
RECIPIENTS = 1000
IDLE = 60.0
LONG_LINE = 1500
"""Characters of an overlong extension."""

_PATH = re.compile(r"(?i)(FROM|TO):\s?<([^<>\s]*)>(?:\s+(.*))?\Z")
_SIZE = re.compile(r"(?i)\bSIZE=(\d{1,20})\b")


class Hangup(Exception):
    """The client is gone, or no longer worth talking to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One message that a good server took responsibility for."""

    server: str
    helo: str
    sender: str
    recipients: tuple[str, ...]
    data: bytes
    tls: bool


@dataclass(slots=True)
class Line:
    """Both ends of one connection, with the bounds of a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    newline: str = "\r\n"
    split: bool = False
    doomed: bool = False
    """The TLS handshake will fail, and the alert that says so must really be sent (asyncio's own TLS drops it)."""

    async def command(self) -> str:
        """One command line. Raises Hangup at the end, on silence, and on a line without end."""
        return (await self.raw()).decode("utf-8", "replace")

    async def say(self, *lines: str) -> None:
        """One reply of the form `250 text`; several lines make a multi-line reply."""
        *first, last = lines
        text = "".join(f"{line[:3]}-{line[4:]}{self.newline}" for line in first) + last + self.newline
        pieces = list(text) if self.split else [text]
        try:
            for piece in pieces:
                self.writer.write(piece.encode("ascii", "replace"))
                await self.writer.drain()
        except OSError:
            raise Hangup from None

    async def message(self) -> bytes | None:
        """What comes up to the lone dot, dots unstuffed; None if it was too big (it is read to its end anyway)."""
        kept, size = bytearray(), 0
        while (text := await self.raw()) != b".\r\n":
            size += len(text)
            if size <= SIZE:
                kept += text.removeprefix(b".")
        return bytes(kept) if size <= SIZE else None

    async def early(self) -> bytes:
        """What has come already without being asked for."""
        try:
            async with asyncio.timeout(0):
                return await self.reader.read(LINE)
        except TimeoutError:
            return b""

    async def secure(self, context: ssl.SSLContext) -> None:
        """Go on under TLS. Raises Hangup if the handshake fails."""
        if self.doomed:
            await self._fail_handshake(context)
        try:
            handshake = self.writer.start_tls(context, ssl_handshake_timeout=IDLE)
            await may_be_given_up(handshake, self.writer.transport)
        except (OSError, TimeoutError):
            raise Hangup from None

    async def _fail_handshake(self, context: ssl.SSLContext) -> None:
        """Shake hands by hand, up to the failure and its alert. Raises Hangup in any case."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_side=True)
        failed = False
        while not failed:
            try:
                session.do_handshake()
                failed = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                failed = True
            self.writer.write(outgoing.read())
            await self.writer.drain()
            if not failed:
                data = await self.reader.read(LINE)
                incoming.write(data)
                failed = not data
        raise Hangup

    async def raw(self) -> bytes:
        """One line of any kind. Raises Hangup."""
        try:
            async with asyncio.timeout(IDLE):
                return await self.reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            raise Hangup from None


Handler = Callable[[str], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Mailbox:
    """One conversation of a good server. `recipients` None: anybody. `context` None: STARTTLS is not offered.

    `greeting` replaces the usual one; `pauses`: seconds before it and before the answer to EHLO; `odd`: extensions in
    an unusual order and in small letters; `long`: one of them is longer than a line may be. `refusal`: what every
    recipient hears ("": the connection is closed instead); `starttls_refusal`: what STARTTLS hears, though on offer.
    """

    server: str
    host: str
    line: Line
    accept: Callable[[Accepted], None]
    recipients: Callable[[], frozenset[str] | None] = lambda: None
    context: ssl.SSLContext | None = None
    esmtp: bool = True
    answer_quit: bool = True
    greeting: tuple[str, ...] = ()
    pauses: tuple[float, float] = (0.0, 0.0)
    odd: bool = False
    long: bool = False
    refusal: str | None = None
    starttls_refusal: str | None = None
    _helo: str = ""
    _tls: bool = False
    _sender: str | None = None
    _to: list[str] = field(default_factory=list)

    async def serve(self) -> None:
        """Greet, then answer command by command until QUIT. Raises Hangup when the conversation is over."""
        await asyncio.sleep(self.pauses[0])
        await self.line.say(*(self.greeting or (f"220 {self.host} ESMTP sandbox",)))
        verbs: dict[str, Handler] = {
            "EHLO": self._ehlo,
            "HELO": self._hello,
            "STARTTLS": self._starttls,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "QUIT": self._quit,
        }
        while True:
            text = await self.line.command()
            verb, _, rest = text.rstrip("\r\n").partition(" ")
            if not text.endswith("\r\n"):
                await self.line.say("500 5.5.2 Lines must end with CR LF")
            elif verb.upper() in verbs:
                await verbs[verb.upper()](rest.strip())
            else:
                await self.line.say("500 5.5.2 Unknown command")

    async def _ehlo(self, rest: str) -> None:
        """The extensions, STARTTLS among them until TLS runs."""
        if not self.esmtp:
            await self.line.say("502 5.5.1 EHLO is not supported here")
            return
        extensions = ["PIPELINING", f"SIZE {SIZE}", "ENHANCEDSTATUSCODES", "8BITMIME"]
        if self.context and not self._tls:
            extensions.append("STARTTLS")
        if self.odd:
            extensions = [e.lower() for e in reversed(extensions)]
        if self.long:
            extensions.insert(1, "X-LONG " + "x" * LONG_LINE)
        await asyncio.sleep(self.pauses[1])
        await self._greeted(rest, *extensions)

    async def _hello(self, rest: str) -> None:
        """The old greeting."""
        await self._greeted(rest)

    async def _greeted(self, rest: str, *extensions: str) -> None:
        """Answer a greeting, which also resets the transaction."""
        if not rest:
            await self.line.say("501 5.5.4 Your name, please")
            return
        self._helo = rest
        self._forget()
        await self.line.say(f"250 {self.host}", *(f"250 {e}" for e in extensions))

    async def _starttls(self, rest: str) -> None:
        """Start TLS, unless something was sent along with the command: that is an attack or a bug."""
        if not self.esmtp or self.context is None or self._tls:
            await self.line.say("503 5.5.1 STARTTLS is not available")
        elif rest:
            await self.line.say("501 5.5.4 STARTTLS takes no argument")
        elif self.starttls_refusal:
            await self.line.say(self.starttls_refusal)
        elif await self.line.early():
            await self.line.say("554 5.5.0 Nothing may be sent along with STARTTLS")
            raise Hangup
        else:
            await self.line.say("220 2.0.0 Ready to start TLS")
            await self.line.secure(self.context)
            self._tls, self._helo = True, ""
            self._forget()

    async def _mail(self, rest: str) -> None:
        """Open a transaction."""
        path = _PATH.match(rest)
        if not self._helo or self._sender is not None:
            await self.line.say("503 5.5.1 Bad sequence of commands")
        elif not path or path[1].upper() != "FROM" or (path[2] and "@" not in path[2]):
            await self.line.say("501 5.1.7 Syntax: MAIL FROM:<address>")
        elif (size := _SIZE.search(path[3] or "")) and int(size[1]) > SIZE:
            await self.line.say("552 5.3.4 Message too big")
        else:
            self._sender = path[2]
            await self.line.say("250 2.1.0 Sender OK")

    async def _rcpt(self, rest: str) -> None:
        """Add a recipient if there is such a mailbox."""
        path, known = _PATH.match(rest), self.recipients()
        if self._sender is None:
            await self.line.say("503 5.5.1 Bad sequence of commands")
        elif not path or path[1].upper() != "TO" or "@" not in path[2]:
            await self.line.say("501 5.1.3 Syntax: RCPT TO:<address>")
        elif self.refusal is not None:
            await self._refuse(self.refusal)
        elif len(self._to) >= RECIPIENTS:
            await self.line.say("452 4.5.3 Too many recipients")
        elif known is not None and path[2].casefold() not in known:
            await self.line.say(f"550 5.1.1 <{path[2]}>: Recipient address rejected: User unknown")
        else:
            self._to.append(path[2])
            await self.line.say("250 2.1.5 Recipient OK")

    async def _refuse(self, words: str) -> None:
        """No recipient is welcome."""
        if words:
            await self.line.say(words)
        if not words or words.startswith("421"):
            raise Hangup

    async def _data(self, rest: str) -> None:
        """Take the message; it counts once the final 250 was written."""
        if self._sender is None or not self._to or rest:
            await self.line.say("503 5.5.1 Bad sequence of commands")
            return
        await self.line.say("354 End data with <CR><LF>.<CR><LF>")
        data = await self.line.message()
        if data is None:
            await self.line.say("552 5.3.4 Message too big")
        else:
            accepted = Accepted(
                server=self.server,
                helo=self._helo,
                sender=self._sender,
                recipients=tuple(self._to),
                data=data,
                tls=self._tls,
            )
            await self.line.say("250 2.0.0 Accepted")
            self.accept(accepted)
        self._forget()

    async def _rset(self, _: str) -> None:
        """Drop the transaction."""
        self._forget()
        await self.line.say("250 2.0.0 OK")

    async def _noop(self, _: str) -> None:
        """Nothing."""
        await self.line.say("250 2.0.0 OK")

    async def _vrfy(self, _: str) -> None:
        """No address harvesting here."""
        await self.line.say("252 2.5.2 Send some mail, I'll try my best")

    async def _quit(self, _: str) -> None:
        """Farewell."""
        if self.answer_quit:
            await self.line.say("221 2.0.0 Bye")
        raise Hangup

    def _forget(self) -> None:
        """No transaction."""
        self._sender, self._to = None, []
