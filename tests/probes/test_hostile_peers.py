"""Hostile peers cost bounded time and memory, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.core.probe_result import ProbeResult
from bot.probes.runner import Prober, ProbeRequest
from knowledge.classify import Cause, Stage
from storage.records import TlsSetting

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GREETING = b"220 mail.test ESMTP\r\n"
EHLO = b"250-mail.test\r\n250 STARTTLS\r\n"


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[int]:
    """A server on 127.0.0.1 that does what `serve` does, and is gone afterwards."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(handle(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


@cache
def prober() -> Prober:
    """Made once: it reads the system's roots."""
    return Prober()


async def probe(port: int, timeout: float = 1.0, setting: TlsSetting = TlsSetting.ENCRYPTION) -> ProbeResult:
    started = time.monotonic()
    request = ProbeRequest(hosts=("127.0.0.1",), port=port, timeout=timeout, tls_setting=setting)
    result = await prober().probe(request)
    assert time.monotonic() - started <= timeout + 0.2
    assert result.elapsed_ms <= timeout * 1000 + 200
    return result


def saying(*replies: bytes, then_stay: bool = False) -> Serve:
    """A server that says the next of these whenever it is spoken to, the first one at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, reply in enumerate(replies):
            if number:
                await reader.readline()
            writer.write(reply)
            await writer.drain()
        if then_stay:
            await reader.read()
        else:
            await reader.readline()

    return serve


@pytest.mark.parametrize(
    ("replies", "cause", "stage"),
    [
        ([b"220-a\r\n220 mail\r\n", b"250 mail\r\n", b"221 bye\r\n"], Cause.NO_STARTTLS, Stage.STARTTLS),
        ([b"354 go ahead\r\n"], Cause.NOT_SMTP, Stage.BANNER),
        ([b"999 what\r\n"], Cause.NOT_SMTP, Stage.BANNER),
        ([b"451 later\r\n"], Cause.SMTP_ERROR, Stage.BANNER),
        ([GREETING, b"220 mail\r\n", b"220 mail\r\n"], Cause.SMTP_ERROR, Stage.EHLO),
        ([GREETING, b"421 busy\r\n"], Cause.RATE_LIMITED, Stage.EHLO),
        ([GREETING, b"502 no\r\n", b"421 busy\r\n"], Cause.RATE_LIMITED, Stage.EHLO),
        ([GREETING, b"550 go away\r\n"], Cause.SMTP_ERROR, Stage.EHLO),
        ([GREETING, b"250-mail\r\nhello\r\n"], Cause.NOT_SMTP, Stage.EHLO),
        ([GREETING, b"250-x\r\n" * 100], Cause.FLOOD, Stage.EHLO),
        ([GREETING, EHLO, b"421 busy\r\n"], Cause.RATE_LIMITED, Stage.STARTTLS),
        ([GREETING, EHLO, b"250 fine\r\n"], Cause.STARTTLS_REJECTED, Stage.STARTTLS),
        ([GREETING, EHLO, b"220 go\r\n\x15"], Cause.STARTTLS_INJECTION, Stage.STARTTLS),
    ],
)
async def test_what_a_peer_says_is_named(replies: list[bytes], cause: Cause, stage: Stage) -> None:
    async with peer(saying(*replies)) as port:
        result = await probe(port)
    assert (result.cause, result.stage) == (cause, stage)


async def test_busy_at_starttls_counts_even_where_tls_does_not() -> None:
    async with peer(saying(GREETING, EHLO, b"421 busy\r\n")) as port:
        result = await probe(port, setting=TlsSetting.OPPORTUNISTIC)
    assert result.code == "4.4.317"


async def test_a_silent_helo_after_a_refused_ehlo_is_a_stall() -> None:
    async with peer(saying(GREETING, b"502 no\r\n", then_stay=True)) as port:
        result = await probe(port, 0.4)
    assert (result.cause, result.stage) == (Cause.STALLED, Stage.EHLO)


async def test_an_endless_stream_of_whole_replies_is_never_good() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220 mail\r\n" * 1000)
            await writer.drain()

    async with peer(serve) as port:
        result = await probe(port, setting=TlsSetting.OPPORTUNISTIC)
    assert result.code == "4.4.317"


async def test_a_flood_costs_no_memory(lab) -> None:
    requests = [lab.request_for(lab.servers.servers[name], 1.0) for name in ("flood", "endless", "drip")]
    await asyncio.gather(*map(lab.prober.probe, requests))
    gc.collect()
    resident = _resident()
    tracemalloc.start()
    try:
        for _ in range(15):
            results = await asyncio.gather(*map(lab.prober.probe, requests[:2]))
            assert [r.cause for r in results] == [Cause.FLOOD, Cause.FLOOD]
        gc.collect()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 256 * 1024
    assert peak < 4 * 1024 * 1024  # the sandbox's own flood is in there too
    assert _resident() - resident < 16 * 1024 * 1024


async def test_a_flood_under_tls_is_cut_too(lab) -> None:
    context = lab.servers._shop.context("127.0.0.1")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(GREETING, EHLO, b"220 go\r\n")(_Once(reader, 2), writer)
        await writer.start_tls(context)
        while True:
            writer.write(b"250-" + b"x" * 60000)
            await writer.drain()

    async with peer(serve) as port:
        result = await probe(port, 2)
    assert (result.cause, result.stage) == (Cause.FLOOD, Stage.TLS)


class _Once:
    """A reader that gives only so many lines and then lets `saying` go on."""

    def __init__(self, reader: asyncio.StreamReader, lines: int) -> None:
        self._reader, self._left = reader, lines

    async def readline(self) -> bytes:
        self._left -= 1
        return await self._reader.readline() if self._left >= 0 else b""


async def test_a_session_that_dies_after_the_handshake_is_no_success(lab) -> None:
    context = lab.servers._shop.context("127.0.0.1")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(GREETING, EHLO, b"220 go\r\n")(_Once(reader, 2), writer)
        await writer.start_tls(context)

    async with peer(serve) as port:
        result = await probe(port)
    assert (result.code, result.stage) == ("4.4.318", Stage.TLS)
    assert result.targets[0].tls is not None


async def test_closing_right_behind_the_starttls_reply_is_closed() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(GREETING, EHLO, b"220 go\r\n")(_Once(reader, 2), writer)
        writer.close()
        await writer.wait_closed()

    async with peer(serve) as port:
        result = await probe(port)
    assert (result.code, result.cause, result.stage) == ("4.4.318", Cause.CLOSED, Stage.TLS)


async def test_cancelling_a_probe_leaves_no_task_and_no_socket(lab) -> None:
    spec = lab.servers.servers["silent"]
    before, sockets = asyncio.all_tasks(), _descriptors()
    task = asyncio.create_task(lab.prober.probe(lab.request_for(spec, 30)))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(5):
        await asyncio.sleep(0)
    theirs = {t for t in asyncio.all_tasks() - before if "_handle" in repr(t.get_coro())}
    assert asyncio.all_tasks() - before - theirs == set()
    assert _descriptors() <= sockets + len(theirs)


async def test_probes_leave_nothing_behind(lab) -> None:
    specs = list(lab.servers.servers.values())
    await asyncio.gather(*(lab.prober.probe(lab.request_for(s, 0.5)) for s in specs))
    await asyncio.sleep(0.05)
    before = _descriptors()
    await asyncio.gather(*(lab.prober.probe(lab.request_for(s, 0.5)) for s in specs))
    await asyncio.sleep(0.05)
    assert _descriptors() <= before + 2


def _resident() -> int:
    """Bytes of memory in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    """Open file descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


STEPS = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.sampled_from(
            [GREETING, EHLO, b"220 go\r\n", b"250 ok\r\n", b"421 x\r\n", b"550 x\r\n", b"220-", b"\x16\x03\x03"]
        ),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_a_peer_says_a_probe_ends_in_time_with_a_verdict(steps: list[bytes]) -> None:
    async def run() -> None:
        async with peer(saying(*steps)) as port:
            result = await probe(port, 0.25)
            assert not result.ok
            assert result.code in ("4.4.317", "4.4.318")

    asyncio.run(run())
