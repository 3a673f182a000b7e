"""The sandbox page by itself: a small app plays the bot, a browser plays three people."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler

from bot.sandbox.slack import AppConfig, SandboxSlack, Shortcut
from tests.acceptance.page_bot import ALERT, ALERTS, CONFIRM, Bot, Json, button, md, plain

pytestmark = pytest.mark.browser


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    app = AppConfig(shortcuts=(Shortcut(callback_id="explain", name="Explain mail error"),))
    async with SandboxSlack(app=app, ack_seconds=0.8) as server:
        yield server


@pytest.fixture
async def bot(slack: SandboxSlack) -> AsyncIterator[Bot]:
    played = Bot(slack)
    handler = AsyncSocketModeHandler(played.app, slack.app_token)
    await handler.connect_async()
    yield played
    await handler.client.close()


async def send(page: Page, text: str, box: str = "composer") -> None:
    await page.get_by_test_id(box).fill(text)
    await page.get_by_test_id(box).press("Enter")


async def test_a_command_is_suggested_sent_with_enter_and_answered_only_to_its_author(
    page: Page, slack: SandboxSlack, bot: Bot
) -> None:
    await page.goto(slack.page_url)
    await page.get_by_test_id("composer").press_sequentially("/m")
    await expect(page.get_by_test_id("suggestion")).to_contain_text("/mfi")
    await page.get_by_test_id("composer").press("Tab")
    await page.get_by_test_id("composer").press_sequentially("explain 4.4.316")
    await page.get_by_test_id("composer").press("Enter")
    answer = page.locator("[data-testid=message][data-private=yes]")
    await expect(answer).to_contain_text("Only visible to you")
    await expect(answer.locator("code")).to_have_text("explain 4.4.316")
    await page.get_by_test_id("user-U0READER").click()
    await expect(page.get_by_test_id("composer")).to_be_visible()
    await expect(answer).to_have_count(0)


async def test_an_alert_is_redrawn_in_place_and_its_thread_opens_beside_it(
    page: Page, slack: SandboxSlack, bot: Bot
) -> None:
    await page.goto(slack.page_url)
    await bot.client.chat_postMessage(channel=ALERTS, text="alert", blocks=ALERT)
    message = page.get_by_test_id("messages").get_by_test_id("message")
    await expect(message.locator("h3")).to_contain_text("4.4.316 Connection refused")
    await expect(message.get_by_role("link", name="Microsoft's article")).to_have_attribute(
        "rel", "noopener noreferrer"
    )
    await message.locator("[data-action-id=ack]").click()
    await expect(message.get_by_test_id("edited")).to_be_visible()
    await message.get_by_test_id("open-thread").click()
    await expect(page.get_by_test_id("thread")).to_contain_text("Acknowledged by @Admin One")
    await send(page, "Looking at it", "thread-composer")
    await expect(page.get_by_test_id("thread")).to_contain_text("Looking at it")
    await expect(message.get_by_test_id("open-thread")).to_contain_text("2 replies")
    await page.get_by_test_id("thread-close").click()
    await expect(page.get_by_test_id("thread")).to_be_hidden()


async def test_a_modal_is_filled_in_corrected_and_submitted(page: Page, slack: SandboxSlack, bot: Bot) -> None:
    await bot.client.chat_postMessage(channel=ALERTS, text="alert", blocks=ALERT)
    await page.goto(slack.page_url)
    await page.locator("[data-action-id=fix]").click()
    modal = page.get_by_test_id("modal")
    await expect(modal.get_by_test_id("modal-title")).to_have_text("Fix now: plan")
    await modal.get_by_test_id("modal-submit").click()
    await expect(modal.get_by_test_id("block-error")).to_have_count(2)
    await modal.locator("[data-block-id=steps] input").nth(1).check()
    await modal.get_by_label("Dry run").check()
    await modal.locator("[data-block-id=when] select").select_option("90")
    await modal.locator("[data-block-id=name] textarea").fill("Something else")
    await modal.get_by_test_id("modal-submit").click()
    await expect(modal.locator("[data-block-id=name]")).to_contain_text("This is not the connector's name.")
    await expect(modal.locator("[data-block-id=name] textarea")).to_have_value("Something else")
    await modal.locator("[data-block-id=name] textarea").fill("Contoso inbound")
    await modal.get_by_test_id("modal-submit").click()
    await expect(modal).to_have_count(0)
    (values,) = bot.submitted
    assert [option["value"] for option in values["steps"]["steps"]["selected_options"]] == ["reject", "disable"]
    assert values["mode"]["mode"]["selected_option"]["value"] == "dry"
    assert values["when"]["when"]["selected_option"]["value"] == "90"


async def test_escape_closes_a_modal_and_the_app_hears_of_it(page: Page, slack: SandboxSlack, bot: Bot) -> None:
    await bot.client.chat_postMessage(channel=ALERTS, text="alert", blocks=ALERT)
    await page.goto(slack.page_url)
    await page.locator("[data-action-id=fix]").click()
    await expect(page.get_by_test_id("modal")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_test_id("modal")).to_have_count(0)
    await slack.wait_for(lambda: bot.closed == 1)


async def test_a_dangerous_button_asks_first(page: Page, slack: SandboxSlack, bot: Bot) -> None:
    blocks = [{"type": "actions", "elements": [button("undo", "Undo", confirm=CONFIRM)]}]
    await bot.client.chat_postMessage(channel=ALERTS, text="report", blocks=blocks)
    await page.goto(slack.page_url)
    await page.locator("[data-action-id=undo]").click()
    await expect(page.get_by_test_id("confirm")).to_contain_text("Puts everything back")
    await page.get_by_test_id("confirm-no").click()
    assert not [each for each in slack.envelopes if each.kind == "interactive"]
    await page.locator("[data-action-id=undo]").click()
    await page.get_by_test_id("confirm-yes").click()
    await expect(page.locator("[data-private=yes]")).to_contain_text("Put back")


async def test_menus_of_a_message_reach_the_app(page: Page, slack: SandboxSlack, bot: Bot) -> None:
    options = [{"text": plain("Explain"), "value": "explain"}, {"text": plain("Timeline"), "value": "timeline"}]
    menu = {"type": "overflow", "action_id": "pick", "options": options}
    choice = {"type": "static_select", "action_id": "pick", "placeholder": plain("Snooze"), "options": options}
    blocks = [{"type": "section", "text": md("a"), "accessory": menu}, {"type": "actions", "elements": [choice]}]
    await bot.client.chat_postMessage(channel=ALERTS, text="menus", blocks=blocks)
    await page.goto(slack.page_url)
    await page.locator("button[data-action-id=pick]").click()
    await page.get_by_role("menuitem", name="Timeline").click()
    await expect(page.locator("[data-private=yes]")).to_contain_text("Picked timeline")
    await page.locator("select[data-action-id=pick]").select_option("explain")
    await expect(page.locator("[data-private=yes]").last).to_contain_text("Picked explain")


async def test_the_home_tab_and_direct_messages_are_a_persons_own(page: Page, slack: SandboxSlack, bot: Bot) -> None:
    await page.goto(slack.page_url)
    await page.get_by_test_id("app-home").click()
    await expect(page.get_by_test_id("home")).to_contain_text("2 open incidents")
    await bot.client.chat_postMessage(channel="U0ADMINONE", text="For you alone")
    await page.get_by_test_id("app-messages").click()
    await expect(page.get_by_test_id("messages")).to_contain_text("For you alone")


async def test_what_nobody_acknowledges_shows_the_error_as_slack_does(
    page: Page, slack: SandboxSlack, bot: Bot
) -> None:
    blocks = [{"type": "actions", "elements": [button("ack", "Acknowledge")]}]
    await bot.client.chat_postMessage(channel=ALERTS, text="alert", blocks=blocks)
    await page.goto(slack.page_url)
    slack.faults.lost = 1
    await page.locator("[data-action-id=ack]").click()
    await expect(page.get_by_test_id("interaction-error")).to_contain_text("dispatch_failed")
    await send(page, "/mfi silence")
    await expect(page.locator(".failed")).to_contain_text("dispatch_failed")


async def test_mentions_and_shortcuts_work_from_the_page(page: Page, slack: SandboxSlack, bot: Bot) -> None:
    await page.goto(slack.page_url)
    await send(page, "@mfi 450 4.4.316 <!channel>")
    message = page.get_by_test_id("messages").get_by_test_id("message").first
    await expect(message).to_contain_text("<!channel>")
    await expect(message.get_by_test_id("open-thread")).to_contain_text("1 reply")
    await message.hover()
    await message.locator("[data-callback-id=explain]").click()
    await expect(page.locator("[data-private=yes]")).to_contain_text("Explained:")


HOSTILE = "<img src=x onerror=alert(1)> &amp;lt; <script>alert(2)</script>"


async def test_foreign_text_never_becomes_elements_and_live_markup_is_marked(
    page: Page, slack: SandboxSlack, bot: Bot
) -> None:
    await page.goto(slack.page_url)
    live = "<!channel> <@U0READER> <#C0MAILPARTNERS> <https://example.test/|a link> <!date^0^{date_num}|then>"
    script = "<javascript:alert(3)|y> javascript:alert(4)"
    dead = "&lt;!channel&gt; &lt;@U0READER&gt; `<!here` *bold* _it_ ~no~"
    text = {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": HOSTILE}]}],
    }
    blocks = [{"type": "section", "text": md(each)} for each in (live, dead, script, HOSTILE)]
    await bot.client.chat_postMessage(channel=ALERTS, text=HOSTILE, blocks=[*blocks, text])
    message = page.get_by_test_id("messages").get_by_test_id("message")
    await expect(message).to_contain_text("a link")
    kinds = await message.locator("[data-live]").evaluate_all("nodes => nodes.map((node) => node.dataset.live)")
    assert kinds == ["broadcast", "mention", "channel", "link", "date"]
    await expect(message.locator(".broadcast")).to_have_text("@channel")
    await expect(message.locator("img, script, a[href^=javascript]")).to_have_count(0)
    await expect(message.locator("strong")).to_have_text("bold")
    await expect(message).to_contain_text("<img src=x onerror=alert(1)>")


async def test_every_kind_of_block_is_drawn(page: Page, slack: SandboxSlack, bot: Bot) -> None:
    def cell(text: str) -> Json:
        return {"type": "raw_text", "text": text}

    leaf = {"type": "text", "text": "leaf", "style": {"bold": True}}
    line = {"type": "rich_text_section", "elements": [leaf, {"type": "emoji", "name": "warning"}]}
    blocks = [
        {
            "type": "table",
            "column_settings": [{}, {"align": "right"}],
            "rows": [[cell("A"), cell("B")], [cell("1"), cell("2")]],
        },
        {"type": "data_table", "caption": "Queues", "rows": [[cell("A")], [{"type": "raw_number", "value": 5}]]},
        {
            "type": "data_visualization",
            "title": "Queue",
            "chart": {"type": "pie", "segments": [{"label": "x", "value": 3}]},
        },
        {"type": "image", "alt_text": "A chart", "image_url": "https://example.test/a.png"},
        {"type": "markdown", "text": "## Heading\n**bold**"},
        {"type": "card", "title": md("Card"), "body": md("Body"), "actions": [button("undo", "Go")]},
        {"type": "carousel", "elements": [{"type": "card", "title": md("Second card")}]},
        {"type": "container", "title": plain("Folded"), "child_blocks": [{"type": "section", "text": md("inside")}]},
        {"type": "divider"},
        {
            "type": "rich_text",
            "elements": [
                {"type": "rich_text_list", "style": "ordered", "elements": [line, line]},
                {"type": "rich_text_quote", "elements": [leaf]},
                {"type": "rich_text_preformatted", "elements": [leaf]},
            ],
        },
        {
            "type": "section",
            "text": md("&gt; quoted\n• first\n1. second\n```pre\nformatted```\nhttps://example.test/bare"),
        },
    ]
    attachment = {"color": "#a30200", "blocks": [{"type": "section", "text": md("Coloured")}]}
    await bot.client.chat_postMessage(channel=ALERTS, text="everything", blocks=blocks, attachments=[attachment])
    await page.goto(slack.page_url)
    message = page.get_by_test_id("messages").get_by_test_id("message")
    await expect(message.locator("table")).to_have_count(2)
    await expect(message.locator("meter")).to_have_count(1)
    await expect(message.get_by_role("img", name="A chart")).to_be_visible()
    await expect(message.locator("ol li")).to_have_count(2)
    await expect(message.locator("blockquote")).to_have_count(2)
    await expect(message.locator("pre")).to_have_count(2)
    await expect(message.locator(".bullet")).to_have_count(2)
    await expect(message.locator("[data-live=bare-link]")).to_have_count(1)
    await expect(message.locator(".attachment")).to_have_css("border-left-color", "rgb(163, 2, 0)")


async def test_the_page_reconnects_when_the_workspace_returns(page: Page, slack: SandboxSlack, bot: Bot) -> None:
    await page.goto(slack.page_url)
    await expect(page.get_by_test_id("composer")).to_be_visible()
    await slack.down()
    await expect(page.get_by_test_id("connection")).to_be_visible()
    await slack.up()
    await expect(page.get_by_test_id("connection")).to_be_hidden()
    await bot.client.chat_postMessage(channel=ALERTS, text="Back again")
    await expect(page.get_by_test_id("messages")).to_contain_text("Back again")


async def test_a_hint_says_what_to_try_next_until_it_is_taken_away(page: Page, slack: SandboxSlack, bot: Bot) -> None:
    await page.goto(slack.page_url)
    slack.suggest("Type `/mfi status`")
    await expect(page.get_by_test_id("hint").locator("code")).to_have_text("/mfi status")
    await page.get_by_test_id("app-home").click()
    await expect(page.get_by_test_id("hint")).to_be_visible()
    slack.suggest("")
    await expect(page.get_by_test_id("hint")).to_have_count(0)


async def test_a_permanent_link_leads_to_the_message_and_other_channels_show_what_is_new(
    page: Page, slack: SandboxSlack, bot: Bot
) -> None:
    posted = await bot.client.chat_postMessage(channel=ALERTS, text="The one")
    link = await bot.client.chat_getPermalink(channel=ALERTS, message_ts=posted["ts"])
    await page.goto(f"{slack.page_url}#C0MAILPARTNERS")
    await expect(page.get_by_test_id("channel-title")).to_have_text("# mail-partners")
    await bot.client.chat_postMessage(channel=ALERTS, text=f"See <{link['permalink']}|that one>")
    await expect(page.get_by_test_id("channel-mail-alerts")).to_have_class("row unread")
    await page.get_by_test_id("channel-mail-alerts").click()
    await page.get_by_role("link", name="that one").click()
    await expect(page.locator(".focus")).to_contain_text("The one")


async def test_on_a_phone_the_messages_have_the_whole_width_and_everything_else_is_in_reach(
    page: Page, slack: SandboxSlack, bot: Bot
) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(slack.page_url)
    await bot.client.chat_postMessage(channel=ALERTS, text="alert", blocks=ALERT)
    message = page.get_by_test_id("messages").get_by_test_id("message")
    await expect(message).to_be_visible()
    assert (box := await message.bounding_box()) is not None
    assert box["width"] == 390
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    await page.get_by_test_id("user-U0READER").click()
    await expect(page.get_by_test_id("user-U0READER")).to_have_attribute("aria-checked", "true")
    await page.get_by_test_id("app-home").click()
    await expect(page.get_by_test_id("app-home")).to_be_in_viewport()
