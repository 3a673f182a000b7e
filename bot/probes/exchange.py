"""One question to one name server, and what its answer is worth.

Promises: a cut answer is asked for again by TCP, a server without EDNS is asked without; every failure is an
`Unresolved` with its cause; a referral is no answer (lame), and a SERVFAIL is looked into: if the answer is there as
soon as nobody checks signatures, it is DNSSEC that fails (bogus).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from dns import asyncquery

from bot.probes.reply import sanitise
from knowledge.classify import Cause, Fault, Stage

Server = tuple[str, int]

PAYLOAD = 1232
SECOND_LOOK = 1.0
"""Seconds that finding out why a server failed may take."""

_BOGUS = range(6, 13)
_GOOD = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
_RCODES = {
    dns.rcode.SERVFAIL: Cause.SERVFAIL,
    dns.rcode.REFUSED: Cause.DNS_REFUSED,
    dns.rcode.NOTAUTH: Cause.LAME,
}
_PLAIN = dns.flags.RD | dns.flags.AD
"""Recursion, and "tell me whether you validated it"."""


class Unresolved(Exception):
    """A lookup failed; `cause` says how, the text in which words."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause

    def fault(self) -> Fault:
        """As a finding of a probe."""
        return Fault(self.cause, Stage.DNS, sanitise(str(self)))


async def ask(
    name: dns.name.Name, kind: dns.rdatatype.RdataType, server: Server, seconds: float
) -> dns.message.QueryMessage:
    """An answer with NOERROR or NXDOMAIN that is more than a referral. Raises Unresolved, a cause for each way to fail;
    TimeoutError or dns.exception.Timeout for silence."""
    answer = await _exchange(name, kind, server, seconds)
    if answer.rcode() not in _GOOD:
        raise _rejected(name, server, answer)
    if _refers(answer):
        raise Unresolved(Cause.LAME, f"{name.to_text(True)}: {server[0]} only refers to others")
    return answer


async def why(
    error: Unresolved, name: dns.name.Name, kind: dns.rdatatype.RdataType, server: Server, seconds: float
) -> Unresolved:
    """The same failure, or a better name for it: a SERVFAIL that goes away when signatures are not checked is bogus."""
    if error.cause is not Cause.SERVFAIL:
        return error
    limit = min(SECOND_LOOK, seconds)
    try:
        async with asyncio.timeout(limit):
            unchecked = await _exchange(name, kind, server, limit, _PLAIN | dns.flags.CD)
            again = await _exchange(name, kind, server, limit)
    except (TimeoutError, dns.exception.Timeout, Unresolved):
        return error
    if unchecked.rcode() in _GOOD and again.rcode() == dns.rcode.SERVFAIL:
        return Unresolved(Cause.BOGUS, f"{error}, but not with checking disabled: DNSSEC validation fails")
    return error


async def _exchange(
    name: dns.name.Name, kind: dns.rdatatype.RdataType, server: Server, seconds: float, flags: int = _PLAIN
) -> dns.message.QueryMessage:
    """Ask by UDP, by TCP if the answer was cut, without EDNS if the server can't do EDNS."""
    query = dns.message.make_query(name, kind, use_edns=0, payload=PAYLOAD, flags=flags)
    answer = await _transfer(query, server, seconds)
    if answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        answer = await _transfer(dns.message.make_query(name, kind, use_edns=False, flags=flags), server, seconds)
    return answer


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
    """An rcode that is no answer, with the server's extended error if it gave one; some of those mean bogus."""
    rcode = answer.rcode()
    extended = [e for e in answer.options if isinstance(e, dns.edns.EDEOption)]
    text = f"{name.to_text(True)}: {server[0]} answered {dns.rcode.to_text(rcode)}{_extended(extended)}"
    if rcode == dns.rcode.SERVFAIL and any(e.code in _BOGUS for e in extended):
        return Unresolved(Cause.BOGUS, f"{text}: DNSSEC validation fails")
    return Unresolved(_RCODES.get(rcode, Cause.DNS_ERROR), text)


def _extended(errors: Sequence[dns.edns.EDEOption]) -> str:
    """Extended errors (RFC 8914) as they are shown: number, and the server's words."""
    shown = (f"EDE {int(e.code)}" + (f" {sanitise(e.text, 100)}" if e.text else "") for e in errors[:3])
    return f" ({', '.join(shown)})" if errors else ""


def _refers(answer: dns.message.QueryMessage) -> bool:
    """Is this no answer but a pointer elsewhere (RFC 2308, 2.2), or the silence of a server that has nothing to say?"""
    if answer.rcode() != dns.rcode.NOERROR or answer.answer or answer.flags & dns.flags.AA:
        return False
    kinds = {rrset.rdtype for rrset in answer.authority}
    if dns.rdatatype.SOA in kinds:
        return False
    return dns.rdatatype.NS in kinds or not answer.flags & dns.flags.RA
