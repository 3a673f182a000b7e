"""The whole loop as people see it: the unchanged bot, the sandbox's page in a real browser, real servers.

With MFI_PICTURES=1 the README's screenshots are taken anew.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from bot.demo import bot_process
from bot.sandbox.mail_system import DomainType, Status
from bot.sandbox.world import ROUTES, World
from bot.slack.manifest import manifest
from tests.acceptance.page_client import SECOND, Client, until

pytestmark = pytest.mark.browser

REFUSED = "Contoso on-premises"


@pytest.fixture
async def client(browser: Browser, tmp_path: Path) -> AsyncIterator[Client]:
    """A world whose six alerts are up."""
    async with World(manifest=manifest()) as world, bot_process(world, tmp_path / "mfi.db"):
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        await page.goto(world.slack.page_url)
        client = Client(page, world)
        for route in ROUTES:
            if route.code:
                await expect(client.alert(route.name)).to_contain_text(route.code, timeout=60 * SECOND)
        yield client
        await page.close()


async def test_an_admin_reads_probes_fixes_verifies_and_undoes(client: Client):
    tenant = client.world.mail.tenant
    connector = next(c for c in tenant.connectors.values() if c.name == REFUSED)

    # One alert for each of the six codes, none for the connector that works.
    assert await client.messages.count() == 6
    assert await client.messages.filter(has_text="Head office").count() == 0
    await client.alert(REFUSED).scroll_into_view_if_needed()
    await client.picture("alert")

    # Explain, and a probe.
    answer = await client.type("/mfi explain 450 4.4.316")
    await expect(answer).to_contain_text("Connection refused")
    await client.picture("explain")
    await client.alert(REFUSED).locator("button", has_text="Re-probe").click()
    thread = await client.open_thread(client.alert(REFUSED))
    await expect(thread).to_contain_text("4.4.316")

    # Somebody who is not an admin is refused.
    await client.become("U0READER")
    await client.alert(REFUSED).locator("button", has_text="Fix now").click()
    await expect(client.answers().last).to_contain_text("not one of the people who may act")
    await client.become("U0ADMINONE")

    # The plan in numbers; a wrong name is refused in the dialog.
    modal = await client.open_fix(REFUSED)
    await expect(modal).to_contain_text("40 messages waiting")
    await expect(modal).to_contain_text("rejects 16 messages to 8 invalid recipients")
    await client.picture("fix")
    await modal.locator("input[type=text]").fill("something else")
    await modal.get_by_test_id("modal-submit").click()
    await expect(modal.get_by_test_id("block-error")).to_be_visible()
    await modal.locator("input[type=text]").fill(REFUSED)
    await modal.get_by_test_id("modal-submit").click()
    await expect(client.page.get_by_test_id("modal")).to_have_count(0)

    # Each step is reported.
    thread = await client.open_thread(client.alert(REFUSED))
    await expect(thread).to_contain_text(re.compile("Disable the connector"))
    await expect(client.alert(REFUSED)).to_contain_text(re.compile("Verifying|Resolved"))
    assert tenant.connectors[connector.key].enabled is False
    assert tenant.domains["onprem.contoso.test"].type is DomainType.AUTHORITATIVE

    # Exchange Online rejects at its own retry: 16 for invalid recipients, and not one more.
    def statuses() -> Counter[Status]:
        return Counter(e.status for e in tenant.entries.values() if e.connector_key == connector.key)

    await until(lambda: statuses()[Status.REJECTED] >= 16)
    assert statuses() == {Status.REJECTED: 16, Status.QUEUED: 24}
    ndrs = [item for box in tenant.mailboxes.values() for item in box if item.ndr == "5.1.10"]
    assert len(ndrs) == 16
    assert all(not tenant.known(item.failed_recipient or "") for item in ndrs)

    # Somebody else who comes later is told who did it already, verified by then or not.
    await client.become("U0ADMINTWO")
    await client.page.get_by_test_id("composer").fill("/mfi fix 1")
    await client.page.get_by_test_id("composer").press("Enter")
    modal = client.page.get_by_test_id("modal")
    await expect(modal).to_contain_text("Admin One did this already")
    await modal.get_by_test_id("modal-close").click()
    await client.become("U0ADMINONE")

    # Verified; then undone.
    thread = await client.open_thread(client.alert(REFUSED))
    await expect(thread).to_contain_text("Verified: the fix worked", timeout=90 * SECOND)
    await expect(thread).to_contain_text("Of the 16 messages that this was about: 16 rejected.")
    await client.picture("thread")
    await thread.locator("button", has_text="Undo").last.click()
    await client.page.get_by_test_id("confirm-yes").click()
    await expect(thread).to_contain_text("undid the fix")
    assert tenant.connectors[connector.key].enabled is True
    assert tenant.domains["onprem.contoso.test"].type is DomainType.INTERNAL_RELAY


async def test_a_repaired_server_resolves_its_alert_and_the_mail_arrives(client: Client):
    await client.world.servers.set_behaviour("closes", "good")
    await expect(client.alert("Archive appliance")).to_contain_text("Resolved", timeout=60 * SECOND)
    arrived = [m for m in client.world.servers.accepted if m.server == "closes"]
    assert len(arrived) == 3


async def test_the_home_tab_shows_what_is_open(client: Client):
    await client.page.get_by_test_id("app-home").click()
    await expect(client.page.get_by_test_id("home")).to_contain_text(REFUSED)
    await client.picture("home")


async def test_the_demo_command_prints_its_address_and_what_to_try_and_stops_cleanly(tmp_path: Path):
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "demo", stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    assert demo.stdout
    said = ""
    async with asyncio.timeout(70):
        while "Re-probe" not in said:
            said += (await demo.stdout.readline()).decode()
    assert re.match(r"Sandbox Slack page: http://127\.0\.0\.1:\d+/\n", said)
    assert "The six alerts of Exchange Online are there" in said
    demo.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(demo.wait(), 20) == 0
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - a look at an empty directory
