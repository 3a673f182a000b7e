"""A whole bot without sockets, on a time line: scripted probes and queue in, the words that Slack got out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.backends.ports import Snapshot
from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult, TargetResult, overall
from bot.core.views import IncidentView
from bot.probes.runner import ProbeRequest
from bot.services.delivery import Delivery
from bot.services.incidents import acknowledge
from bot.services.probing import Probing
from bot.services.syncing import Syncing
from bot.services.upkeep import Upkeep
from bot.services.views import incident_view
from knowledge.classify import TABLE, Cause, Stage
from storage import connectors, incidents
from storage.connection import Store
from storage.records import (
    ConnectorFacts,
    ConnectorKind,
    Incident,
    IncidentState,
    MessageFacts,
    MessageStatus,
    OutboxItem,
    OutboxKind,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
CAUSES = {code: sorted(causes)[0] for code, causes in TABLE}


def seen(code: str | None, cause: str | None = None) -> ProbeResult:
    """A probe's result with this code; None: fine."""
    target = TargetResult(host="mail.contoso.test", port=25, ip="192.0.2.1", banner="220 mail.contoso.test")
    if code is not None:
        found = Cause(cause) if cause else CAUSES[code]
        target = TargetResult(host="mail.contoso.test", port=25, ok=False, code=code, cause=found, stage=Stage.CONNECT)
    return overall([target], 12.0)


class ScriptedProber:
    """Answers what the test said for the host, and what it said of the way out."""

    def __init__(self) -> None:
        self.answers: dict[str, ProbeResult] = {}
        self.way_out = True
        self.asked: list[str] = []
        self.ways: list[list[tuple[str, int]]] = []

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        self.asked.append(request.hosts[0])
        return self.answers.get(request.hosts[0], seen(None))

    async def egress_open(self, targets: Sequence[tuple[str, int]], timeout: float) -> bool:
        self.ways.append(list(targets))
        return self.way_out


class ScriptedBackend:
    """A mail system that lists what the test put in."""

    name = "mail"
    capabilities = frozenset()

    def __init__(self) -> None:
        self.connectors: list[ConnectorFacts] = []
        self.messages: dict[str, MessageFacts] = {}

    async def snapshot(self) -> Snapshot:
        return Snapshot(connectors=self.connectors, messages=list(self.messages.values()))


class Channel:
    """A Poster of few lines: keeps what was posted, in words."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.redraws = 0

    async def post(self, item: OutboxItem, view: IncidentView) -> str:
        about = view.incident
        event = next(e for e in view.events if e.id == item.event_id) if item.event_id else None
        if item.kind is OutboxKind.ROOT:
            again = f" again after #{about.previous_id}" if about.previous_id else ""
            flapping = " flapping" if about.flapping else ""
            self.lines.append(f"#{about.id} {about.code} {about.severity}{flapping}{again}")
        else:
            assert event is not None
            shout = "!" if item.kind is OutboxKind.BROADCAST else ""
            detail = event.data.get("mark") or event.data.get("reason") or ""
            self.lines.append(f"#{about.id}{shout} {event.kind} {detail}".rstrip())
        return f"{len(self.lines)}.0"

    async def redraw(self, item: OutboxItem, view: IncidentView) -> None:
        self.redraws += 1

    async def find(self, item: OutboxItem, view: IncidentView, since: datetime) -> str | None:
        raise AssertionError("nothing here is ever uncertain")


class World:
    """`at(minute)`, then say what happens, then look at `told()`: what Slack got since the last look."""

    def __init__(self, store: Store, policy: Policy, *, egress: bool = False) -> None:
        self.store, self.policy, self.now = store, policy, START
        self.prober, self.backend, self.channel = ScriptedProber(), ScriptedBackend(), Channel()

        def clock() -> datetime:
            return self.now

        self.set_by = timedelta(0)

        def monotonic() -> float:
            return (self.now - self.set_by).timestamp()

        self.probing = Probing(
            store, self.prober, policy, clock,
            default_port=25, default_channel="C0DEFAULT", egress=[("192.0.2.53", 25)] if egress else (),
            monotonic=monotonic,
        )  # fmt: skip
        self.syncing = Syncing(
            store, {"mail": self.backend}, policy, clock, default_channel="C0DEFAULT", monotonic=monotonic
        )
        self.upkeep = Upkeep(store, policy, clock, default_channel="C0DEFAULT", monotonic=monotonic)
        self.delivery = Delivery(store, self.channel, clock, policy=policy, pace=0.0, monotonic=monotonic)

    def at(self, minute: float) -> World:
        assert self.now <= START + timedelta(minutes=minute), "time goes one way"
        self.now = START + timedelta(minutes=minute)
        return self

    def set_clock(self, by: timedelta) -> None:
        """Somebody sets the clock; no time passes."""
        self.now, self.set_by = self.now + by, self.set_by + by

    async def connectors(
        self, *names: str, kind: ConnectorKind = ConnectorKind.ON_PREMISES, enabled: bool = True
    ) -> None:
        self.backend.connectors = [
            ConnectorFacts(
                backend="mail", key=name, name=name, kind=kind, enabled=enabled,
                smart_hosts=(f"{name.lower()}.test",), recipient_domains=(f"{name.lower()}.test",),
            )
            for name in names
        ]  # fmt: skip
        await self.syncing.sync("mail")

    async def probe(
        self, code: str | None, name: str = "Contoso", *, cause: str | None = None, actor: str | None = None
    ) -> None:
        self.prober.answers[f"{name.lower()}.test"] = seen(code, cause)
        await self.probing.probe(await self.id_of(name), actor=actor)

    async def probe_fails(self, code: str, name: str = "Contoso", **more: str) -> None:
        await self.probe(code, name, **more)

    async def probe_is_fine(self, name: str = "Contoso", **more: str) -> None:
        await self.probe(None, name, **more)

    async def waits(
        self, count: int, code: str | None, *, age: float = 0, name: str = "Contoso", reason: str | None = None
    ) -> None:
        """`count` messages, `age` minutes old, wait at a connector, deferred with this code."""
        received = self.now - timedelta(minutes=age)
        for _ in range(count):
            key = f"m{len(self.backend.messages)}"
            self.backend.messages[key] = MessageFacts(
                backend="mail", key=key, recipient=f"user@{name.lower()}.test", sender="games@fabrikam.test",
                received_at=received, expires_at=received + timedelta(hours=24), code=code, reason=reason,
                connector_key=name, evidence_at=self.now,
            )  # fmt: skip
        await self.syncing.sync("mail")

    async def all_end(self, status: MessageStatus | None = MessageStatus.DELIVERED) -> None:
        """Everything that waits leaves; None: it is simply no longer listed."""
        for key, message in list(self.backend.messages.items()):
            if status is None:
                del self.backend.messages[key]
            elif message.status is MessageStatus.QUEUED:
                self.backend.messages[key] = _with(message, status)
        await self.syncing.sync("mail")

    async def acknowledge(self, incident_id: int, actor: str = "U0ADMIN1") -> Incident | str:
        return await self.store.write(lambda db: acknowledge(db, incident_id, actor, self.now))

    async def told(self) -> list[str]:
        """What Slack got since the last look, once everything that is owed was delivered."""
        while await self.delivery.step():
            pass
        lines, self.channel.lines = self.channel.lines, []
        return lines

    async def id_of(self, name: str) -> int:
        found = await self.store.read(lambda db: connectors.by_key(db, "mail", name))
        assert found is not None
        return found.id

    async def view(self, incident_id: int) -> IncidentView:
        found = await self.store.read(lambda db: incident_view(db, incident_id, self.policy, self.now, {}))
        assert found is not None
        return found

    async def open_ones(self) -> list[Incident]:
        return await self.store.read(incidents.open_everywhere)

    async def states(self) -> Iterable[tuple[int, str, IncidentState]]:
        every = await self.store.read(lambda db: incidents.recent(db, 100))
        return [(i.id, i.code, i.state) for i in reversed(every)]


def _with(message: MessageFacts, status: MessageStatus) -> MessageFacts:
    return replace(message, status=status)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "mfi.db", sole=True) as opened:
        yield opened


@pytest.fixture
async def world(store: Store) -> World:
    """One connector, Contoso, and nothing known about it yet."""
    made = World(store, Policy())
    await made.connectors("Contoso")
    return made


async def _twelve(store: Store, *, egress: bool) -> World:
    made = World(store, Policy(), egress=egress)
    await made.connectors(*(f"C{n}" for n in range(12)))
    await made.probing.tick()
    return made


@pytest.fixture
async def many(store: Store) -> World:
    """Twelve connectors to twelve hosts, each of them found fine once; no way out to check is set."""
    return await _twelve(store, egress=False)


@pytest.fixture
async def guarded(store: Store) -> World:
    """The same, and the way out is checked."""
    return await _twelve(store, egress=True)


@pytest.fixture
def make_world() -> type[World]:
    """For worlds of another kind."""
    return World
