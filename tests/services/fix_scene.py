"""A tenant with one dead on-premises connector, synced into a store, and Fix now over it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.backends.lab import LabBackend
from bot.core.events import EventKind
from bot.core.policy import Policy
from bot.sandbox.mail_system import (
    DomainType,
    Fault,
    MailSystem,
    Operation,
    Status,
    TenantConnector,
    TenantDomain,
)
from bot.services.fix import Claimed, Fix
from bot.services.timeline import record_event
from storage import actions, audit, connectors, domains, incidents, messages, syncs
from storage.connection import Store
from storage.records import (
    Action,
    IncidentState,
    ProbeRecord,
    Severity,
    StepKind,
    StepState,
)

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALL = (StepKind.REJECT_INVALID, StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR)
NAME = "To on-premises"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Probe:
    """Says what it was told to, and remembers whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.ok = False

    async def __call__(self, connector_id: int) -> ProbeRecord:
        self.asked.append(connector_id)
        return ProbeRecord(
            connector_id=connector_id,
            at=START,
            ok=self.ok,
            code=None if self.ok else "4.4.316",
            cause=None if self.ok else "refused",
            status=None if self.ok else "450 4.4.316 Connection refused",
            stage="connect",
            degraded=False,
            elapsed_ms=1,
            document="{}",
        )


@dataclass
class Scene:
    """A tenant with one dead on-premises connector, synced, with one open incident."""

    clock: Clock
    system: MailSystem
    backend: LabBackend
    store: Store
    probe: Probe
    policy: Policy
    incident_id: int = 0

    def fix(self, *, at: str = "", then: Callable[[], object] = lambda: None, **changes: Any) -> Fix:
        """Fix now; when it passes the point `at`, `then` happens."""
        policy = replace(self.policy, **changes)

        def mark(point: str) -> None:
            if point == at:
                then()

        return Fix(self.store, {"lab": self.backend}, self.probe, policy, self.clock, settle=0.0, mark=mark)

    def fault(self, operation: Operation, fault: Fault, times: int | None = None) -> Callable[[], None]:
        return lambda: self.system.faults.set(operation, fault, times=times)

    async def sync(self) -> None:
        seen = await self.backend.snapshot()
        assert seen.connectors is not None
        assert seen.domains is not None
        assert seen.messages is not None
        now = self.clock.now

        def keep(db: Any) -> None:
            connectors.sync(db, "lab", seen.connectors or (), now, complete=True)
            ids = {c.key: c.id for c in connectors.every(db)}
            rows = [(m, ids.get(m.connector_key or "")) for m in seen.messages or ()]
            domains.sync(db, "lab", seen.domains or (), now, complete=True)
            messages.sync(db, "lab", rows, now, complete=True)
            syncs.finish(db, syncs.begin(db, "lab", now), now, {})

        await self.store.write(keep)

    async def open_incident(self, code: str = "4.4.316", key: str = "c1") -> int:
        def work(db: Any) -> int:
            connector = connectors.by_key(db, "lab", key)
            assert connector is not None
            made = incidents.insert(
                db,
                connector_id=connector.id,
                code=code,
                severity=Severity.WARNING,
                now=self.clock.now,
                first_failure_at=self.clock.now,
                channel="C1",
            )
            record_event(db, made.id, EventKind.OPENED, now=self.clock.now, data={"code": code})
            return made.id

        return await self.store.write(work)

    async def action(self, action_id: str) -> Action:
        found = await self.store.read(lambda db: actions.get(db, action_id))
        assert found is not None
        return found

    async def steps(self, action_id: str) -> list[StepState]:
        return [s.state for s in await self.store.read(lambda db: actions.steps(db, action_id))]

    async def state(self) -> IncidentState:
        found = await self.store.read(lambda db: incidents.get(db, self.incident_id))
        assert found is not None
        return found.state

    async def told(self) -> list[str]:
        return [e.kind for e in await self.store.read(lambda db: incidents.events(db, self.incident_id))]

    async def last(self, kind: EventKind) -> Any:
        events = await self.store.read(lambda db: incidents.events(db, self.incident_id))
        return [e for e in events if e.kind == kind][-1].data

    async def audited(self) -> list[tuple[str, str, bool]]:
        """What was tried, the newest first."""
        entries = await self.store.read(lambda db: audit.recent(db, 100))
        return [(e.actor, e.verb, e.allowed) for e in entries if e.verb in ("fix", "fix.undo")]

    async def results(self) -> list[tuple[str, str]]:
        """What came of it, the oldest first."""
        entries = await self.store.read(lambda db: list(audit.every(db)))
        return [(e.actor, e.verb) for e in entries if e.verb not in ("fix", "fix.undo")]

    async def offered(self, fix: Fix) -> Action:
        found = await fix.offer(self.incident_id, "U1")
        assert isinstance(found, Action), found
        return found

    async def executed(self, fix: Fix, steps: tuple[StepKind, ...] = ALL) -> str:
        action = await self.offered(fix)
        assert isinstance(await fix.submit(action.id, "U1", steps, NAME), Claimed)
        await fix.execute(action.id)
        return action.id

    def statuses(self, recipient: str) -> set[Status]:
        return {e.status for e in self.system.tenant.entries.values() if e.recipient == recipient}


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def seed(system: MailSystem) -> None:
    tenant = system.tenant
    tenant.add_connector(
        TenantConnector(
            key="c1",
            name=NAME,
            smart_hosts=("127.0.0.1",),
            port=closed_port(),
            recipient_domains=("onprem.test",),
        )
    )
    tenant.add_domain(TenantDomain(name="onprem.test"))
    tenant.add_domain(TenantDomain(name="contoso.test", type=DomainType.AUTHORITATIVE))
    tenant.add_recipients("valid@onprem.test", "one@contoso.test", "two@contoso.test")
    age = START - 5 * HOUR
    tenant.submit("one@contoso.test", ["valid@onprem.test", "gone@onprem.test"], now=START, received_at=age, key="m1")
    tenant.submit("one@contoso.test", ["gone@onprem.test"], now=START, received_at=age, key="m2")
    tenant.submit("two@contoso.test", ["left@onprem.test"], now=START, received_at=age, key="m3")
    tenant.submit("two@contoso.test", ["valid@onprem.test"], now=START, received_at=age, key="m4")
