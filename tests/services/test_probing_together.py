"""Probes that are written together: nothing is lost, nothing is decided otherwise than one by one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult, TargetResult, TlsFacts, overall
from bot.probes.runner import ProbeRequest
from bot.services.probing import Probing
from knowledge.classify import Cause, Stage
from storage import connectors, incidents, messages, probes
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind, MessageFacts, MessageStatus

GOOD = TargetResult(host="mail.test", port=25, ip="192.0.2.1", banner="220 ready", capabilities=("DSN", "SMTPUTF8"))
SECOND = replace(GOOD, ip="192.0.2.2")
REFUSED = replace(GOOD, ok=False, code="4.4.316", cause=Cause.REFUSED, stage=Stage.CONNECT)
SILENT = replace(GOOD, ok=False, code="4.4.318", cause=Cause.STALLED, stage=Stage.BANNER)


MINUTE = timedelta(minutes=1)
DAY_ZERO = datetime(2026, 3, 1, tzinfo=UTC)


class Servers:
    """Each connector's server shows what `shows` says of its number at this moment; ends only when `gate` is open."""

    def __init__(self, shows: Callable[[int], ProbeResult]) -> None:
        self.shows = shows
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Semaphore(0)

    async def reached(self, count: int) -> None:
        """Wait until so many more probes were asked for."""
        for _ in range(count):
            await self.asked.acquire()

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        self.asked.release()
        await self.gate.wait()
        return self.shows(int(request.hosts[0].removeprefix("h").removesuffix(".test")))

    async def egress_open(self, targets: Sequence[tuple[str, int]], timeout: float) -> bool:
        return True


def facts(count: int) -> list[ConnectorFacts]:
    base = ConnectorFacts(backend="lab", key="", name="", kind=ConnectorKind.PARTNER)
    return [replace(base, key=str(n), name=f"C{n}", smart_hosts=(f"h{n}.test",)) for n in range(count)]


async def site(store: Store, clock: Any, servers: Servers, count: int) -> Probing:
    await store.write(lambda db: connectors.sync(db, "lab", facts(count), clock(), complete=True))
    return Probing(store, servers, Policy(), clock, default_port=25, default_channel="C1", monotonic=clock.monotonic)


async def all_probes(store: Store) -> int:
    return await store.read(lambda db: sum(len(probes.recent(db, n, 99)) for n in range(1, 70)))


async def test_many_that_end_at_once_are_all_written(store: Store, clock: Any) -> None:
    servers = Servers(lambda _: overall([GOOD], 1.0))
    probing = await site(store, clock, servers, 60)
    for round_ in range(1, 5):
        servers.gate.clear()
        everybody = [asyncio.create_task(probing.probe(n)) for n in range(1, 61)]
        await servers.reached(60)
        servers.gate.set()
        records = await asyncio.gather(*everybody)
        assert [r.connector_id for r in records] == list(range(1, 61))
        assert len({r.id for r in records}) == 60
        assert await all_probes(store) == 60 * round_
        clock.advance(minutes=5)


async def test_one_that_cannot_be_written_costs_the_others_nothing(store: Store, clock: Any) -> None:
    await store.write(
        lambda db: db.execute(
            """CREATE TRIGGER no_seven BEFORE INSERT ON probes WHEN NEW.connector_id = 7
                BEGIN SELECT RAISE(ABORT, 'seven is refused'); END"""
        )
    )
    servers = Servers(lambda _: overall([GOOD], 1.0))
    servers.gate.clear()
    probing = await site(store, clock, servers, 20)
    everybody = [asyncio.create_task(probing.probe(n)) for n in range(1, 21)]
    await servers.reached(20)
    servers.gate.set()
    outcomes = await asyncio.gather(*everybody, return_exceptions=True)
    assert [n for n, o in enumerate(outcomes, 1) if isinstance(o, Exception)] == [7]
    assert await all_probes(store) == 19
    (seven,) = [c for c in await store.read(connectors.every) if c.id == 7]
    assert seven.next_probe_at == clock() + timedelta(seconds=60)


async def test_closing_waits_for_what_is_being_written(tmp_path: Path, clock: Any) -> None:
    servers = Servers(lambda _: overall([GOOD], 1.0))
    async with await Store.open(tmp_path / "other.db", sole=True) as store:
        probing = await site(store, clock, servers, 40)
        everybody = [asyncio.create_task(probing.probe(n)) for n in range(1, 41)]
        await everybody[0]
        await probing.close()
        assert not any(t.get_name() == "record-probes" for t in asyncio.all_tasks())
        await asyncio.gather(*everybody, return_exceptions=True)


def mood(seed: int, minute: int, number: int) -> ProbeResult:
    """What a server shows at a time: mostly what it always shows, but everything changes now and then."""
    dice = random.Random(f"{seed} {number} {minute // 25}")
    kind = dice.choice(["steady", "steady", "refused", "silent", "flaky", "two", "one dead", "less", "expiring"])
    if kind == "flaky" and random.Random(f"{seed} {number} {minute}").random() < 0.4:
        return overall([REFUSED], 1.0)
    until = TlsFacts(sha256="ab", not_after=DAY_ZERO + timedelta(days=20 if kind == "expiring" else 300))
    less = replace(GOOD, capabilities=("DSN",))
    targets = {
        "refused": [REFUSED],
        "silent": [SILENT],
        "two": [GOOD, SECOND],
        "one dead": [GOOD, replace(REFUSED, ip="192.0.2.2")],
        "less": [less],
    }.get(kind, [GOOD])
    return overall([replace(t, tls=until) if t.ok else t for t in targets], 1.0)


def mail(clock: Any, number: int, minute: int, code: str | None) -> MessageFacts:
    return MessageFacts(
        backend="lab",
        key=f"m{number} {minute // 40}",
        recipient="a@b.test",
        sender="s@contoso.test",
        received_at=clock() - timedelta(minutes=minute % 40),
        expires_at=clock() + timedelta(days=1),
        code=code,
        reason=code and f"450 {code} Connection refused",
        status=MessageStatus.QUEUED,
    )


def queue(db: Database, seed: int, minute: int, clock: Any) -> None:
    """Mail waits at some connectors for some time, here and there with a reason."""
    waiting = []
    for number in range(6):
        kind = random.Random(f"{seed} mail {number} {minute // 40}").choice(["none", "none", "waits", "deferred"])
        if kind != "none":
            code = "4.4.316" if kind == "deferred" else None
            waiting.append((mail(clock, number, minute, code), number + 1))
    messages.sync(db, "lab", waiting, clock(), complete=True)


def told(db: Database) -> list[Any]:
    """Everything that triage decided."""
    tables = ("incidents", "incident_events", "connectors")
    outbox = db.execute("SELECT incident_id, revision, kind, state FROM outbox ORDER BY id").fetchall()
    return [db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables] + [outbox]


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_decided_otherwise_than_by_looking_at_everything_every_time(
    tmp_path: Path, clock: Any, seed: int
) -> None:
    """One bot knows what is usual; the other begins anew before every probe, so it must always look at everything."""
    begun: datetime = clock.now
    seen: list[list[Any]] = []
    for forgetful in (False, True):
        clock.now = begun

        def shows(number: int) -> ProbeResult:
            return mood(seed, int((clock.now - begun) / MINUTE), number)

        servers = Servers(shows)
        async with await Store.open(tmp_path / f"{forgetful}.db", sole=True) as store:
            probing = await site(store, clock, servers, 6)
            for minute in range(0, 240, 5):
                await store.write(lambda db, m=minute: queue(db, seed, m, clock))
                for number in range(1, 7):
                    if forgetful:
                        probing = await site(store, clock, servers, 6)
                    await probing.probe(number)
                clock.advance(minutes=5)
            seen.append(await store.read(told))
            assert len(await store.read(lambda db: incidents.recent(db, 99))) > 5
    assert seen[0] == seen[1]
