"""A whole probe: names, addresses, one connection each at once, the verdict.

Promises: ends within the request's timeout, whatever peers and resolvers do; never raises for them; dials an address
only if the policy lets it, after resolution, and dials exactly that address; one connection per address at a time.
Faults of this machine (no file descriptors left) are raised: they say nothing about a peer.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakValueDictionary

from bot.core.checks import NOT_MADE
from bot.core.clock import Clock
from bot.core.probe_result import ProbeResult, TargetResult, judged, overall
from bot.core.targets import AddressPolicy, HostName, parse_host
from bot.probes import revocation, tls, truststore
from bot.probes.addressing import Addressing, Dial, Found
from bot.probes.broken import Broken
from bot.probes.certificate import Wanted
from bot.probes.checking import Checker, Looked, Seen
from bot.probes.connecting import connect, ipv6_here
from bot.probes.deadline import Deadline
from bot.probes.dialogue import Dialogue, Findings, Terms
from bot.probes.judging import Judge
from bot.probes.request import ProbeRequest, request_for
from bot.probes.resolver import Resolver
from bot.probes.sts import PORT, PolicyFetcher
from bot.probes.wire import Wire
from knowledge.classify import Cause, Stage, judge
from storage.records import TlsSetting

__all__ = ["ProbeRequest", "Prober", "request_for"]

TARGETS = 20
"""Addresses that one probe dials at most."""
TURN = 5.0
"""Seconds that a probe waits for another one that talks to the same address; then it dials all the same."""

Progress = Callable[[str], None]


class Prober:
    """Probes next hops. One for the whole program: it holds the TLS context and who is being talked to.

    `allow` None: may dial anything (the machine's own user asked). Raises NoTrustStore if `ca_file` or
    `crl_file` is unusable.
    """

    def __init__(
        self,
        *,
        nameservers: Sequence[tuple[str, int]] = (),
        ca_file: Path | None = None,
        crl_file: Path | None = None,
        allow: AddressPolicy | None = None,
        helo_name: str | None = None,
        clock: Clock = lambda: datetime.now(UTC),
        policy_port: int = PORT,
    ) -> None:
        self._resolver = Resolver(nameservers)
        self._judge = Judge(truststore.load(ca_file), revocation.load(crl_file))
        self._allow = allow
        self._helo = helo_name or _own_name()
        self._clock = clock
        fetcher = PolicyFetcher(self._resolver, allow, ca_file, policy_port)
        self._checker = Checker(self._resolver, self._judge, fetcher)
        self._context = tls.make_context()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def probe(self, request: ProbeRequest, on_progress: Progress | None = None) -> ProbeResult:
        """1. find the addresses; 2. dial all of them at once; 3. judge. Never raises for a peer."""
        deadline = Deadline(request.timeout)
        tell: Progress = on_progress or (lambda _: None)
        tell(f"{Stage.DNS}: {', '.join(request.hosts) or request.mx_domain or 'nothing to ask for'}")
        found = _bounded(await Addressing(request, self._resolver, deadline).find())
        seen, looked = await self._all(found, request, deadline, tell)
        checks = self._checker.conclude(request, looked, seen, self._clock()) if looked else NOT_MADE
        return overall(forgive_ipv6([s.target for s in seen]), deadline.elapsed_ms(), checks)

    async def _all(
        self, found: Sequence[Found], request: ProbeRequest, deadline: Deadline, tell: Progress
    ) -> tuple[list[Seen], Looked | None]:
        """All targets at once, and what the checks need to know, if they were asked for. One target needs no task."""
        if len(found) == 1 and not request.checks:
            return [await self._seen(found[0], request, deadline, tell)], None
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(self._seen(f, request, deadline, tell)) for f in found]
            hosts = [f.host for f in found if isinstance(f, Dial)]
            looking = group.create_task(self._checker.look(request, hosts, deadline)) if request.checks else None
        return [job.result() for job in jobs], looking.result() if looking else None

    async def egress_open(self, targets: Sequence[tuple[str, int]], timeout: float) -> bool:
        """Is there a way out at all? True as soon as one (name or address, port) accepts a connection.

        Also true if there is nobody to ask: then nothing says that we are cut off.
        """
        deadline = Deadline(timeout)
        attempts = [asyncio.create_task(self._reachable(host, port, deadline)) for host, port in targets]
        try:
            for attempt in asyncio.as_completed(attempts):
                if await attempt:
                    return True
            return not attempts
        finally:
            for task in attempts:
                task.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)

    async def _reachable(self, host: str, port: int, deadline: Deadline) -> bool:
        """Does any address of this host accept a connection?"""
        request = ProbeRequest(hosts=(host,), port=port)
        for found in await Addressing(request, self._resolver, deadline).find():
            if isinstance(found, Dial):
                try:
                    wire = await connect(found.ip, port, deadline)
                except Broken:
                    continue
                wire.abort()
                return True
        return False

    async def _seen(self, found: Found, request: ProbeRequest, deadline: Deadline, tell: Progress) -> Seen:
        """What became of one target: known already, or to be seen by dialling."""
        if isinstance(found, TargetResult):
            return Seen(found)
        shown = found.host if found.host == found.ip else f"{found.host} [{found.ip}]"
        findings = Findings(deadline, lambda stage: tell(f"{stage}: {shown}"))
        if found.dns_ms is not None:
            findings.timings[Stage.DNS] = found.dns_ms
        if refusal := self._allow and self._allow.refusal(found.ip):
            # our own refusal says nothing about the server: it must neither fail nor vouch
            why = f"not dialled: {refusal} (see MFI_PROBE_ALLOW)"
            left_out = TargetResult(
                host=found.host,
                port=request.port,
                ip=found.ip,
                stage=Stage.CONNECT,
                detail=why,
                timings=findings.timings,
            )
            return Seen(left_out)
        async with self._turn(found.ip, deadline):
            await self._talk(found, request, findings)
        result = judged(
            judge(findings.faults, request.tls_setting),
            host=found.host,
            ip=found.ip,
            port=request.port,
            banner=findings.banner,
            timings=findings.timings,
            tls=findings.tls,
            capabilities=findings.capabilities,
            rcpt=findings.rcpt and replace(findings.rcpt, host=found.host, ip=found.ip),
        )
        return Seen(result, findings.chain)

    async def _talk(self, dial: Dial, request: ProbeRequest, findings: Findings) -> None:
        """Connect, converse, close. Leaves no socket behind, even when cancelled."""
        try:
            with findings.phase(Stage.CONNECT):
                wire = await connect(dial.ip, request.port, findings.deadline)
        except Broken as broken:
            findings.note(broken.cause, str(broken))
            if broken.cause is Cause.UNREACHABLE and ":" in dial.ip and not ipv6_here():
                findings.note(Cause.NO_IPV6_HERE, "this machine has no IPv6")
            return
        try:
            await Dialogue(wire, self._terms(dial, request, wire), findings).run()
            await wire.close(findings.deadline.remaining())
        finally:
            wire.abort()

    def _terms(self, dial: Dial, request: ProbeRequest, wire: Wire) -> Terms:
        """What this conversation is held to."""
        wanted = _wanted(dial, request)
        return Terms(
            helo_name=self._helo or wire.own_literal(),
            setting=request.tls_setting,
            sni=_host_name(wanted or "") or _host_name(dial.host),
            wanted=Wanted(wanted),
            context=self._context,
            judge=self._judge,
            now=self._clock(),
            rcpt=request.rcpt,
        )

    @asynccontextmanager
    async def _turn(self, ip: str, deadline: Deadline) -> AsyncIterator[None]:
        """Wait until nobody else talks to this address, but not for ever."""
        lock = self._turns.setdefault(ip, asyncio.Lock())
        try:
            if not lock.locked():
                await lock.acquire()  # never waits
            else:
                async with deadline.within(min(TURN, deadline.remaining() / 3)):
                    await lock.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            lock.release()


def _bounded(found: Sequence[Found]) -> list[Found]:
    """At most so many addresses; results that need no dialling don't count."""
    surplus = [f for f in found if isinstance(f, Dial)][TARGETS:]
    return [f for f in found if f not in surplus]


def forgive_ipv6(results: Sequence[TargetResult]) -> list[TargetResult]:
    """That there is no IPv6 here is our limit: such an address is left out beside others that could be dialled."""
    ours = [r for r in results if Cause.NO_IPV6_HERE in r.warnings]
    if not any(r.ip for r in results if r not in ours):
        return list(results)
    return [
        replace(r, ok=True, code=None, cause=None, causes=(), stage=Stage.CONNECT) if r in ours else r for r in results
    ]


def _wanted(dial: Dial, request: ProbeRequest) -> str | None:
    """The name that the certificate must bear. An address is held against it only where the setting demands a name."""
    if request.tls_setting is TlsSetting.DOMAIN and request.tls_domain:
        star = "*." if request.tls_domain.startswith("*.") else ""
        bare = request.tls_domain.removeprefix("*.")
        return star + (_host_name(bare) or bare)
    if dial.host == dial.ip and request.tls_setting is not TlsSetting.DOMAIN:
        return None
    return dial.host


def _host_name(text: str) -> str | None:
    """The text as a host name; None if it is none."""
    host = parse_host(text)
    return host.name if isinstance(host, HostName) else None


def _own_name() -> str | None:
    """This machine's full name; None if it has only a short one (then an address literal is said in EHLO)."""
    name = _host_name(socket.gethostname())
    return name if name and "." in name else None
