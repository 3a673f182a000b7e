"""A small app for the sandbox page: an alert with its buttons, a form, and what it hears of them."""

from __future__ import annotations

from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import SandboxSlack

ALERTS = "C0MAILALERTS"


Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def md(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def button(action_id: str, text: str, **more: Any) -> Json:
    return {"type": "button", "action_id": action_id, "text": plain(text), "value": "1", **more}


CONFIRM = {"title": plain("Undo?"), "text": md("Puts *everything* back"), "confirm": plain("Yes"), "deny": plain("No")}


STEPS = [
    {"text": md("*Reject* invalid recipients"), "description": md("12 senders get a bounce"), "value": "reject"},
    {"text": md("*Disable* the connector"), "value": "disable"},
]


MODAL = {
    "type": "modal",
    "callback_id": "plan",
    "title": plain("Fix now: plan"),
    "submit": plain("Carry out"),
    "close": plain("Cancel"),
    "notify_on_close": True,
    "blocks": [
        {"type": "section", "text": md("*Contoso inbound* – 1,284 messages wait")},
        {
            "type": "input",
            "block_id": "steps",
            "label": plain("Steps"),
            "element": {
                "type": "checkboxes",
                "action_id": "steps",
                "options": STEPS,
                "initial_options": STEPS[:1],
            },
        },
        {
            "type": "input",
            "block_id": "when",
            "label": plain("Verify"),
            "optional": True,
            "element": {
                "type": "static_select",
                "action_id": "when",
                "options": [{"text": plain("In one hour"), "value": "60"}, {"text": plain("Later"), "value": "90"}],
            },
        },
        {
            "type": "input",
            "block_id": "mode",
            "label": plain("Mode"),
            "element": {
                "type": "radio_buttons",
                "action_id": "mode",
                "options": [{"text": plain("For real"), "value": "real"}, {"text": plain("Dry run"), "value": "dry"}],
            },
        },
        {
            "type": "input",
            "block_id": "name",
            "label": plain("Type the connector's name"),
            "element": {"type": "plain_text_input", "action_id": "name", "multiline": True},
        },
    ],
}


ALERT = [
    {"type": "header", "text": plain(":red_circle: #1 Critical · 4.4.316 Connection refused")},
    {"type": "section", "fields": [md("*Connector*\nContoso inbound"), md("*Waiting*\n1,284 messages")]},
    {"type": "actions", "elements": [button("ack", "Acknowledge"), button("fix", "Fix now…", style="danger")]},
    {"type": "context", "elements": [md("<https://learn.microsoft.com/x|Microsoft's article>")]},
]


class Bot:
    """The app, and what it was told."""

    def __init__(self, slack: SandboxSlack) -> None:
        self.client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, retry_handlers=[])
        self.app = AsyncApp(client=self.client)
        self.submitted: list[Json] = []
        self.closed = 0
        self.app.command("/mfi")(self.command)
        self.app.action("ack")(self.acknowledge)
        self.app.action("undo")(self.undo)
        self.app.action("pick")(self.pick)
        self.app.action("fix")(self.fix)
        self.app.view("plan")(self.plan)
        self.app.view_closed("plan")(self.plan_closed)
        self.app.event("app_home_opened")(self.home)
        self.app.event("app_mention")(self.mentioned)
        self.app.shortcut("explain")(self.explain)

    async def command(self, ack: Any, respond: Any, body: Json) -> None:
        if body["text"] == "silence":
            return
        await ack()
        await respond(text="answer", blocks=[{"type": "section", "text": md(f"You asked: `{body['text']}`")}])

    async def acknowledge(self, ack: Any, client: AsyncWebClient, body: Json) -> None:
        await ack()
        who, ts = body["user"]["id"], body["message"]["ts"]
        await client.chat_postMessage(channel=ALERTS, thread_ts=ts, text=f":eyes: Acknowledged by <@{who}>")
        await client.chat_update(channel=ALERTS, ts=ts, text="Acknowledged", blocks=ALERT)

    async def undo(self, ack: Any, respond: Any) -> None:
        await ack()
        await respond("Put back")

    async def pick(self, ack: Any, respond: Any, action: Json) -> None:
        await ack()
        await respond(f"Picked {action['selected_option']['value']}")

    async def fix(self, ack: Any, client: AsyncWebClient, body: Json) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=MODAL)

    async def plan(self, ack: Any, view: Json) -> None:
        values = view["state"]["values"]
        if values["name"]["name"]["value"] != "Contoso inbound":
            await ack(response_action="errors", errors={"name": "This is not the connector's name."})
            return
        self.submitted.append(values)
        await ack()

    async def plan_closed(self, ack: Any) -> None:
        self.closed += 1
        await ack()

    async def home(self, event: Json, client: AsyncWebClient) -> None:
        blocks = [{"type": "section", "text": md("*2 open incidents*"), "accessory": button("undo", "Open")}]
        await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": blocks})

    async def mentioned(self, event: Json, say: Any) -> None:
        await say("You called?", thread_ts=event["ts"])

    async def explain(self, ack: Any, respond: Any, shortcut: Json) -> None:
        await ack()
        await respond(f"Explained: {shortcut['message']['text']}")
