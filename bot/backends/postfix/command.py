"""Running one program: no shell, a deadline, a bounded answer, and no process left behind.

CommandError
├── NotRun      it never started
└── CutOff      it was killed: too slow, or too much output; what it did until then is unknown
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
CHUNK = 1 << 20
MOST_ERRORS = 1 << 20
GRACE = 5.0
LINGER = 0.5
"""Seconds; what a program complained of is all there when it has ended, even if somebody keeps the pipe open."""


class CommandError(Exception):
    """A program did not run to its end. The text is one line."""


class NotRun(CommandError):
    """It could not be started."""


class CutOff(CommandError):
    """It was killed before its end."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a program answered. `errors` is text, undecodable bytes replaced."""

    status: int
    output: bytes
    errors: str


class _Protocol(SubprocessStreamProtocol):
    """What asyncio's own programs use. `exited`: the program has ended, whoever keeps its pipes open."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=CHUNK, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        """asyncio calls it."""
        super().process_exited()
        self.exited.set()


class Running:
    """A program under way: read `chunks()`, then `status` and `errors` are set."""

    def __init__(self, argv: Sequence[str], process: Process, exited: asyncio.Event, limit: int) -> None:
        self._argv = argv
        self._process = process
        self._exited = exited
        self._limit = limit
        self._said = bytearray()
        self._complaints = asyncio.create_task(_kept(_reader(process.stderr), MOST_ERRORS, self._said))
        self.status = -1
        self.errors = ""

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The output as it comes. Raises CutOff when it is longer than the limit."""
        stdout, left = _reader(self._process.stdout), self._limit
        while chunk := await stdout.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise CutOff(f"{_name(self._argv)} wrote more than {self._limit >> 20} MiB")
            yield chunk
        # Not `wait()`, nor to the end of the complaints: ssh may leave a connection for others that keeps them open.
        await self._exited.wait()
        await asyncio.wait({self._complaints}, timeout=LINGER)
        self.errors = self._said.decode("utf-8", "replace")
        self.status = -1 if self._process.returncode is None else self._process.returncode

    async def end(self, transport: asyncio.SubprocessTransport) -> None:
        """Kill what still runs of its session, and close its pipes."""
        if self._process.returncode is None or not self._complaints.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        transport.close()
        self._complaints.cancel()
        ended = asyncio.create_task(self._process.wait())
        await asyncio.wait({self._complaints, ended}, timeout=GRACE)
        ended.cancel()


@contextlib.asynccontextmanager
async def running(
    argv: Sequence[str], *, timeout: float, limit: int = 64 << 20, stdin: bytes | None = None
) -> AsyncIterator[Running]:
    """Start a program. It and its children are dead when the block is left. Raises NotRun, CutOff."""
    try:
        # As create_subprocess_exec does it, which keeps to itself what closes the pipes.
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop),
            *argv,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=ENVIRONMENT | {name: os.environ[name] for name in ("HOME",) if name in os.environ},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise NotRun(f"{_name(argv)} can't be started: {getattr(error, 'strerror', None) or error}") from None
    process = Process(transport, protocol, loop)
    program = Running(argv, process, protocol.exited, limit)
    feeding = asyncio.create_task(_feed(process, stdin))
    try:
        async with asyncio.timeout(timeout):
            yield program
    except TimeoutError:
        raise CutOff(f"{_name(argv)} did not end within {timeout:g} s") from None
    finally:
        feeding.cancel()
        await program.end(transport)


async def run(argv: Sequence[str], *, timeout: float, limit: int = 64 << 20, stdin: bytes | None = None) -> Output:
    """Run a program to its end. Raises NotRun, CutOff."""
    parts: list[bytes] = []
    async with running(argv, timeout=timeout, limit=limit, stdin=stdin) as program:
        async with contextlib.aclosing(program.chunks()) as chunks:
            parts.extend([chunk async for chunk in chunks])
        return Output(program.status, b"".join(parts), program.errors)


async def _feed(process: Process, stdin: bytes | None) -> None:
    if stdin is None or process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def _kept(stream: asyncio.StreamReader, most: int, into: bytearray) -> None:
    """All of it is read, so that the program doesn't block; the beginning is kept."""
    while chunk := await stream.read(CHUNK):
        into += chunk[: max(0, most - len(into))]


def _reader(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    assert stream is not None
    return stream


def _name(argv: Sequence[str]) -> str:
    return argv[0].rpartition("/")[2]
