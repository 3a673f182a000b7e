"""Many good mail servers, one loopback address each, as cheap as they can be, in processes of their own.

They speak ESMTP with STARTTLS over TLS 1.3 with one ECDSA P-256 certificate below an intermediate. To let this machine
hold thousands of them, all servers of a process share that certificate, and none sends session tickets.

`python -m tests.bench.fleet FIRST COUNT PORT PEM` serves COUNT addresses until its stdin ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bot.sandbox.certificates import CertificateShop

HOST = "mail.fleet.test"
PROCESSES = 2
IDLE = 30.0
LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is served, and by which processes."""

    ips: tuple[str, ...]
    port: int
    ca_file: Path
    pids: tuple[int, ...]


def address(number: int) -> str:
    """The loopback address of the n-th server."""
    return f"127.60.{number // 250}.{number % 250 + 1}"


@contextlib.contextmanager
def fleet(count: int) -> Iterator[Fleet]:
    """Start so many servers, and end them afterwards."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        shop = CertificateShop(Path(directory), datetime.now(UTC))
        pem, port, share = shop.file(HOST), _free_port(), -(-count // PROCESSES)
        pids = []
        for first in range(0, count, share):
            numbers = [str(n) for n in (first, min(share, count - first), port)]
            command = [sys.executable, "-m", "tests.bench.fleet", *numbers, str(pem)]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            assert process.stdin
            assert process.stdout
            stack.callback(process.stdin.close)
            assert process.stdout.readline() == "serving\n"
            pids.append(process.pid)
        yield Fleet(tuple(map(address, range(count))), port, shop.ca_file, tuple(pids))


def _free_port() -> int:
    """A port that nobody has at the first address; then nobody has it at the others."""
    with socket.create_server((address(0), 0)) as held:
        return int(held.getsockname()[1])


async def _converse(context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One conversation up to QUIT."""
    secure = False
    try:
        writer.write(b"220 mail.fleet.test ESMTP\r\n")
        while line := await asyncio.wait_for(reader.readline(), IDLE):
            verb = line.rstrip().upper()
            if verb == b"STARTTLS" and not secure:
                writer.write(b"220 2.0.0 Ready to start TLS\r\n")
                await writer.start_tls(context)
                secure = True
            elif verb.startswith(b"EHLO "):
                offers = [b"PIPELINING", b"SIZE 35882577", *([] if secure else [b"STARTTLS"]), b"8BITMIME"]
                writer.write(b"250-mail.fleet.test\r\n" + b"".join(b"250-%s\r\n" % o for o in offers) + b"250 DSN\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 Bye\r\n")
                break
            else:
                writer.write(b"502 5.5.1 Not here\r\n")
    except (OSError, ValueError):
        pass
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _serve(first: int, count: int, port: int, pem: str) -> None:
    """Serve until stdin ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(pem)
    ips = [address(n) for n in range(first, first + count)]
    server = await asyncio.start_server(lambda r, w: _converse(context, r, w), ips, port, limit=LIMIT, backlog=16)
    async with server:
        print("serving", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(*map(int, sys.argv[1:4]), sys.argv[4]))
