"""What interactive elements tell the app: their state in `state.values`, and the entry of `actions` when one is used.

Promises: pure; raises BadGesture for what no Slack client would let a person do (choosing an option that isn't offered,
typing more than fits).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bot.sandbox.slack.workspace import interactive

Json = dict[str, Any]

CHOOSE_ONE: Final = frozenset({"static_select", "radio_buttons", "external_select", "overflow"})
CHOOSE_MANY: Final = frozenset({"checkboxes", "multi_static_select", "multi_external_select"})
TYPED: Final = frozenset({"plain_text_input", "email_text_input", "url_text_input", "number_input"})
PICKED: Final[Mapping[str, tuple[str, str]]] = {
    "users_select": ("selected_user", "initial_user"),
    "channels_select": ("selected_channel", "initial_channel"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "multi_users_select": ("selected_users", "initial_users"),
    "multi_channels_select": ("selected_channels", "initial_channels"),
    "multi_conversations_select": ("selected_conversations", "initial_conversations"),
    "datepicker": ("selected_date", "initial_date"),
    "timepicker": ("selected_time", "initial_time"),
    "datetimepicker": ("selected_date_time", "initial_date_time"),
}
_STATELESS: Final = frozenset({"button", "overflow"})


class BadGesture(Exception):
    """No client lets a person do this."""


def initial_state(blocks: list[Json]) -> dict[str, Json]:
    """The state.values of blocks that nobody has touched yet."""
    values: dict[str, Json] = {}
    for block, element in interactive(blocks):
        if element["type"] not in _STATELESS:
            values.setdefault(block["block_id"], {})[element["action_id"]] = _initial(element)
    return values


def _initial(element: Json) -> Json:
    kind = element["type"]
    if kind in CHOOSE_MANY:
        return {"type": kind, "selected_options": element.get("initial_options", [])}
    if kind in CHOOSE_ONE:
        return {"type": kind, "selected_option": element.get("initial_option")}
    if kind in PICKED:
        selected, initial = PICKED[kind]
        return {"type": kind, selected: element.get(initial)}
    return {"type": kind, "value": element.get("initial_value")}


def state_of(element: Json, raw: Any) -> Json:
    """The element's state after a person chose or typed `raw`: option value(s), a text, an id or a date."""
    kind = element["type"]
    if kind in CHOOSE_MANY:
        return {"type": kind, "selected_options": [_option(element, value) for value in raw or []]}
    if kind in CHOOSE_ONE:
        return {"type": kind, "selected_option": None if raw is None else _option(element, raw)}
    if kind in PICKED:
        return {"type": kind, PICKED[kind][0]: raw}
    return {"type": kind, "value": _typed(element, raw)}


def _typed(element: Json, raw: Any) -> str | None:
    if raw is not None and not isinstance(raw, str):
        raise BadGesture("only text can be typed")
    if raw and len(raw) > element.get("max_length", 3000):
        raise BadGesture("the field takes no more characters")
    return raw or None


def _option(element: Json, value: Any) -> Json:
    groups = [option for group in element.get("option_groups", []) for option in group["options"]]
    for option in [*element.get("options", []), *groups]:
        if option.get("value") == value:
            chosen: Json = option
            return chosen
    raise BadGesture(f"{value!r} is not among the options")


def action_of(block: Json, element: Json, raw: Any, action_ts: str) -> Json:
    """The entry in `actions` that tells the app what was used."""
    entry = {"type": element["type"], "action_id": element["action_id"], "block_id": block["block_id"]}
    if element["type"] == "button":
        entry["text"] = element["text"]
        entry |= {name: element[name] for name in ("value", "style", "url", "confirm") if name in element}
    else:
        entry |= state_of(element, raw)
    return entry | {"action_ts": action_ts}


def complaints(blocks: list[Json], values: Mapping[str, Json]) -> dict[str, str]:
    """What the client says by itself, before the app is asked: required inputs that are empty, texts too short."""
    found: dict[str, str] = {}
    for block in blocks:
        if block["type"] != "input":
            continue
        element = block["element"]
        state = values.get(block["block_id"], {}).get(element["action_id"], {})
        content = next((state[name] for name in state if name != "type"), None)
        if not content and not block.get("optional", False):
            found[block["block_id"]] = "Please complete this required field."
        elif isinstance(content, str) and content and len(content) < element.get("min_length", 0):
            found[block["block_id"]] = f"Please enter at least {element['min_length']} characters."
    return found
