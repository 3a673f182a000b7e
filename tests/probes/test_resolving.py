"""Names to addresses: each failure by its cause, and none that mail would not meet."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from bot.probes.answers import Answer, AnswerCache
from bot.probes.resolver import Exchanger, Resolver, Unresolved
from bot.sandbox.dns_server import DnsFault, DnsServer, Node
from knowledge.classify import Cause

A = Node({"A": ("192.0.2.1",)})


@asynccontextmanager
async def serving(**nodes: Node) -> AsyncIterator[tuple[Resolver, DnsServer]]:
    """A resolver whose only server has these names below .test, underscores as dashes."""
    async with DnsServer({f"{name.replace('_', '-')}.test": node for name, node in nodes.items()}) as server:
        yield Resolver([server.address]), server


async def test_a_and_aaaa_are_both_found_ipv4_first() -> None:
    async with serving(dual=Node({"A": ("192.0.2.2", "192.0.2.1"), "AAAA": ("2001:db8::1",)})) as (resolver, _):
        assert sorted(await resolver.addresses("dual.test")) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]


@pytest.mark.parametrize("kind", ["AAAA", "A"])
@pytest.mark.parametrize("fault", [DnsFault.SERVFAIL, DnsFault.REFUSED, DnsFault.GARBAGE, DnsFault.SILENT])
async def test_a_broken_half_beside_a_good_one_is_no_failure(fault: DnsFault, kind: str) -> None:
    node = Node({"A": ("192.0.2.1",), "AAAA": ("2001:db8::1",)}, fault, frozenset({kind}))
    async with serving(half=node) as (resolver, _):
        started = time.monotonic()
        (found,) = await resolver.addresses("half.test", 3)
        assert found == ("192.0.2.1" if kind == "AAAA" else "2001:db8::1")
        assert time.monotonic() - started < 1.3


@pytest.mark.parametrize(
    ("node", "cause"),
    [
        (None, Cause.NXDOMAIN),
        (Node({"TXT": ('"x"',)}), Cause.NODATA),
        (Node(fault=DnsFault.SERVFAIL), Cause.SERVFAIL),
        (Node(fault=DnsFault.REFUSED), Cause.DNS_REFUSED),
        (Node(fault=DnsFault.NOTIMP), Cause.DNS_ERROR),
        (Node(fault=DnsFault.FORMERR), Cause.DNS_ERROR),
        (Node(fault=DnsFault.GARBAGE), Cause.DNS_ERROR),
        (Node(fault=DnsFault.WRONG_ID), Cause.DNS_ERROR),
        (Node(fault=DnsFault.LAME), Cause.LAME),
        (Node(fault=DnsFault.BOGUS), Cause.BOGUS),
        (Node(fault=DnsFault.BOGUS_EDE), Cause.BOGUS),
        (Node(fault=DnsFault.UNREACHED), Cause.SERVFAIL),
        (Node(fault=DnsFault.SILENT), Cause.DNS_TIMEOUT),
        (Node(fault=DnsFault.TRUNCATED_ONLY), Cause.DNS_ERROR),
        (Node({"CNAME": ("name.test.",)}), Cause.CNAME_LOOP),
        (Node({"CNAME": ("absent.test.",)}), Cause.NXDOMAIN),
    ],
)
async def test_each_failure_has_its_cause_and_its_end(node: Node | None, cause: Cause) -> None:
    async with serving(**({"name": node} if node else {})) as (resolver, _):
        started = time.monotonic()
        with pytest.raises(Unresolved) as failed:
            await resolver.addresses("name.test", 0.6)
        assert failed.value.cause is cause
        assert time.monotonic() - started < 0.8


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (DnsFault.BOGUS, "answered SERVFAIL, but not with checking disabled: DNSSEC validation fails"),
        (DnsFault.BOGUS_EDE, "SERVFAIL (EDE 7 signature of the A record expired): DNSSEC validation fails"),
        (DnsFault.UNREACHED, "SERVFAIL (EDE 22 no server of the zone answers)"),
    ],
)
async def test_a_servfail_is_looked_into(fault: DnsFault, words: str) -> None:
    async with serving(name=Node({"A": ("192.0.2.1",)}, fault)) as (resolver, _):
        with pytest.raises(Unresolved) as failed:
            await resolver.lookup("name.test", "A")
    assert str(failed.value).endswith(words)


async def test_a_servfail_that_passes_is_not_bogus() -> None:
    asked = 0

    def reply(query: dns.message.Message) -> dns.message.Message:
        nonlocal asked
        asked += 1
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.SERVFAIL if asked == 1 else dns.rcode.NXDOMAIN)
        return answer

    async with scripted(reply) as resolver:
        with pytest.raises(Unresolved) as failed:
            await resolver.lookup("name.test", "A")
    assert failed.value.cause is Cause.SERVFAIL


@pytest.mark.parametrize(
    ("flags", "authority", "cause"),
    [
        (0, None, Cause.LAME),
        (dns.flags.RA, None, Cause.NODATA),
        (dns.flags.AA, None, Cause.NODATA),
        (0, "SOA", Cause.NODATA),
        (dns.flags.RA, "SOA", Cause.NODATA),
        (dns.flags.RA, "NS", Cause.LAME),
        (dns.flags.AA, "NS", Cause.NODATA),
    ],
)
async def test_an_empty_answer_is_nodata_or_lame(flags: int, authority: str | None, cause: Cause) -> None:
    records = {"SOA": "ns.test. host.test. 1 2 3 4 5", "NS": "a.root-servers.net."}

    def reply(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags = (answer.flags & ~(dns.flags.RA | dns.flags.AA)) | flags
        if authority:
            answer.authority.append(dns.rrset.from_text("test.", 1, "IN", authority, records[authority]))
        return answer

    async with scripted(reply) as resolver:
        with pytest.raises(Unresolved) as failed:
            await resolver.lookup("name.test", "TLSA")
    assert failed.value.cause is cause


async def test_a_lame_server_is_passed_over_for_one_that_knows() -> None:
    async with serving(name=A) as (_, second), serving(name=Node(fault=DnsFault.LAME)) as (_, first):
        assert await Resolver([first.address, second.address]).addresses("name.test") == ["192.0.2.1"]


async def test_answers_are_kept_for_their_ttl_and_failures_are_not() -> None:
    kept = Node({"A": ("192.0.2.1",)}, ttl=60)
    async with serving(kept=kept, brief=A, broken=Node(fault=DnsFault.SERVFAIL)) as (resolver, server):
        for _ in range(3):
            await resolver.lookup("kept.test", "A")
            await resolver.lookup("brief.test", "A")
            for name in ("kept.test", "broken.test"):
                with pytest.raises(Unresolved):
                    await resolver.lookup(name, "MX")
    asked = [*server.queries]
    assert asked.count(("kept.test", "A")) == 1
    assert asked.count(("kept.test", "MX")) == 1
    assert asked.count(("brief.test", "A")) == 3
    assert asked.count(("broken.test", "MX")) > 3


def test_the_memory_for_answers_is_bounded_and_forgets() -> None:
    cache = AnswerCache(entries=2)
    for name in ("a", "b", "c"):
        cache.put((name, "A"), Answer((), ttl=1000), 100.0)
    assert cache.get(("a", "A"), 100.0) is None
    assert cache.get(("c", "A"), 129.9) is not None
    assert cache.get(("c", "A"), 130.0) is None
    cache.put(("b", "A"), Answer((), ttl=0), 100.0)
    assert cache.get(("b", "A"), 100.0) is None


async def test_an_answer_is_secure_if_the_server_vouches_for_all_of_it() -> None:
    signed = Node({"A": ("192.0.2.1",)}, secure=True)
    async with serving(signed=signed, plain=A) as (resolver, server):
        server.put("mixed.test", Node({"CNAME": ("plain.test.",)}, secure=True))
        server.put("whole.test", Node({"CNAME": ("signed.test.",)}, secure=True))
        found = {
            name: (await resolver.lookup(f"{name}.test", "A")).secure for name in ("signed", "plain", "mixed", "whole")
        }
    assert found == {"signed": True, "plain": False, "mixed": False, "whole": True}


async def test_a_truncated_answer_is_asked_for_by_tcp() -> None:
    async with serving(big=Node({"A": ("192.0.2.1",)}, DnsFault.TRUNCATED)) as (resolver, _):
        assert await resolver.addresses("big.test") == ["192.0.2.1"]


async def test_a_closed_port_is_told_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(Unresolved, match=f"nobody answers at port {port}") as failed:
        await Resolver([("127.0.0.1", port)]).addresses("name.test", 3)
    assert failed.value.cause is Cause.DNS_TIMEOUT
    assert time.monotonic() - started < 0.5


async def test_a_cut_answer_without_tcp_is_an_error_and_no_silence() -> None:
    def reply(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        return answer

    async with scripted(reply) as resolver:
        with pytest.raises(Unresolved, match="the answer was cut, and TCP is refused") as failed:
            await resolver.addresses("name.test", 3)
    assert failed.value.cause is Cause.DNS_ERROR


async def test_an_answer_to_another_question_is_no_answer() -> None:
    def reply(query: dns.message.Message) -> dns.message.Message:
        other = dns.message.make_query("other.test", "A")
        other.id = query.id
        return dns.message.make_response(other)

    async with scripted(reply) as resolver:
        with pytest.raises(Unresolved, match="an answer to another question") as failed:
            await resolver.addresses("name.test", 3)
    assert failed.value.cause is Cause.DNS_ERROR


async def test_an_answer_too_big_for_udp_comes_by_tcp() -> None:
    async with serving(big=Node({"A": tuple(f"10.0.{n // 250}.{n % 250}" for n in range(1, 200))})) as (resolver, _):
        assert len(await resolver.addresses("big.test")) == 8


async def test_the_second_server_answers_for_a_dead_first() -> None:
    async with serving(name=A) as (_, second), serving(name=Node(fault=DnsFault.SERVFAIL)) as (_, first):
        assert await Resolver([first.address, second.address]).addresses("name.test") == ["192.0.2.1"]
        second.put("name.test", Node(fault=DnsFault.SILENT))
        with pytest.raises(Unresolved) as failed:
            await Resolver([first.address, second.address]).addresses("name.test", 0.4)
        assert failed.value.cause is Cause.SERVFAIL


async def test_a_cname_outside_of_the_answer_is_followed() -> None:
    async with serving(real=A) as (resolver, server):
        server.put("alias.test", Node({"CNAME": ("real.test.",)}))
        assert await resolver.addresses("alias.test") == ["192.0.2.1"]


async def test_localhost_needs_no_resolver() -> None:
    assert await Resolver([("127.0.0.1", 9)]).addresses("localhost") == ["127.0.0.1", "::1"]


async def test_exchangers_come_in_the_order_of_preference() -> None:
    node = Node({"MX": ("20 b.test.", "10 z.test.", "10 a.test.", "0 <!channel>.test.")})
    async with serving(mail=node) as (resolver, _):
        found = await resolver.exchangers("mail.test")
    assert found == [
        Exchanger(*pair) for pair in [(0, "<!channel>.test"), (10, "a.test"), (10, "z.test"), (20, "b.test")]
    ]


async def test_a_null_mx_beside_real_ones_is_passed_over() -> None:
    async with serving(odd=Node({"MX": ("0 .", "10 a.test.")})) as (resolver, _):
        assert await resolver.exchangers("odd.test") == [Exchanger(10, "a.test")]


@pytest.mark.parametrize("fault", [DnsFault.SERVFAIL, DnsFault.REFUSED, DnsFault.SILENT, DnsFault.GARBAGE])
async def test_a_failed_mx_question_never_falls_back_to_the_address(fault: DnsFault) -> None:
    async with serving(mail=Node({"A": ("192.0.2.1",)}, fault, frozenset({"MX"}))) as (resolver, server):
        with pytest.raises(Unresolved):
            await resolver.exchangers("mail.test", 0.4)
        assert ("mail.test", "A") not in server.queries


async def test_no_mx_means_none_and_a_null_mx_means_no() -> None:
    async with serving(plain=A, null=Node({"MX": ("0 .",)})) as (resolver, _):
        assert await resolver.exchangers("plain.test") == []
        with pytest.raises(Unresolved) as failed:
            await resolver.exchangers("null.test")
        assert failed.value.cause is Cause.NULL_MX


async def test_no_name_server_at_all_is_told_and_not_raised() -> None:
    resolver = Resolver([("127.0.0.1", 9)])
    resolver._servers = ()
    with pytest.raises(Unresolved, match="no name server is configured"):
        await resolver.addresses("mail.test")


async def test_the_system_has_its_own_servers() -> None:
    assert all(port == 53 for _, port in Resolver()._servers)


async def test_cancelling_a_lookup_leaves_no_task() -> None:
    async with serving(name=Node(fault=DnsFault.SILENT)) as (resolver, _):
        before = asyncio.all_tasks()
        task = asyncio.create_task(resolver.addresses("name.test"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == before


class _Scripted(asyncio.DatagramProtocol):
    """A UDP server that answers with what `reply` makes of the question."""

    def __init__(self, reply: Callable[[dns.message.Message], dns.message.Message], delay: float) -> None:
        self._reply = reply
        self._delay = delay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._reply(dns.message.from_wire(data)).to_wire()
        asyncio.get_running_loop().call_later(self._delay, self._send, reply, addr)

    def _send(self, reply: bytes, addr: tuple[str, int]) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(reply, addr)


@asynccontextmanager
async def scripted(
    reply: Callable[[dns.message.Message], dns.message.Message], delay: float = 0
) -> AsyncIterator[Resolver]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Scripted(reply, delay), local_addr=("127.0.0.1", 0))
    try:
        yield Resolver([transport.get_extra_info("sockname")])
    finally:
        transport.close()
        await asyncio.sleep(0)


async def test_a_failed_signature_is_bogus() -> None:
    def reply(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.SERVFAIL)
        answer.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS)])
        return answer

    async with scripted(reply) as resolver:
        with pytest.raises(Unresolved) as failed:
            await resolver.addresses("name.test")
    assert failed.value.cause is Cause.BOGUS


async def test_a_server_that_knows_no_edns_is_asked_without() -> None:
    def reply(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        if query.edns >= 0:
            answer.set_rcode(dns.rcode.FORMERR)
            answer.use_edns(False)
        else:
            answer.answer.append(dns.rrset.from_text(query.question[0].name, 1, "IN", "A", "192.0.2.7"))
        return answer

    async with scripted(reply) as resolver:
        assert await resolver.addresses("name.test") == ["192.0.2.7"]


async def test_cnames_that_never_end_are_a_loop() -> None:
    def reply(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        name = query.question[0].name
        length = struct.unpack("B", name.labels[0][-1:])[0]
        target = f"x{length}{len(name.labels[0])}{'y' * len(name.labels[0])}.test."
        answer.answer.append(dns.rrset.from_text(name, 1, "IN", "CNAME", target))
        return answer

    async with scripted(reply) as resolver:
        with pytest.raises(Unresolved) as failed:
            await resolver.addresses("name.test")
    assert failed.value.cause is Cause.CNAME_LOOP


async def test_a_slow_server_is_given_the_time_that_is_left() -> None:
    def reply(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_text(query.question[0].name, 1, "IN", "A", "192.0.2.7"))
        return answer

    async with scripted(reply, 1.3) as resolver:
        assert "192.0.2.7" in await resolver.addresses("name.test")
