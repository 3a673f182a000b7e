"""The SMTP conversation of a probe on one connection: greeting, EHLO, STARTTLS, TLS, EHLO, QUIT.

MAIL FROM and RCPT TO are said only where `Terms.rcpt` asks about a recipient; DATA never.

Promises: every wait has its phase limit, clipped to the probe's deadline; whatever the peer does ends as a fault in
`Findings`, which also holds how long each phase took and all that was learnt before.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from bot.core.probe_result import TlsFacts
from bot.core.recipient import RcptFacts
from bot.probes import recipient, tls
from bot.probes.broken import Broken
from bot.probes.certificate import Wanted
from bot.probes.deadline import Deadline
from bot.probes.judging import Judge
from bot.probes.reply import Reply, ReplyParser, capabilities, sanitise
from bot.probes.wire import Wire
from knowledge.classify import Cause, Fault, Stage, judge
from storage.records import TlsSetting

GREETING = 15.0
COMMAND = 10.0
HANDSHAKE = 10.0
FAREWELL = 1.0
"""Seconds that a peer gets to answer QUIT; not answering is no fault."""
SLOW = 5.0
"""A greeting or EHLO that takes this long is slow, though fine."""

UNFINISHED = "the handshake did not finish"
"""Why a certificate without any fault is not verified."""
UNUSABLE = frozenset({Cause.CLOSED, Cause.RESET, Cause.STALLED, Cause.FLOOD, Cause.NOT_SMTP})
_WANTS_CERTIFICATE = re.compile(r"(?i)client certificate|certificate (is )?required|no certificate (was )?presented")
_DEMANDING = frozenset({TlsSetting.ENCRYPTION, TlsSetting.CERTIFICATE, TlsSetting.DOMAIN})


@dataclass(slots=True)
class Findings:
    """What one connection showed so far."""

    deadline: Deadline
    progress: Callable[[Stage], None]
    stage: Stage = Stage.CONNECT
    faults: list[Fault] = field(default_factory=list)
    timings: dict[Stage, float] = field(default_factory=dict)
    banner: str | None = None
    capabilities: tuple[str, ...] = ()
    tls: TlsFacts | None = None
    chain: tuple[bytes, ...] = ()
    """The certificates as sent, DER, leaf first."""
    rcpt: RcptFacts | None = None

    def note(self, cause: Cause, detail: str = "") -> None:
        """A fault or warning that does not end the conversation."""
        self.faults.append(Fault(cause, self.stage, detail))

    def phase(self, stage: Stage) -> _Phase:
        """Enter a stage and take its time, whatever comes out."""
        self.stage = stage
        self.progress(stage)
        return _Phase(self, stage, self.deadline.now())


@dataclass(slots=True)
class _Phase:
    """The time between `since` and the end of a with block."""

    findings: Findings
    stage: Stage
    since: float

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.findings.timings[self.stage] = round(self.findings.deadline.elapsed_ms(self.since), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the conversation is held to: who we are, what the connector demands, who judges certificates."""

    helo_name: str
    setting: TlsSetting
    sni: str | None
    wanted: Wanted
    context: ssl.SSLContext
    judge: Judge
    now: datetime
    rcpt: str | None = None


class Dialogue:
    """One conversation. `run` never raises for the peer."""

    def __init__(self, wire: Wire, terms: Terms, findings: Findings) -> None:
        self._wire = wire
        self._terms = terms
        self._found = findings

    async def run(self) -> None:
        """All stages in order, the recipient if asked for, then QUIT if there is still somebody to say it to."""
        try:
            await self._stages()
            await self._recipient()
        except Broken as broken:
            self._found.faults.append(Fault(broken.cause, broken.stage or self._found.stage, str(broken)))
            if broken.cause in UNUSABLE:
                return
        await self._quit()

    async def _stages(self) -> None:
        """Greeting, EHLO, and TLS where the setting allows it."""
        with self._found.phase(Stage.BANNER):
            await self._greeting()
        with self._found.phase(Stage.EHLO):
            await self._hello()
        self._note_slow()
        if self._terms.setting is TlsSetting.NONE:
            return
        with self._found.phase(Stage.STARTTLS):
            offered = await self._starttls()
        if offered:
            with self._found.phase(Stage.TLS):
                sight = tls.finished(await self._handshake())
            self._found.chain = sight.chain
            self._judge(sight)
            await self._hello_again()

    async def _greeting(self) -> None:
        """The banner must be 2xx."""
        reply = await self._read(GREETING)
        self._found.banner = reply.text
        self._accept(reply)

    async def _hello(self) -> None:
        """EHLO, or HELO where EHLO is refused."""
        reply = await self._command(f"EHLO {self._terms.helo_name}")
        if reply.refusal and reply.code != 421:
            await self._old_hello(reply)
            return
        self._accept(reply, 250)
        self._found.capabilities = capabilities(reply.lines)
        if reply.bare_lf:
            self._found.note(Cause.BARE_LF, "lines of the EHLO reply end with a bare LF")

    async def _old_hello(self, refused: Reply) -> None:
        """HELO. A peer that hangs up instead of answering had its last word with the refusal."""
        try:
            reply = await self._command(f"HELO {self._terms.helo_name}")
        except Broken as broken:
            cause = Cause.SMTP_ERROR if broken.cause in (Cause.CLOSED, Cause.RESET) else broken.cause
            raise Broken(cause, refused.text) from None
        self._accept(reply, 250)
        self._found.note(Cause.HELO_ONLY, "EHLO was refused, HELO works")

    def _note_slow(self) -> None:
        """Slow is worth a word even if it is within limits."""
        for stage in (Stage.BANNER, Stage.EHLO):
            if self._found.timings[stage] >= SLOW * 1000:
                self._found.note(Cause.SLOW, f"{stage} took {self._found.timings[stage] / 1000:.1f} s")

    async def _starttls(self) -> bool:
        """Ask for TLS. False, and a fault noted, where the server goes on in clear text."""
        if not any(c.split(" ")[0] == "STARTTLS" for c in self._found.capabilities):
            self._found.note(Cause.NO_STARTTLS, "STARTTLS is not offered")
            return False
        reply = await self._command("STARTTLS")
        if reply.code == 421:
            stage = Stage.STARTTLS if self._terms.setting in _DEMANDING else Stage.EHLO
            raise Broken(Cause.RATE_LIMITED, reply.text, stage)
        if reply.code != 220:
            self._found.note(Cause.STARTTLS_REJECTED, reply.text)
            return False
        if smuggled := self._wire.pending:
            raise Broken(Cause.STARTTLS_INJECTION, f"plain text behind the STARTTLS reply: {sanitise(smuggled)}")
        return True

    async def _handshake(self) -> ssl.SSLObject:
        """From plain text to TLS."""
        if not self._wire.open:
            raise Broken(Cause.CLOSED, "closed after STARTTLS was accepted")
        try:
            until = self._found.deadline.until(HANDSHAKE)
            return await self._wire.secure(self._terms.context, self._terms.sni, until)
        except (OSError, TimeoutError) as error:
            if sight := tls.unfinished(self._wire.session, self._wire.flight):
                self._judge(sight)
            raise Broken(*tls.cause_of(error)) from None

    def _judge(self, sight: tls.Sight) -> None:
        """Note every fault of the certificate, and what it says."""
        view = self._terms.judge.judge(sight.chain, self._terms.wanted, self._terms.now)
        self._found.faults += view.faults
        wrong = [f.detail for f in view.faults if f.cause not in (Cause.EXPIRING_SOON, Cause.CN_ONLY)]
        wrong += [] if sight.finished else [UNFINISHED]
        self._found.tls = TlsFacts(
            version=sight.version,
            cipher=sight.cipher,
            verified=not wrong,
            verify_error="; ".join(wrong) or None,
            subject=view.subject,
            issuer=view.issuer,
            san=view.san,
            not_after=view.not_after,
            days_left=view.days_left,
            sha256=view.sha256,
            key=view.key,
            not_before=view.not_before,
            chain=view.chain,
        )

    async def _hello_again(self) -> None:
        """The session must work under TLS too; a server that wants a client certificate says so only here."""
        reply = await self._command(f"EHLO {self._terms.helo_name}")
        if reply.refusal and _WANTS_CERTIFICATE.search(reply.text):
            raise Broken(Cause.CLIENT_CERTIFICATE_WANTED, reply.text)
        self._accept(reply, 250)
        self._found.capabilities = capabilities(reply.lines)

    async def _recipient(self) -> None:
        """Ask about the recipient, if mail would come as far as that."""
        address = self._terms.rcpt
        if address is None or not judge(self._found.faults, self._terms.setting).ok:
            return
        self._found.stage = Stage.DONE
        self._found.progress(Stage.DONE)
        try:
            self._found.rcpt = await recipient.ask_for(address, self._said)
        except Broken as broken:
            self._found.rcpt = RcptFacts(address=address, cause=broken.cause, status=str(broken))
            raise

    async def _said(self, line: str) -> Reply:
        """A command whose answer counts whatever it is, but for 421 and what is no answer to a command."""
        reply = await self._command(line)
        if reply.code == 421:
            raise Broken(Cause.RATE_LIMITED, reply.text)
        if not reply.positive and not reply.refusal:
            raise Broken(Cause.NOT_SMTP, reply.text)
        return reply

    async def _quit(self) -> None:
        """Take leave; the answer is awaited but not needed."""
        try:
            self._wire.write(b"QUIT\r\n")
            await self._read(FAREWELL)
        except Broken:
            pass

    def _accept(self, reply: Reply, code: int | None = None) -> None:
        """Go on only after a good reply: any 2xx, or exactly `code`."""
        if reply.code == 421:
            raise Broken(Cause.RATE_LIMITED, reply.text)
        if not reply.positive and not reply.refusal:
            raise Broken(Cause.NOT_SMTP, reply.text)
        if not reply.positive or (code and reply.code != code):
            raise Broken(Cause.SMTP_ERROR, reply.text)

    async def _command(self, line: str) -> Reply:
        """Send one command and read its reply."""
        self._wire.write(line.encode("ascii", "replace") + b"\r\n")
        return await self._read(COMMAND)

    async def _read(self, seconds: float) -> Reply:
        """One reply within the limit. Raises Broken."""
        parser, until = ReplyParser(), self._found.deadline.until(seconds)
        try:
            while True:
                data = await self._wire.read(until)
                result = parser.feed(data) if data else self._end()
                if isinstance(result, Reply):
                    self._wire.unread(parser.rest)
                    return result
                if result is not None:
                    raise Broken(result, "too much" if result is Cause.FLOOD else f"not SMTP: {sanitise(data)}")
        except TimeoutError:
            raise Broken(Cause.STALLED, "never finished its reply" if parser.begun else "silent") from None

    def _end(self) -> Cause:
        """Nothing more will come: why? Raises Broken for an end with words of its own."""
        error = self._wire.error
        if self._wire.flooded:
            return Cause.FLOOD
        if isinstance(error, ssl.SSLError):
            raise Broken(*tls.cause_of(error))
        if isinstance(error, ConnectionResetError):
            raise Broken(Cause.RESET, "reset by the server")
        raise Broken(Cause.CLOSED, "closed by the server")
