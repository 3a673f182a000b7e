"""One question to one name server, and what its answer is worth.

Promises: a cut answer is asked for again by TCP, a server without EDNS is asked without; every failure is an
`Unresolved` with its cause; a referral is no answer (lame), and a SERVFAIL is looked into: if the answer is there as
soon as nobody checks signatures, it is DNSSEC that fails (bogus).
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Sequence

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from bot.probes.reply import sanitise
from knowledge.classify import Cause, Fault, Stage

Server = tuple[str, int]

PAYLOAD = 1232
LARGEST = 65535
SECOND_LOOK = 1.0
"""Seconds that finding out why a server failed may take."""

_BOGUS = range(6, 13)
_GOOD = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
_RCODES = {
    dns.rcode.SERVFAIL: Cause.SERVFAIL,
    dns.rcode.REFUSED: Cause.DNS_REFUSED,
    dns.rcode.NOTAUTH: Cause.LAME,
}
_OPT = struct.pack("!BHHIH", 0, 41, PAYLOAD, 0, 0)
"""The EDNS record of a question."""
_PLAIN = int(dns.flags.RD | dns.flags.AD)
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
    question = name.to_digestable() + struct.pack("!HH", kind, dns.rdataclass.IN)
    answer = await _transfer(question, flags, server, seconds, edns=True)
    if answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        answer = await _transfer(question, flags, server, seconds, edns=False)
    return answer


async def _transfer(
    question: bytes, flags: int, server: Server, seconds: float, *, edns: bool
) -> dns.message.QueryMessage:
    """One question, one answer. Raises Unresolved for garbage and closed ports; TimeoutError for silence."""
    where, port = server
    head = struct.pack("!HHHHHH", secrets.randbelow(1 << 16), flags, 1, 0, 0, int(edns))
    query = head + question + (_OPT if edns else b"")
    try:
        async with asyncio.timeout(seconds):
            reply = _parsed(await _by_udp(query, where, port), query, question)
            if reply.flags & dns.flags.TC:
                reply = _parsed(await _by_tcp(query, where, port), query, question)
            return reply
    except TimeoutError:
        raise
    except ConnectionRefusedError:
        raise Unresolved(Cause.DNS_TIMEOUT, f"{where}: nobody answers at port {port}") from None
    except (dns.exception.DNSException, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise Unresolved(Cause.DNS_ERROR, f"{where}: {_words(error)}") from None


async def _by_udp(query: bytes, where: str, port: int) -> bytes:
    """The first datagram that comes back. The socket is connected, so only that server is heard."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in where else socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        asking.connect((where, port))
        asking.send(query)
        return await loop.sock_recv(asking, LARGEST)


async def _by_tcp(query: bytes, where: str, port: int) -> bytes:
    """The same question again, for an answer that was cut. A closed port is no silence here: the answer is lost."""
    try:
        reader, writer = await asyncio.open_connection(where, port)
    except ConnectionRefusedError:
        raise OSError(None, "the answer was cut, and TCP is refused") from None
    try:
        writer.write(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.transport.abort()


def _parsed(reply: bytes, query: bytes, question: bytes) -> dns.message.QueryMessage:
    """The answer, if it is one to this question. Raises DNSException or ValueError."""
    answer = dns.message.from_wire(reply, ignore_trailing=True)
    echoed = reply[12 : 12 + len(question)].lower() == question.lower()
    if reply[:2] != query[:2] or not answer.flags & dns.flags.QR or not (echoed or not answer.question):
        raise ValueError("an answer to another question")
    if not isinstance(answer, dns.message.QueryMessage):
        raise ValueError("no answer to a question")
    return answer


def _words(error: BaseException) -> str:
    """What went wrong with an exchange, in few words."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, ValueError) and error.args:
        return sanitise(str(error))
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
