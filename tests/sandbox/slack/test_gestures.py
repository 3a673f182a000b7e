"""What people do, and what a slack_bolt app hears of it: commands, clicks, modals, the Home tab, response URLs."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import BadGesture, Channel, Message, SandboxSlack, View
from bot.sandbox.slack.seed import ADMIN_ONE, ALERTS, READER

Json = dict[str, Any]


def plain(text: str = "Go") -> Json:
    return {"type": "plain_text", "text": text}


def options(*values: str) -> list[Json]:
    return [{"text": plain(value), "value": value} for value in values]


def field(block_id: str, element: Json, **more: Any) -> Json:
    return {
        "type": "input",
        "block_id": block_id,
        "label": plain(block_id),
        "element": {"action_id": "v", **element},
        **more,
    }


BUTTON = {"type": "button", "action_id": "go", "value": "7f3c", "style": "danger", "text": plain()}
MENU = {"type": "static_select", "action_id": "menu", "options": options("a", "b"), "initial_option": options("a")[0]}
ROW = {"type": "actions", "block_id": "row", "elements": [BUTTON, MENU]}
TEXT = {"type": "plain_text_input", "min_length": 3, "max_length": 20}
FORM: Json = {
    "type": "modal",
    "callback_id": "plan",
    "private_metadata": "secret",
    "title": plain("Plan"),
    "submit": plain(),
    "blocks": [
        field("steps", {"type": "checkboxes", "options": options("x", "y"), "initial_options": options("x")}),
        field("name", TEXT),
        field("who", {"type": "users_select", "initial_user": READER}, optional=True),
        field(
            "many",
            {"type": "multi_static_select", "option_groups": [{"label": plain(), "options": options("m")}]},
            optional=True,
        ),
    ],
}
NOTICE: Json = {"type": "modal", "callback_id": "notice", "title": plain("Notice"), "blocks": [{"type": "divider"}]}


async def post(client: AsyncWebClient, slack: SandboxSlack, *blocks: Json) -> Message:
    answer = await client.chat_postMessage(channel=ALERTS, text="alert", blocks=list(blocks))
    return slack.workspace.channels[ALERTS].messages[answer["ts"]]


class Heard:
    """Everything an app was told, and what it answers to submissions."""

    def __init__(self, app: AsyncApp) -> None:
        self.bodies: list[Json] = []
        self.answer: Json = {}
        self.view = FORM
        self.method = "views_open"
        app.action({"type": "block_actions", "action_id": "go"})(self._open)
        app.action("menu")(self._note)
        app.view("plan")(self._submit)
        app.view("notice")(self._submit)
        app.view_closed("plan")(self._note)
        app.view_closed("notice")(self._note)
        app.shortcut("explain")(self._note)
        app.shortcut("probe")(self._note)

    async def _note(self, ack: Any, body: Json) -> None:
        self.bodies.append(body)
        await ack()

    async def _open(self, ack: Any, body: Json, client: AsyncWebClient) -> None:
        self.bodies.append(body)
        await ack()
        await getattr(client, self.method)(trigger_id=body["trigger_id"], view=self.view)

    async def _submit(self, ack: Any, body: Json) -> None:
        self.bodies.append(body)
        await ack(**self.answer)


@pytest.fixture
def heard(app: AsyncApp) -> Heard:
    return Heard(app)


@pytest.fixture
async def form(slack: SandboxSlack, client: AsyncWebClient, app: AsyncApp, heard: Heard, listen: Any) -> Any:
    """The form opened for the reader, with the app listening."""
    async with listen(app):
        message = await post(client, slack, ROW)
        await slack.click("Reader", message, "go")
        yield await slack.wait_for(lambda: slack.modal("Reader"))


# --- clicks --------------------------------------------------------------------------------------------------------
async def test_a_click_carries_everything_that_slack_sends(
    slack: SandboxSlack, client: AsyncWebClient, app: AsyncApp, heard: Heard, listen: Any
) -> None:
    async with listen(app):
        message = await post(client, slack, ROW)
        assert message.has_action("go")
        assert (await slack.click("Reader", message, "menu", "b")).ok
    (body,) = heard.bodies
    assert body["type"] == "block_actions"
    assert (body["user"]["id"], body["team"]["id"], body["channel"]["id"]) == (READER, slack.workspace.team_id, ALERTS)
    assert body["container"] == {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": ALERTS,
        "is_ephemeral": False,
    }
    assert body["message"]["ts"] == message.ts
    assert body["actions"][0]["selected_option"]["value"] == "b"
    assert body["state"]["values"]["row"]["menu"]["selected_option"]["value"] == "b"
    assert {"token", "api_app_id", "trigger_id", "response_url", "enterprise"} <= set(body)
    assert body["is_enterprise_install"] is False


async def test_a_click_in_a_thread_names_the_thread_and_one_on_a_note_has_no_message(
    slack: SandboxSlack, client: AsyncWebClient, app: AsyncApp, heard: Heard, listen: Any
) -> None:
    async with listen(app):
        root = await client.chat_postMessage(channel=ALERTS, text="root")
        await client.chat_postMessage(channel=ALERTS, text="x", thread_ts=root["ts"], blocks=[ROW])
        (reply,) = slack.thread("mail-alerts", root["ts"])
        await slack.click("Reader", reply, "menu", "a", block_id="row")
        await client.chat_postEphemeral(channel=ALERTS, user=READER, text="note", blocks=[ROW])
        (note,) = slack.ephemerals("Reader")
        await slack.click("Reader", note, "menu", "a")
    in_thread, private = heard.bodies
    assert in_thread["container"]["thread_ts"] == root["ts"]
    assert private["container"]["is_ephemeral"] is True
    assert "message" not in private


async def test_what_no_client_allows_is_a_bad_gesture_and_sends_nothing(
    slack: SandboxSlack, client: AsyncWebClient
) -> None:
    message = await post(client, slack, ROW)
    note = await client.chat_postEphemeral(channel=ALERTS, user=READER, text="note", blocks=[ROW])
    assert note["ok"]
    slack.workspace.add_channel(Channel(id="C0OTHER", name="other"))
    for gesture in (
        slack.click("Reader", message, "nothing"),
        slack.click("Reader", message, "menu", "not offered"),
        slack.click("Admin One", slack.ephemerals("Reader")[0], "go"),
        slack.shortcut("Reader", "nothing", message),
    ):
        with pytest.raises(BadGesture):
            await gesture
    for channel, text in (("mail-alerts", "  "), ("other", "hello")):
        with pytest.raises(BadGesture):
            slack.say("Reader", channel, text)
    assert not slack.envelopes


async def test_a_click_that_nobody_acknowledges_shows_the_error(slack: SandboxSlack, client: AsyncWebClient) -> None:
    outcome = await slack.click("Reader", await post(client, slack, ROW), "go")
    assert (outcome.ok, outcome.error) == (False, "dispatch_failed")


async def test_a_trigger_opens_one_view_within_three_seconds(timed: SandboxSlack, clock: Any, client_for: Any) -> None:
    client = client_for(timed)
    tickets = timed.tickets
    used = tickets.trigger(READER)
    await client.views_open(trigger_id=used.id, view=NOTICE)
    late = tickets.trigger(READER)
    clock.forward(3.1)
    for trigger, word in (
        (used.id, "exchanged_trigger_id"),
        (late.id, "expired_trigger_id"),
        ("1.2.3", "invalid_trigger_id"),
    ):
        with pytest.raises(SlackApiError) as caught:
            await client.views_open(trigger_id=trigger, view=NOTICE)
        assert caught.value.response["error"] == word


# --- modals --------------------------------------------------------------------------------------------------------
async def test_a_submission_carries_the_state_of_every_input(slack: SandboxSlack, heard: Heard, form: View) -> None:
    assert (form.callback_id, form.private_metadata) == ("plan", "secret")
    outcome = await slack.submit("Reader", form, {"steps": ["x", "y"], "name": {"v": "Contoso"}, "many": ["m"]})
    assert outcome.ok
    assert slack.modal("Reader") is None
    body = heard.bodies[-1]
    values = body["view"]["state"]["values"]
    assert body["type"] == "view_submission"
    assert [each["value"] for each in values["steps"]["v"]["selected_options"]] == ["x", "y"]
    assert values["name"]["v"] == {"type": "plain_text_input", "value": "Contoso"}
    assert values["who"]["v"] == {"type": "users_select", "selected_user": READER}
    assert values["many"]["v"]["selected_options"][0]["value"] == "m"
    assert (body["view"]["private_metadata"], body["view"]["callback_id"]) == ("secret", "plan")


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"steps": []}, {"steps", "name"}),
        ({"name": ""}, {"name"}),
        ({"name": "ab"}, {"name"}),
    ],
)
async def test_the_client_itself_stops_what_is_incomplete(
    slack: SandboxSlack, heard: Heard, form: View, values: Json, errors: set[str]
) -> None:
    before = len(heard.bodies)
    outcome = await slack.submit("Reader", form, values)
    assert (set(outcome.errors), outcome.envelope) == (errors, None)
    assert len(heard.bodies) == before


@pytest.mark.parametrize("values", [{"nothing": "x"}, {"name": "x" * 21}, {"name": 5}, {"steps": ["z"]}])
async def test_values_that_no_client_could_send_are_bad_gestures(slack: SandboxSlack, form: View, values: Json) -> None:
    with pytest.raises(BadGesture):
        await slack.submit("Reader", form, values)


async def test_errors_stand_at_their_blocks_and_the_modal_stays(slack: SandboxSlack, heard: Heard, form: View) -> None:
    heard.answer = {"response_action": "errors", "errors": {"name": "Type the name."}}
    outcome = await slack.submit("Reader", form, {"name": "Contoso"})
    assert outcome.errors == {"name": "Type the name."}
    assert slack.modal("Reader") is form


@pytest.mark.parametrize(
    "answer",
    [
        {"response_action": "errors", "errors": {"nowhere": "x"}},
        {"response_action": "errors", "errors": {}},
        {"response_action": "update", "view": {"type": "modal"}},
        {"response_action": "dance"},
    ],
)
async def test_an_answer_that_slack_would_not_understand_shows_trouble(
    slack: SandboxSlack, heard: Heard, form: View, answer: Json
) -> None:
    heard.answer = answer
    outcome = await slack.submit("Reader", form, {"name": "Contoso"})
    assert "trouble" in str(outcome.error)
    assert slack.modal("Reader") is form


async def test_a_submission_that_nobody_acknowledges_shows_trouble(slack: SandboxSlack, form: View) -> None:
    slack.faults.lost = 1
    assert "trouble" in str((await slack.submit("Reader", form, {"name": "Contoso"})).error)


async def test_an_answer_may_update_push_or_clear(slack: SandboxSlack, heard: Heard, form: View) -> None:
    heard.answer = {"response_action": "push", "view": {**FORM, "callback_id": "plan"}}
    await slack.submit("Reader", form, {"name": "Contoso"})
    second = slack.modal("Reader")
    assert second
    assert (second.previous_id, second.root_id) == (form.id, form.id)
    with pytest.raises(BadGesture):
        await slack.submit("Reader", form, {"name": "Contoso"})
    heard.answer = {"response_action": "update", "view": NOTICE}
    await slack.submit("Reader", second, {"name": "Contoso"})
    assert slack.modal("Reader") is second
    assert second.callback_id == "notice"
    with pytest.raises(BadGesture):
        await slack.submit("Reader", second)
    await slack.close("Reader", second)
    heard.answer = {"response_action": "clear"}
    await slack.submit("Reader", form, {"name": "Contoso"})
    assert slack.modal("Reader") is None
    with pytest.raises(BadGesture):
        await slack.close("Reader", form)
    with pytest.raises(BadGesture):
        await slack.close("Admin One", form)


async def test_closing_is_told_only_to_apps_that_asked_for_it(slack: SandboxSlack, heard: Heard, form: View) -> None:
    await slack.close("Reader", form)
    assert heard.bodies[-1]["type"] == "block_actions"
    asking = slack.views.open(READER, {**NOTICE, "notify_on_close": True, "clear_on_close": True})
    slack.views.push(READER, {**NOTICE, "notify_on_close": True})
    await slack.close("Reader", asking)
    assert [(each["type"], each["is_cleared"]) for each in heard.bodies[-2:]] == [("view_closed", True)] * 2


async def test_elements_of_a_modal_tell_the_app_with_the_state_so_far(
    slack: SandboxSlack, heard: Heard, form: View
) -> None:
    view = slack.views.open(READER, {**FORM, "blocks": [*FORM["blocks"], ROW]})
    heard.method, heard.view = "views_push", NOTICE
    await slack.gestures.act_in_view(
        slack.workspace.user("Reader"), view, "go", values={"name": "half typed"}, block_id="row"
    )
    await slack.wait_for(lambda: slack.modal("Reader") is not view)
    body = heard.bodies[-1]
    assert body["container"] == {"type": "view", "view_id": view.id}
    assert body["view"]["state"]["values"]["name"]["v"]["value"] == "half typed"
    await slack.click("Reader", view, "menu", "b")
    assert heard.bodies[-1]["actions"][0]["selected_option"]["value"] == "b"
    assert view.values["row"]["menu"]["selected_option"]["value"] == "b"


async def test_views_can_be_updated_with_their_hash_and_stack_three_deep(
    slack: SandboxSlack, client: AsyncWebClient, form: View
) -> None:
    tickets = slack.tickets
    form.values["name"]["v"]["value"] = "kept"
    await client.views_update(view_id=form.id, hash=form.hash, view={**FORM, "external_id": "outside"})
    assert form.values["name"]["v"]["value"] == "kept"
    await client.views_update(external_id="outside", view=FORM)
    for _ in range(2):
        await client.views_push(trigger_id=tickets.trigger(READER).id, view=NOTICE)
    cases: list[tuple[str, Json, str]] = [
        ("views.update", {"view_id": form.id, "hash": "old", "view": FORM}, "hash_conflict"),
        ("views.update", {"view_id": "V404", "view": FORM}, "not_found"),
        ("views.update", {"view": FORM}, "invalid_arguments"),
        ("views.update", {"view_id": form.id}, "invalid_arguments"),
        ("views.update", {"view_id": form.id, "view": {"type": "modal"}}, "invalid_arguments"),
        ("views.push", {"trigger_id": tickets.trigger(READER).id, "view": NOTICE}, "push_limit_reached"),
        ("views.push", {"trigger_id": tickets.trigger(ADMIN_ONE).id, "view": NOTICE}, "not_found"),
        ("views.publish", {"user_id": "U404", "view": NOTICE}, "user_not_found"),
    ]
    for method, args, word in cases:
        with pytest.raises(SlackApiError) as caught:
            await client.api_call(method, json=args)
        assert caught.value.response["error"] == word
    named = {**NOTICE, "external_id": "same"}
    await client.views_open(trigger_id=tickets.trigger(READER).id, view=named)
    with pytest.raises(SlackApiError) as caught:
        await client.views_open(trigger_id=tickets.trigger(ADMIN_ONE).id, view=named)
    assert caught.value.response["error"] == "duplicate_external_id"


# --- the Home tab and shortcuts ------------------------------------------------------------------------------------
async def test_the_home_tab_is_published_when_somebody_looks(
    slack: SandboxSlack, client: AsyncWebClient, app: AsyncApp, listen: Any
) -> None:
    home = {"type": "home", "blocks": [ROW]}
    events: list[Json] = []

    @app.event("app_home_opened")
    async def opened(event: Json) -> None:
        events.append(event)
        await client.views_publish(user_id=event["user"], view=home)

    async with listen(app):
        assert await slack.open_home("Reader")
        view = await slack.open_home("Reader")
    assert view is slack.home("Reader")
    assert slack.home("Admin One") is None
    assert "view" not in events[0]
    assert events[1]["view"]["id"] == view.id
    for stale in ("old", None):
        call = client.views_publish(user_id=READER, view=home, hash=stale or view.hash)
        if stale is None:
            await call
            continue
        with pytest.raises(SlackApiError) as caught:
            await call
        assert caught.value.response["error"] == "hash_conflict"


async def test_a_home_tab_that_nobody_publishes_stays_as_it_is(slack: SandboxSlack) -> None:
    assert await slack.open_home("Reader", timeout=0.05) is None


async def test_shortcuts_carry_the_message_or_nothing(
    slack: SandboxSlack, app: AsyncApp, heard: Heard, listen: Any
) -> None:
    said = slack.say("Reader", "mail-alerts", "550 5.4.316 & more")
    async with listen(app):
        assert (await slack.shortcut("Reader", "explain", said)).ok
        assert (await slack.shortcut("Reader", "probe")).ok
    message, everywhere = heard.bodies
    assert (message["type"], message["message"]["text"]) == ("message_action", "550 5.4.316 &amp; more")
    assert (everywhere["type"], everywhere["callback_id"]) == ("shortcut", "probe")


# --- response URLs -------------------------------------------------------------------------------------------------
async def reply(url: str, **body: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        return answer.status, await answer.text()


@pytest.fixture
async def url(slack: SandboxSlack, client: AsyncWebClient) -> str:
    """The response URL of a click on a public message."""
    outcome = await slack.click("Reader", await post(client, slack, ROW), "go")
    assert outcome.envelope
    return str(outcome.envelope.payload["response_url"])


async def test_a_response_url_takes_five_replies_in_half_an_hour(timed: SandboxSlack, clock: Any) -> None:
    timed.sockets.ack_seconds = 0.01
    await timed.command("Reader", "mail-alerts", "/mfi help")
    first = timed.envelopes[-1].payload["response_url"]
    assert [(await reply(first, text="x"))[0] for _ in range(5)] == [200] * 5
    status, body = await reply(first, text="x")
    assert (status, "used_url" in body) == (404, True)
    await timed.command("Reader", "mail-alerts", "/mfi help")
    second = timed.envelopes[-1].payload["response_url"]
    clock.forward(30 * 60 + 1)
    status, body = await reply(second, text="x")
    assert (status, "expired_url" in body) == (404, True)


async def test_a_reply_is_private_unless_it_says_otherwise(slack: SandboxSlack, url: str) -> None:
    assert await reply(url, text="quiet") == (200, "ok")
    await reply(url, text="loud", response_type="in_channel")
    root = slack.messages("mail-alerts")[0]
    await reply(url, text="inside", response_type="in_channel", thread_ts=root.ts)
    assert [each.text for each in slack.ephemerals("Reader")] == ["quiet"]
    assert [each.text for each in slack.messages("mail-alerts")] == ["alert", "loud"]
    assert [each.text for each in slack.thread("mail-alerts", root.ts)] == ["inside"]
    status, body = await reply(url, text="x", thread_ts="1.1")
    assert (status, "thread_not_found" in body) == (400, True)


async def test_the_original_can_be_replaced_and_deleted(slack: SandboxSlack, url: str) -> None:
    await reply(url, replace_original=True, text="changed")
    assert slack.messages("mail-alerts")[0].text == "changed"
    await reply(url, delete_original=True)
    assert slack.messages("mail-alerts") == []


async def test_a_note_can_be_replaced_and_deleted_only_so(slack: SandboxSlack, client: AsyncWebClient) -> None:
    await client.chat_postEphemeral(channel=ALERTS, user=READER, text="note", blocks=[ROW])
    (note,) = slack.ephemerals("Reader")
    outcome = await slack.click("Reader", note, "go")
    assert outcome.envelope
    address = outcome.envelope.payload["response_url"]
    await reply(address, replace_original=True, text="changed")
    assert [each.text for each in slack.ephemerals("Reader")] == ["changed"]
    await reply(address, delete_original=True)
    assert slack.ephemerals("Reader") == []


async def test_what_slack_refuses_in_a_reply_is_refused_and_costs_a_use(slack: SandboxSlack, url: str) -> None:
    status, body = await reply(url, text="x", blocks=[{"type": "sektion"}])
    assert (status, "invalid_blocks" in body) == (400, True)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, data="{") as answer:
        assert answer.status == 400
    for _ in range(4):
        await reply(url, text="x")
    assert (await reply(url, text="x"))[0] == 404


async def test_faults_reach_response_urls_too(slack: SandboxSlack, url: str) -> None:
    slack.faults.rate_limit("response_url", retry_after=2)
    assert (await reply(url, text="x"))[0] == 429
    slack.faults.http(500, "response_url")
    assert (await reply(url, text="x"))[0] == 500
    slack.faults.drop("response_url")
    slack.faults.accept_then_drop("response_url")
    for _ in range(2):
        with pytest.raises(aiohttp.ClientError):
            await reply(url, text="cut")
    slack.faults.hang("response_url", seconds=0.01)
    with pytest.raises(aiohttp.ClientError):
        await reply(url, text="x")
    assert [each.text for each in slack.ephemerals("Reader")] == ["cut"]


async def test_replies_to_a_command_are_returned_in_order(slack: SandboxSlack, app: AsyncApp, listen: Any) -> None:
    @app.command("/mfi")
    async def command(ack: Any, respond: Any) -> None:
        await ack("one")
        await asyncio.sleep(0.01)
        await respond("two")

    async with listen(app):
        got = await slack.command("Reader", "mail-alerts", "/mfi help", replies=2)
        (unknown,) = await slack.command("Reader", "mail-alerts", "/nonsense")
    assert [each.text for each in got] == ["one", "two"]
    assert "not a valid command" in unknown.text
