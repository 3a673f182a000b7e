"""The sandbox's mail servers and name server in a process of their own, so that their work is not counted as ours.

`python -m tests.bench.stand` prints one line of JSON about what it serves and stays until its stdin ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.sandbox.dns_server import DnsServer
from bot.sandbox.smtp_behaviours import Behaviour
from bot.sandbox.smtp_cast import CAST, Row
from bot.sandbox.smtp_servers import BrokenServers
from storage.records import TlsSetting

FLEET = tuple(Row(f"fleet-{n}", Behaviour.GOOD_TLS13, TlsSetting.DOMAIN) for n in range(64))


@dataclass(frozen=True, slots=True)
class Stand:
    """What the other process serves."""

    port: int
    ca_file: Path
    crl_file: Path
    nameserver: tuple[str, int]
    servers: dict[str, dict[str, Any]]

    @property
    def fleet(self) -> list[dict[str, Any]]:
        """Many good servers with TLS 1.3 and P-256 certificates."""
        return [self.servers[row.name] for row in FLEET]


@contextlib.contextmanager
def stand() -> Iterator[Stand]:
    """Start it, and end it afterwards."""
    command = [sys.executable, "-m", "tests.bench.stand"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        facts = json.loads(process.stdout.readline())
        try:
            yield Stand(
                port=facts["port"],
                ca_file=Path(facts["ca_file"]),
                crl_file=Path(facts["crl_file"]),
                nameserver=("127.0.0.1", facts["dns"]),
                servers=facts["servers"],
            )
        finally:
            process.stdin.close()
            process.wait(20)


async def _serve() -> None:
    """Serve until stdin ends."""
    async with BrokenServers(rows=(*CAST, *FLEET)) as servers, DnsServer(servers.zone()) as dns:
        about = {
            name: {
                "name": name,
                "host": s.host,
                "ip": s.ip,
                "tls": s.tls_setting,
                "tls_domain": s.tls_domain,
                "mx": s.use_mx,
                "code": s.expected_code,
                "cause": s.expected_cause,
                "degraded": s.expected_degraded,
                "rcpt": s.expected_rcpt,
            }
            for name, s in servers.servers.items()
        }
        facts = {"port": servers.port, "ca_file": str(servers.ca_file), "crl_file": str(servers.crl_file)}
        print(json.dumps({**facts, "dns": dns.address[1], "servers": about}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
