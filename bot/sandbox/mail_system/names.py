"""Finds the addresses of smart hosts: dnspython over given name servers, each question bounded in time."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver

from bot.sandbox.mail_system.led import Failure, Trouble
from bot.sandbox.mail_system.model import TenantConnector

MAX_TARGETS = 20
Target = tuple[str, str]
"""(host name, ip)."""


class CannotResolve(Exception):
    """No address; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text())
        self.failure = failure


class Names:
    """Asks the given name servers (ip, port) only; without any, the system's."""

    def __init__(self, nameservers: Sequence[tuple[str, int]] = (), *, lifetime: float = 5.0) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        if nameservers:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(ip, port) for ip, port in nameservers]
        self._resolver.lifetime = lifetime
        self._resolver.timeout = lifetime

    async def targets(self, connector: TenantConnector, domain: str) -> list[Target]:
        """Where to deliver, in the order of preference; CannotResolve if no name of all has an address."""
        hosts = await self._exchangers(domain) if connector.use_mx else list(connector.smart_hosts)
        found: list[Target] = []
        failure = Failure(trouble=Trouble.DNS, detail="InfoNoRecords", host=domain)
        for host in hosts:
            try:
                found += [(host, ip) for ip in await self._addresses(host)]
            except CannotResolve as error:
                failure = error.failure
        if not found:
            raise CannotResolve(failure)
        return found[:MAX_TARGETS]

    async def _addresses(self, host: str) -> list[str]:
        literal = host.strip("[]")
        try:
            return [str(ipaddress.ip_address(literal))]
        except ValueError:
            pass
        found: list[str] = []
        failure: Failure | None = None
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            try:
                found += [str(record) for record in await self._ask(host, kind)]
            except CannotResolve as error:
                failure = failure or error.failure
                if error.failure.detail != "InfoNoRecords":
                    break
        if not found and failure:
            raise CannotResolve(failure)
        return found

    async def _exchangers(self, domain: str) -> list[str]:
        try:
            records = sorted((r.preference, str(r.exchange).rstrip(".")) for r in await self._ask(domain, "MX"))
        except CannotResolve as error:
            if error.failure.detail == "InfoNoRecords":
                return [domain]
            raise
        return [host for _, host in records if host]

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType | str) -> dns.resolver.Answer:
        try:
            return await self._resolver.resolve(name, kind, search=False)
        except dns.resolver.NXDOMAIN:
            detail = "InfoDomainNonexistent"
        except dns.resolver.NoAnswer:
            detail = "InfoNoRecords"
        except (dns.exception.DNSException, OSError):
            detail = "ErrorRetry"
        raise CannotResolve(Failure(trouble=Trouble.DNS, detail=detail, host=name))
