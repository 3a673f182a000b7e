"""Other probers on the sandbox's cases: which cause does each tell? Runs what is installed, each within a time limit.

A peer's words are sorted by the patterns below, in its favour: a cause counts as told if its output allows no other.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.probes.runner import Prober, ProbeRequest
from knowledge.classify import Cause, code_of
from storage.records import TlsSetting
from tests.bench.blackbox import BLACKBOX, ask, blackbox, modules
from tests.bench.stand import Stand

LIMIT = 3
LONGEST = 13
"""Seconds that a peer is told to wait, and after which it is ended."""
AT_ONCE = 8

CHECK_SMTP = "/usr/lib/nagios/plugins/check_smtp"
FLAGS = re.IGNORECASE | re.DOTALL
Case = Mapping[str, Any]
Patterns = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer said: a cause by name, "good", "" (nothing that tells), or "hang"."""

    cause: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A prober that is run as a process."""

    name: str
    program: str
    command: Callable[[Case, Stand], list[str]]
    fine: tuple[str, str]
    """What shows that all is well where the connector looks at no certificate: without TLS, and with it."""
    patterns: Patterns

    @property
    def installed(self) -> bool:
        """Is it here?"""
        return shutil.which(self.program, path="/usr/bin:/usr/sbin:/bin:/usr/local/bin") is not None

    async def tell(self, case: Case, stand: Stand) -> Told:
        """Run it on one case."""
        process = await asyncio.create_subprocess_exec(
            *self.command(case, stand),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(LONGEST):
                out, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
            return Told("hang")
        text = out.decode("latin-1")[-20000:]
        clear, encrypted = self.fine
        fine = {"none": clear, "opportunistic": clear, "encryption": encrypted}.get(case["tls"])
        return Told("good" if fine and re.search(fine, text, FLAGS) else _sorted(text, self.patterns))


def _sorted(text: str, patterns: Patterns) -> str:
    """The cause of the first pattern that fits."""
    return next((cause for pattern, cause in patterns if re.search(pattern, text, FLAGS)), "")


def _posttls(case: Case, stand: Stand) -> list[str]:
    """posttls-finger, with the level that comes closest to the connector's setting."""
    levels = {
        "none": "none",
        "opportunistic": "may",
        "encryption": "encrypt",
        "certificate": "verify",
        "domain": "secure",
    }
    wanted = (case["tls_domain"] or case["host"]).replace("*.", ".")
    limit = ["-t", str(LIMIT), "-T", str(LIMIT)]
    names = [wanted] if case["tls"] in ("certificate", "domain") else []
    trust = ["-F", str(stand.ca_file), "-s", case["host"]]
    return ["posttls-finger", "-l", levels[case["tls"]], *limit, *trust, f"[{case['ip']}]:{stand.port}", *names]


def _swaks(case: Case, stand: Stand) -> list[str]:
    """swaks up to EHLO under TLS."""
    options = {"none": [], "opportunistic": ["--tls-optional-strict"]}.get(case["tls"], ["--tls"])
    verify = ["--tls-verify", "--tls-ca-path", str(stand.ca_file)] if case["tls"] in ("certificate", "domain") else []
    server = ["--server", case["ip"], "--port", str(stand.port), "--timeout", str(LIMIT), "--helo", "probe.test"]
    until = ["--quit-after", "EHLO" if case["tls"] == "none" else "TLS"]
    return ["swaks", "--to", "a@b.test", *server, *options, *verify, "--tls-sni", case["host"], *until]


def _check_smtp(case: Case, stand: Stand) -> list[str]:
    """check_smtp, with the certificate's dates where the connector looks at the certificate."""
    options = {"none": [], "opportunistic": []}.get(case["tls"], ["-S"])
    dates = ["-D", "1"] if case["tls"] in ("certificate", "domain") else []
    return [CHECK_SMTP, "-H", case["ip"], "-p", str(stand.port), "-t", str(LIMIT), *options, *dates]


_COMMON: Patterns = (
    (r"connection refused", "refused"),
    (r"no route|unreachable", "unreachable"),
)
PEERS: tuple[Peer, ...] = (
    Peer(
        "posttls-finger",
        "posttls-finger",
        _posttls,
        (r"\A(?!.*(< (421|5)|lost connection|time)).*< 250.*> QUIT", r"TLS connection established.*> QUIT"),
        (
            *_COMMON,
            (r"service not available: 0", "not_smtp"),
            (r"timeout while", "stalled"),
            (r"connect to \S+: connection timed out", "connect_timeout"),
            (r"421 ", "rate_limited"),
            (r"revoked", "cert_revoked"),
            (r"not matched|does not match|name mismatch|no match", "cert_name"),
            (r"certificate has expired|expired", "cert_expired"),
            (r"not yet valid", "cert_not_yet_valid"),
            (r"self[- ]signed certificate in|untrusted issuer", "cert_untrusted"),
            (r"self[- ]signed", "cert_self_signed"),
            (r"unable to get|untrusted", "cert_untrusted"),
            (r"purpose|unsuitable", "cert_purpose"),
            (r"alert certificate required|client certificate", "client_certificate_wanted"),
            (r"unsupported protocol|protocol version|legacy sigalg", "tls_version"),
            (r"alert", "tls_alert"),
            (r"wrong version number|ssl_connect error.*(packet|unexpected)", "tls_failed"),
            (r"reset by peer", "reset"),
            (r"ssl_connect error.*lost connection|lost connection|eof", "closed"),
            (r"timed? ?out", "stalled"),
            (r"starttls (failed|rejected)|\b(454|502)\b", "starttls_rejected"),
            (r"\b(554|550|451|500) ", "smtp_error"),
            (r"non-smtp|unexpected|protocol error", "not_smtp"),
            (r"trusted tls connection|verified tls connection|anonymous tls|untrusted tls connection", "good"),
            (r"< 2\d\d .*> quit", "good"),
        ),
    ),
    Peer(
        "swaks",
        "swaks",
        _swaks,
        (r"\A(?!.*(421|<\*\* 5)).*<-  250 .*> QUIT\s+<", r"=== TLS started.*> QUIT\s+<"),
        (
            *_COMMON,
            (r"error connecting.*timed? ?out|IO::Socket::INET6?: connect: timeout", "connect_timeout"),
            (r"<[~*]\* 421", "rate_limited"),
            (r"unexpected eof", "closed"),
            (r"host did not advertise STARTTLS", "no_starttls"),
            (r"~> STARTTLS\s+<[~*]\* [45]|> STARTTLS\s+<\*\* [45]", "starttls_rejected"),
            (r"expired", "cert_expired"),
            (r"self[- ]signed", "cert_self_signed"),
            (r"certificate verify failed", "cert_untrusted"),
            (r"unsupported protocol|protocol version|legacy sigalg", "tls_version"),
            (r"certificate required", "client_certificate_wanted"),
            (r"alert", "tls_alert"),
            (r"wrong version number|packet length", "tls_failed"),
            (r"reset by peer", "reset"),
            (r"timeout|timed out", "stalled"),
            (r"TLS startup failed", ""),
            (r"remote host closed connection|lost connection|eof", "closed"),
            (r"<\*\* [45]\d\d", "smtp_error"),
            (r"invalid SMTP response|<\*\* \D", "not_smtp"),
            (r"=== TLS started", "good"),
            (r"<-  250", "good"),
        ),
    ),
    Peer(
        "check_smtp",
        CHECK_SMTP,
        _check_smtp,
        (r"SMTP OK", r"SMTP OK"),
        (
            *_COMMON,
            (r"timed? ?out|timeout after", ""),
            (r"tls not supported|does(n't| not) support (start)?tls", "no_starttls"),
            (r"server does not support starttls", "starttls_rejected"),
            (r"expired", "cert_expired"),
            (r"expires in|will expire", "good"),
            (r"unsupported protocol|protocol version|legacy sigalg", "tls_version"),
            (r"unexpected eof", "closed"),
            (r"alert", "tls_alert"),
            (r"wrong version", "tls_failed"),
            (r"reset by peer", "reset"),
            (r"recv\(\) failed|no data|null", "closed"),
            (r"invalid smtp response.*\b421\b", "rate_limited"),
            (r"invalid smtp response.*\b[45]\d\d\b", "smtp_error"),
            (r"invalid smtp response", "not_smtp"),
            (r"SMTP OK|OK - ", "good"),
        ),
    ),
)

BLACKBOX_PATTERNS: Patterns = (
    (r"probe_success 1", "good"),
    *_COMMON,
    (r"error dialing.*(i/o timeout|timed out)", "connect_timeout"),
    (r"certificate is valid for|not valid for any names|doesn't contain any IP SANs|legacy common name", "cert_name"),
    (r"has expired or is not yet valid.*is before", "cert_not_yet_valid"),
    (r"has expired", "cert_expired"),
    (r"unknown authority", "cert_untrusted"),
    (r"incompatible key usage", "cert_purpose"),
    (r"protocol version not supported|unsupported versions", "tls_version"),
    (r"certificate required", "client_certificate_wanted"),
    (r"remote error: tls", "tls_alert"),
    (r"first record does not look like a TLS handshake", "tls_failed"),
    (r"connection reset", "reset"),
    (r'line="?421', "rate_limited"),
    (r'line="?(454|502)', "starttls_rejected"),
    (r'line="?[45]\d\d', "smtp_error"),
    (r"EOF|did not match[^\n]*line=\s", "closed"),
    (r'line="250 [^\n]*\n(?!.*Read line).*i/o timeout', "no_starttls"),
    (r"\A(?!.*Read line).*i/o timeout", "stalled"),
    (r'Read line" line="?(?!"?\d{3}[ -]).*i/o timeout', "not_smtp"),
)


def cases_of(stand: Stand) -> list[Case]:
    """The servers of the cast; names that need our own name server and recipients are left out."""
    return [c for c in stand.servers.values() if c["ip"] and not c["rcpt"] and not c["name"].startswith("fleet")]


async def table(stand: Stand) -> list[tuple[str, str, str, str]]:
    """(prober, exact cause, code derivable, faulty called good or hung) for ours and every peer that is installed."""
    cases = cases_of(stand)
    rows = [("mfi", *_score(cases, await _all(cases, lambda c: _ours(c, stand))))]
    for peer in PEERS:
        if peer.installed:
            rows.append((peer.name, *_score(cases, await _all(cases, lambda c, p=peer: p.tell(c, stand)))))
    if shutil.which(BLACKBOX):
        with blackbox(modules(stand, cases)) as exporter:
            told = await _all(cases, lambda c: _blackbox(c, stand, exporter.port))
            rows.append(("blackbox_exporter", *_score(cases, told)))
    return rows


async def _all(cases: Sequence[Case], tell: Callable[[Case], Awaitable[Told]]) -> list[Told]:
    """All cases, so many at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> Told:
        async with gate:
            return await tell(case)

    return await asyncio.gather(*map(one, cases))


async def _ours(case: Case, stand: Stand) -> Told:
    """The same case by our own prober, also without a name server."""
    request = ProbeRequest(
        hosts=(case["ip"],),
        port=stand.port,
        tls_setting=TlsSetting(case["tls"]),
        tls_domain=case["tls_domain"] or case["host"],
        timeout=LIMIT,
    )
    result = await _prober(stand).probe(request)
    return Told(result.cause or "good")


def _prober(stand: Stand) -> Prober:
    """Made once."""
    if stand.port not in _PROBERS:
        _PROBERS[stand.port] = Prober(ca_file=stand.ca_file, crl_file=stand.crl_file)
    return _PROBERS[stand.port]


_PROBERS: dict[int, Prober] = {}


async def _blackbox(case: Case, stand: Stand, port: int) -> Told:
    """Ask the exporter, with the lines that it logs on demand."""
    return Told(_sorted(await ask(port, case["name"], f"{case['ip']}:{stand.port}", debug=True), BLACKBOX_PATTERNS))


def _score(cases: Sequence[Case], told: Sequence[Told]) -> tuple[str, str, str]:
    """Count: the exact cause, the code that follows from it, and faults that were called good."""
    exact = code = missed = 0
    for case, each in zip(cases, told, strict=True):
        expected = case["cause"] or "good"
        exact += each.cause == expected
        code += _code(each.cause) == case["code"] and each.cause not in ("", "hang")
        missed += expected != "good" and each.cause in ("good", "hang")
    return f"{100 * exact / len(cases):.0f} %", f"{100 * code / len(cases):.0f} %", str(missed)


def _code(cause: str) -> str | None:
    """The code that a cause means."""
    return code_of(Cause(cause)) if cause in set(Cause) else None


def markdown(rows: Sequence[tuple[str, str, str, str]], cases: int) -> Iterator[str]:
    """As a table for the README."""
    yield f"| prober, on {cases} cases | exact cause told | code follows | faulty called good, or hang |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
