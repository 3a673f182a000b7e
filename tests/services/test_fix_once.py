"""Exactly one execution: under simultaneous clicks, and when the process is killed at each point of the saga."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import bot
from bot.backends.lab import LabBackend
from bot.core.policy import Policy
from bot.sandbox.mail_system import MailSystem, Operation, Status, TenantConnector, TenantDomain
from bot.services.fix import Claimed, Fix, Refusal
from storage import actions, audit, connectors, domains, incidents, messages, syncs
from storage.connection import Store
from storage.records import Action, ActionState, ProbeRecord, Severity, StepKind

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ALL = (StepKind.REJECT_INVALID, StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR)
ACTS = (Operation.REJECT, Operation.DOMAIN_TYPE, Operation.SWITCH)
CLICKERS = 8
OFFERS = 50
POINTS = [
    "claimed",
    "executing",
    "looked",
    *(f"{point} {kind}" for kind in ALL for point in ("intended", "acted", "judged")),
    "finished",
]


def clock() -> datetime:
    return START


async def no_probe(connector_id: int) -> ProbeRecord:
    raise AssertionError(f"connector {connector_id} has nothing to be probed for")


def fix_on(store: Store, backend: LabBackend, mark: Any = None) -> Fix:
    return Fix(
        store, {"lab": backend}, no_probe, Policy(actions_on=True, fixes_per_hour=1000), clock, settle=0.0, mark=mark
    )


def seed(system: MailSystem, count: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    for n in range(count):
        hosts, name = ("127.0.0.1",), f"d{n}.test"
        system.tenant.add_connector(
            TenantConnector(key=f"c{n}", name=f"C{n}", smart_hosts=hosts, port=port, recipient_domains=(name,))
        )
        system.tenant.add_domain(TenantDomain(name=name))
        system.tenant.add_recipients(f"valid@{name}")
        for who in ("valid", "gone"):
            system.tenant.submit("one@contoso.test", [f"{who}@{name}"], now=START, key=f"m{n}-{who}")


async def sync(store: Store, backend: LabBackend) -> list[int]:
    """Take over everything and open one incident per connector."""
    seen = await backend.snapshot()

    def keep(db: Any) -> list[int]:
        connectors.sync(db, "lab", seen.connectors or (), START, complete=True)
        ids = {c.key: c.id for c in connectors.every(db)}
        domains.sync(db, "lab", seen.domains or (), START, complete=True)
        rows = [(m, ids[m.connector_key or ""]) for m in seen.messages or ()]
        messages.sync(db, "lab", rows, START, complete=True)
        syncs.finish(db, syncs.begin(db, "lab", START), START, {})
        facts = {"code": "4.4.316", "severity": Severity.WARNING, "channel": "C1"}
        made = [incidents.insert(db, connector_id=i, now=START, first_failure_at=START, **facts) for i in ids.values()]
        return [incident.id for incident in made]

    return await store.write(keep)


@asynccontextmanager
async def scene(path: Path, count: int) -> AsyncIterator[tuple[MailSystem, LabBackend, Store, list[int]]]:
    async with MailSystem(clock=clock, tick=None, timeout=1.0) as system:
        seed(system, count)
        await system.retry()
        backend = LabBackend("lab", system.api_url, timeout=5.0)
        store = await Store.open(path)
        try:
            yield system, backend, store, await sync(store, backend)
        finally:
            await backend.close()
            await store.close()


async def test_eight_submits_on_each_of_fifty_offers_make_fifty_executions(tmp_path: Path) -> None:
    async with scene(tmp_path / "mfi.db", OFFERS) as (system, backend, store, numbers):
        fix = fix_on(store, backend)
        offers = await asyncio.gather(*(fix.offer(number, "U1") for number in numbers))
        assert all(isinstance(one, Action) for one in offers)

        async def click(offer: Action, clicker: int) -> Claimed | Refusal:
            name = f"C{offer.connector_id - 1}"
            outcome = await fix.submit(offer.id, f"U{clicker}", ALL, name)
            if isinstance(outcome, Claimed):
                await fix.execute(offer.id)
            return outcome

        clicks = [click(one, n) for one in offers if isinstance(one, Action) for n in range(CLICKERS)]
        outcomes = await asyncio.gather(*clicks)
        assert sum(isinstance(one, Claimed) for one in outcomes) == OFFERS
        refusals = [one for one in outcomes if isinstance(one, Refusal)]
        assert len(refusals) == OFFERS * (CLICKERS - 1)
        assert all("did this already" in one.reason for one in refusals)
        assert [system.faults.seen[act] for act in ACTS] == [OFFERS] * 3
        assert len(system.tenant.mailboxes["one@contoso.test"]) == OFFERS
        tries = [e for e in await store.read(lambda db: audit.recent(db, 1000)) if e.verb == "fix"]
        assert (sum(e.allowed for e in tries), len(tries)) == (OFFERS, OFFERS * CLICKERS)


async def test_eight_clickers_with_an_offer_each_execute_once(tmp_path: Path) -> None:
    async with scene(tmp_path / "mfi.db", 1) as (system, backend, store, numbers):
        fix = fix_on(store, backend)
        offers = await asyncio.gather(*(fix.offer(numbers[0], f"U{n}") for n in range(CLICKERS)))
        ids = [one.id for one in offers if isinstance(one, Action)]
        assert len(set(ids)) == CLICKERS
        outcomes = await asyncio.gather(*(fix.submit(one, "U1", ALL, "C0") for one in ids))
        await asyncio.gather(*(fix.execute(one) for one in ids))
        assert sum(isinstance(one, Claimed) for one in outcomes) == 1
        assert [system.faults.seen[act] for act in ACTS] == [1] * 3


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_any_point_nothing_is_done_twice_and_all_of_it_can_be_finished(
    tmp_path: Path, point: str
) -> None:
    path = tmp_path / "mfi.db"
    async with scene(path, 1) as (system, backend, store, numbers):
        offer = await fix_on(store, backend).offer(numbers[0], "U1")
        assert isinstance(offer, Action)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, str(path), system.api_url, offer.id, point),
            env={**os.environ, "PYTHONPATH": str(Path(bot.__file__).parents[1])},
        )
        assert await asyncio.wait_for(child.wait(), 30) == -signal.SIGKILL

        fix = fix_on(store, backend)
        await fix.recover()
        after = await store.read(lambda db: actions.get(db, offer.id))
        assert after is not None
        whole = point in ("claimed", "executing", "looked", "acted disable_connector", "judged disable_connector")
        assert after.state is (ActionState.VERIFYING if whole or point == "finished" else ActionState.FAILED)
        assert all(system.faults.seen.get(act, 0) <= 1 for act in ACTS)

        if after.state is ActionState.FAILED:
            again = await fix.offer(numbers[0], "U1")
            assert isinstance(again, Action)
            kinds = [kind for kind, act in zip(ALL, ACTS, strict=True) if not system.faults.seen.get(act)]
            assert isinstance(await fix.submit(again.id, "U1", kinds, "C0"), Claimed)
            await fix.execute(again.id)
        assert [system.faults.seen[act] for act in ACTS] == [1] * 3
        assert len(system.tenant.mailboxes["one@contoso.test"]) == 1
        assert system.tenant.entries[("m0-valid", "valid@d0.test")].status is Status.QUEUED


async def _run_and_die(path: str, url: str, action_id: str, point: str) -> None:
    def mark(passed: str) -> None:
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    fix = fix_on(await Store.open(Path(path)), LabBackend("lab", url), mark)
    await fix.submit(action_id, "U1", ALL, "C0")
    await fix.execute(action_id)


if __name__ == "__main__":
    asyncio.run(_run_and_die(*sys.argv[1:5]))
