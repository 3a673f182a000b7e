"""Names to addresses, each failure told apart by its cause.

Promises: every lookup ends within its lifetime; A and AAAA are asked at once and a broken one beside a good one is no
failure; search lists and hosts files play no part; answers are bounded and names in them checked before use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.SOA import SOA

from bot.core.targets import HostName, parse_host
from bot.probes.answers import Absence, Answer, AnswerCache
from bot.probes.exchange import Server, Unresolved, ask, why
from bot.probes.reply import sanitise
from knowledge.classify import Cause

__all__ = ["Exchanger", "Resolver", "Unresolved", "checked"]

LIFETIME = 5.0
ATTEMPT = 1.0
"""Seconds that a server gets for its first answer; asked again, it may take its share of all that is left."""
GRACE = 1.0
"""Seconds that a good A answer waits for its AAAA, and the other way round."""
ADDRESSES = 8
"""Addresses of one name that are used."""
EXCHANGERS = 10
CHAIN = 8
"""CNAMEs that are followed with questions of our own."""


@dataclass(frozen=True, slots=True)
class Exchanger:
    """One MX host that may be asked for, most preferred first in every list."""

    preference: int
    name: str


class Resolver:
    """Asks the given name servers, or the system's."""

    def __init__(self, nameservers: Sequence[Server] = ()) -> None:
        self._servers = tuple(nameservers) or _system_servers()
        self._cache = AnswerCache()

    async def addresses(self, name: str, lifetime: float = LIFETIME) -> list[str]:
        """The IPv4 and IPv6 addresses of a checked host name, IPv4 first. Raises Unresolved."""
        if name == "localhost" or name.endswith(".localhost"):
            return ["127.0.0.1", "::1"]
        tasks = [asyncio.create_task(self._texts(name, kind, lifetime)) for kind in ("A", "AAAA")]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if any(t.done() and not t.exception() for t in tasks):
                await asyncio.wait(tasks, timeout=min(GRACE, lifetime / 4))
            else:
                await asyncio.wait(tasks)
        finally:
            late = [t for t in tasks if t.cancel()]
            await asyncio.gather(*late, return_exceptions=True)
        found = [ip for t in tasks if not t.cancelled() and not t.exception() for ip in t.result()[:ADDRESSES]]
        if not found:
            raise _telling([t.exception() for t in tasks if not t.cancelled()])
        return found

    async def exchangers(self, domain: str, lifetime: float = LIFETIME) -> list[Exchanger]:
        """The MX hosts of a domain in the order in which mail tries them; none if it has no MX (then its own address
        counts). Raises Unresolved: a null MX, too, and any failure of the question, which never falls back."""
        try:
            answer = await self.lookup(domain, "MX", lifetime)
        except Unresolved as error:
            if error.cause is Cause.NODATA:
                return []
            raise
        found = [(r.preference, r.exchange.to_text(omit_final_dot=True)) for r in answer.records if isinstance(r, MX)]
        named = [pair for pair in found if pair[1] not in ("", ".", "@")]
        if not named:
            raise Unresolved(Cause.NULL_MX, f"{domain} says that it accepts no mail (null MX)")
        return [Exchanger(*pair) for pair in sorted(named)[:EXCHANGERS]]

    async def lookup(self, name: str, kind: str, lifetime: float = LIFETIME) -> Answer:
        """The records of one type behind a name, its CNAMEs followed, from memory while they are fresh.

        Raises Unresolved, also if there are none.
        """
        now = asyncio.get_running_loop().time()
        found = self._cache.get((name, kind), now)
        if found is None:
            found = await self._find(name, kind, now + lifetime)
            self._cache.put((name, kind), found, now)
        if isinstance(found, Absence):
            raise Unresolved(found.cause, found.detail)
        return found

    async def _texts(self, name: str, kind: str, lifetime: float) -> list[str]:
        """The records as text."""
        return [r.to_text() for r in (await self.lookup(name, kind, lifetime)).records]

    async def _find(self, name: str, kind: str, end: float) -> Answer | Absence:
        """What the name servers say, CNAMEs followed. Raises Unresolved if they can't say."""
        seen = {(current := dns.name.from_text(name))}
        secure = True
        for _ in range(CHAIN):
            answer = await self._ask(current, dns.rdatatype.from_text(kind), end)
            secure = secure and bool(answer.flags & dns.flags.AD)
            try:
                chain = answer.resolve_chaining()
            except dns.exception.DNSException as error:
                looped = isinstance(error, dns.message.ChainTooLong)
                cause = Cause.CNAME_LOOP if looped else Cause.DNS_ERROR
                raise Unresolved(cause, f"{name}: {error}") from None
            if chain.answer is not None:
                return Answer(tuple(chain.answer), secure, chain.minimum_ttl)
            if not chain.cnames or answer.rcode() == dns.rcode.NXDOMAIN:
                return _absent(name, kind, answer, chain.canonical_name if chain.cnames else None, secure)
            current = chain.canonical_name
            if current in seen:
                break
            seen.add(current)
        raise Unresolved(Cause.CNAME_LOOP, f"{name}: the CNAMEs lead nowhere")

    async def _ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType, end: float) -> dns.message.QueryMessage:
        """One answer with NOERROR or NXDOMAIN from the first server that has one; silent servers are asked again until
        the lifetime ends. Raises Unresolved."""
        clock = asyncio.get_running_loop().time
        servers, failures = list(self._servers), [Unresolved(Cause.DNS_ERROR, "no name server is configured")]
        patience = ATTEMPT
        while servers and (left := end - clock()) > 0:
            for server in tuple(servers):
                try:
                    async with asyncio.timeout(min(patience, left)):
                        return await ask(name, kind, server, min(patience, left))
                except (TimeoutError, dns.exception.Timeout):
                    failures.append(Unresolved(Cause.DNS_TIMEOUT, f"{name.to_text(True)}: {server[0]} did not answer"))
                except Unresolved as error:
                    failures.append(await why(error, name, kind, server, end - clock()))
                    servers.remove(server)
                if (left := end - clock()) <= 0:
                    break
            patience = max(ATTEMPT, left / max(1, len(servers)))
        raise _telling(failures[1:] or failures)


def _absent(name: str, kind: str, answer: dns.message.QueryMessage, via: dns.name.Name | None, secure: bool) -> Absence:
    """No record: the name does not exist, or has none of this kind."""
    where = f"{name} (a CNAME to {via.to_text(True)})" if via else name
    soas = [(rrset.ttl, r.minimum) for rrset in answer.authority for r in rrset if isinstance(r, SOA)]
    ttl = min(soas[0]) if soas else 0
    if answer.rcode() == dns.rcode.NXDOMAIN:
        return Absence(Cause.NXDOMAIN, f"{where} does not exist", secure, ttl)
    return Absence(Cause.NODATA, f"{where} has no {kind} record", secure, ttl)


_TELLING = (
    Cause.NXDOMAIN,
    Cause.BOGUS,
    Cause.CNAME_LOOP,
    Cause.SERVFAIL,
    Cause.DNS_REFUSED,
    Cause.LAME,
    Cause.DNS_ERROR,
    Cause.DNS_TIMEOUT,
    Cause.NODATA,
)
"""Of several failures of one lookup, which one is told: the first of these."""


def _telling(failures: Sequence[BaseException | None]) -> Unresolved:
    """The failure that says most. Whatever is not a failed lookup is a fault of ours and is raised."""
    for failure in failures:
        if failure is not None and not isinstance(failure, Unresolved):
            raise failure
    known = [f for f in failures if isinstance(f, Unresolved)]
    worst = min(known, key=lambda f: _TELLING.index(f.cause))
    if worst.cause is Cause.NODATA and str(worst).endswith(" has no A record"):
        return Unresolved(Cause.NODATA, str(worst).replace("no A record", "neither an A nor an AAAA record"))
    return worst


def _system_servers() -> tuple[Server, ...]:
    """The system's name servers; none if it has no resolver configuration."""
    try:
        configured = dns.resolver.Resolver().nameservers
    except dns.resolver.NoResolverConfiguration:
        return ()
    return tuple((str(s), 53) for s in configured)


def checked(name: str) -> str:
    """A name from an answer, fit to be asked for. Raises Unresolved."""
    host = parse_host(name)
    if isinstance(host, HostName):
        return host.name
    raise Unresolved(Cause.DNS_ERROR, f"{sanitise(name)} is not a valid host name")
