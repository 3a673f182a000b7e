"""A small recursive-looking name server on loopback, UDP and TCP, for the sandbox's names and their faults.

Strict: one question, class IN, opcode QUERY, or the proper error; answers that don't fit into the client's UDP size
are truncated; negative answers carry an SOA; CNAMEs are followed inside the zone, loops shown as they are.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self, cast

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

CHAIN = 10
PLAIN_SIZE = 512
TCP_IDLE = 10.0


class DnsFault(StrEnum):
    """How the server fails on a name."""

    SERVFAIL = "servfail"
    REFUSED = "refused"
    NOTIMP = "notimp"
    FORMERR = "formerr"
    SILENT = "silent"
    GARBAGE = "garbage"
    WRONG_ID = "wrong_id"
    LAME = "lame"
    BOGUS = "bogus"
    """SERVFAIL as long as signatures are checked; the answer is there with checking disabled (CD)."""
    BOGUS_EDE = "bogus_ede"
    """The same, and the extended error says why."""
    UNREACHED = "unreached"
    """SERVFAIL whatever is asked for; the extended error says that no server of the domain answers."""
    TRUNCATED = "truncated"
    """Cut by UDP, whole by TCP."""
    TRUNCATED_ONLY = "truncated_only"
    """Cut by UDP, and TCP hangs up."""


_RCODES = {
    DnsFault.SERVFAIL: dns.rcode.SERVFAIL,
    DnsFault.REFUSED: dns.rcode.REFUSED,
    DnsFault.NOTIMP: dns.rcode.NOTIMP,
    DnsFault.FORMERR: dns.rcode.FORMERR,
    DnsFault.BOGUS: dns.rcode.SERVFAIL,
    DnsFault.BOGUS_EDE: dns.rcode.SERVFAIL,
    DnsFault.UNREACHED: dns.rcode.SERVFAIL,
}
_EXTENDED = {
    DnsFault.BOGUS_EDE: dns.edns.EDEOption(dns.edns.EDECode.SIGNATURE_EXPIRED, "signature of the A record expired"),
    DnsFault.UNREACHED: dns.edns.EDEOption(dns.edns.EDECode.NO_REACHABLE_AUTHORITY, "no server of the zone answers"),
}


@dataclass(frozen=True, slots=True)
class Node:
    """One name: its records by type as text (`{"MX": ("10 a.test.",)}`), and how asking for it fails.

    `only`: the fault strikes only questions of these types. `secure`: answers bear the AD flag, as from a resolver that
    validated them. `ttl` 0: nobody keeps the answer, so that changes show at once. `delay`: seconds before each answer.
    """

    records: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fault: DnsFault | None = None
    only: frozenset[str] = frozenset()
    secure: bool = False
    ttl: int = 0
    delay: float = 0.0

    def failing(self, kind: str) -> DnsFault | None:
        """The fault that a question of this type meets."""
        return self.fault if not self.only or kind in self.only else None


class DnsServer:
    """Serves `zone` (name without final dot → Node). Names that are absent don't exist."""

    def __init__(self, zone: Mapping[str, Node], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.zone: dict[str, Node] = {name.casefold(): node for name, node in zone.items()}
        self.queries: deque[tuple[str, str]] = deque(maxlen=1000)
        """(name, type) of the latest questions, oldest first."""
        self._host, self._port = host, port
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Where to ask."""
        return self._host, self._port

    async def start(self) -> None:
        """Listen on the same port for UDP and TCP. Raises OSError if the port that was asked for is taken."""
        for attempts_left in reversed(range(20)):
            try:
                await self._listen()
                return
            except OSError:
                await self.stop()
                if self._port or not attempts_left:
                    raise

    async def _listen(self) -> None:
        """TCP first, then UDP on the port that it got."""
        self._tcp = await asyncio.start_server(self._connected, self._host, self._port)
        port = int(self._tcp.sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(self._host, port))
        self._port = port

    async def stop(self) -> None:
        """Close everything."""
        if self._udp:
            self._udp.close()
        if self._tcp:
            self._tcp.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.stop()

    def put(self, name: str, node: Node | None) -> None:
        """Change a name; None removes it. Takes effect with the next question."""
        if node is None:
            self.zone.pop(name.casefold(), None)
        else:
            self.zone[name.casefold()] = node

    def delay(self, wire: bytes) -> float:
        """Seconds that this question has to wait for its reply."""
        try:
            question = dns.message.from_wire(wire, question_only=True).question
        except (dns.exception.DNSException, ValueError):
            return 0.0
        node = self.zone.get(question[0].name.to_text(omit_final_dot=True).casefold()) if question else None
        return node.delay if node else 0.0

    def answer(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """The reply to one packet; None for silence."""
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR:
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        if query.opcode() != dns.opcode.QUERY:
            reply.set_rcode(dns.rcode.NOTIMP)
            return reply.to_wire()
        if len(query.question) != 1 or query.question[0].rdclass != dns.rdataclass.IN:
            reply.set_rcode(dns.rcode.FORMERR)
            return reply.to_wire()
        return self._about(query, reply, tcp=tcp)

    def _about(self, query: dns.message.Message, reply: dns.message.Message, *, tcp: bool) -> bytes | None:
        """The reply to a proper question."""
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).casefold(), dns.rdatatype.to_text(question.rdtype)
        self.queries.append((name, kind))
        node = self.zone.get(name)
        fault = node.failing(kind) if node else None
        if fault in (DnsFault.BOGUS, DnsFault.BOGUS_EDE) and query.flags & dns.flags.CD:
            fault = None
        if fault is DnsFault.SILENT or (fault is DnsFault.TRUNCATED_ONLY and tcp):
            return None
        if fault is DnsFault.GARBAGE:
            return reply.to_wire()[:2] + b"\xff\x00garbage"
        if fault is DnsFault.WRONG_ID:
            reply.id ^= 0xFFFF
        if fault is DnsFault.LAME:
            return _referral(reply)
        if fault in _RCODES:
            reply.set_rcode(_RCODES[fault])
            if fault in _EXTENDED and query.edns >= 0:
                reply.use_edns(0, options=[_EXTENDED[fault]])
        elif fault in (DnsFault.TRUNCATED, DnsFault.TRUNCATED_ONLY) and not tcp:
            reply.flags |= dns.flags.TC
        else:
            self._fill(reply, name, kind)
        return _fitting(reply, 65535 if tcp else max(PLAIN_SIZE, query.payload))

    def _fill(self, reply: dns.message.Message, name: str, kind: str) -> None:
        """Records, following CNAMEs inside the zone; or the proof that there are none."""
        reply.flags |= dns.flags.AD
        for _ in range(CHAIN):
            node = self.zone.get(name)
            if node is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
                break
            if not node.secure:
                reply.flags &= ~dns.flags.AD
            if node.records.get(kind):
                reply.answer.append(_rrset(name, kind, node.records[kind], node.ttl))
                return
            if "CNAME" not in node.records:
                break
            reply.answer.append(_rrset(name, "CNAME", node.records["CNAME"], node.ttl))
            name = node.records["CNAME"][0].rstrip(".").casefold()
            if any(r.name == dns.name.from_text(name) for r in reply.answer):
                return
        node = self.zone.get(name)
        if node is None or not node.secure:
            reply.flags &= ~dns.flags.AD
        soa = f"ns.mail.test. hostmaster.mail.test. 1 3600 600 86400 {node.ttl if node else 0}"
        reply.authority.append(_rrset(name.rpartition(".")[2] or ".", "SOA", (soa,), node.ttl if node else 0))

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A TCP client."""
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Length-prefixed questions and answers until the client leaves or falls silent."""
        try:
            async with asyncio.timeout(TCP_IDLE):
                while True:
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    wire = await reader.readexactly(length)
                    await asyncio.sleep(self.delay(wire))
                    reply = self.answer(wire, tcp=True)
                    if reply is None:
                        return
                    writer.write(struct.pack("!H", len(reply)) + reply)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return
        finally:
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    """The UDP side of a server."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        delay = self._server.delay(data)
        if delay:
            asyncio.get_running_loop().call_later(delay, self._reply, data, addr)
        else:
            self._reply(data, addr)

    def _reply(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer now."""
        reply = self._server.answer(data, tcp=False)
        if reply is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)


def _rrset(name: str, kind: str, texts: tuple[str, ...], ttl: int) -> dns.rrset.RRset:
    """Records as the library wants them."""
    owner = dns.name.from_text(name)
    return dns.rrset.from_text_list(owner, ttl, dns.rdataclass.IN, dns.rdatatype.from_text(kind), list(texts))


def _referral(reply: dns.message.Message) -> bytes:
    """An answer of a server that has no business with the name: ask the root."""
    reply.flags &= ~(dns.flags.RA | dns.flags.AA)
    reply.authority.append(_rrset(".", "NS", ("a.root-servers.net.",), 0))
    return reply.to_wire()


def _fitting(reply: dns.message.Message, size: int) -> bytes:
    """On the wire, cut if it does not fit."""
    try:
        return reply.to_wire(max_size=size)
    except dns.exception.TooBig:
        reply.flags |= dns.flags.TC
        reply.answer, reply.authority, reply.additional = [], [], []
        return reply.to_wire()
