"""`explain` as people see it on the page: typed, pasted into a window, chosen from a message's menu.

With MFI_PICTURES=1 the screenshots tests/pictures/explain-*.png are taken anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from bot.demo import bot_process
from bot.sandbox.world import World
from bot.slack.manifest import manifest

pytestmark = pytest.mark.browser

PICTURES = Path("tests/pictures")
SECOND = 1000.0

REFUSED = (
    "450 4.4.316 Connection refused [Message=Socket error code 10061] [LastAttemptedServerName=refused.mail.test] "
    "[LastAttemptedIP=127.25.0.16:25]"
)
EXPIRED = (
    "550 5.4.317 Message expired, cannot connect to remote server [Message=451 4.4.101 SubjectMismatch] "
    "[LastAttemptedServerName=mail.fabrikam.test] final recipient: <orders@fabrikam.test>"
)
POSTFIX = (
    "Mar  3 02:11:09 gw postfix/smtp[4711]: 9F2B41C0A3: to=<billing@west.contoso.test>, "
    "relay=black-hole.mail.test[127.25.0.21]:25, delay=4022, delays=4021/0.02/1/0, dsn=4.4.1, status=deferred "
    "(connect to black-hole.mail.test[127.25.0.21]:25: Connection timed out)"
)
UNKNOWN = "554 5.6.77 Some limit of ours that nobody has heard of"
TWO = """Final-Recipient: rfc822;billing@onprem.contoso.test
Action: failed
Diagnostic-Code: smtp;550 5.4.316 Message expired, connection refused [LastAttemptedServerName=refused.mail.test]

Final-Recipient: rfc822;old@contoso.test
Action: failed
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup
"""


@dataclass
class Client:
    """What a person does on the page."""

    page: Page
    world: World

    @property
    def messages(self) -> Locator:
        return self.page.get_by_test_id("messages").get_by_test_id("message")

    @property
    def modal(self) -> Locator:
        return self.page.get_by_test_id("modal")

    async def type(self, line: str) -> Locator:
        """Type a command; returns the newest answer that only this person sees, scrolled into view."""
        answers = self.messages.and_(self.page.locator("[data-private=yes]"))
        before = await answers.count()
        await self.send(line)
        newest = answers.nth(before)
        await expect(newest).to_be_visible()
        return newest

    async def send(self, line: str) -> None:
        await self.page.get_by_test_id("composer").fill(line)
        await self.page.get_by_test_id("composer").press("Enter")

    async def picture(self, name: str, shown: Locator | None = None) -> None:
        """1280 × 900, the answer's beginning at the top."""
        if os.environ.get("MFI_PICTURES"):
            if shown is not None:
                await shown.evaluate("element => element.scrollIntoView({block: 'start'})")
            await self.page.screenshot(path=PICTURES / f"explain-{name}.png")


@pytest.fixture
async def client(browser: Browser, tmp_path: Path) -> AsyncIterator[Client]:
    """A world whose alerts for the refused, the dead and the partner's server are up."""
    async with World(manifest=manifest()) as world, bot_process(world, tmp_path / "mfi.db"):
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        await page.goto(world.slack.page_url)
        client = Client(page, world)
        for code in ("4.4.316", "4.4.315", "4.7.320"):
            alert = client.messages.filter(has_text=re.compile(rf"Firing.*{re.escape(code)}"))
            await expect(alert.first).to_be_visible(timeout=60 * SECOND)
        yield client
        await page.close()


async def test_explain_answers_with_cause_owner_fix_and_our_connector(client: Client):
    answer = await client.type(f"/mfi explain {REFUSED}")
    for part in ("Connection refused", "Who must act?", "Bounced already?", "Your connector Contoso on-premises"):
        await expect(answer).to_contain_text(part)
    await expect(answer).to_contain_text("40 messages waiting")
    await client.picture("4.4.316", answer)
    await answer.locator("button", has_text="Probe it").click()
    await expect(client.messages.last).to_contain_text("connection refused; stopped at")
    await answer.locator("button", has_text="Open incident #").click()
    await expect(client.messages.last).to_contain_text("Timeline")

    # Expired, with a certificate's reason, for a partner: the note to the postmaster.
    answer = await client.type(f"/mfi explain {EXPIRED}")
    await expect(answer).to_contain_text("went back to its sender")
    await expect(answer).to_contain_text("certificate is for another name")
    await expect(answer).to_contain_text("Your connector Partner Fabrikam")
    await expect(answer.locator("pre")).to_contain_text("Dear postmaster")
    await client.picture("5.4.317", answer)

    answer = await client.type(f"/mfi explain {POSTFIX}")
    await expect(answer).to_contain_text("4.4.315")
    await expect(answer).to_contain_text("Your connector Data center west")
    await client.picture("postfix", answer)

    answer = await client.type(f"/mfi explain {UNKNOWN}")
    await expect(answer).to_contain_text("only the structure of the code is known")
    await client.picture("unknown", answer)


async def test_a_long_paste_goes_into_a_window_which_shows_the_answer(client: Client):
    await client.send("/mfi explain")
    await expect(client.modal).to_contain_text("3,000 characters")
    await client.picture("window")
    await client.modal.locator("textarea").first.fill("dear all")
    await client.modal.get_by_test_id("modal-submit").click()
    await expect(client.modal.get_by_test_id("block-error")).to_contain_text("No delivery error")
    await client.modal.locator("textarea").first.fill(TWO)
    await client.modal.get_by_test_id("modal-submit").click()
    await expect(client.modal).to_contain_text("2 different errors")
    await client.modal.locator("button", has_text="Open incident #").click()
    await expect(client.modal).to_contain_text("Timeline")
    await client.modal.get_by_test_id("modal-close").click()
    await expect(client.modal).to_contain_text("2 different errors")
    await client.modal.get_by_test_id("modal-close").click()


async def test_a_message_is_explained_from_its_menu(client: Client):
    await client.send(TWO)
    written = client.messages.filter(has_text="RESOLVER.ADR").last
    await written.hover()
    await written.locator("[data-callback-id=mfi_explain_message]").click()
    await expect(client.modal).to_contain_text("2 different errors")
    await client.picture("message")
    await client.modal.get_by_test_id("modal-close").click()
    answer = await client.type(f"/mfi explain {TWO}")
    await expect(answer.locator("table")).to_contain_text("5.1.10")
    await expect(answer.locator("table")).to_contain_text("1 recipient")
    await client.picture("two", answer)


async def test_words_bring_the_best_article_and_other_candidates(client: Client):
    answer = await client.type("/mfi explain certificate expired")
    await expect(answer).to_contain_text("These words fit too")
    await answer.locator("button", has_text="DANE").first.click()
    await expect(client.messages.last).to_contain_text("DANE")
