"""Forms and rows to be used by people, and an app that notes what it hears of them."""

from __future__ import annotations

from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import Message, SandboxSlack
from bot.sandbox.slack.seed import ALERTS, READER

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
