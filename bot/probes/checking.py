"""DANE and MTA-STS beside a probe: what has to be asked is asked while servers are being talked to, and judged after.

Promises: asks only where somebody may ask for it (names, not addresses; MTA-STS only for a mail domain); bounded by
`LOOK` and the probe's deadline; never raises for what others say; never touches the verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bot.core.checks import DANE_CODES, STS_CODES, Check, CheckResult, Checks, HostCheck, summed_up
from bot.core.mta_sts import NoPolicy, NotFetched, Policy
from bot.core.probe_result import TargetResult
from bot.core.targets import HostName, parse_host
from bot.probes.certificate import Wanted
from bot.probes.dane import Demand, demand_of, fitting
from bot.probes.deadline import Deadline
from bot.probes.exchange import Unresolved
from bot.probes.judging import Judge
from bot.probes.reply import sanitise
from bot.probes.request import ProbeRequest
from bot.probes.resolver import Resolver
from bot.probes.sts import PolicyFetcher
from knowledge.classify import CERTIFICATE_CAUSES, Cause
from storage.records import TlsSetting

LOOK = 4.0
"""Seconds that all questions of the checks may take."""
HOSTS = 10

_STS_RESULTS = {Cause.CERT_EXPIRED: Check.CERTIFICATE_EXPIRED, Cause.CERT_NAME: Check.CERTIFICATE_HOST_MISMATCH}


@dataclass(frozen=True, slots=True)
class Seen:
    """One target after the conversation with it."""

    target: TargetResult
    chain: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Looked:
    """What the DNS and the policy's server said. What is missing at the end was not answered in time."""

    demands: dict[str, Demand] = field(default_factory=dict)
    mx_signed: bool = True
    policy: Policy | None = None
    no_policy: tuple[Check, str] | None = (Check.UNKNOWN, "no answer in time")


class Checker:
    """Makes both checks for probes."""

    def __init__(self, resolver: Resolver, judge: Judge, fetcher: PolicyFetcher) -> None:
        self._resolver = resolver
        self._judge = judge
        self._fetcher = fetcher

    async def look(self, request: ProbeRequest, hosts: Sequence[str], deadline: Deadline) -> Looked:
        """Ask for everything at once; what comes in time counts."""
        looked = Looked()
        named = [h for h in dict.fromkeys(hosts) if isinstance(parse_host(h), HostName)][:HOSTS]
        try:
            async with deadline.within(LOOK), asyncio.TaskGroup() as group:
                group.create_task(self._dane(request, named, looked))
                if request.mx_domain:
                    group.create_task(self._sts(request.mx_domain, looked))
        except TimeoutError:
            pass
        return looked

    async def _dane(self, request: ProbeRequest, hosts: Sequence[str], looked: Looked) -> None:
        """The TLSA records of all hosts, if the way to their names is signed."""
        if request.mx_domain:
            looked.mx_signed = await self._mx_signed(request.mx_domain)
        if looked.mx_signed:
            await asyncio.gather(*(self._demand(request, host, looked) for host in hosts))

    async def _demand(self, request: ProbeRequest, host: str, looked: Looked) -> None:
        """The TLSA records of one host."""
        looked.demands[host] = await demand_of(self._resolver, host, request.port, LOOK)

    async def _mx_signed(self, domain: str) -> bool:
        """Does DNSSEC vouch for the domain's MX records? Without any, the domain is its own exchanger."""
        try:
            return (await self._resolver.lookup(domain, "MX", LOOK)).secure
        except Unresolved as error:
            return error.cause is Cause.NODATA

    async def _sts(self, domain: str, looked: Looked) -> None:
        """The domain's policy."""
        host = parse_host(domain)
        try:
            looked.policy = await self._fetcher.policy(host.name if isinstance(host, HostName) else domain, LOOK)
            looked.no_policy = None if looked.policy else (Check.NONE, "the domain has no MTA-STS record")
        except NotFetched as error:
            looked.no_policy = (Check.STS_POLICY_FETCH_ERROR, str(error))
        except NoPolicy as error:
            looked.no_policy = (Check.STS_POLICY_INVALID, str(error))
        except Unresolved as error:
            looked.no_policy = (Check.UNKNOWN, sanitise(str(error)))

    def conclude(self, request: ProbeRequest, looked: Looked, seen: Sequence[Seen], now: datetime) -> Checks:
        """Both checks from what was asked and what was seen."""
        dane = [self._dane_of(request, looked, each, now) for each in seen]
        sts = self._sts_result(request, looked, seen, now) if request.mx_domain else None
        return Checks(dane=summed_up(dane) if dane else None, mta_sts=sts)

    def _dane_of(self, request: ProbeRequest, looked: Looked, seen: Seen, now: datetime) -> HostCheck:
        """DANE for one target."""
        result, detail = self._dane_outcome(request, looked, seen, now)
        code = DANE_CODES.get(result)
        return HostCheck(host=seen.target.host, ip=seen.target.ip, result=result, code=code, detail=sanitise(detail))

    def _dane_outcome(self, request: ProbeRequest, looked: Looked, seen: Seen, now: datetime) -> tuple[Check, str]:
        """The first that applies: broken DNSSEC, no demand, no TLS, and then the certificate."""
        target = seen.target
        if target.cause is Cause.BOGUS:
            return Check.DNSSEC_INVALID, target.detail
        if not isinstance(parse_host(target.host), HostName):
            return Check.NONE, "an address has no TLSA records"
        if not looked.mx_signed:
            return Check.NONE, "the MX records are not signed with DNSSEC"
        if target.ip is None:
            return Check.UNKNOWN, "the host has no address"
        demand = looked.demands.get(target.host) or Demand(outcome=(Check.UNKNOWN, "no answer in time"))
        if demand.outcome:
            return demand.outcome
        return _without_tls(request, seen) or fitting(demand, seen.chain, _names(request, target.host), now)

    def _sts_result(self, request: ProbeRequest, looked: Looked, seen: Sequence[Seen], now: datetime) -> CheckResult:
        """MTA-STS for the whole domain."""
        policy = looked.policy
        if policy is None:
            result, detail = looked.no_policy or (Check.NONE, "")
            return CheckResult(result=result, detail=detail)
        if policy.mode == "none":
            return CheckResult(result=Check.NONE, detail="the policy asks for nothing", mode="none")
        hosts = []
        for each in seen:
            result, detail = self._sts_outcome(request, policy, each, now)
            code = STS_CODES.get(result) if policy.mode == "enforce" else None
            hosts.append(
                HostCheck(host=each.target.host, ip=each.target.ip, result=result, code=code, detail=sanitise(detail))
            )
        return summed_up(hosts, policy.mode)

    def _sts_outcome(self, request: ProbeRequest, policy: Policy, seen: Seen, now: datetime) -> tuple[Check, str]:
        """MTA-STS for one target."""
        host = seen.target.host
        if not policy.allows(host):
            return Check.MX_MISMATCH, f"{host} is not among the policy's MX hosts"
        if without := _without_tls(request, seen):
            return without
        view = self._judge.judge(seen.chain, Wanted(host), now)
        bad = [f for f in view.faults if f.cause in CERTIFICATE_CAUSES]
        if bad:
            return _STS_RESULTS.get(bad[0].cause, Check.CERTIFICATE_NOT_TRUSTED), bad[0].detail
        return Check.OK, "the policy allows this host, and its certificate is valid"


def _without_tls(request: ProbeRequest, seen: Seen) -> tuple[Check, str] | None:
    """Why there is no certificate to look at; None if there is one."""
    if seen.chain:
        return None
    if request.tls_setting is TlsSetting.NONE:
        return Check.UNKNOWN, "STARTTLS was not tried"
    if not seen.target.answered or seen.target.stage.value in ("banner", "ehlo"):
        return Check.UNKNOWN, "the server could not be talked to"
    return Check.STARTTLS_NOT_SUPPORTED, seen.target.detail or "no TLS session came about"


def _names(request: ProbeRequest, host: str) -> tuple[str, ...]:
    """The names that a certificate may be for under DANE: the host, or the mail domain."""
    return (host, request.mx_domain) if request.mx_domain else (host,)
