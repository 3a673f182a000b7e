"""Prometheus' blackbox_exporter as a process beside us, configured for the sandbox's cases."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.stand import Stand

BLACKBOX = "prometheus-blackbox-exporter"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Exporter:
    """A running exporter."""

    port: int
    pid: int


def modules(stand: Stand, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One module for each case: names differ, and so do the demands on TLS."""
    return {case["name"]: _module(stand, case) for case in cases}


def _module(stand: Stand, case: Mapping[str, Any]) -> dict[str, Any]:
    """The dialogue of its own example configuration (with the CR that servers want), no TLS where none is wanted."""
    hello: list[dict[str, Any]] = [{"expect": "^220 "}, {"send": "EHLO probe.test\r"}]
    after: list[dict[str, Any]] = [{"send": "EHLO probe.test\r"}, {"expect": "^250 "}, {"send": "QUIT\r"}]
    if case["tls"] in ("none", "opportunistic"):
        steps = [*hello, {"expect": "^250 "}, {"send": "QUIT\r"}]
    else:
        start: list[dict[str, Any]] = [{"send": "STARTTLS\r"}, {"expect": "^220"}, {"starttls": True}]
        steps = [*hello, {"expect": "^250[- ]STARTTLS"}, *start, *after]
    wanted = (case["tls_domain"] or case["host"]).replace("*.", "any.")
    tls = {"ca_file": str(stand.ca_file), "server_name": wanted, "insecure_skip_verify": case["tls"] == "encryption"}
    return {"prober": "tcp", "timeout": "4s", "tcp": {"query_response": steps, "tls_config": tls}}


@contextlib.contextmanager
def blackbox(configured: Mapping[str, Any]) -> Iterator[Exporter]:
    """Start it on a free port, and end it afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = int(held.getsockname()[1])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "blackbox.yml"
        path.write_text(json.dumps({"modules": configured}))  # JSON is YAML
        command = [
            BLACKBOX,
            f"--config.file={path}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _await(port, process)
                yield Exporter(port, process.pid)
            finally:
                process.terminate()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until it listens."""
    until = time.monotonic() + 10
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise RuntimeError("blackbox_exporter does not start")


async def ask(port: int, module: str, target: str, *, debug: bool = False) -> str:
    """Let it probe once; the whole answer as text."""
    query = urllib.parse.urlencode({"module": module, "target": target} | ({"debug": "true"} if debug else {}))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /probe?{query} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return (await reader.read(-1)).decode("utf-8", "replace")
    finally:
        writer.close()
        await writer.wait_closed()


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
