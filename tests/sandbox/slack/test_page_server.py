"""What serves the page: only to this machine, only its own files, and with the same gestures that tests use."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import SandboxSlack
from bot.sandbox.slack.seed import ADMIN_ONE, ALERTS, READER
from bot.sandbox.slack.text import live

Json = dict[str, Any]
HOME = {"type": "home", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "home"}}]}
BUTTON = {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}}
ROW = {"type": "actions", "block_id": "row", "elements": [BUTTON]}
MODAL = {
    "type": "modal",
    "title": {"type": "plain_text", "text": "T"},
    "submit": {"type": "plain_text", "text": "S"},
    "callback_id": "plan",
    "blocks": [ROW],
}


async def get(slack: SandboxSlack, path: str, **headers: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as session, session.get(slack.page_url + path, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


async def do(slack: SandboxSlack, user: str = READER, **wish: Any) -> tuple[int, Json]:
    address = f"{slack.page_url}page/do?user={user}"
    async with aiohttp.ClientSession() as session, session.post(address, json=wish) as answer:
        return answer.status, await answer.json()


async def state(slack: SandboxSlack, user: str = READER) -> Json:
    async with aiohttp.ClientSession() as session, session.get(f"{slack.page_url}page/state?user={user}") as answer:
        body: Json = await answer.json()
        return body


@pytest.mark.parametrize(
    "path", ["", "archives/C0MAILALERTS/p1750000000000001", "page/files/app.js", "page/files/icon.svg"]
)
async def test_files_come_with_a_policy_that_lets_nothing_else_in(slack: SandboxSlack, path: str) -> None:
    status, body, headers = await get(slack, path)
    assert (status, bool(body)) == (200, True)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http:" not in policy


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fserver.py", "%2e%2e/server.py", "server.py", "index"])
async def test_only_the_pages_own_files_are_served(slack: SandboxSlack, name: str) -> None:
    assert (await get(slack, f"page/files/{name}"))[0] == 404


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.test"}, {"Host": "127.0.0.1.evil.test"}, {"Origin": "http://evil.test"}, {"Origin": "null"}],
)
async def test_no_other_site_can_reach_the_workspace_through_a_browser(slack: SandboxSlack, headers: Json) -> None:
    assert (await get(slack, "page/state", **headers))[0] == 403


async def test_a_gesture_must_be_json_so_that_a_form_elsewhere_cant_send_it(slack: SandboxSlack) -> None:
    address = f"{slack.page_url}page/do?user={READER}"
    async with aiohttp.ClientSession() as session, session.post(address, data={"do": "home"}) as answer:
        assert answer.status == 415


async def test_an_unknown_user_is_refused_and_the_first_person_is_the_default(slack: SandboxSlack) -> None:
    assert (await get(slack, "page/state?user=U404"))[0] == 404
    assert (await get(slack, f"page/state?user={slack.workspace.app.bot_user}"))[0] == 404
    status, body, _ = await get(slack, "page/state")
    assert (status, f'"me": "{ADMIN_ONE}"' in body) == (200, True)


async def test_each_person_sees_their_own_notes_modals_and_home(slack: SandboxSlack, client: AsyncWebClient) -> None:
    await client.chat_postMessage(channel=ALERTS, text="for all")
    await client.chat_postEphemeral(channel=ALERTS, user=READER, text="for one")
    slack.views.publish(READER, HOME)
    slack.views.open(READER, MODAL)
    reader, admin = await state(slack), await state(slack, ADMIN_ONE)
    assert [[m["text"] for m in each["channels"][0]["messages"]] for each in (reader, admin)] == [
        ["for all", "for one"],
        ["for all"],
    ]
    assert [each["private"] for each in reader["channels"][0]["messages"]] == [False, True]
    assert [(len(each["modals"]), bool(each["home"])) for each in (reader, admin)] == [(1, True), (0, False)]


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"do": "dance"},
        {"do": "say", "channel": "nowhere", "text": "x"},
        {"do": "say", "channel": ALERTS, "text": " "},
        {"do": "act", "channel": ALERTS, "ts": "1.1", "action": "go"},
        {"do": "submit", "view": "V404", "values": {}},
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(slack: SandboxSlack, wish: Json) -> None:
    status, answer = await do(slack, **wish)
    assert status == 400
    assert answer["error"]


async def test_the_page_can_do_everything_that_people_do(
    slack: SandboxSlack, client: AsyncWebClient, app: AsyncApp, listen: Any
) -> None:
    heard: list[str] = []

    async def note(ack: Any, body: Json) -> None:
        heard.append(body.get("type", "command"))
        await ack()

    app.command("/mfi")(note)
    app.action("go")(note)
    app.view("plan")(note)
    app.shortcut("explain")(note)
    async with listen(app):
        posted = await client.chat_postMessage(channel=ALERTS, text="x", blocks=[ROW])
        at = {"channel": ALERTS, "ts": posted["ts"]}
        assert await do(slack, do="say", channel=ALERTS, text="/mfi help") == (200, {"error": None, "errors": {}})
        assert await do(slack, do="say", channel=ALERTS, text="hello", thread=posted["ts"]) == (200, {})
        await do(slack, do="act", action="go", block="row", **at)
        await do(slack, do="shortcut", callback="explain", **at)
        view = slack.views.open(READER, MODAL)
        await do(slack, do="act_in_view", view=view.id, action="go")
        await do(slack, do="submit", view=view.id, values={})
        assert slack.modal("Reader") is None
        other = slack.views.open(READER, MODAL)
        await do(slack, do="close", view=other.id)
        assert slack.modal("Reader") is None
        await do(slack, do="home")
        await slack.wait_for(lambda: slack.envelopes[-1].kind == "events_api")
    assert heard == ["command", "block_actions", "message_action", "block_actions", "view_submission"]
    assert [each.text for each in slack.thread("mail-alerts", posted["ts"])] == ["hello"]


async def test_news_come_as_they_happen_and_end_with_the_server(slack: SandboxSlack, client: AsyncWebClient) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{slack.page_url}page/news?user={READER}") as news:
        first = await news.content.readuntil(b"\n\n")
        await client.chat_postMessage(channel=ALERTS, text="x")
        second = await news.content.readuntil(b"\n\n")
        assert first != second
        await slack.down()
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            while await news.content.readany():
                pass


async def test_a_browser_that_leaves_ends_its_stream(slack: SandboxSlack) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{slack.page_url}page/news?user={READER}") as news:
        await news.content.readuntil(b"\n\n")
        news.close()
    page = slack._page
    for number in range(50):
        slack.workspace.changes.touch()
        await slack.wait_for(lambda: not page._streams, timeout=0.05, fail=False)
        if not page._streams:
            break
        assert number < 49


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain words & more", []),
        ("&lt;!channel&gt; &lt;@U1&gt;", []),
        ("<!channel> then <@U1|x> and <https://e.test|e>", ["<!channel>", "<@U1|x>", "<https://e.test|e>"]),
        ("see https://e.test/a and <#C1>", ["https://e.test/a", "<#C1>"]),
        ("<!date^1^{date}|x>", ["<!date^1^{date}|x>"]),
    ],
)
def test_what_is_live_in_a_text_is_named(text: str, found: list[str]) -> None:
    assert live(text) == found
