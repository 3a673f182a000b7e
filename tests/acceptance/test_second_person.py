"""MFI_FIX_APPROVALS=2 and a guard's refusal, as people meet them on the page.

With MFI_PICTURES=1 the README's screenshots are taken anew.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from bot.demo import bot_process
from bot.sandbox.world import World
from bot.slack.manifest import manifest
from tests.acceptance.page_client import SECOND, Client, until

pytestmark = pytest.mark.browser

NAME = "Contoso on-premises"


@pytest.fixture
async def client(browser: Browser, tmp_path: Path) -> AsyncIterator[Client]:
    """A world where two people have to say yes."""
    async with World(manifest=manifest()) as world, bot_process(world, tmp_path / "mfi.db", {"MFI_FIX_APPROVALS": "2"}):
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        await page.goto(world.slack.page_url)
        client = Client(page, world)
        await expect(client.alert(NAME)).to_contain_text("40 messages wait", timeout=60 * SECOND)
        yield client
        await page.close()


async def test_nothing_is_touched_before_a_second_admin_approves(client: Client) -> None:
    tenant = client.world.mail.tenant
    connector = next(c for c in tenant.connectors.values() if c.name == NAME)

    # The first yes only asks for the second.
    modal = await client.open_fix(NAME)
    await modal.locator("input[type=text]").fill(NAME)
    await modal.get_by_test_id("modal-submit").click()
    await expect(modal).to_contain_text("A second person has to approve this")
    await modal.get_by_test_id("modal-close").click()
    asked = client.messages.filter(has_text="@Admin One asks for a fix").last
    await expect(asked).to_contain_text("Make onprem.contoso.test Authoritative")
    await asked.scroll_into_view_if_needed()
    await client.picture("approval")
    assert tenant.connectors[connector.key].enabled is True

    # Whoever asked can't approve; a reader neither; a second admin can.
    for user, why in (("U0ADMINONE", "a second person has to approve it"), ("U0READER", "not one of the people")):
        await client.become(user)
        await asked.locator("button", has_text="Approve").click()
        await client.page.get_by_test_id("confirm-yes").click()
        await expect(client.answers().last).to_contain_text(why)
    assert tenant.connectors[connector.key].enabled is True
    await client.become("U0ADMINTWO")
    await asked.locator("button", has_text="Approve").click()
    await client.page.get_by_test_id("confirm-yes").click()
    thread = await client.open_thread(client.alert(NAME))
    await expect(thread).to_contain_text("@Admin Two approved the fix that @Admin One asked for")
    await expect(thread).to_contain_text("Verified: the fix worked", timeout=90 * SECOND)
    await expect(thread).not_to_contain_text("40 messages that the fix did not reject")
    await until(lambda: not tenant.connectors[connector.key].enabled)
    await client.picture("verified")
    await thread.locator("button", has_text="Undo").last.click()
    await client.page.get_by_test_id("confirm-yes").click()
    await expect(thread).to_contain_text("undid the fix")
    await client.picture("undo")


async def test_a_guard_refuses_its_step_and_says_the_way_out(client: Client) -> None:
    tenant = client.world.mail.tenant
    connector = next(c for c in tenant.connectors.values() if c.name == NAME)
    client.world.tenant.settings.describe(connector.key, RouteAllMessagesViaOnPremises=True)
    modal = client.page.get_by_test_id("modal")
    for _ in range(20):  # refused as changed until the next sync has read it
        await client.alert(NAME).locator("button", has_text="Fix now").click()
        await expect(modal).to_contain_text(re.compile("Type the connector|was changed in the mail system"))
        if await modal.get_by_text("Type the connector").count():
            break
        await modal.get_by_test_id("modal-close").click()
        await asyncio.sleep(0.5)
    await expect(modal).to_contain_text("Not offered")
    await expect(modal).to_contain_text("All outbound mail of the organisation goes through this connector")
    await expect(modal).to_contain_text("Way out: Change the routing first")
    await modal.get_by_text("Not offered").scroll_into_view_if_needed()
    await client.picture("guard")
    assert await modal.locator("input[type=checkbox]").count() == 1
