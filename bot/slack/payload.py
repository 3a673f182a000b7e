"""What an interaction says, read defensively: who, where, which key, which action. Pure; total on any JSON object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from bot.core.permissions import Person
from bot.slack.client import Where

Body = Mapping[str, Any]


def person_of(body: Body) -> Person:
    """Who did it, by ids alone. An id that is missing makes a person who may do nothing."""
    who, team = _object(body, "user"), _object(body, "team")
    event = _object(body, "event")
    user_id = _text(who, "id") or _text(body, "user_id") or _text(event, "user") or ""
    enterprise = _text(_object(body, "enterprise"), "id") or _text(body, "enterprise_id") or _text(who, "enterprise_id")
    return Person(
        user_id=user_id,
        team_id=_text(who, "team_id"),
        request_team_id=_text(team, "id") or _text(body, "team_id"),
        enterprise_id=enterprise,
    )


def where_of(body: Body) -> Where:
    """Where the person waits for the answer. Clicks in a thread are answered in the thread, but those on a reply that
    the channel shows, too, are answered in the channel: nobody may have the thread open.
    """
    container = _object(body, "container")
    shown_in_channel = _text(_object(body, "message"), "subtype") == "thread_broadcast"
    channel = _text(_object(body, "channel"), "id") or _text(body, "channel_id") or _text(container, "channel_id")
    return Where(
        user=person_of(body).user_id,
        channel=channel,
        response_url=_text(body, "response_url"),
        thread_ts=None if shown_in_channel else _text(container, "thread_ts"),
    )


def key_of(body: Body) -> str:
    """What makes this delivery recognisable when it comes again. The same text for the same delivery, always."""
    for name in ("event_id", "trigger_id"):
        if value := _text(body, name):
            return f"{name}:{value}"[:200]
    view = _object(body, "view")
    told = [_text(body, "type"), _text(view, "id"), _text(view, "hash"), view.get("state"), body.get("actions")]
    return "body:" + hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def action_of(body: Body) -> tuple[str, str]:
    """(action id, value) of the button that was pressed."""
    actions = body.get("actions")
    first = actions[0] if isinstance(actions, list) and actions and isinstance(actions[0], Mapping) else {}
    return _text(first, "action_id") or "", _text(first, "value") or ""


def chosen_of(view: Body, block: str) -> tuple[str, ...]:
    """The values of the ticked boxes of an input block."""
    for element in _elements(view, block):
        options = element.get("selected_options")
        if isinstance(options, list):
            return tuple(str(o.get("value")) for o in options[:20] if isinstance(o, Mapping))
    return ()


def typed_of(view: Body, block: str, limit: int = 1000) -> str:
    """The text typed into an input block."""
    return next((_text(element, "value") or "" for element in _elements(view, block)), "")[:limit]


def view_of(body: Body) -> str | None:
    """The id of the dialog in which a button was pressed; None: it was pressed in a message."""
    return _text(_object(body, "view"), "id")


def message_of(body: Body) -> Body:
    """The message in which a button was pressed; empty for a dialog, the Home tab and what one person alone sees."""
    return _object(body, "message")


def without(message: Body, buttons: Collection[str]) -> Body:
    """What chat.update takes to show a message without the buttons of these action ids; empty: nothing changes."""
    shown = message.get("blocks")
    blocks = [block for block in shown if isinstance(block, Mapping)] if isinstance(shown, list) else []
    kept = [left for block in blocks if (left := _less(block, buttons))]
    ts = _text(message, "ts")
    return {"ts": ts, "text": _text(message, "text") or "", "blocks": kept} if ts and kept and kept != blocks else {}


def _less(block: Body, buttons: Collection[str]) -> Body | None:
    """The block without these buttons; None: nothing is left of it."""
    elements = block.get("elements")
    if block.get("type") != "actions" or not isinstance(elements, list):
        return block
    kept = [e for e in elements if not (isinstance(e, Mapping) and e.get("action_id") in buttons)]
    return {**block, "elements": kept} if kept else None


def trigger_of(body: Body) -> str:
    """What lets us open a dialog, for three seconds."""
    return _text(body, "trigger_id") or ""


def _elements(view: Body, block: str) -> list[Mapping[str, Any]]:
    found = _object(_object(_object(view, "state"), "values"), block)
    return [element for element in found.values() if isinstance(element, Mapping)]


def _object(body: Body, name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(body: Body, name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) and value else None
