"""A fix that is killed at a labelled point of its saga: the mail system lives on, the bot's process dies.

Run as a program it is the process that dies: it has everything imported, and forks itself for every line that it reads.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.backends.lab import LabBackend
from bot.core.policy import Policy
from bot.sandbox.mail_system import MailSystem, Operation, TenantConnector, TenantDomain
from bot.services.fix import Claimed, Fix
from storage import actions, connectors, domains, incidents, messages, outbox, probes, syncs
from storage.connection import Store
from storage.records import Action, IncidentEvent, ProbeRecord, Severity, StepKind

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ALL = (StepKind.REJECT_INVALID, StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR)
ACTS = (Operation.REJECT, Operation.DOMAIN_TYPE, Operation.SWITCH)
RETRY = (StepKind.RETRY_QUEUE,)
POLICY = Policy(actions_on=True, fixes_per_hour=1000)
GOOD_PROBE = ProbeRecord(
    connector_id=1,
    at=START,
    ok=True,
    code=None,
    cause=None,
    status=None,
    stage="done",
    degraded=False,
    elapsed_ms=1,
    document="{}",
)


async def good_probe(connector_id: int) -> ProbeRecord:
    """The server answers whenever it is asked."""
    return replace(GOOD_PROBE, connector_id=connector_id)


def fix_on(
    store: Store,
    backend: LabBackend,
    mark: Callable[[str], None] | None = None,
    *,
    after: timedelta = timedelta(0),
    approvals: int = 1,
) -> Fix:
    """Fix now as it is so long after START."""
    policy = replace(POLICY, fix_approvals=approvals)
    return Fix(store, {"lab": backend}, good_probe, policy, lambda: START + after, settle=0.0, mark=mark)


def seed(system: MailSystem, count: int) -> None:
    """So many connectors whose server refuses, with one message to somebody and one to nobody each."""
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


@dataclass
class Stage:
    """The mail system that lives on, and the database that the killed process leaves behind."""

    system: MailSystem
    backend: LabBackend
    store: Store
    path: Path
    numbers: list[int]

    def seen(self) -> list[int]:
        """How often each act reached the mail system."""
        return [self.system.faults.seen.get(act, 0) for act in ACTS]

    async def offered(self, *, retry: bool = False) -> Action:
        fix = fix_on(self.store, self.backend)
        offer = await (fix.offer_retry if retry else fix.offer)(self.numbers[0], "U1")
        assert isinstance(offer, Action), offer
        return offer

    async def action(self, action_id: str) -> Action:
        found = await self.store.read(lambda db: actions.get(db, action_id))
        assert found is not None
        return found

    async def events(self) -> list[IncidentEvent]:
        """What happened to the incident by Fix now, in order."""
        every = await self.store.read(lambda db: incidents.events(db, self.numbers[0]))
        return [event for event in every if event.kind.startswith("fix_")]

    async def owed(self) -> set[int | None]:
        """Events that the thread is owed."""
        return {item.event_id for item in await self.store.read(lambda db: outbox.recent(db, 1000))}

    async def probed(self) -> None:
        """The bot's last probe was good."""
        await self.store.write(lambda db: probes.record(db, GOOD_PROBE))


@asynccontextmanager
async def stage(path: Path, count: int = 1) -> AsyncIterator[Stage]:
    """Seeded, synced, with open incidents."""
    async with MailSystem(clock=lambda: START, tick=None, timeout=1.0) as system:
        seed(system, count)
        await system.retry()
        backend = LabBackend("lab", system.api_url, timeout=5.0)
        store = await Store.open(path)
        try:
            yield Stage(system, backend, store, path, await sync(store, backend))
        finally:
            await backend.close()
            await store.close()


# The process that dies

MINUTES = {"lapse": 31, "look": 10, "verify": 60, "undo": 61}
"""How long after START a job is done; the others: at once."""


async def _do(job: str, fix: Fix, action_id: str) -> object:
    """One job of the bot, from its beginning."""
    if job == "approve":
        assert isinstance(await fix.approve(action_id, "U2"), Claimed)
        return await fix.execute(action_id)
    if job == "decline":
        return await fix.decline(action_id, "U2")
    if job in ("lapse", "look", "verify"):
        return await fix.verify_due()
    if job == "undo":
        return await fix.undo(action_id, "U1")
    await fix.submit(action_id, "U1", RETRY if job == "retry" else ALL, "C0")
    return await fix.execute(action_id)


async def _run_and_die(path: str, url: str, job: str, action_id: str, point: str) -> None:
    def mark(passed: str) -> None:
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    after = timedelta(minutes=MINUTES.get(job, 0))
    approvals = 2 if job in ("ask", "approve", "decline", "lapse") else 1
    store, backend = await Store.open(Path(path)), LabBackend("lab", url)
    await _do(job, fix_on(store, backend, mark, after=after, approvals=approvals), action_id)


class Mortal:
    """Forks a process for every job, and says how it ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, *words: str) -> int:
        """The exit status: -9 when it was killed."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        return int(await asyncio.wait_for(self._process.stdout.readline(), 30))

    async def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), 10)


async def mortal() -> Mortal:
    """Started, with everything imported once."""
    pipe = asyncio.subprocess.PIPE
    root = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, stdin=pipe, stdout=pipe, env={**os.environ, "PYTHONPATH": root}
    )
    return Mortal(process)


def _serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(_run_and_die(*json.loads(line)))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
