"""Ten thousand hostile dialogues: whatever a peer does, a probe ends in time, within its bytes, without a trace.

The small profile runs with every test run, the full one with MFI_CHAOS=full.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot.core.probe_result import ProbeResult
from bot.probes.addressing import Dial
from bot.probes.dialogue import Terms
from bot.probes.runner import Prober, ProbeRequest
from bot.probes.wire import SESSION_BYTES, Wire
from bot.sandbox.certificates import CertificateShop
from bot.sandbox.handshake import may_be_given_up
from storage.records import TlsSetting

FULL = os.environ.get("MFI_CHAOS") == "full"
AT_ONCE = 40
"""Dialogues of one example; each has an address of its own, because one address is talked to once at a time."""
EXAMPLES = 250 if FULL else 8
DEADLINE = 0.3
ALLOWANCE = 0.2

Step = tuple[str, bytes]
GOOD = (
    b"220 mail.test ESMTP\r\n",
    b"250-mail.test\r\n250 STARTTLS\r\n",
    b"250 ok\r\n",
    b"220 go ahead\r\n",
    b"221 bye\r\n",
)
BAD = (
    b"421 x\r\n",
    b"550 5.1.1 x\r\n",
    b"220-",
    b"250-" + b"x" * 3000,
    b"\x16\x03\x03\x00",
    b"\x15\x03\x03\x00\x02\x02\x28",
)

BYTES = st.one_of(
    st.sampled_from(GOOD),
    st.sampled_from(GOOD),
    st.sampled_from(BAD),
    st.binary(max_size=300),
    st.text(max_size=60).map(lambda text: f"250 {text}\r\n".encode()),
    st.binary(min_size=1, max_size=4).map(lambda data: data * 30_000),
)
STEPS = st.one_of(
    st.tuples(st.just("say"), BYTES),
    st.tuples(st.just("answer"), BYTES),
    st.tuples(st.just("answer"), BYTES),
    st.tuples(st.sampled_from(["tls", "reset", "close", "pause", "drip"]), st.just(b"250 x\r\n")),
)
SCRIPTS = st.tuples(
    st.sampled_from(
        [(), (("say", GOOD[0]),), (("say", GOOD[0]), ("answer", GOOD[1]), ("answer", GOOD[3]), ("tls", b""))]
    ),
    st.lists(STEPS, max_size=6),
    st.sampled_from(["stay", "close"]),
).map(lambda parts: (*parts[0], *parts[1], (parts[2], b"")))
SETTINGS = st.sampled_from(list(TlsSetting))


class Watched(Prober):
    """A prober whose connections can be looked at afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: list[Wire] = []

    def _terms(self, dial: Dial, request: ProbeRequest, wire: Wire) -> Terms:
        self.wires.append(wire)
        return super()._terms(dial, request, wire)


class Peers:
    """One listener for many addresses; each address follows the script that it was given."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.scripts: dict[str, Sequence[Step]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self._context = context
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "0.0.0.0", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        await self.silence()

    async def silence(self) -> None:
        """End all conversations."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._follow(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made = [writer.transport]

        async def secure(_: bytes) -> None:
            await may_be_given_up(writer.start_tls(self._context, ssl_handshake_timeout=1), writer.transport)
            made.append(writer.transport)

        do: dict[str, Callable[[bytes], Awaitable[object]]] = {
            "say": lambda data: _send(writer, data),
            "answer": lambda data: _after(reader, writer, data),
            "drip": lambda data: _drip(writer, data),
            "pause": lambda _: asyncio.sleep(0.05),
            "tls": secure,
            "stay": lambda _: reader.read(),
        }
        try:
            with contextlib.suppress(OSError, ssl.SSLError, ValueError, TimeoutError, RuntimeError):
                for kind, data in self.scripts[writer.get_extra_info("sockname")[0]]:
                    if kind == "reset":
                        linger = struct.pack("ii", 1, 0)
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    if kind in ("reset", "close"):
                        break
                    await do[kind](data)
        finally:
            for transport in (writer.transport, *reversed(made)):
                transport.abort()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
    await reader.readline()
    await _send(writer, data)


async def _drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        await _send(writer, bytes([byte]))
        await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Watched, Peers]]:
    shop = CertificateShop(tmp_path_factory.mktemp("pem"), datetime.now(UTC))
    with asyncio.Runner() as runner:
        peers = Peers(shop.context("mail.test"))
        runner.run(peers.start())
        runner.get_loop().set_exception_handler(lambda *_: None)  # what asyncio's own server side stumbles over
        yield runner, Watched(), peers
        runner.run(peers.stop())
    gc.collect()  # whatever was left open is told of here, not in a later test


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


DIALOGUES = st.lists(st.tuples(SCRIPTS, SETTINGS, st.booleans()), min_size=AT_ONCE, max_size=AT_ONCE)
told = {"dialogues": 0, "slowest": 0.0}


@pytest.mark.chaos
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(dialogues=DIALOGUES)
def test_no_dialogue_breaks_a_probe_or_its_bounds(stage, dialogues) -> None:
    runner, prober, peers = stage

    async def one(number: int, setting: TlsSetting, *, rcpt: bool) -> ProbeResult:
        request = ProbeRequest(
            hosts=(f"127.77.0.{number + 1}",),
            port=peers.port,
            tls_setting=setting,
            tls_domain="mail.test",
            timeout=DEADLINE,
            rcpt="a@b.test" if rcpt else None,
        )
        return await prober.probe(request)

    async def run() -> None:
        peers.scripts = {f"127.77.0.{n + 1}": script for n, (script, _, _) in enumerate(dialogues)}
        prober.wires.clear()
        before, open_before = asyncio.all_tasks(), _descriptors()
        stolen = _Lag()
        results = await asyncio.gather(*(one(n, s, rcpt=r) for n, (_, s, r) in enumerate(dialogues)))
        lag = await stolen.stop()
        for result in results:
            assert result.elapsed_ms <= (DEADLINE + ALLOWANCE + lag) * 1000
            assert ProbeResult.from_document(result.document()).document() == result.document()
        assert all(wire.received <= SESSION_BYTES + 1 for wire in prober.wires)
        await peers.silence()
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() - before == set()
        assert _descriptors() <= open_before
        told["dialogues"] += len(results)
        told["slowest"] = max(told["slowest"], *(r.elapsed_ms for r in results))

    runner.run(run())
    gc.collect()


class _Lag:
    """How long the loop was held up at most, because servers and clients of a whole example share it here."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            since = time.monotonic()
            await asyncio.sleep(0.01)
            self._worst = max(self._worst, time.monotonic() - since - 0.01)

    async def stop(self) -> float:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self._worst


def test_that_many_dialogues_were_held(stage) -> None:
    assert told["dialogues"] >= EXAMPLES * AT_ONCE
    print(f"\n{told['dialogues']} hostile dialogues, the slowest {told['slowest']:.0f} ms of {DEADLINE * 1000:.0f}")
