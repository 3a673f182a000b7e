"""The sandbox's mail servers: one loopback address each, one port for all, every way to be broken and some good ones.

Good servers really accept mail. Any server can be given another behaviour while it runs: that is how something breaks
or is repaired in the demo and in tests.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from bot.core.clock import Clock
from bot.sandbox.certificates import CertificateShop, Flaw, by_name, only, wanting_client_certificate
from bot.sandbox.dns_server import Node
from bot.sandbox.smtp_behaviours import FLAWS, Behaviour, ServerSpec
from bot.sandbox.smtp_breakage import BREAKAGE
from bot.sandbox.smtp_cast import CAST, Row
from bot.sandbox.smtp_handshakes import HANDSHAKES, Handshake
from bot.sandbox.smtp_listeners import Listener, Refusing, Serving, Swallowing, free_port
from bot.sandbox.smtp_mailbox import Accepted, Hangup, Line, Mailbox
from bot.sandbox.smtp_names import host_of, name_specs, nodes

__all__ = ["Accepted", "Behaviour", "BrokenServers", "ServerSpec"]

KEPT = 10_000
"""Accepted messages that are kept for inspection."""
WANTS_CLIENT_CERTIFICATE = frozenset({Behaviour.CLIENT_CERTIFICATE, Behaviour.CLIENT_CERTIFICATE_TLS12})
DOOMED = frozenset({Behaviour.TLS10_ONLY, Behaviour.TLS11_ONLY, *WANTS_CLIENT_CERTIFICATE})
NO_STARTTLS = frozenset({Behaviour.GOOD_PLAIN, Behaviour.HELO_ONLY})
VERSIONS = {
    Behaviour.GOOD_TLS12: ssl.TLSVersion.TLSv1_2,
    Behaviour.GOOD_TLS13: ssl.TLSVersion.TLSv1_3,
    Behaviour.CLIENT_CERTIFICATE_TLS12: ssl.TLSVersion.TLSv1_2,
    Behaviour.TLS_CLOSES_LATE: ssl.TLSVersion.TLSv1_2,
    Behaviour.TLS_RESETS_LATE: ssl.TLSVersion.TLSv1_2,
    Behaviour.TLS10_ONLY: ssl.TLSVersion.TLSv1,
    Behaviour.TLS11_ONLY: ssl.TLSVersion.TLSv1_1,
}
"""Servers with just one version of TLS."""
PAUSE = 0.3
PAUSES = {Behaviour.GOOD_SLOW_GREETING: (PAUSE, 0.0), Behaviour.GOOD_SLOW_EHLO: (0.0, PAUSE)}
STARTTLS_REFUSALS = {
    Behaviour.STARTTLS_REJECTED: "454 4.7.0 TLS not available due to local problem",
    Behaviour.STARTTLS_UNKNOWN: "502 5.5.1 Command not implemented",
}
REFUSALS = {
    Behaviour.RCPT_UNKNOWN: "550 5.1.1 Recipient address rejected: User unknown in virtual mailbox table",
    Behaviour.RCPT_BLOCKED: "550 5.4.1 Recipient address rejected: Access denied",
    Behaviour.RCPT_GREYLISTED: "450 4.7.1 Recipient address rejected: Greylisted, please try again later",
    Behaviour.RCPT_RELAY_DENIED: "554 5.7.1 Relay access denied",
    Behaviour.RCPT_CLOSES: "",
    Behaviour.RCPT_BUSY: "421 4.7.0 Too many recipients asked for, closing",
}


class BrokenServers:
    """All servers of the cast. Async context manager; Linux only (it has all of 127.0.0.0/8), needs no privileges.

    `servers` also lists the names that are broken in the DNS; `zone()` is what a DnsServer has to serve for all.
    """

    def __init__(self, *, port: int = 0, rows: Sequence[Row] = CAST, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._rows, self._port, self._clock = tuple(rows), port, clock
        self._listeners: dict[str, Listener] = {}
        self._recipients: dict[str, frozenset[str]] = {}
        self._directory: TemporaryDirectory[str] | None = None
        self._shop: CertificateShop | None = None
        self.servers: dict[str, ServerSpec] = {}
        self.accepted: deque[Accepted] = deque(maxlen=KEPT)

    @property
    def ca_file(self) -> Path:
        """The root that good certificates lead to. Exists between start and stop."""
        return self.shop.ca_file

    @property
    def crl_file(self) -> Path:
        """The list of revoked certificates. Exists between start and stop."""
        return self.shop.crl_file

    @property
    def shop(self) -> CertificateShop:
        """Who made the certificates, and makes more. Exists between start and stop."""
        assert self._shop, "not started"
        return self._shop

    @property
    def port(self) -> int:
        """The port of all servers; known after the start."""
        return self._port

    async def start(self) -> None:
        """Make certificates, find a port, open every address."""
        self._directory = TemporaryDirectory(prefix="mfi-sandbox-")
        self._shop = CertificateShop(Path(self._directory.name), self._clock())
        addresses = [address_of(n) for n, _ in enumerate(self._rows)]
        self._port = self._port or free_port(addresses)
        for row, ip in zip(self._rows, addresses, strict=True):
            self.servers[row.name] = self._spec(row, ip)
            await self._open(row.name)
        self.servers |= {s.name: s for s in name_specs(self._port)}

    async def stop(self) -> None:
        """Close every address and remove the certificates."""
        for listener in self._listeners.values():
            await listener.close()
        self._listeners.clear()
        if self._directory:
            self._directory.cleanup()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.stop()

    async def set_behaviour(self, name: str, behaviour: Behaviour | str) -> None:
        """From now on the server behaves so; open connections are cut. The expectations in `servers` stay as cast."""
        self.servers[name] = replace(self.servers[name], behaviour=Behaviour(behaviour))
        await self._listeners.pop(name).close()
        await self._open(name)

    def set_recipients(self, name: str, recipients: Iterable[str] | None) -> None:
        """The mailboxes of a server; everybody else gets 550 5.1.1. None: anybody is welcome."""
        if recipients is None:
            self._recipients.pop(name, None)
        else:
            self._recipients[name] = frozenset(r.casefold() for r in recipients)

    def zone(self) -> dict[str, Node]:
        """What the DNS has to say about all of this. Call it after the start."""
        return nodes({s.name: s for s in self.servers.values() if s.ip})

    def _spec(self, row: Row, ip: str) -> ServerSpec:
        """The row with its address."""
        return ServerSpec(
            name=row.name,
            host=host_of(row.name),
            ip=ip,
            port=self._port,
            behaviour=row.behaviour,
            tls_setting=row.tls_setting,
            tls_domain=row.tls_domain,
            expected_code=row.code,
            expected_cause=row.cause,
            expected_warning=row.warning,
            expected_rcpt=row.rcpt,
        )

    async def _open(self, name: str) -> None:
        """Put the right listener at the server's address."""
        spec = self.servers[name]
        assert spec.ip and spec.behaviour, "only a name in the DNS"
        if spec.behaviour is Behaviour.REFUSED:
            self._listeners[name] = Refusing(spec.ip, spec.port)
        elif spec.behaviour is Behaviour.BLACK_HOLE:
            self._listeners[name] = Swallowing(spec.ip, spec.port)
        else:
            context = self._context(spec)
            serve = BREAKAGE.get(spec.behaviour) or partial(self._serve, spec, context)
            if context and spec.behaviour in HANDSHAKES:
                serve = partial(_handshaking, HANDSHAKES[spec.behaviour], context)
            self._listeners[name] = await Serving(serve).open(spec.ip, spec.port)

    async def _serve(self, spec: ServerSpec, context: ssl.SSLContext | None, line: Line) -> None:
        """One conversation with a server that accepts mail."""
        assert spec.behaviour, "only a name in the DNS"
        line.newline = "\n" if spec.behaviour is Behaviour.GOOD_BARE_LF else "\r\n"
        line.split = spec.behaviour is Behaviour.GOOD_SPLIT
        line.doomed = spec.behaviour in DOOMED
        known = frozenset({f"postmaster@{spec.host}"}) if spec.behaviour is Behaviour.RCPT_KNOWN else None
        mailbox = Mailbox(
            server=spec.name,
            host=spec.host,
            line=line,
            accept=self.accepted.append,
            recipients=lambda: self._recipients.get(spec.name, known),
            context=context,
            esmtp=spec.behaviour is not Behaviour.HELO_ONLY,
            answer_quit=spec.behaviour is not Behaviour.GOOD_NO_QUIT,
            greeting=_greeting(spec),
            pauses=PAUSES.get(spec.behaviour, (0.0, 0.0)),
            odd=spec.behaviour is Behaviour.GOOD_ODD_EHLO,
            long=spec.behaviour is Behaviour.GOOD_LONG_LINE,
            refusal=REFUSALS.get(spec.behaviour),
            starttls_refusal=STARTTLS_REFUSALS.get(spec.behaviour),
        )
        try:
            await mailbox.serve()
        except Hangup:
            if not mailbox.answer_quit:
                await line.reader.read()
            raise

    def _context(self, spec: ServerSpec) -> ssl.SSLContext | None:
        """The TLS side of a server that accepts mail; None if it has none."""
        assert self._shop and spec.behaviour, "not started"
        if spec.behaviour in NO_STARTTLS:
            return None
        context = self._shop.context(spec.host, FLAWS.get(spec.behaviour, Flaw.NONE))
        if spec.behaviour is Behaviour.GOOD_SNI:
            return by_name(self._shop.context(spec.host, Flaw.WRONG_NAME), spec.host, context)
        if spec.behaviour in VERSIONS:
            context = only(context, VERSIONS[spec.behaviour])
        if spec.behaviour in WANTS_CLIENT_CERTIFICATE:
            context = wanting_client_certificate(context, self.ca_file)
        return context


async def _handshaking(serve: Handshake, context: ssl.SSLContext, line: Line) -> None:
    """A script that goes wrong from STARTTLS on."""
    line.doomed = False
    await serve(line, context)


def _greeting(spec: ServerSpec) -> tuple[str, ...]:
    """A greeting of several lines for the server that has one; else the usual one."""
    if spec.behaviour is not Behaviour.GOOD_MULTILINE:
        return ()
    return f"220 {spec.host} ESMTP sandbox", "220 Use of this system is logged", "220 Ready when you are"


def address_of(number: int) -> str:
    """The loopback address of the n-th server."""
    return f"127.25.{number // 250}.{number % 250 + 1}"
