"""What a person does on the sandbox's page."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Locator, Page, expect

from bot.sandbox.world import World

PICTURES = Path("tests/pictures")
SECOND = 1000.0


@dataclass
class Client:
    """What a person does on the page."""

    page: Page
    world: World

    @property
    def messages(self) -> Locator:
        return self.page.get_by_test_id("messages").get_by_test_id("message")

    def alert(self, connector: str) -> Locator:
        shown = self.messages.filter(has_text=connector).and_(self.page.locator("[data-private=no]"))
        return shown.filter(has_text=re.compile("Firing|Acknowledged|Fixing|Verifying|Resolved")).first

    def answers(self) -> Locator:
        return self.messages.and_(self.page.locator("[data-private=yes]"))

    async def become(self, user: str) -> None:
        await self.page.get_by_test_id(f"user-{user}").click()
        await expect(self.page.get_by_test_id(f"user-{user}")).to_have_attribute("aria-checked", "true")

    async def type(self, line: str) -> Locator:
        """Type a command; returns the newest answer that only this person sees."""
        before = await self.answers().count()
        await self.page.get_by_test_id("composer").fill(line)
        await self.page.get_by_test_id("composer").press("Enter")
        newest = self.answers().nth(before)
        await expect(newest).to_be_visible()
        return newest

    async def open_thread(self, alert: Locator) -> Locator:
        await alert.get_by_test_id("open-thread").click()
        return self.page.get_by_test_id("thread-messages")

    async def open_fix(self, connector: str) -> Locator:
        await self.alert(connector).locator("button", has_text="Fix now").click()
        modal = self.page.get_by_test_id("modal")
        await expect(modal).to_contain_text("Type the connector's name")
        return modal

    async def picture(self, name: str) -> None:
        if os.environ.get("MFI_PICTURES"):
            await self.page.screenshot(path=PICTURES / f"{name}.png")


async def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Look again until it is so; AssertionError when the time is over."""
    end = time.monotonic() + seconds
    for _ in iter(lambda: holds() or time.monotonic() > end, True):
        await asyncio.sleep(0.2)
    assert holds(), f"not so after {seconds:.0f} s"
