"""A handshake that is cancelled, or comes too late, leaves no transport open and keeps nobody waiting."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import pytest

from bot.sandbox.certificates import CertificateShop
from bot.sandbox.handshake import may_be_given_up

Ends = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return CertificateShop(tmp_path_factory.mktemp("pem"), datetime.now(UTC)).context("mail.test")


@asynccontextmanager
async def connection() -> AsyncIterator[Ends]:
    """Both ends of a connection in clear text, client first; both are cut at the end."""
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), "127.0.0.1", 0)
    _, client = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield client, await accepted
    finally:
        for writer in (client, accepted.result()):
            writer.transport.abort()
        server.close()
        await asyncio.sleep(0.001)


async def as_client(writer: asyncio.StreamWriter) -> asyncio.Transport | None:
    """Shake hands as the sandbox's mail sender does; it wants no certificate."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    clear, protocol = writer.transport, asyncio.StreamReaderProtocol(asyncio.StreamReader())
    return await may_be_given_up(loop.start_tls(clear, protocol, anybody), clear)


async def as_server(writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    """Shake hands as the sandbox's servers do."""
    await may_be_given_up(writer.start_tls(context), writer.transport)


@contextmanager
def nothing_left_open() -> Iterator[list[warnings.WarningMessage]]:
    """What Python says of transports that were collected unclosed; to be looked at afterwards."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield said
        gc.collect()


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("step", range(12))
def test_a_handshake_that_is_cancelled_at_any_step_leaves_no_transport_open(context, side, step):
    async def cancelled() -> None:
        async with connection() as (client, server):
            tasks = {
                "client": asyncio.create_task(as_client(client)),
                "server": asyncio.create_task(as_server(server, context)),
            }
            for _ in range(step):
                await asyncio.sleep(0)
            tasks[side].cancel()
            async with asyncio.timeout(1):
                await asyncio.wait([tasks[side]])
            for task in tasks.values():
                task.cancel()
            made, *_ = await asyncio.gather(*tasks.values(), return_exceptions=True)
            if isinstance(made, asyncio.Transport):
                made.abort()

    with nothing_left_open() as said:
        asyncio.run(cancelled())
    assert said == []


def test_a_handshake_with_a_peer_that_does_not_read_leaves_no_transport_open_when_cancelled():
    async def cancelled() -> None:
        async with connection() as (client, server):
            server.transport.pause_reading()
            client.write(b"x" * 10_000_000)
            shaking = asyncio.create_task(as_client(client))
            await asyncio.sleep(0.01)
            shaking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await shaking

    with nothing_left_open() as said:
        asyncio.run(cancelled())
    assert said == []


def test_a_handshake_over_a_lost_connection_fails_at_once():
    async def late() -> None:
        async with connection() as (client, _):
            client.transport.abort()
            async with asyncio.timeout(1):
                await as_client(client)

    with nothing_left_open() as said, pytest.raises(ConnectionResetError, match="gone before the handshake"):
        asyncio.run(late())
    assert said == []


async def test_a_handshake_that_ends_well_gives_its_transport(context):
    async with connection() as (client, server):
        made, _ = await asyncio.gather(as_client(client), as_server(server, context))
        assert made is not None
        assert made.get_extra_info("ssl_object").version() == "TLSv1.3"
        made.abort()
