"""Names to addresses, each failure told apart by its cause.

Promises: every lookup ends within its lifetime; A and AAAA are asked at once and a broken one beside a good one is no
failure; search lists and hosts files play no part; answers are bounded and names in them checked before use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns import asyncquery
from dns.rdtypes.ANY.MX import MX

from bot.core.targets import HostName, parse_host
from bot.probes.reply import sanitise
from knowledge.classify import Cause, Fault, Stage

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

_BOGUS = range(6, 13)
_RCODES = {dns.rcode.SERVFAIL: Cause.SERVFAIL, dns.rcode.REFUSED: Cause.DNS_REFUSED}

Server = tuple[str, int]


class Unresolved(Exception):
    """A lookup failed; `cause` says how, the text in which words."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause

    def fault(self) -> Fault:
        """As a finding of a probe."""
        return Fault(self.cause, Stage.DNS, sanitise(str(self)))


@dataclass(frozen=True, slots=True)
class Exchanger:
    """One MX host that may be asked for, most preferred first in every list."""

    preference: int
    name: str


class Resolver:
    """Asks the given name servers, or the system's."""

    def __init__(self, nameservers: Sequence[Server] = ()) -> None:
        self._servers = tuple(nameservers) or _system_servers()

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
            records = await self._records(domain, "MX", lifetime)
        except Unresolved as error:
            if error.cause is Cause.NODATA:
                return []
            raise
        found = [(r.preference, r.exchange.to_text(omit_final_dot=True)) for r in records if isinstance(r, MX)]
        if any(name in ("", ".", "@") for _, name in found):
            raise Unresolved(Cause.NULL_MX, f"{domain} says that it accepts no mail (null MX)")
        return [Exchanger(*pair) for pair in sorted(found)[:EXCHANGERS]]

    async def _texts(self, name: str, kind: str, lifetime: float) -> list[str]:
        """The records as text."""
        return [r.to_text() for r in await self._records(name, kind, lifetime)]

    async def _records(self, name: str, kind: str, lifetime: float) -> list[dns.rdata.Rdata]:
        """The records of one kind behind a name, its CNAMEs followed. Raises Unresolved."""
        end = asyncio.get_running_loop().time() + lifetime
        seen = {(current := dns.name.from_text(name))}
        for _ in range(CHAIN):
            answer = await self._ask(current, dns.rdatatype.from_text(kind), end)
            try:
                chain = answer.resolve_chaining()
            except dns.exception.DNSException as error:
                looped = isinstance(error, dns.message.ChainTooLong)
                cause = Cause.CNAME_LOOP if looped else Cause.DNS_ERROR
                raise Unresolved(cause, f"{name}: {error}") from None
            if chain.answer is not None:
                return list(chain.answer)
            if not chain.cnames or answer.rcode() == dns.rcode.NXDOMAIN:
                raise _absent(name, kind, answer, chain.canonical_name if chain.cnames else None)
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
                        return await _exchange(name, kind, server, min(patience, left))
                except (TimeoutError, dns.exception.Timeout):
                    failures.append(Unresolved(Cause.DNS_TIMEOUT, f"{name.to_text(True)}: {server[0]} did not answer"))
                except Unresolved as error:
                    failures.append(error)
                    servers.remove(server)
                if (left := end - clock()) <= 0:
                    break
            patience = max(ATTEMPT, left / max(1, len(servers)))
        raise _telling(failures[1:] or failures)


async def _exchange(
    name: dns.name.Name, kind: dns.rdatatype.RdataType, server: Server, seconds: float
) -> dns.message.QueryMessage:
    """Ask one server once: by UDP, by TCP if the answer was cut, without EDNS if it can't do EDNS."""
    query = dns.message.make_query(name, kind, use_edns=0, payload=1232)
    answer = await _transfer(query, server, seconds)
    if answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and query.edns >= 0:
        answer = await _transfer(dns.message.make_query(name, kind, use_edns=False), server, seconds)
    if answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return answer
    raise _rejected(name, server, answer)


async def _transfer(query: dns.message.QueryMessage, server: Server, seconds: float) -> dns.message.QueryMessage:
    """One question, one answer. Raises Unresolved for garbage, TimeoutError or dns.exception.Timeout for silence."""
    where, port = server
    try:
        answer, _ = await asyncquery.udp_with_fallback(query, where, seconds, port, ignore_unexpected=True)
    except dns.exception.Timeout:
        raise
    except (dns.exception.DNSException, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise Unresolved(Cause.DNS_ERROR, f"{where}: {_words(error)}") from None
    assert isinstance(answer, dns.message.QueryMessage)
    return answer


def _words(error: BaseException) -> str:
    """What went wrong with an exchange, in few words."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"unusable answer ({type(error).__name__})"


def _rejected(name: dns.name.Name, server: Server, answer: dns.message.QueryMessage) -> Unresolved:
    """An rcode that is no answer; SERVFAIL with an extended error of the DNSSEC kind is bogus."""
    rcode = answer.rcode()
    text = f"{name.to_text(True)}: {server[0]} answered {dns.rcode.to_text(rcode)}"
    extended = [e for e in answer.options if isinstance(e, dns.edns.EDEOption)]
    if rcode == dns.rcode.SERVFAIL and any(e.code in _BOGUS for e in extended):
        return Unresolved(Cause.BOGUS, f"{text}: DNSSEC validation failed")
    return Unresolved(_RCODES.get(rcode, Cause.DNS_ERROR), text)


def _absent(name: str, kind: str, answer: dns.message.QueryMessage, via: dns.name.Name | None) -> Unresolved:
    """No record: the name does not exist, has none of this kind, or the server has no business with it (lame)."""
    where = f"{name} (a CNAME to {via.to_text(True)})" if via else name
    if answer.rcode() == dns.rcode.NXDOMAIN:
        return Unresolved(Cause.NXDOMAIN, f"{where} does not exist")
    referral = any(r.rdtype == dns.rdatatype.NS for r in answer.authority)
    if referral and not answer.flags & (dns.flags.AA | dns.flags.RA):
        return Unresolved(Cause.LAME, f"{where}: the name server only refers to others")
    return Unresolved(Cause.NODATA, f"{where} has no {kind} record")


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
