"""A fresh database per test, and the values that the storage tests write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.connection import Store


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
