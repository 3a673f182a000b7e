"""The sandbox's name server keeps to the protocol."""

from __future__ import annotations

import asyncio
import struct

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from bot.sandbox.dns_server import DnsFault, DnsServer, Node

ZONE = {
    "a.test": Node({"A": ("192.0.2.1",)}),
    "alias.test": Node({"CNAME": ("a.test.",)}),
    "chain.test": Node({"CNAME": ("alias.test.",)}),
    "loop.test": Node({"CNAME": ("loop2.test.",)}),
    "loop2.test": Node({"CNAME": ("loop.test.",)}),
    "big.test": Node({"A": tuple(f"10.0.0.{n}" for n in range(1, 120))}),
    "half.test": Node({"A": ("192.0.2.1",)}, DnsFault.SERVFAIL, frozenset({"AAAA"})),
}


async def ask(server: DnsServer, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    transport = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await transport(query, server.address[0], timeout=2, port=server.address[1])


@pytest.mark.parametrize("tcp", [False, True])
async def test_records_are_served_over_both_transports(tcp: bool) -> None:
    async with DnsServer(ZONE) as server:
        answer = await ask(server, "A.test", tcp=tcp)
        assert [str(r) for rr in answer.answer for r in rr] == ["192.0.2.1"]
        assert server.queries[-1] == ("a.test", "A")


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "answers"),
    [
        ("absent.test", "A", dns.rcode.NXDOMAIN, 0),
        ("a.test", "MX", dns.rcode.NOERROR, 0),
        ("alias.test", "A", dns.rcode.NOERROR, 2),
        ("chain.test", "A", dns.rcode.NOERROR, 3),
        ("loop.test", "A", dns.rcode.NOERROR, 2),
        ("half.test", "A", dns.rcode.NOERROR, 1),
        ("half.test", "AAAA", dns.rcode.SERVFAIL, 0),
    ],
)
async def test_answers_have_the_right_shape(name: str, kind: str, rcode: int, answers: int) -> None:
    async with DnsServer(ZONE) as server:
        answer = await ask(server, name, kind)
        assert (answer.rcode(), len(answer.answer)) == (rcode, answers)
        negative = rcode == dns.rcode.NXDOMAIN or (rcode == dns.rcode.NOERROR and not answers)
        assert bool(answer.authority) == negative


async def test_what_does_not_fit_is_cut_and_whole_by_tcp() -> None:
    async with DnsServer(ZONE) as server:
        assert (await ask(server, "big.test")).flags & dns.flags.TC
        assert len((await ask(server, "big.test", tcp=True)).answer[0]) == 119


def test_odd_packets_get_the_proper_error_or_silence() -> None:
    server = DnsServer(ZONE)
    notify = dns.message.make_query("a.test", "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    assert dns.message.from_wire(server.answer(notify.to_wire(), tcp=False)).rcode() == dns.rcode.NOTIMP
    chaos = dns.message.make_query("version.bind", "TXT", "CH")
    assert dns.message.from_wire(server.answer(chaos.to_wire(), tcp=False)).rcode() == dns.rcode.FORMERR
    reply = dns.message.make_response(dns.message.make_query("a.test", "A"))
    assert server.answer(reply.to_wire(), tcp=False) is None
    assert server.answer(b"nonsense", tcp=False) is None


async def test_names_change_while_it_runs() -> None:
    async with DnsServer({}) as server:
        assert (await ask(server, "new.test")).rcode() == dns.rcode.NXDOMAIN
        server.put("new.test", Node({"A": ("192.0.2.9",)}))
        assert (await ask(server, "new.test")).rcode() == dns.rcode.NOERROR
        server.put("new.test", None)
        assert (await ask(server, "new.test")).rcode() == dns.rcode.NXDOMAIN


async def test_a_tcp_client_that_sends_half_a_question_is_no_trouble() -> None:
    async with DnsServer(ZONE) as server:
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(struct.pack("!H", 500) + b"x")
        writer.close()
        await writer.wait_closed()
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(struct.pack("!H", 4) + b"junk")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert (await ask(server, "a.test", tcp=True)).answer


async def test_a_taken_port_is_told() -> None:
    async with DnsServer(ZONE) as server:
        second = DnsServer(ZONE, port=server.address[1])
        with pytest.raises(OSError, match="in use"):
            await second.start()
        await second.stop()


async def test_a_port_of_ones_own_choice() -> None:
    async with DnsServer(ZONE) as first:
        port = first.address[1]
    async with DnsServer(ZONE, port=port) as server:
        assert server.address == ("127.0.0.1", port)
