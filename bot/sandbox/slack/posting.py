"""Turns what an app sends into stored messages, and stored messages into what an app reads.

Promises: the validator decides what is refused, on every road (Web API, response URL, acknowledgement); blocks get the
ids that their author left out, new ones on each change; an update without blocks takes the blocks away.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any, Final

from bot.core.blockkit import problems
from bot.sandbox.slack.errors import refuse_problems
from bot.sandbox.slack.text import normalise
from bot.sandbox.slack.workspace import Json, Message, Workspace

_CONTENT: Final = ("text", "blocks", "attachments", "metadata")
_serial = itertools.count(1)


def content_of(args: Mapping[str, Any]) -> Json:
    """The parts of a call that make up the message; empty and absent are the same."""
    return {name: args[name] for name in _CONTENT if args.get(name) is not None}


def check(content: Json, *, update: bool = False) -> None:
    """Refuse what Slack refuses; an update may leave out everything but one of text, blocks, attachments."""
    visible = {name: value for name, value in content.items() if name != "metadata" or value}
    refuse_problems(problems(visible, "message", update=update), "message")


def with_ids(blocks: list[Json]) -> list[Json]:
    """A copy in which every block has a block_id and every interactive element an action_id."""
    made = copy.deepcopy(blocks)
    for block in made:
        block.setdefault("block_id", _name())
        held = [*block.get("elements", []), block.get("accessory"), block.get("element"), *block.get("actions", [])]
        for element in held:
            if isinstance(element, dict) and _interactive(element):
                element.setdefault("action_id", _name())
        if "child_blocks" in block:
            block["child_blocks"] = with_ids(block["child_blocks"])
    return made


def _interactive(element: Json) -> bool:
    kind = str(element.get("type", ""))
    return kind in ("button", "overflow", "checkboxes", "radio_buttons") or kind.endswith(("select", "input", "picker"))


def _name() -> str:
    number, letters = next(_serial), ""
    while number:
        number, digit = divmod(number, 36)
        letters = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + letters
    return f"b{letters:0>4}"


def fill(message: Message, content: Json) -> None:
    """Give the message this content; what the content lacks is gone, except metadata."""
    message.text = normalise(str(content.get("text", "")))
    message.blocks = with_ids(content.get("blocks", []))
    message.attachments = [
        {**each, "id": number, **({"blocks": with_ids(each["blocks"])} if "blocks" in each else {})}
        for number, each in enumerate(copy.deepcopy(content.get("attachments", [])), 1)
    ]
    if "metadata" in content:
        message.metadata = copy.deepcopy(content["metadata"]) or None


def app_message(workspace: Workspace, channel: str, content: Json, **more: Any) -> Message:
    """Check and store a new message of the app."""
    check(content)
    app = workspace.app
    message = Message(
        ts=workspace.next_ts(), channel=channel, user=app.bot_user, bot_id=app.bot_id, app_id=app.app_id, **more
    )
    fill(message, content)
    return workspace.store(message)


def rewrite(workspace: Workspace, message: Message, content: Json) -> Message:
    """Check and put new content into a message of the app, marking it as edited."""
    check(content, update=True)
    fill(message, content)
    message.edited = workspace.next_ts()
    workspace.changes.touch()
    return message


def document(workspace: Workspace, message: Message, *, metadata: bool = False) -> Json:
    """The message as the Web API and payloads give it."""
    body: Json = {
        "type": "message",
        "user": message.user,
        "text": message.text,
        "ts": message.ts,
        "team": workspace.team_id,
    }
    if message.bot_id:
        body |= {"bot_id": message.bot_id, "app_id": message.app_id, "bot_profile": bot_profile(workspace)}
    if message.blocks:
        body["blocks"] = message.blocks
    if message.attachments:
        body["attachments"] = message.attachments
    if message.edited:
        body["edited"] = {"user": message.user, "ts": message.edited}
    if message.reactions:
        body["reactions"] = [
            {"name": name, "users": users, "count": len(users)} for name, users in message.reactions.items()
        ]
    if message.metadata and metadata:
        body["metadata"] = message.metadata
    return body | _threading(workspace, message)


def _threading(workspace: Workspace, message: Message) -> Json:
    if message.is_reply:
        shared = {"subtype": "thread_broadcast"} if message.broadcast else {}
        return {"thread_ts": message.thread_ts, **shared}
    replies = [] if message.ephemeral_to else workspace.thread(message.channel, message.ts)
    if not replies:
        return {}
    users = list(dict.fromkeys(each.user for each in replies))
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users": users,
        "reply_users_count": len(users),
        "latest_reply": replies[-1].ts,
        "is_locked": False,
        "subscribed": False,
    }


def bot_profile(workspace: Workspace) -> Json:
    """The app's bot as messages and bots.info show it."""
    app = workspace.app
    return {
        "id": app.bot_id,
        "app_id": app.app_id,
        "user_id": app.bot_user,
        "name": app.name,
        "deleted": False,
        "updated": 0,
        "icons": {},
        "team_id": workspace.team_id,
    }
