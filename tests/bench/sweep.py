"""Ten thousand connectors on one bot: does every probe begin when it is due? Real store and real probing, no network.

Run it alone with `python -m tests.bench.sweep [connectors] [seconds]`.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult, TargetResult, TlsFacts, overall
from bot.core.probe_schedule import interval, spread
from bot.probes.runner import ProbeRequest
from bot.services.probing import Probing
from knowledge.classify import Cause, Stage
from storage import connectors
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind

EVERY = timedelta(seconds=60)
TOOK = 0.02
"""Seconds that each probe pretends to take."""
FAILING = 100
"""One connector of so many is dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came out. Lags in seconds, over all sweeps after the first and for the first one."""

    probes: int
    never: int
    first_p99: float
    lag_p50: float
    lag_p99: float
    lag_most: float
    busiest: int
    cpu: float
    rss_mib: float


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
        seen = await store.read(lambda db: list(db.query("SELECT connector_id AS id, at FROM probes ORDER BY id")))
        await store.close()
    due = spread(every, policy, begun) or {c.id: begun for c in every}
    waits = {c.id: interval(c, policy) for c in every}
    first: list[float] = []
    later: list[float] = []
    for row in seen:
        at = datetime.fromtimestamp(row["at"] / 1000, UTC)
        lag = (at - due[row["id"]]).total_seconds() - TOOK
        (later if row["id"] in waits and due[row["id"]] > begun + EVERY else first).append(lag)
        due[row["id"]] = at + waits[row["id"]]
    never = sum(due[c.id] <= datetime.now(UTC) - EVERY for c in every)
    first.sort()
    later.sort()
    return Figures(
        probes=len(seen),
        never=never,
        first_p99=_at(first, 0.99),
        lag_p50=_at(later, 0.5),
        lag_p99=_at(later, 0.99),
        lag_most=_at(later, 1.0),
        busiest=max(network.begun.values()),
        cpu=cpu,
        rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _at(ordered: Sequence[float], part: float) -> float:
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def main() -> None:
    logging.disable(logging.WARNING)
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 180.0
    print(asyncio.run(sweep(number, seconds)))


if __name__ == "__main__":
    main()
