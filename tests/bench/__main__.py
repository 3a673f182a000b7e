"""`make bench`: the figures of the README, measured on this machine. Prints one Markdown table for each subject."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.core.policy import Policy
from bot.core.targets import AddressPolicy
from bot.probes.runner import Prober, ProbeRequest
from bot.sandbox.dns_server import DnsServer
from bot.sandbox.smtp_behaviours import Behaviour
from bot.sandbox.smtp_cast import CAST, Row
from bot.sandbox.smtp_servers import BrokenServers
from bot.services.triage import triage_connector
from knowledge.diagnose import diagnose
from storage import connectors, messages
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind, MessageFacts, TlsSetting
from tests.bench import cost, crowd, peers, queue, sweep
from tests.bench.stand import stand

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLEET = tuple(Row(f"fleet-{n}", Behaviour.GOOD, TlsSetting.DOMAIN) for n in range(64))


SWEEP, CROWD = 68.0, 110.0
"""Seconds of the long ones: a little more than one interval, and almost two."""


def tell(what: str, figure: str) -> None:
    print(f"| {what} | {figure} |", flush=True)


def heading(text: str) -> None:
    print(f"\n### {text}\n", flush=True)


@contextlib.contextmanager
def logging_off() -> Iterator[None]:
    """Thousands of incidents that a benchmark opens are no news."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def start_up() -> None:
    command = [sys.executable, "-m", "bot", "explain", "450 4.4.316 Connection refused", "--json"]
    runs = [seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(10)]
    tell("mfi explain, from process start (median of 10)", f"{statistics.median(runs):.2f} s")


def diagnoses() -> None:
    blocks = Path("tests/knowledge/samples.txt").read_text(encoding="utf-8").split("\n\n")[1:]
    texts = [block.partition("\n")[2] for block in blocks] * 30
    for text in texts[:100]:
        diagnose(text)
    taken = seconds(lambda: [diagnose(text) for text in texts])
    tell("diagnoses on one core", f"{len(texts) / taken:,.0f}/s")


async def probes() -> None:
    async with BrokenServers(rows=(*CAST, *FLEET)) as servers, DnsServer(servers.zone()) as dns:
        good = servers.servers["fleet-0"]
        prober = Prober(nameservers=[dns.address], ca_file=servers.ca_file, allow=AddressPolicy.parse(["127.0.0.0/8"]))
        request = ProbeRequest(
            hosts=(good.host,), mx_domain=None, port=good.port, tls_setting=TlsSetting.DOMAIN, tls_domain=None
        )
        await prober.probe(request)
        runs = [await _timed_probe(prober, request) for _ in range(100)]
        tell("one good probe with STARTTLS and certificate (median)", f"{statistics.median(runs) * 1000:.1f} ms")
        many = [servers.servers[row.name] for row in FLEET]
        requests = [replace(request, hosts=(server.host,)) for server in many]
        begun = time.perf_counter()
        gate = asyncio.Semaphore(64)

        async def one(n: int) -> None:
            async with gate:
                await prober.probe(requests[n % len(requests)])

        await asyncio.gather(*(one(n) for n in range(1000)))
        rate = 1000 / (time.perf_counter() - begun)
        tell(f"1,000 probes of {len(many)} good servers, 64 at once, same process", f"{rate:,.0f}/s")


async def _timed_probe(prober: Prober, request: ProbeRequest) -> float:
    begun = time.perf_counter()
    assert (await prober.probe(request)).ok
    return time.perf_counter() - begun


async def ingest() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = await Store.open(Path(directory) / "mfi.db", sole=True)
        facts = [
            ConnectorFacts(backend="b", key=f"k{n}", name=f"Connector {n}", kind=ConnectorKind.ON_PREMISES)
            for n in range(40)
        ]
        await store.write(lambda db: connectors.sync(db, "b", facts, NOW, complete=True))
        ids = [c.id for c in await store.read(connectors.every)]
        rows = [
            (
                MessageFacts(
                    backend="b",
                    key=f"m{n}",
                    recipient=f"r{n % 997}@contoso.test",
                    sender="s@contoso.test",
                    received_at=NOW - timedelta(seconds=n % 80_000),
                    expires_at=NOW + timedelta(days=1),
                    code="4.4.316",
                    reason="450 4.4.316 Connection refused",
                ),
                ids[n % 40],
            )
            for n in range(100_000)
        ]
        for what in ("100,000 queued messages, first sync", "the same again: nothing is written"):
            begun = time.perf_counter()
            await store.write(lambda db: messages.sync(db, "b", rows, NOW, complete=True))
            tell(what, f"{time.perf_counter() - begun:.2f} s")
        begun = time.perf_counter()
        for connector_id in ids:
            await store.write(lambda db, c=connector_id: triage_connector(db, c, Policy(), NOW, default_channel="C1"))
        tell("triage of one connector with 2,500 waiting", f"{(time.perf_counter() - begun) / 40 * 1000:.1f} ms")
        await store.close()


async def claim() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = await Store.open(Path(directory) / "mfi.db", sole=True)
        facts = [
            ConnectorFacts(backend="b", key=f"k{n}", name=f"C{n}", kind=ConnectorKind.ON_PREMISES)
            for n in range(10_000)
        ]
        await store.write(lambda db: connectors.sync(db, "b", facts, NOW, complete=True))
        begun = time.perf_counter()
        await store.write(lambda db: connectors.claim_due(db, NOW, 200, timedelta(minutes=1)))
        tell("claim 200 due of 10,000 connectors", f"{(time.perf_counter() - begun) * 1000:.1f} ms")
        await store.close()


def against_peers() -> None:
    """Which causes others tell, and what a probe costs: tables for the README."""
    with stand() as servers:
        heading("What a probe costs")
        print(*cost.markdown(asyncio.run(cost.costs(servers))), sep="\n", flush=True)
        heading("Which cause is told")
        rows = asyncio.run(peers.table(servers))
        print(*peers.markdown(rows, len(peers.cases_of(servers))), sep="\n", flush=True)


def many_connectors() -> None:
    """Is every probe in time, and the bot still there for people? Without a network, and with one."""
    heading("Many connectors: the bookkeeping alone")
    with logging_off():
        print(*sweep.markdown(asyncio.run(sweep.sweep(seconds=SWEEP))), sep="\n", flush=True)
    heading("Many connectors: the whole bot, real sockets")
    print(*crowd.markdown(asyncio.run(crowd.crowd(seconds=CROWD))), sep="\n", flush=True)


def figures() -> None:
    """Everything that is one figure."""
    heading("Figures")
    print("| what | figure |", "| --- | --- |", sep="\n", flush=True)
    start_up()
    diagnoses()
    asyncio.run(probes())
    asyncio.run(ingest())
    asyncio.run(claim())


def main() -> None:
    figures()
    against_peers()
    many_connectors()
    queue.in_own_process()


if __name__ == "__main__":
    main()
