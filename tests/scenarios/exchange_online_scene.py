"""A tenant of Exchange Online whose on-premises server is gone: synced, with the incident that this opens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.backends.exchange_online.options import read_options
from bot.backends.ports import RecipientAnswer
from bot.core.events import EventKind
from bot.core.fix_plan import Plan
from bot.core.policy import Policy
from bot.sandbox.exchange_online import SandboxTenant
from bot.sandbox.mail_system import DomainType, MailSystem, Status, TenantConnector, TenantDomain
from bot.services.fix import Claimed, Fix, Refusal
from bot.services.syncing import Syncing
from storage import actions, audit, connectors, incidents
from storage.connection import Store
from storage.records import Action, Incident, ProbeRecord, StepKind
from tests.backends.exchange_online.bench import TO_ONPREM, TO_PARTNER, Clock, Waits, defer

NAME = "To on-prem"
DOMAIN, CONNECTOR = StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR
BOTH = (DOMAIN, CONNECTOR)
SENDER = "ann@contoso.test"
SET_DOMAIN, SET_CONNECTOR = "Set-AcceptedDomain", "Set-OutboundConnector"
ON = Policy(actions_on=True)


class Listed(ExchangeOnlineBackend):
    """A tenant whose recipients come from a list that somebody made so long ago; None: from its directory, now."""

    list_age: timedelta | None = None

    async def recipients(self, addresses: Iterable[str]) -> RecipientAnswer:
        found = await super().recipients(addresses)
        return found if self.list_age is None else replace(found, true_at=self._clock() - self.list_age)


@dataclass
class Scene:
    """`exchangers`: what DNS says of each domain's mail exchangers."""

    clock: Clock
    mail: MailSystem
    tenant: SandboxTenant
    backend: Listed
    store: Store
    policy: Policy = ON
    exchangers: dict[str, Sequence[str]] = field(default_factory=dict)
    incident: Incident | None = None

    def fix(self, **changes: Any) -> Fix:
        async def ask_dns(domain: str) -> Sequence[str]:
            return self.exchangers.get(domain, ())

        return Fix(
            self.store,
            {"exo": self.backend},
            self.dead,
            replace(self.policy, **changes),
            self.clock,
            settle=0.0,
            mail_exchangers=ask_dns,
        )

    async def dead(self, connector_id: int) -> ProbeRecord:
        """The probe: nobody answers there."""
        return probe_record(connector_id, self.clock, ok=False)

    def post(self, *recipients: str, hours: float = 3) -> list[tuple[str, str]]:
        """A message to each, accepted hours ago and deferred since."""
        refs = []
        for to in recipients:
            at = self.clock() - timedelta(hours=hours)
            ref = (self.mail.tenant.submit(SENDER, [to], now=self.clock(), received_at=at), to)
            defer(self.mail, ref, self.clock())
            refs.append(ref)
        return refs

    async def sync(self) -> None:
        syncing = Syncing(self.store, {"exo": self.backend}, self.policy, self.clock, default_channel="C1")
        await syncing.sync("exo")
        found = await self.store.read(incidents.open_everywhere)
        self.incident = next(iter(found), None)

    @property
    def number(self) -> int:
        """The open incident's."""
        assert self.incident is not None, "no incident was opened"
        return self.incident.id

    async def offered(self, fix: Fix, actor: str = "U1") -> Action:
        found = await fix.offer(self.number, actor)
        assert isinstance(found, Action), found
        return found

    async def plan(self) -> Plan:
        return Plan.from_json((await self.offered(self.fix())).plan)

    async def refusal(self) -> str:
        """Why nothing at all is offered."""
        found = await self.fix().offer(self.number, "U1")
        assert isinstance(found, Refusal), found
        return found.reason

    async def executed(self, fix: Fix, steps: tuple[StepKind, ...] = BOTH) -> str:
        action = await self.offered(fix)
        claimed = await fix.submit(action.id, "U1", steps, NAME)
        assert isinstance(claimed, Claimed), claimed
        await fix.execute(action.id)
        return action.id

    async def action(self, action_id: str) -> Action:
        found = await self.store.read(lambda db: actions.get(db, action_id))
        assert found is not None
        return found

    async def later(self, fix: Fix, **span: float) -> None:
        """Time passes: the mail system obeys and retries, the bot's tick looks."""
        self.clock.forward(**span)
        self.mail.tenant.sweep(self.clock())
        await fix.verify_due()

    async def told(self, kind: EventKind) -> list[Mapping[str, Any]]:
        """The data of every event of this kind, in order."""
        number = self.number
        return [e.data for e in await self.store.read(lambda db: incidents.events(db, number)) if e.kind == kind]

    async def audited(self) -> list[tuple[str, str, bool]]:
        return [(e.actor, e.verb, e.allowed) for e in await self.store.read(lambda db: list(audit.every(db)))]

    def changed(self) -> dict[str, int]:
        """How often each setting was changed."""
        done = self.tenant.faults.done
        return {name: done[name] for name in (SET_DOMAIN, SET_CONNECTOR) if done[name]}

    def statuses(self, recipient: str) -> set[Status]:
        return {e.status for e in self.mail.tenant.entries.values() if e.recipient == recipient}


def probe_record(connector_id: int, clock: Clock, *, ok: bool) -> ProbeRecord:
    """What our own probe found just now."""
    return ProbeRecord(
        connector_id=connector_id,
        at=clock(),
        ok=ok,
        code=None if ok else "4.4.316",
        cause=None if ok else "refused",
        status=None if ok else "450 4.4.316 Connection refused",
        stage="done" if ok else "connect",
        degraded=False,
        elapsed_ms=1,
        document="{}",
    )


async def connector_id(scene: Scene, key: str = TO_ONPREM) -> int:
    found = await scene.store.read(lambda db: connectors.by_key(db, "exo", key))
    assert found is not None
    return found.id


def seed(mail: MailSystem) -> None:
    """Two connectors, three accepted domains, a small directory."""
    tenant = mail.tenant
    for key, name, kind, domain in (
        (TO_ONPREM, NAME, "on_premises", "onprem.test"),
        (TO_PARTNER, "Partner", "partner", "fabrikam.test"),
    ):
        hosts = (f"mail.{domain}",)
        tenant.add_connector(
            TenantConnector(key=key, name=name, kind=kind, smart_hosts=hosts, recipient_domains=(domain,))
        )
    tenant.add_domain(TenantDomain(name="contoso.test", type=DomainType.AUTHORITATIVE))
    tenant.add_domain(TenantDomain(name="onprem.test"))
    tenant.add_recipients(SENDER, "bob@onprem.test", "eve@onprem.test")


@asynccontextmanager
async def scene(directory: Path) -> AsyncIterator[Scene]:
    """Not synced yet, and with no mail."""
    clock = Clock()
    async with MailSystem(clock=clock, tick=None, timeout=1.0) as mail, SandboxTenant(mail, clock=clock) as tenant:
        seed(mail)
        options = {k.removeprefix("MFI_EXO_"): v for k, v in tenant.environment("exo", certificate=False).items()}
        waits = Waits(clock)
        backend = Listed(
            "exo", read_options(options), clock=clock, pick=lambda _: 0, sleep=waits, monotonic=lambda: 0.0
        )
        store = await Store.open(directory / "mfi.db")
        try:
            yield Scene(clock, mail, tenant, backend, store)
        finally:
            await backend.close()
            await store.close()
