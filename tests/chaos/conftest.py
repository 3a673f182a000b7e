"""Fixtures of the chaos tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.sandbox.slack import AppConfig, SandboxSlack
from bot.slack.manifest import manifest
from tests.chaos.site import Site, furnish


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with SandboxSlack(app=AppConfig.from_manifest(manifest()), furnish=furnish) as slack:
        here = Site(slack=slack, directory=tmp_path)
        yield here
        if here.process and here.process.returncode is None:
            await here.end()
