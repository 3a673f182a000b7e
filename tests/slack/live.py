"""The whole Slack surface on a real store, a real socket and the stand-in Slack; probing and Fix now are stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bot.core.capabilities import Capability
from bot.core.events import EventKind
from bot.core.fix_plan import Plan, PlanStep, SenderCount
from bot.core.permissions import Admins
from bot.core.policy import Policy
from bot.sandbox.slack import SandboxSlack
from bot.services.fix import Claimed, Refusal, Undone
from bot.services.timeline import record_event
from bot.slack.client import make_client
from bot.slack.deps import SlackDeps
from bot.slack.guard import Guard
from bot.slack.listeners import build_app
from bot.slack.socket import GuardedSocket, Pace
from storage import actions, connectors, incidents, probes
from storage.connection import Store
from storage.records import (
    Action,
    ActionState,
    Connector,
    Incident,
    ProbeRecord,
    Severity,
    StepKind,
)
from tests.slack.world import HOUR, NOW, World

QUICK = Pace(first=0.02, unreachable_most=0.1, refused_most=0.2, hopeless=0.5, young=5.0, hello=1.0, ping=1.0)


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
