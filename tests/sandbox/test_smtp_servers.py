"""The sandbox's mail servers are as strict as real ones, and really accept mail."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot.sandbox.smtp_cast import CAST, Row
from bot.sandbox.smtp_listeners import Refusing, free_port
from bot.sandbox.smtp_mailbox import RECIPIENTS, SIZE
from bot.sandbox.smtp_servers import Accepted, Behaviour, BrokenServers, address_of
from storage.records import TlsSetting

FEW = tuple(row for row in CAST if row.name in ("good", "refused", "good-plain", "black-hole", "rejects", "helo-only"))


@pytest.fixture
async def servers() -> AsyncIterator[BrokenServers]:
    async with BrokenServers(rows=FEW) as started:
        yield started


class Client:
    """The other end, one line at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> str:
        """The last line of a reply, without its end."""
        while (line := (await self.reader.readline()).decode())[3:4] == "-":
            pass
        return line.rstrip("\r\n")

    async def ask(self, text: str) -> str:
        """Send, and read the reply."""
        self.writer.write(text.encode() + b"\r\n")
        return await self.reply()


@asynccontextmanager
async def client(servers: BrokenServers, name: str = "good") -> AsyncIterator[Client]:
    spec = servers.servers[name]
    reader, writer = await asyncio.open_connection(spec.ip, spec.port)
    try:
        opened = Client(reader, writer)
        await opened.reply()
        yield opened
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_mail_is_accepted_and_kept(servers: BrokenServers) -> None:
    async with client(servers) as c:
        assert (await c.ask("EHLO tester")).startswith("250")
        assert await c.ask("MAIL FROM:<a@contoso.test> SIZE=100") == "250 2.1.0 Sender OK"
        assert await c.ask("RCPT TO:<b@good.test>") == "250 2.1.5 Recipient OK"
        assert await c.ask("RCPT TO:<c@good.test>") == "250 2.1.5 Recipient OK"
        assert (await c.ask("DATA")).startswith("354")
        assert await c.ask("Subject: x\r\n\r\n..dot\r\n.") == "250 2.0.0 Accepted"
        assert await c.ask("QUIT") == "221 2.0.0 Bye"
    assert list(servers.accepted) == [
        Accepted(
            server="good",
            helo="tester",
            sender="a@contoso.test",
            recipients=("b@good.test", "c@good.test"),
            data=b"Subject: x\r\n\r\n.dot\r\n",
            tls=False,
        )
    ]


async def test_unknown_recipients_are_refused_while_the_list_holds(servers: BrokenServers) -> None:
    servers.set_recipients("good", ["Known@good.test"])
    async with client(servers) as c:
        await c.ask("EHLO tester")
        await c.ask("MAIL FROM:<>")
        assert await c.ask("RCPT TO:<known@GOOD.test>") == "250 2.1.5 Recipient OK"
        refused = await c.ask("RCPT TO:<other@good.test>")
        assert refused == "550 5.1.1 <other@good.test>: Recipient address rejected: User unknown"
        servers.set_recipients("good", None)
        assert await c.ask("RCPT TO:<other@good.test>") == "250 2.1.5 Recipient OK"


@pytest.mark.parametrize(
    ("commands", "last"),
    [
        (["MAIL FROM:<a@b.test>"], "503"),
        (["EHLO"], "501"),
        (["EHLO x", "RCPT TO:<a@b.test>"], "503"),
        (["EHLO x", "DATA"], "503"),
        (["EHLO x", "MAIL FROM:<a@b.test>", "DATA"], "503"),
        (["EHLO x", "MAIL FROM:<a@b.test>", "MAIL FROM:<a@b.test>"], "503"),
        (["EHLO x", "MAIL FROM:a@b.test"], "501"),
        (["EHLO x", "MAIL FROM:<nobody>"], "501"),
        (["EHLO x", "MAIL TO:<a@b.test>"], "501"),
        (["EHLO x", "MAIL FROM:<a@b.test> SIZE=99999999999"], "552"),
        (["EHLO x", "MAIL FROM:<a@b.test>", "RCPT TO:<>"], "501"),
        (["EHLO x", "MAIL FROM:<a@b.test>", "RSET", "RCPT TO:<a@b.test>"], "503"),
        (["EHLO x", "MAIL FROM:<a@b.test>", "EHLO x", "RCPT TO:<a@b.test>"], "503"),
        (["EHLO x", "NOOP"], "250"),
        (["EHLO x", "VRFY a"], "252"),
        (["HELO x"], "250"),
        (["EHLO x", "AUTH PLAIN"], "500"),
        (["EHLO x\nNOOP"], "500"),
        (["EHLO x", "STARTTLS now"], "501"),
    ],
)
async def test_the_order_and_form_of_commands_matter(servers: BrokenServers, commands: list[str], last: str) -> None:
    async with client(servers) as c:
        for command in commands:
            reply = await c.ask(command)
        assert reply[:3] == last


async def test_too_many_recipients_and_too_big_a_message_are_refused(servers: BrokenServers) -> None:
    async with client(servers) as c:
        await c.ask("EHLO x")
        await c.ask("MAIL FROM:<a@b.test>")
        for number in range(RECIPIENTS):
            await c.ask(f"RCPT TO:<r{number}@b.test>")
        assert (await c.ask("RCPT TO:<surplus@b.test>")).startswith("452 4.5.3")
        await c.ask("DATA")
        line = b"x" * 998 + b"\r\n"
        for _ in range(SIZE // len(line) + 1):
            c.writer.write(line)
            await c.writer.drain()
        assert (await c.ask(".")).startswith("552 5.3.4")
        assert (await c.ask("NOOP")).startswith("250")
    assert not servers.accepted


async def test_starttls_forgets_what_came_before_it(servers: BrokenServers) -> None:
    context = ssl.create_default_context(cafile=str(servers.ca_file))
    async with client(servers) as c:
        await c.ask("EHLO tester")
        assert (await c.ask("STARTTLS")).startswith("220")
        await c.writer.start_tls(context, server_hostname=servers.servers["good"].host)
        assert (await c.ask("MAIL FROM:<a@b.test>")).startswith("503")
        await c.ask("EHLO tester")
        assert (await c.ask("STARTTLS")).startswith("503")
        await c.ask("MAIL FROM:<a@b.test>")
        await c.ask("RCPT TO:<b@b.test>")
        await c.ask("DATA")
        await c.ask("x\r\n.")
        await c.ask("QUIT")
    assert servers.accepted[0].tls


async def test_text_sent_along_with_starttls_ends_the_session(servers: BrokenServers) -> None:
    async with client(servers) as c:
        await c.ask("EHLO tester")
        assert (await c.ask("STARTTLS\r\nMAIL FROM:<evil@x.test>")).startswith("554 5.5.0")
        assert await c.reader.read() == b""


async def test_servers_without_tls_say_so(servers: BrokenServers) -> None:
    async with client(servers, "good-plain") as c:
        await c.ask("EHLO tester")
        assert (await c.ask("STARTTLS")).startswith("503")
    async with client(servers, "helo-only") as c:
        assert (await c.ask("EHLO tester")).startswith("502")
        assert (await c.ask("HELO tester")).startswith("250")


async def test_a_rejecting_server_lets_only_quit_through(servers: BrokenServers) -> None:
    async with client(servers, "rejects") as c:
        assert (await c.ask("EHLO x")).startswith("503")
        assert (await c.ask("QUIT")).startswith("221")


async def test_nobody_listens_at_a_refusing_address(servers: BrokenServers) -> None:
    spec = servers.servers["refused"]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(spec.ip, spec.port)


async def test_a_black_hole_never_answers(servers: BrokenServers) -> None:
    spec = servers.servers["black-hole"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asyncio.open_connection(spec.ip, spec.port)


async def test_changing_a_behaviour_cuts_open_sessions(servers: BrokenServers) -> None:
    async with client(servers) as c:
        await servers.set_behaviour("good", Behaviour.REFUSED)
        assert await c.reader.read() == b""
    await servers.set_behaviour("good", "good")
    async with client(servers) as c:
        assert (await c.ask("EHLO x")).startswith("250")


async def test_a_taken_port_is_told_and_leaves_nothing_open() -> None:
    port = free_port([address_of(0), address_of(1)])
    squatter = await asyncio.start_server(lambda _r, w: w.close(), address_of(1), port)
    try:
        with pytest.raises(OSError, match="in use"):
            async with BrokenServers(port=port, rows=FEW):
                pass
        again = Refusing(address_of(0), port)
        await again.close()
    finally:
        squatter.close()


async def test_two_sandboxes_live_side_by_side() -> None:
    async with BrokenServers(rows=FEW) as one, BrokenServers(rows=FEW) as two:
        assert one.port != two.port


async def test_names_that_are_only_broken_in_the_dns_are_listed_too(servers: BrokenServers) -> None:
    spec = servers.servers["nxdomain"]
    assert (spec.ip, spec.expected_code, spec.host in servers.zone()) == (None, "4.4.312", False)
    with pytest.raises(KeyError):
        await servers.set_behaviour("nxdomain", "good")


def test_no_two_servers_share_a_name() -> None:
    names = [row.name for row in CAST]
    assert len(names) == len(set(names))
    assert Row("x", Behaviour.GOOD, TlsSetting.NONE).code is None
