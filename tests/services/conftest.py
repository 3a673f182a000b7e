"""A fresh database, a clock that stands still until told otherwise, and one connector."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.backends.lab import LabBackend
from bot.core.policy import Policy
from bot.sandbox.mail_system import MailSystem
from bot.services.delivery import Delivery
from storage import connectors, incidents
from storage.connection import Store
from storage.records import Connector, ConnectorFacts, ConnectorKind, Incident, Severity
from tests.services.fix_scene import Clock, Probe, Scene, seed
from tests.services.slack_that_fails import Slack, make


class StandingClock:
    """A Clock that moves only when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.set_by = timedelta(0)

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return (self.now - self.set_by).timestamp()

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)

    def set(self, **by: float) -> None:
        """Somebody sets the clock; no time passes."""
        self.now, self.set_by = self.now + timedelta(**by), self.set_by + timedelta(**by)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "mfi.db", sole=True) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an exported file is put that is to be imported."""
    return tmp_path / "export"


@pytest.fixture
async def contoso(store: Store, clock: StandingClock) -> Connector:
    """The connector Contoso of the mail system "files", due for its first probe."""
    facts = ConnectorFacts(
        backend="files",
        key="contoso",
        name="Contoso",
        kind=ConnectorKind.ON_PREMISES,
        smart_hosts=("mail.contoso.test",),
        recipient_domains=("contoso.test",),
    )
    await store.write(lambda db: connectors.sync(db, "files", [facts], clock(), complete=True))
    found = await store.read(lambda db: connectors.by_key(db, "files", "contoso"))
    assert found is not None
    return found


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Clock()
    async with MailSystem(clock=clock, tick=None, timeout=1.0) as system:
        seed(system)
        await system.retry()
        backend = LabBackend("lab", system.api_url, timeout=1.0)
        store = await Store.open(tmp_path / "mfi.db")
        made = Scene(clock, system, backend, store, Probe(), Policy(actions_on=True))
        await made.sync()
        made.incident_id = await made.open_incident()
        yield made
        await backend.close()
        await store.close()


@pytest.fixture
def slack(clock: StandingClock) -> Slack:
    return Slack(clock)


@pytest.fixture
def delivery(store: Store, slack: Slack, clock: StandingClock) -> Delivery:
    return make(store, slack, clock)


@pytest.fixture
async def incident(store: Store, contoso: Connector, clock: StandingClock) -> Incident:
    """An open incident of Contoso in the channel C1."""
    return await store.write(
        lambda db: incidents.insert(
            db,
            connector_id=contoso.id,
            code="4.4.316",
            severity=Severity.WARNING,
            now=clock(),
            first_failure_at=clock(),
            channel="C1",
        )
    )
