"""Ten thousand connectors on one bot: does every probe begin when it is due? Real store and real probing, no network.

Run it alone with `python -m tests.bench.sweep [connectors] [seconds]`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult, TargetResult, TlsFacts, overall
from bot.core.probe_schedule import spread
from bot.probes.runner import ProbeRequest
from bot.services.probing import Probing
from knowledge.classify import Cause, Stage
from storage import connectors
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind
from tests.bench.lags import Lags, at, lags

EVERY = timedelta(seconds=60)
TOOK = 0.02
"""Seconds that each probe pretends to take."""
FAILING = 100
"""One connector of so many is dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came out. `busiest`: probes that began in one second; `cpu`: cores in use."""

    connectors: int
    lags: Lags
    busiest: int
    cpu: float


class InstantNetwork:
    """Every server answers in the same time; a few are dead. Counts how many probes begin in each second."""

    def __init__(self) -> None:
        self.begun: dict[int, int] = {}
        until = datetime.now(UTC) + timedelta(days=200)
        self._tls = TlsFacts(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", verified=True, issuer="CN=ca.test",
                             subject="CN=mail.test", san=("mail.test",), not_after=until, days_left=200,
                             sha256="ab" * 32)  # fmt: skip

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        second = int(time.monotonic())
        self.begun[second] = self.begun.get(second, 0) + 1
        await asyncio.sleep(TOOK)
        host = request.hosts[0]
        if int(host.removeprefix("mail").partition(".")[0]) % FAILING == 0:
            dead = TargetResult(host=host, port=25, ok=False, code="4.4.316", cause=Cause.REFUSED, stage=Stage.CONNECT)
            return overall([dead], TOOK * 1000)
        timings = {stage: 3.0 for stage in Stage if stage is not Stage.DONE}
        good = TargetResult(host=host, port=25, ip="192.0.2.1", banner=f"220 {host} ESMTP", timings=timings,
                            tls=self._tls, capabilities=("8BITMIME", "PIPELINING", "SIZE 35882577"))  # fmt: skip
        return overall([good], TOOK * 1000)

    async def egress_open(self, targets: Sequence[tuple[str, int]], timeout: float) -> bool:
        return True


async def sweep(number: int = 10_000, seconds: float = 180.0) -> Figures:
    """Probe `number` connectors, all listed at one moment, on a 60 s interval for so long."""
    policy = Policy(probe_interval=EVERY, probe_interval_failing=EVERY)
    network = InstantNetwork()
    facts = [
        ConnectorFacts(
            backend="bench", key=f"k{n}", name=f"C{n}", kind=ConnectorKind.ON_PREMISES, smart_hosts=(f"mail{n}.test",)
        )
        for n in range(number)
    ]
    with tempfile.TemporaryDirectory() as directory:
        store = await Store.open(Path(directory) / "mfi.db", sole=True)
        probing = Probing(
            store, network, policy, lambda: datetime.now(UTC), default_port=25, default_channel="C1", concurrency=64
        )
        begun, cpu = datetime.now(UTC), time.process_time()
        await store.write(lambda db: connectors.sync(db, "bench", facts, begun, complete=True))
        await probing.recover()
        every = await store.read(connectors.every)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await probing.tick()
            await asyncio.sleep(1.0)
        await probing.close()
        cpu = (time.process_time() - cpu) / seconds
        due = spread(every, policy, begun) or {c.id: begun for c in every}
        found = await store.read(lambda db: lags(db, every, policy, due))
        await store.close()
    return Figures(connectors=number, lags=found, busiest=max(network.begun.values()), cpu=cpu)


def markdown(found: Figures) -> list[str]:
    """As a table."""
    first, later = found.lags.first, found.lags.later
    return [
        f"| {found.connectors:,} connectors at once, every {EVERY.seconds} s, no network | |",
        "| --- | --- |",
        f"| first sweep: begun after due, p99 | {at(first, 0.99):.1f} s |",
        f"| later: begun after due, p50 / p99 / most | "
        f"{at(later, 0.5):.1f} / {at(later, 0.99):.1f} / {at(later, 1.0):.1f} s |",
        f"| begun in the busiest second | {found.busiest} |",
        f"| connectors left out | {found.lags.never} |",
        f"| CPU | {found.cpu:.2f} cores |",
    ]


def main() -> None:
    logging.disable(logging.WARNING)
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 180.0
    print(*markdown(asyncio.run(sweep(number, seconds))), sep="\n")


if __name__ == "__main__":
    main()
