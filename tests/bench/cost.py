"""What one good STARTTLS probe with verification costs the client, and how many a second one process does.

The servers (TLS 1.3, P-256) run in another process; all probers get the same 64 of them by address. Processor time is
the client's own: this process, the exporter's process, or the processes that were run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from bot.core.policy import Policy
from bot.probes.runner import Prober, ProbeRequest
from bot.services.probing import Probing
from storage import connectors
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind, TlsSetting
from tests.bench.blackbox import BLACKBOX, ask, blackbox, cpu_of, modules
from tests.bench.peers import PEERS
from tests.bench.stand import Stand

PROBES = 2000
WARM_UP = 128
AT_ONCE = 64
DUE = timedelta(seconds=1)
"""Every connector is due since then, as after its first interval."""
TURNS = 5
"""So often ours and the bare client take turns; the median of each counts, because others use this machine, too."""
MFI, STORING, BARE = "mfi", "mfi, storing included", "bare asyncio client"
RUNS = 32
"""Processes of each command-line peer."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Per probe: milliseconds of processor time; and probes a second."""

    cpu_ms: float
    rate: float


async def bare(context: ssl.SSLContext, server: Mapping[str, Any], port: int) -> None:
    """The least that an asyncio client has to do: no bounds, no deadline, no causes."""
    reader, writer = await asyncio.open_connection(server["ip"], port)

    async def reply() -> None:
        while (await reader.readline())[3:4] == b"-":
            pass

    await reply()
    for command in (b"EHLO probe.test\r\n", b"STARTTLS\r\n"):
        writer.write(command)
        await reply()
    await writer.start_tls(context, server_hostname=server["host"])
    for command in (b"EHLO probe.test\r\n", b"QUIT\r\n"):
        writer.write(command)
        await reply()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def measured(probe: Callable[[int], Awaitable[object]], cpu: Callable[[], float], count: int = PROBES) -> Cost:
    """Run so many probes, so many at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            await probe(number)

    await asyncio.gather(*map(one, range(WARM_UP)))
    used, begun = cpu(), time.perf_counter()
    await asyncio.gather(*map(one, range(count)))
    taken = time.perf_counter() - begun
    return Cost((cpu() - used) / count * 1000, count / taken)


def own_cpu() -> float:
    """Processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def costs(stand: Stand) -> dict[str, Cost]:
    """Everybody's cost, as far as installed. Ours and the bare client take turns."""
    fleet = stand.fleet
    prober = Prober(ca_file=stand.ca_file, nameservers=[stand.nameserver], helo_name="probe.test")
    context = ssl.create_default_context(cafile=str(stand.ca_file))
    every: dict[str, list[Cost]] = {MFI: [], STORING: [], BARE: []}

    async def ours(number: int) -> None:
        server = fleet[number % len(fleet)]
        assert (await prober.probe(_request(stand, server, server["ip"]))).ok

    async with _bot(stand, prober) as tick:
        for _ in range(TURNS):
            every[BARE].append(await measured(lambda n: bare(context, fleet[n % len(fleet)], stand.port), own_cpu))
            every[MFI].append(await measured(ours, own_cpu))
            every[STORING].append(await tick())
    found = {name: _median(runs) for name, runs in every.items()}
    found["mfi, by name"] = await measured(
        lambda n: prober.probe(_request(stand, fleet[n % len(fleet)], fleet[n % len(fleet)]["host"])), own_cpu
    )
    if shutil.which(BLACKBOX):
        found["blackbox_exporter"] = await _exporter(stand)
    return found | _processes(stand)


def _request(stand: Stand, server: Mapping[str, Any], host: str) -> ProbeRequest:
    """One good server, certificate and name to be verified."""
    return ProbeRequest(hosts=(host,), port=stand.port, tls_setting=TlsSetting.DOMAIN, tls_domain=server["host"])


def _median(runs: Sequence[Cost]) -> Cost:
    """Of each figure its own."""
    return Cost(statistics.median(r.cpu_ms for r in runs), statistics.median(r.rate for r in runs))


@contextlib.asynccontextmanager
async def _bot(stand: Stand, prober: Prober) -> AsyncIterator[Callable[[], Awaitable[Cost]]]:
    """A tick of the bot, as often as wanted: claim what is due, probe, record, triage, schedule. All servers are fine.

    The first ticks, in which it learns what each server usually shows, are not counted.
    """
    with tempfile.TemporaryDirectory() as directory:
        store = await Store.open(Path(directory) / "mfi.db", sole=True)
        await store.write(lambda db: connectors.sync(db, "b", _listed(stand), datetime.now(UTC), complete=True))
        policy, port = Policy(), stand.port
        probing = Probing(store, prober, policy, lambda: datetime.now(UTC), default_port=port, default_channel="C1")

        async def tick() -> Cost:
            before = await store.read(_good)
            await store.write(_make_due)
            used, begun = own_cpu(), time.perf_counter()
            await probing.tick()
            cost = Cost((own_cpu() - used) / PROBES * 1000, PROBES / (time.perf_counter() - begun))
            assert await store.read(_good) == before + PROBES
            return cost

        for _ in range(policy.open_after + 1):
            await tick()
        try:
            yield tick
        finally:
            await probing.close()
            await store.close()


def _good(db: Database) -> int:
    """How many good probes are stored."""
    return int(db.execute("SELECT count(*) FROM probes WHERE ok = 1 AND stage = 'done'").fetchone()[0])


def _listed(stand: Stand) -> list[ConnectorFacts]:
    """One connector for each probe, several at each server."""
    base = ConnectorFacts(backend="b", key="", name="", kind=ConnectorKind.ON_PREMISES, tls_setting=TlsSetting.DOMAIN)
    fleet = stand.fleet
    return [
        replace(
            base,
            key=f"k{n}",
            name=f"Connector {n}",
            smart_hosts=(fleet[n % len(fleet)]["ip"],),
            tls_domain=fleet[n % len(fleet)]["host"],
        )
        for n in range(PROBES)
    ]


def _make_due(db: Database) -> None:
    """All at once: the worst that can be."""
    since = datetime.now(UTC) - DUE
    for connector in connectors.every(db):
        connectors.schedule(db, connector.id, since)


async def _exporter(stand: Stand) -> Cost:
    """blackbox_exporter, counted at its own process."""
    with blackbox(modules(stand, stand.fleet)) as exporter:

        async def probe(number: int) -> None:
            server = stand.fleet[number % len(stand.fleet)]
            answer = await ask(exporter.port, server["name"], f"{server['ip']}:{stand.port}")
            assert "probe_success 1" in answer

        return await measured(probe, lambda: cpu_of(exporter.pid))


def _processes(stand: Stand) -> dict[str, Cost]:
    """The command-line peers, one process a probe, one after the other."""
    found = {}
    for peer in (p for p in PEERS if p.installed):
        used, begun = _children(), time.perf_counter()
        for number in range(RUNS):
            command = peer.command(stand.fleet[number], stand)
            subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
        taken = time.perf_counter() - begun
        found[peer.name] = Cost((_children() - used) / RUNS * 1000, RUNS / taken)
    return found


def _children() -> float:
    """Processor time of processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def markdown(found: Mapping[str, Cost]) -> list[str]:
    """As a table for the README. The bare client is the measure of what one process can do here."""
    cpu, rate = found[BARE].cpu_ms, found[BARE].rate
    rows = [
        f"| {name} | {c.cpu_ms:.2f} ms | {c.cpu_ms / cpu:.2f} × | {c.rate:,.0f}/s | {c.rate / rate:.2f} × |"
        for name, c in found.items()
    ]
    busy = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    head = f"| one good probe ({busy}) | client CPU | of the bare client's | throughput | of the bare client's |"
    return [head, "| --- | --- | --- | --- | --- |", *rows]
