"""Fixtures of the Slack tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bot.core.permissions import Admins
from bot.sandbox.slack import AppConfig, SandboxSlack
from bot.slack.manifest import manifest
from storage.connection import Store
from tests.slack.live import ADMIN, OTHER_ADMIN, Live
from tests.slack.world import World


@pytest.fixture
def world() -> World:
    """The usual world."""
    return World()


@pytest.fixture
def foreign_world() -> Callable[[str], World]:
    """A world in which every text from outside is the given one."""
    return World


# --- the surface on a real store and the stand-in Slack ------------------------------------------------------------


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
