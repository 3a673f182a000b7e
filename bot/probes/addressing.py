"""From smart hosts and MX domains to the addresses that are dialled, in the order in which mail tries them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from bot.core.probe_result import TargetResult, judged
from bot.core.targets import BadHost, HostAddress, HostName, parse_host
from bot.probes.deadline import Deadline
from bot.probes.reply import sanitise
from bot.probes.request import ProbeRequest
from bot.probes.resolver import LIFETIME, Resolver, Unresolved, checked
from knowledge.classify import Cause, Stage, judge

RANGE = "an address range is not probed: name its servers one by one"


@dataclass(frozen=True, slots=True)
class Dial:
    """One address to dial, by the name under which it was found."""

    host: str
    ip: str
    dns_ms: float | None = None


Found = Dial | TargetResult
"""What became of a name: addresses to dial, or a result that needs no dialling."""


@dataclass(frozen=True, slots=True)
class Addressing:
    """Finds the targets of one request. Never raises for what a resolver says."""

    request: ProbeRequest
    resolver: Resolver
    deadline: Deadline

    async def find(self) -> list[Found]:
        """All hosts at once, then the MX domain's; the order is the order of preference."""
        jobs = [self._host(text) for text in dict.fromkeys(self.request.hosts)]
        if self.request.mx_domain:
            jobs.append(self._domain(self.request.mx_domain))
        if len(jobs) == 1:
            return await jobs[0]
        return [found for group in await asyncio.gather(*jobs) for found in group]

    async def _host(self, text: str) -> list[Found]:
        """One smart host as it stands in the connector."""
        host = parse_host(text)
        if isinstance(host, HostAddress):
            return [Dial(host.ip, host.ip)]
        if isinstance(host, HostName):
            return await self._name(host.name)
        if isinstance(host, BadHost):
            return [self._failed(text, Unresolved(Cause.DNS_ERROR, f"{text}: {host.why}"))]
        return [TargetResult(host=sanitise(text), port=self.request.port, stage=Stage.DNS, detail=RANGE)]

    async def _name(self, name: str) -> list[Found]:
        """Every address of one name."""
        since = self.deadline.now()
        try:
            addresses = await self.resolver.addresses(checked(name), self._lifetime())
        except Unresolved as error:
            return [self._failed(name, error, self.deadline.elapsed_ms(since))]
        took = round(self.deadline.elapsed_ms(since), 1)
        return [Dial(name, ip, took) for ip in addresses]

    async def _domain(self, text: str) -> list[Found]:
        """Every address of every MX host; without any MX the domain's own address counts."""
        host, since = parse_host(text), self.deadline.now()
        if not isinstance(host, HostName):
            return await self._host(text)
        try:
            exchangers = await self.resolver.exchangers(host.name, self._lifetime())
        except Unresolved as error:
            return [self._failed(text, error, self.deadline.elapsed_ms(since))]
        names = [e.name for e in exchangers] or [host.name]
        took = self.deadline.elapsed_ms(since)
        groups = await asyncio.gather(*map(self._name, names))
        return [_later(found, took) for group in groups for found in group]

    def _lifetime(self) -> float:
        """Seconds for one lookup."""
        return min(LIFETIME, self.deadline.remaining())

    def _failed(self, host: str, error: Unresolved, took: float = 0.0) -> TargetResult:
        """A name that leads nowhere, as a target."""
        setting = self.request.tls_setting
        timings = {Stage.DNS: round(took, 1)}
        return judged(judge([error.fault()], setting), host=sanitise(host), port=self.request.port, timings=timings)


def _later(found: Found, ms: float) -> Found:
    """The same, with the time of the MX question added."""
    if isinstance(found, Dial):
        return replace(found, dns_ms=round((found.dns_ms or 0) + ms, 1))
    return replace(found, timings={Stage.DNS: round(found.timings.get(Stage.DNS, 0) + ms, 1)})
