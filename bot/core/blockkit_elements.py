"""The shapes of Block Kit's text objects, composition objects and elements, with Slack's documented limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bot.core.shapes import (
    Problem,
    Shape,
    array,
    at,
    both,
    choice,
    flag,
    link,
    number,
    one_of_fields,
    record,
    string,
    tagged,
)

ID: Final = string(1, 255)


def plain(hi: int) -> Shape:
    """A plain_text object of at most hi characters."""
    return tagged({"plain_text": record({"type": string(), "text": string(1, hi)}, {"emoji": flag()})})


def text(hi: int) -> Shape:
    """A plain_text or mrkdwn object of at most hi characters."""
    mrkdwn = record({"type": string(), "text": string(1, hi)}, {"verbatim": flag()})
    return tagged({"plain_text": plain(hi), "mrkdwn": mrkdwn})


def option(label: Shape, *, url: bool = False) -> Shape:
    """One choice of a select, a menu or a group of boxes."""
    extra = {"url": link()} if url else {}
    return record({"text": label, "value": string(1, 150)}, {"description": text(75), **extra})


CONFIRM: Final = record(
    {"title": plain(100), "text": text(300), "confirm": plain(30), "deny": plain(30)},
    {"style": choice("primary", "danger")},
)
OPTION: Final = option(plain(75))
BOX: Final = option(text(75))
OPTIONS: Final = array(OPTION, 1, 100)
GROUPS: Final = array(record({"label": plain(75), "options": OPTIONS}), 1, 100)
FILE: Final = both(record({}, {"id": string(), "url": link()}), one_of_fields("id", "url"))
DISPATCH: Final = record({}, {"trigger_actions_on": array(choice("on_enter_pressed", "on_character_entered"), 1, 2)})
FILTER: Final = record(
    {},
    {
        "include": array(choice("im", "mpim", "private", "public"), 1, 4),
        "exclude_external_shared_channels": flag(),
        "exclude_bot_users": flag(),
    },
)


def initial_among_options(value: object, pointer: str) -> Iterator[Problem]:
    """What is chosen at first must be one of the offers, exactly as it is offered."""
    if not isinstance(value, Mapping):
        return
    offers = {_named(offer) for offer in _offers(value)}
    first = [value["initial_option"]] if "initial_option" in value else []
    for each in [*first, *_items(value.get("initial_options"))]:
        if _named(each) not in offers:
            yield at(pointer, "invalid_value", "an initial option must be one of the options")


def _offers(value: Mapping[str, object]) -> list[object]:
    groups = [group for group in _items(value.get("option_groups")) if isinstance(group, Mapping)]
    lists = [value.get("options"), *(group.get("options") for group in groups)]
    return [offer for offers in lists for offer in _items(offers)]


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _named(offer: object) -> tuple[str, ...]:
    """What two equal options have in common: value and label, as far as they are words."""
    if not isinstance(offer, Mapping):
        return ()
    label = offer.get("text")
    words = (offer.get("value"), label.get("text") if isinstance(label, Mapping) else None)
    return tuple(word for word in words if isinstance(word, str))


def _element(required: Mapping[str, Shape] | None = None, optional: Mapping[str, Shape] | None = None) -> Shape:
    return record({"type": string(), **(required or {})}, {"action_id": ID, **(optional or {})})


_PICK: Final[Mapping[str, Shape]] = {"placeholder": plain(150), "confirm": CONFIRM, "focus_on_load": flag()}
_MANY: Final[Mapping[str, Shape]] = {**_PICK, "max_selected_items": number(1)}
_TYPED: Final[Mapping[str, Shape]] = {
    "placeholder": plain(150),
    "dispatch_action_config": DISPATCH,
    "focus_on_load": flag(),
    "initial_value": string(0, 3000),
}
_IDS: Final = array(string(), 0, 100)

BUTTON: Final = _element(
    {"text": plain(75)},
    {
        "url": link(),
        "value": string(1, 2000),
        "style": choice("primary", "danger"),
        "confirm": CONFIRM,
        "accessibility_label": string(1, 75),
    },
)
IMAGE: Final = both(
    record(
        {"type": string(), "alt_text": string(1, 2000)},
        {"image_url": link(), "slack_file": FILE},
    ),
    one_of_fields("image_url", "slack_file"),
)


def _static(initial: Mapping[str, Shape]) -> Shape:
    return both(
        _element({}, {"options": OPTIONS, "option_groups": GROUPS, **initial}),
        one_of_fields("options", "option_groups"),
        initial_among_options,
    )


def _boxes(initial: Mapping[str, Shape]) -> Shape:
    known = {**initial, "confirm": CONFIRM, "focus_on_load": flag()}
    return both(_element({"options": array(BOX, 1, 10)}, known), initial_among_options)


PICKERS: Final[Mapping[str, Shape]] = {
    "static_select": _static({**_PICK, "initial_option": OPTION}),
    "multi_static_select": _static({**_MANY, "initial_options": array(OPTION, 1, 100)}),
    "external_select": _element({}, {**_PICK, "initial_option": OPTION, "min_query_length": number(0)}),
    "multi_external_select": _element(
        {}, {**_MANY, "initial_options": array(OPTION, 1, 100), "min_query_length": number(0)}
    ),
    "users_select": _element({}, {**_PICK, "initial_user": string()}),
    "multi_users_select": _element({}, {**_MANY, "initial_users": _IDS}),
    "channels_select": _element({}, {**_PICK, "initial_channel": string(), "response_url_enabled": flag()}),
    "multi_channels_select": _element({}, {**_MANY, "initial_channels": _IDS}),
    "conversations_select": _element(
        {},
        {
            **_PICK,
            "initial_conversation": string(),
            "default_to_current_conversation": flag(),
            "response_url_enabled": flag(),
            "filter": FILTER,
        },
    ),
    "multi_conversations_select": _element(
        {},
        {**_MANY, "initial_conversations": _IDS, "default_to_current_conversation": flag(), "filter": FILTER},
    ),
    "datepicker": _element({}, {**_PICK, "initial_date": string(10, 10)}),
    "timepicker": _element({}, {**_PICK, "initial_time": string(5, 5), "timezone": string()}),
    "datetimepicker": _element({}, {"initial_date_time": number(0), "confirm": CONFIRM, "focus_on_load": flag()}),
    "checkboxes": _boxes({"initial_options": array(BOX, 1, 10)}),
    "radio_buttons": _boxes({"initial_option": BOX}),
}
TYPED: Final[Mapping[str, Shape]] = {
    "plain_text_input": _element(
        {}, {**_TYPED, "multiline": flag(), "min_length": number(0, 3000), "max_length": number(1, 3000)}
    ),
    "email_text_input": _element({}, _TYPED),
    "url_text_input": _element({}, _TYPED),
    "number_input": _element(
        {"is_decimal_allowed": flag()}, {**_TYPED, "min_value": string(1, 20), "max_value": string(1, 20)}
    ),
}
_MENU: Final = _element({"options": array(option(text(75), url=True), 1, 5)}, {"confirm": CONFIRM})

ACTIONS: Final = tagged({"button": BUTTON, "overflow": _MENU, **PICKERS})
ACCESSORY: Final = tagged({"button": BUTTON, "overflow": _MENU, "image": IMAGE, **PICKERS})
INPUTS: Final = tagged({**PICKERS, **TYPED})
CONTEXT: Final = tagged({"plain_text": text(3000), "mrkdwn": text(3000), "image": IMAGE})
