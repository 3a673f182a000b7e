"""A small SMTP sender over asyncio: connect, EHLO, STARTTLS as the connector wants it, MAIL, RCPT, DATA, QUIT.

Promises: every wait has a deadline, every reply a bound; a peer that fails costs one Failure, never another exception.
What TLS must hold, by the connector's setting: none: STARTTLS isn't tried. opportunistic: used if offered, any
certificate will do. encryption: required, any certificate. certificate: required, chain and dates must hold. domain:
as certificate, and the name must match `tls_domain` (one leading wildcard allowed) or the smart host.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.sandbox.handshake import may_be_given_up
from bot.sandbox.mail_system.led import Failure, Trouble

MAX_LINE = 2048
MAX_LINES = 64
_REPLY = re.compile(rb"^(\d{3})([ -]?)(.*?)\r?\n$", re.DOTALL)
_VERIFY_WORDS = {9: "CertificateNotYetValid", 10: "CertificateExpired", 23: "CertificateRevoked"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a connector's mail is to be sent."""

    tls_setting: str = "opportunistic"
    tls_domain: str | None = None
    helo_name: str = "mail.sandbox.test"
    ca_file: Path | None = None
    connect_timeout: float = 10.0
    reply_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply, all its lines."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The reply in one line."""
        return f"{self.code} {' '.join(self.lines)}".strip()


class AttemptFailed(Exception):
    """The session can't be used (any more); `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text())
        self.failure = failure


class Session:
    """One SMTP session with one address of one smart host. `tls_broke`: it failed after STARTTLS was agreed on."""

    def __init__(self, host: str, ip: str, port: int, manner: Manner) -> None:
        self._host = host
        self._ip = ip
        self._port = port
        self._manner = manner
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self._clear: asyncio.StreamWriter | None = None
        self._offers: frozenset[str] = frozenset()
        self.tls_broke = False

    def failure(self, trouble: Trouble, detail: str = "") -> Failure:
        """A failure that names this session's peer."""
        return Failure(trouble=trouble, detail=detail, host=self._host, ip=self._ip, port=self._port)

    async def open(self) -> None:
        """Connect, greet and secure; AttemptFailed if mail can't be sent here now."""
        await self._connect()
        try:
            await self._expect(None, 2)
            await self._hello()
            if self._manner.tls_setting != "none":
                await self._secure()
        except BaseException:
            await self.close()
            raise

    async def send(self, sender: str, recipients: Sequence[str], content: bytes) -> dict[str, Reply]:
        """One message: the final reply for each recipient. AttemptFailed if the session broke."""
        start = await self._command(f"MAIL FROM:<{sender}>")
        if start.code // 100 != 2:
            return dict.fromkeys(recipients, start)
        replies = {one: await self._command(f"RCPT TO:<{one}>") for one in recipients}
        accepted = [one for one, reply in replies.items() if reply.code // 100 == 2]
        if not accepted:
            await self._command("RSET")
            return replies
        go = await self._command("DATA")
        final = await self._exchange(_stuffed(content)) if go.code == 354 else go
        return {**replies, **dict.fromkeys(accepted, final)}

    async def quit(self) -> None:
        """Say QUIT if it still can, and close."""
        with contextlib.suppress(AttemptFailed):
            await self._command("QUIT")
        await self.close()

    async def close(self) -> None:
        """Close without a word."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.close()
        with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
            await asyncio.wait_for(writer.wait_closed(), 1.0)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._manner.connect_timeout):
                self._reader, self._writer = await asyncio.open_connection(self._ip, self._port, limit=MAX_LINE)
        except TimeoutError:
            raise AttemptFailed(self.failure(Trouble.TIMED_OUT)) from None
        except OSError as error:
            raise AttemptFailed(self.failure(_trouble_of(error))) from None

    async def _hello(self) -> None:
        reply = await self._command(f"EHLO {self._manner.helo_name}")
        if reply.code // 100 != 2:
            reply = await self._expect(f"HELO {self._manner.helo_name}", 2)
        self._offers = frozenset(line.split()[0].upper() for line in reply.lines[1:] if line.strip())

    async def _secure(self) -> None:
        required = self._manner.tls_setting != "opportunistic"
        if "STARTTLS" not in self._offers:
            if required:
                raise AttemptFailed(self.failure(Trouble.UNUSABLE, "451 5.7.3 STARTTLS is required to send mail"))
            return
        reply = await self._command("STARTTLS")
        if reply.code // 100 == 2:
            self.tls_broke = True
            await self._handshake()
            await self._hello()
            self.tls_broke = False
        elif required:
            raise AttemptFailed(self.failure(Trouble.UNUSABLE, reply.text))

    async def _handshake(self) -> None:
        # A fresh reader takes over: clear text that came along with the 220 stays behind in the old one, never to be
        # read as if it had come under TLS. The old writer is kept: when it is collected, it closes the connection.
        loop = asyncio.get_running_loop()
        assert self._writer is not None
        reader = asyncio.StreamReader(limit=MAX_LINE, loop=loop)
        protocol = _TlsProtocol(reader, loop=loop)
        name = (self._manner.tls_domain or self._host).removeprefix("*.")
        try:
            async with asyncio.timeout(self._manner.reply_timeout):
                clear = self._writer.transport
                handshake = loop.start_tls(clear, protocol, _context(self._manner), server_hostname=name)
                transport = await may_be_given_up(handshake, clear)
        except ssl.SSLCertVerificationError as error:
            detail = _VERIFY_WORDS.get(error.verify_code, "UntrustedRoot")
            raise AttemptFailed(self.failure(Trouble.CERTIFICATE, detail)) from None
        except TimeoutError:
            raise AttemptFailed(self.failure(Trouble.CLOSED)) from None
        except ConnectionError:
            raise AttemptFailed(self.failure(Trouble.CLOSED, "Socket error code 10054")) from None
        except OSError:
            detail = "451 4.4.0 TLS negotiation failed with error SocketError"
            raise AttemptFailed(self.failure(Trouble.UNUSABLE, detail)) from None
        if transport is None:
            raise AttemptFailed(self.failure(Trouble.CLOSED))
        protocol.connection_made(transport)
        self._clear, self._reader = self._writer, reader
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self._check_name(transport.get_extra_info("peercert") or {})

    def _check_name(self, certificate: dict[str, Any]) -> None:
        if self._manner.tls_setting != "domain":
            return
        wanted = (self._manner.tls_domain or self._host).lower()
        names = [value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
        subject = [pair for group in certificate.get("subject", ()) for pair in group]
        names = names or [value.lower() for kind, value in subject if kind == "commonName"]
        if not any(_matches(wanted, name) for name in names):
            shown = names[0] if names else "none"
            raise AttemptFailed(
                self.failure(Trouble.CERTIFICATE, f"SubjectMismatch Expected Subject: {wanted}. Presented: {shown}")
            )

    async def _expect(self, line: str | None, kind: int) -> Reply:
        reply = await (self._read_reply() if line is None else self._command(line))
        if reply.code // 100 != kind:
            raise AttemptFailed(self.failure(Trouble.UNUSABLE, reply.text))
        return reply

    async def _command(self, line: str) -> Reply:
        return await self._exchange(f"{line}\r\n".encode())

    async def _exchange(self, data: bytes) -> Reply:
        if self._writer is None:
            raise AttemptFailed(self.failure(Trouble.CLOSED))
        try:
            async with asyncio.timeout(self._manner.reply_timeout):
                self._writer.write(data)
                await self._writer.drain()
        except (OSError, TimeoutError):
            raise AttemptFailed(self.failure(Trouble.CLOSED, "Socket error code 10054")) from None
        return await self._read_reply()

    async def _read_reply(self) -> Reply:
        lines: list[str] = []
        try:
            async with asyncio.timeout(self._manner.reply_timeout):
                while len(lines) < MAX_LINES:
                    match = _REPLY.match(await self._reader.readline())
                    if match is None:
                        raise AttemptFailed(self.failure(Trouble.CLOSED if self._reader.at_eof() else Trouble.UNUSABLE))
                    code, more, text = match.groups()
                    lines.append(text.decode("ascii", "replace"))
                    if more != b"-":
                        return Reply(int(code), tuple(lines))
        except TimeoutError:
            raise AttemptFailed(self.failure(Trouble.CLOSED)) from None
        except OSError:
            raise AttemptFailed(self.failure(Trouble.CLOSED, "Socket error code 10054")) from None
        except ValueError:
            pass
        raise AttemptFailed(self.failure(Trouble.UNUSABLE, "reply without end"))


class _TlsProtocol(asyncio.StreamReaderProtocol):
    """Under TLS there is no half-closed connection: asking for one only makes asyncio grumble in the log."""

    def eof_received(self) -> bool:
        super().eof_received()
        return False


def _trouble_of(error: OSError) -> Trouble:
    if isinstance(error, ConnectionRefusedError):
        return Trouble.REFUSED
    if isinstance(error, ConnectionError):
        return Trouble.CLOSED
    if error.errno in (errno.ETIMEDOUT, None) or isinstance(error, socket.gaierror):
        return Trouble.TIMED_OUT
    return Trouble.UNREACHABLE


def _context(manner: Manner) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if manner.tls_setting not in ("certificate", "domain"):
        context.verify_mode = ssl.CERT_NONE
    elif manner.ca_file is not None:
        context.load_verify_locations(manner.ca_file)
    else:
        context.load_default_certs()
    return context


def _matches(wanted: str, presented: str) -> bool:
    if wanted == presented:
        return True
    if presented.startswith("*."):
        return wanted.partition(".")[2] == presented[2:]
    return wanted.startswith("*.") and presented.partition(".")[2] == wanted[2:]


def _stuffed(content: bytes) -> bytes:
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n").split(b"\n")
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"
