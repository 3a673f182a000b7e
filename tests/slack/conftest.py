"""One small world for the Slack tests: a moment, a connector, an incident and everything around them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.core.capabilities import Capability
from bot.core.events import EventKind
from bot.core.fix_plan import Plan, PlanStep, SenderCount
from bot.core.permissions import Admins
from bot.core.policy import Policy
from bot.core.views import ConnectorView, Difference, Disagreement, IncidentView, StatusView
from bot.sandbox.slack import AppConfig, SandboxSlack
from bot.services.fix import Claimed, Refusal, Undone
from bot.services.timeline import record_event
from bot.slack.client import make_client
from bot.slack.deps import SlackDeps
from bot.slack.guard import Guard
from bot.slack.listeners import build_app
from bot.slack.manifest import manifest
from bot.slack.socket import GuardedSocket, Pace
from storage import actions, connectors, incidents, probes
from storage.connection import Store
from storage.records import (
    Action,
    ActionState,
    CodeCount,
    Connector,
    ConnectorKind,
    Incident,
    IncidentEvent,
    IncidentState,
    OutboxState,
    ProbeRecord,
    QueueSummary,
    Severity,
    StepKind,
    TlsSetting,
)
from tests.slack.queue_world import QueueWorld

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class World(QueueWorld):
    """Builds view models; every text that comes from outside is `foreign` when that is given."""

    def __init__(self, foreign: str | None = None) -> None:
        self.foreign = foreign
        self.now = NOW

    def text(self, usual: str) -> str:
        return self.foreign if self.foreign is not None else usual

    def connector(self, **changes: Any) -> Connector:
        made = Connector(
            id=7,
            backend="lab",
            key="key-7",
            name=self.text("Contoso inbound"),
            kind=ConnectorKind.ON_PREMISES,
            smart_hosts=(self.text("mail.contoso.com"),),
            recipient_domains=(self.text("contoso.com"),),
            tls_setting=TlsSetting.OPPORTUNISTIC,
            partner_contact=self.text("postmaster of Fabrikam"),
            next_probe_at=NOW,
            changed_at=NOW,
        )
        return replace(made, **changes)

    def queue(self, count: int = 42, code: str | None = "4.4.316") -> QueueSummary:
        return QueueSummary(
            by_code=(
                CodeCount(
                    code=code,
                    count=count,
                    oldest_received_at=NOW - 5 * HOUR,
                    first_expiry_at=NOW + 19 * HOUR,
                    reason=self.text("450 4.4.316 Connection refused [Message=Socket error code 10061]"),
                    remote_host=self.text("mail.contoso.com"),
                    remote_ip=self.text("192.0.2.7"),
                ),
            )
        )

    def probe(self, ok: bool = False, **changes: Any) -> ProbeRecord:
        target = {
            "host": self.text("mail.contoso.com"),
            "ip": self.text("192.0.2.7"),
            "port": 25,
            "ok": ok,
            "code": None if ok else "4.4.316",
            "cause": None if ok else "refused",
            "stage": "done" if ok else "connect",
            "detail": self.text("connection refused"),
            "banner": self.text("220 mail.contoso.com ESMTP"),
            "timings_ms": {"dns": 3.2, "connect": 12.7} | ({"banner": 30.0, "ehlo": 31.0} if ok else {}),
        }
        made = ProbeRecord(
            id=3,
            connector_id=7,
            at=NOW - timedelta(minutes=1),
            ok=ok,
            code=None if ok else "4.4.316",
            cause=None if ok else "refused",
            status=None if ok else self.text("450 4.4.316 Connection refused"),
            stage="done" if ok else "connect",
            degraded=False,
            elapsed_ms=420,
            document=json.dumps({"targets": [target, {**target, "host": self.text("mail2.contoso.com")}]}),
        )
        return replace(made, **changes)

    def incident(self, state: IncidentState = IncidentState.FIRING, **changes: Any) -> Incident:
        made = Incident(
            id=12,
            connector_id=7,
            code="4.4.316",
            state=state,
            severity=Severity.CRITICAL,
            opened_at=NOW - 4 * HOUR,
            updated_at=NOW,
            first_failure_at=NOW - 5 * HOUR,
            channel="C0ALERTS",
            ts="1772415600.000100",
        )
        return replace(made, **changes)

    def view(self, state: IncidentState = IncidentState.FIRING, **changes: Any) -> IncidentView:
        made = IncidentView(
            incident=self.incident(state),
            connector=self.connector(),
            queue=self.queue(),
            now=NOW,
            probe=self.probe(),
            events=(self.event("opened", by="both"),),
            disagreement=Disagreement.FIREWALL_ADMITS_BOT_ONLY,
            differences=(
                Difference(what=self.text("certificate"), before=self.text("a1:b2"), after=self.text("c3:d4")),
            ),
            capabilities=frozenset(Capability),
            queue_read_at=NOW - timedelta(minutes=2),
            clock=self.clock(),
        )
        return replace(made, **changes)

    def event(self, kind: str, actor: str | None = "U0ADMIN1", **data: Any) -> IncidentEvent:
        return IncidentEvent(
            id=5, incident_id=12, revision=2, at=NOW - timedelta(minutes=3), kind=kind, actor=actor, data=data
        )

    def row(self, incidents: int = 1, **changes: Any) -> ConnectorView:
        made = ConnectorView(
            connector=self.connector(),
            queue=self.queue(),
            now=NOW,
            probe=self.probe(),
            incidents=tuple(self.incident(id=12 + n) for n in range(incidents)),
            clock=self.clock(),
            queue_read_at=NOW - timedelta(minutes=2),
        )
        return replace(made, **changes)

    def status(self, *rows: ConnectorView, **changes: Any) -> StatusView:
        made = StatusView(
            now=NOW,
            connectors=rows or (self.row(),),
            unassigned=self.queue(3, None),
            outbox={OutboxState.PENDING: 2, OutboxState.DEAD: 1},
            dead=(self.text("reply of #12 for C0ALERTS, 3 min old: is_archived"),),
            syncs={self.text("lab"): self.text("read 2 min ago")},
        )
        return replace(made, **changes)


@pytest.fixture
def world() -> World:
    """The usual world."""
    return World()


@pytest.fixture
def foreign_world() -> Callable[[str], World]:
    """A world in which every text from outside is the given one."""
    return World


# --- the surface on a real store and the stand-in Slack ------------------------------------------------------------


class FakeProbing:
    """Answers with what a test wants; remembers who asked."""

    def __init__(self, store: Store, world: World) -> None:
        self.store, self.world = store, world
        self.asked: list[tuple[int, str | None]] = []
        self.ok = False
        self.error: Exception | None = None

    async def probe(self, connector_id: int, *, actor: str | None = None) -> ProbeRecord:
        self.asked.append((connector_id, actor))
        if self.error:
            raise self.error
        made = self.world.probe(self.ok, connector_id=connector_id, id=None)
        return await self.store.write(lambda db: probes.record(db, made))


class FakeFix:
    """Offers one plan, claims once, remembers everything."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self.store, self.clock = store, clock
        self.refusal: Refusal | None = None
        self.error: Exception | None = None
        self.executed: list[str] = []
        self.undone: list[tuple[str, str]] = []
        self.plan = Plan(
            incident_id=1,
            backend="lab",
            connector_key="key-7",
            connector_name="Contoso inbound",
            code="4.4.316",
            dry_run=False,
            waiting=9,
            valid_waiting=2,
            unknown_waiting=0,
            invalid_recipients=7,
            steps=(
                PlanStep(
                    kind=StepKind.REJECT_INVALID,
                    title="Reject 7 messages",
                    effect="Their senders get a bounce.",
                    count=7,
                    irreversible="A bounce can't be called back.",
                    senders=(SenderCount(sender="app@fabrikam.test", count=7),),
                ),
                PlanStep(kind=StepKind.DISABLE_CONNECTOR, title="Disable it", effect="2 stay queued.", count=2),
            ),
        )

    async def offer(self, incident_id: int, actor: str) -> Action | Refusal:
        if self.error:
            raise self.error
        if self.refusal:
            return self.refusal
        now = self.clock()
        made = Action(
            id=f"act{len(self.executed)}{incident_id}{actor}",
            incident_id=incident_id,
            connector_id=1,
            state=ActionState.OFFERED,
            offered_at=now,
            offered_to=actor,
            expires_at=now + timedelta(minutes=10),
            plan=self.plan.to_json(),
        )
        await self.store.write(lambda db: actions.offer(db, made))
        return made

    async def submit(self, action_id: str, actor: str, steps: Any, typed_name: str) -> Claimed | Refusal:
        if self.refusal:
            return self.refusal
        claimed = await self.store.write(lambda db: actions.claim(db, action_id, actor, steps, self.clock()))
        if claimed is None:
            first = await self.store.read(lambda db: actions.get(db, action_id))
            return Refusal(reason=f"<@{first.claimed_by}> did this already at 03:00 UTC.", actor=first.claimed_by)
        return Claimed(action=claimed, plan=self.plan, dry_run=self.plan.dry_run, lines=("Reject 7 messages",))

    async def offer_retry(self, incident_id: int, actor: str) -> Action | Refusal:
        step = PlanStep(kind=StepKind.RETRY_QUEUE, title="Try 9 waiting messages again now", effect="At once.", count=9)
        self.plan = replace(self.plan, steps=(step,))
        return await self.offer(incident_id, actor)

    async def request(self, actor: str) -> Action:
        """What waits for a second person, of incident 1."""
        offer = await self.offer(1, actor)
        assert isinstance(offer, Action)
        until = self.clock() + timedelta(minutes=30)
        steps = [step.kind for step in self.plan.steps]
        asked = await self.store.write(
            lambda db: actions.request(db, offer.id, actor, steps, expires_at=until, now=self.clock())
        )
        assert asked is not None
        return asked

    async def approve(self, action_id: str, actor: str) -> Claimed | Refusal:
        if self.refusal:
            return self.refusal
        claimed = await self.store.write(lambda db: actions.approve(db, action_id, actor, self.clock()))
        if claimed is None:
            return Refusal(reason="You asked for this fix yourself: a second person has to approve it.")
        return Claimed(action=claimed, plan=self.plan, dry_run=self.plan.dry_run, lines=("Reject 7 messages",))

    async def decline(self, action_id: str, actor: str) -> Action | Refusal:
        if self.refusal:
            return self.refusal
        confirming, failed = (ActionState.CONFIRMING,), ActionState.FAILED
        over = await self.store.write(lambda db: actions.set_state(db, action_id, confirming, failed))
        return over or Refusal(reason="This was decided already.")

    async def execute(self, action_id: str) -> None:
        self.executed.append(action_id)

    async def undo(self, action_id: str, actor: str) -> Undone | Refusal:
        if self.refusal:
            return self.refusal
        self.undone.append((action_id, actor))
        return Undone(("Restored.",))


ADMIN, OTHER_ADMIN, READER, CHANNEL, GROUP = "U0ADMINONE", "U0ADMINTWO", "U0READER", "C0MAILALERTS", "S0MAILADMINS"


class Live:
    """The whole Slack surface on a real store, a real socket and the stand-in Slack."""

    def __init__(self, slack: SandboxSlack, store: Store, admins: Admins) -> None:
        self.slack, self.store, self.world = slack, store, World()
        self.now = NOW
        self.nudges = 0
        self.client = make_client(slack.bot_token, slack.api_url)
        self.probing = FakeProbing(store, self.world)
        self.fix = FakeFix(store, self.clock)
        self.guard = Guard(client=self.client, store=store, admins=admins, clock=self.clock)
        self.deps = SlackDeps(
            store=store,
            clock=self.clock,
            policy=Policy(actions_on=True),
            client=self.client,
            guard=self.guard,
            probing=self.probing,
            fix=self.fix,
            capabilities={"lab": frozenset(Capability)},
            nudge=self._nudge,
        )
        self.app = build_app(self.deps)
        self.socket = GuardedSocket(self.app, slack.app_token, make_client(None, slack.api_url), pace=QUICK)

    def clock(self) -> datetime:
        return self.now

    def _nudge(self) -> None:
        self.nudges += 1

    async def command(self, line: str, user: str = ADMIN, replies: int = 1) -> list[Any]:
        """Type; returns the answers that this user sees, after the bot's tasks have ended."""
        found = await self.slack.command(user, CHANNEL, f"/mfi {line}".strip(), replies=replies)
        await self.deps.tasks.settled(5)
        return found

    async def connector(self, **changes: Any) -> Connector:
        made = self.world.connector(**changes)
        await self.store.write(lambda db: connectors.sync(db, "lab", [made], NOW, complete=False))
        found = await self.store.read(lambda db: connectors.by_key(db, "lab", made.key))
        assert found is not None
        return found

    async def incident(self, connector: Connector, code: str = "4.4.316") -> Incident:
        def work(db: Any) -> Incident:
            made = incidents.insert(
                db,
                connector_id=connector.id,
                code=code,
                severity=Severity.CRITICAL,
                now=NOW,
                first_failure_at=NOW - HOUR,
                channel=CHANNEL,
            )
            return record_event(db, made.id, EventKind.OPENED, now=NOW, data={"by": "both"})

        return await self.store.write(work)


QUICK = Pace(first=0.02, unreachable_most=0.1, refused_most=0.2, hopeless=0.5, young=5.0, hello=1.0, ping=1.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "mfi.db") as opened:
        yield opened


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A stand-in Slack that grants exactly the scopes of our manifest."""
    async with SandboxSlack(app=AppConfig.from_manifest(manifest())) as running:
        yield running


@pytest.fixture
async def make_live(slack: SandboxSlack, store: Store) -> AsyncIterator[Callable[..., Awaitable[Live]]]:
    made: list[Live] = []

    async def make(*admins: str) -> Live:
        live = Live(slack, store, Admins.of(admins or (ADMIN, OTHER_ADMIN)))
        made.append(live)
        await live.socket.start()
        await slack.wait_for(lambda: slack.connected)
        return live

    yield make
    for live in made:
        await live.socket.close()
        await live.deps.tasks.close(2)


@pytest.fixture
async def live(make_live: Callable[..., Awaitable[Live]]) -> Live:
    """The surface with two admins listed by id."""
    return await make_live()
