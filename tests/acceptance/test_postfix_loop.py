"""Fix now on a real Postfix, as people do it on the page: exactly the invalid recipients bounce, the rest arrives.

With MFI_PICTURES=1 the README's screenshots are taken anew.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from email.message import Message
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from bot.backends.postfix import SHIPPED_WRAPPER
from bot.demo import bot_process
from bot.sandbox import relay
from bot.sandbox.postfix import SandboxPostfix, missing
from bot.sandbox.world import World
from bot.slack.manifest import manifest
from tests.acceptance.page_client import SECOND, Client, until

pytestmark = pytest.mark.browser


@pytest.fixture
async def client(browser: Browser, tmp_path: Path) -> AsyncIterator[Client]:
    """A world with a Postfix relay whose alert is up."""
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    world = World(manifest=manifest(), postfix_wrapper=SHIPPED_WRAPPER)
    async with world, bot_process(world, tmp_path / "mfi.db"):
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        await page.goto(world.slack.page_url)
        client = Client(page, world)
        await expect(client.alert(next_hop(world))).to_contain_text("60 messages wait", timeout=60 * SECOND)
        yield client
        await page.close()


def next_hop(world: World) -> str:
    """The connector's name: Postfix's next hop."""
    assert world.postfix
    return world.postfix.routes[relay.DOMAIN].replace("[", "").replace("]", "")


def bounced(postfix: SandboxPostfix) -> list[tuple[str, str]]:
    """(recipient, status) of every failure that senders were told of (RFC 3464)."""
    parts = [p for m in postfix.mailbox() for p in m.walk() if p.get_content_type() == "message/delivery-status"]
    blocks = [b for part in parts for b in part.get_payload() if isinstance(b, Message) and b["Action"] == "failed"]
    return [(str(b["Final-Recipient"]).partition(";")[2].strip(), str(b["Status"])) for b in blocks]


async def test_exactly_the_invalid_ones_bounce_and_the_rest_arrives_after_the_repair(client: Client) -> None:
    world, postfix, name = client.world, client.world.postfix, next_hop(client.world)
    assert postfix
    valid = sorted(r for _, to in relay.mails() for r in to if r in relay.VALID)
    invalid = sorted(r for _, to in relay.mails() for r in to if r in relay.GONE)

    # The advice is about this Postfix and its next hop's own port.
    port = postfix.routes[relay.DOMAIN].rpartition(":")[2]
    await expect(client.alert(name)).to_contain_text(f"postqueue -c {postfix.config_dir} -p")
    await expect(client.alert(name)).to_contain_text(f"TCP {port}")
    await expect(client.alert(name)).not_to_contain_text("Exchange Online")

    # The plan in numbers; only the rejection is chosen.
    modal = await client.open_fix(name)
    await expect(modal).to_contain_text("60 messages waiting: 30 for valid recipients, 30 for addresses")
    await expect(modal).to_contain_text("Reject 30 messages to 7 invalid recipients")
    await client.picture("fix-postfix")
    for label in ("only for known recipients", "Hold all mail"):
        await modal.locator("label", has_text=label).locator("input[type=checkbox]").uncheck()
    await modal.locator("input[type=text]").fill(name)
    await modal.get_by_test_id("modal-submit").click()
    thread = await client.open_thread(client.alert(name))
    await expect(thread).to_contain_text("30 rejected", timeout=60 * SECOND)
    await client.picture("progress-postfix")

    # Each invalid recipient's sender has its NDR, and nobody else; every valid one still waits.
    await until(lambda: len(bounced(postfix)) >= len(invalid))
    assert sorted(bounced(postfix)) == [(address, "5.1.1") for address in invalid]
    listing = await postfix.command("postqueue", "-j")
    assert listing.count('"delay_reason"') == len(valid)

    # The server is replaced; once the probe gets through, what waits is tried at once.
    await world.servers.set_behaviour(relay.NEXT_HOP.name, "good_plain")
    retry = client.alert(name).locator("button", has_text="Retry now")
    await expect(retry).to_be_visible(timeout=90 * SECOND)
    await client.picture("retry")
    await retry.click()
    await client.page.get_by_test_id("confirm-yes").click()
    await expect(thread).to_contain_text("messages that waited")
    await until(lambda: sum(len(m.recipients) for m in delivered(world)) >= len(valid), seconds=90.0)
    assert sorted(r for m in delivered(world) for r in m.recipients) == valid
    assert sorted(bounced(postfix)) == [(address, "5.1.1") for address in invalid], "and nobody bounced meanwhile"
    await expect(client.alert(name)).to_contain_text("Resolved", timeout=90 * SECOND)


def delivered(world: World) -> list:
    return [mail for mail in world.servers.accepted if mail.server == relay.NEXT_HOP.name]
