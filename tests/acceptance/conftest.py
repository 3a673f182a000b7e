"""A real browser for what people see. Without Chromium these tests are skipped, except in CI, where they must run."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from typing import Final

import pytest
from playwright.async_api import Browser, Page, Request, async_playwright, expect

ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

expect.set_options(timeout=30_000)  # far above what a busy machine needs: what is expected comes at once, or is wrong


def chromium() -> str:
    """The system's Chromium; skips the test when there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed (apt install chromium)")
    return found


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield started
        await started.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of 1280×800. The test fails if a script raised or anything beyond this machine was asked for."""
    opened = await browser.new_page(viewport={"width": 1280, "height": 800})
    complaints: list[str] = []

    def watch(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            complaints.append(f"asked for {request.url}")

    opened.on("request", watch)
    opened.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
    yield opened
    await opened.close()
    assert complaints == []
