"""A fresh database per test, and the values that the storage tests write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import connectors
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind, MessageFacts


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mfi.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with await Store.open(path, sole=True) as opened:
        yield opened


@pytest.fixture
async def three_connectors(store: Store, now: datetime) -> None:
    """Partner connectors a, b and c of the mail system lab, with the ids 1, 2 and 3."""
    facts = [ConnectorFacts(backend="lab", key=k, name=k, kind=ConnectorKind.PARTNER, use_mx=True) for k in "abc"]
    await store.write(lambda db: connectors.sync(db, "lab", facts, now, complete=True))


@pytest.fixture
def one(now: datetime) -> MessageFacts:
    """A message that waits at the connector a, in its first hour of a day."""
    return MessageFacts(
        backend="lab",
        key="m1",
        recipient="user@contoso.com",
        sender="app@fabrikam.com",
        received_at=now - timedelta(hours=1),
        expires_at=now + timedelta(hours=23),
        size=1234,
        code="4.4.316",
        reason="450 4.4.316 Connection refused",
        remote_host="mail.contoso.com",
        remote_ip="203.0.113.10",
        evidence_at=now,
        connector_key="a",
    )
