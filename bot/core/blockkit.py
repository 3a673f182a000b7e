"""Tells, before anything is sent, what Slack would refuse in a message or a view.

Promises: `problems` is total (never raises, whatever JSON it is given), pure, and as strict as Slack where Slack is
documented; where Slack is only observed (the size of a rendered message) it is a little stricter. The answer has the
shape of Slack's own `blocks.validate`. It checks form, never meaning: a message without a problem may still be silly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bot.core.blockkit_blocks import BLOCKS, Surface
from bot.core.blockkit_elements import plain
from bot.core.shapes import Problem, Shape, array, at, both, choice, flag, record, string

__all__ = ["MAX_RENDERED", "Problem", "Surface", "problems", "rendered_length", "slack_error"]

MAX_BLOCKS: Final[Mapping[Surface, int]] = {"message": 50, "modal": 100, "home": 100}
MAX_TEXT: Final = 40_000
MAX_UPDATE_BYTES: Final = 4_000
MAX_RENDERED: Final = 13_200
MAX_VIEW: Final = 250_000
MAX_METADATA: Final = 8_000
MAX_MARKDOWN: Final = 12_000
MAX_TABLE: Final = 10_000
_ONCE: Final[Mapping[str, int]] = {"table": 1, "data_visualization": 2}
_UNSEEN: Final = frozenset(
    {"type", "block_id", "action_id", "value", "url", "image_url", "video_url", "thumbnail_url", "title_url", "style"}
)
_WHOLE: Final = frozenset(
    {"no_text", "msg_too_long", "msg_blocks_too_long", "too_many_attachments", "metadata_too_large"}
    | {"invalid_metadata_format", "invalid_metadata_schema", "invalid_attachments"}
)


def problems(payload: object, surface: Surface, *, update: bool = False) -> list[Problem]:
    """List everything that Slack would refuse in a message's arguments or in a view; empty means acceptable.

    `update` applies the tighter limit that chat.update has for `text`.
    """
    if not isinstance(payload, Mapping):
        return [at("", "invalid_type", "must be an object")]
    if surface == "message":
        return list(_message(payload, update=update))
    return list(_view(payload, surface))


def slack_error(found: Sequence[Problem], surface: Surface = "message") -> str | None:
    """The error word with which Slack answers a call that has these problems; None without any."""
    if not found:
        return None
    whole = [each.code for each in found if each.code in _WHOLE]
    if whole:
        return whole[0]
    return "invalid_blocks" if surface == "message" else "invalid_arguments"


def rendered_length(blocks: object) -> int:
    """How many characters of the blocks a reader sees: what Slack's limit for a whole message counts."""
    return sum(len(word) for name, word in _words(blocks) if name not in _UNSEEN)


def _words(value: object) -> Iterator[tuple[str, str]]:
    """Every string inside with the name of its property; walks without recursion, so depth can't hurt it."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        name, each = waiting.pop()
        if isinstance(each, str):
            yield name, each
        elif isinstance(each, Mapping):
            waiting.extend((str(key), inner) for key, inner in each.items())
        elif isinstance(each, list | tuple):
            waiting.extend((name, inner) for inner in each)


# --- messages ------------------------------------------------------------------------------------------------------
def _message(payload: Mapping[str, object], *, update: bool) -> Iterator[Problem]:
    blocks, attachments = payload.get("blocks"), payload.get("attachments")
    yield from _text(payload.get("text"), needed=not blocks and not attachments, update=update)
    if blocks is not None:
        yield from _blocks(blocks, "message", "/blocks", lo=0)
    if attachments is not None:
        yield from _attachments(attachments)
    yield from _across(_list(blocks) + [b for a in _list(attachments) for b in _list(_get(a, "blocks"))])
    if "metadata" in payload:
        yield from _metadata(payload["metadata"])
    length = rendered_length([blocks, attachments])
    if length > MAX_RENDERED:
        yield at("/blocks", "msg_blocks_too_long", f"about {MAX_RENDERED} characters fit in a message, has {length}")


def _text(text: object, *, needed: bool, update: bool) -> Iterator[Problem]:
    if text is None or text == "":
        if needed:
            yield at("/text", "no_text", "a message needs text, blocks or attachments")
    elif not isinstance(text, str):
        yield at("/text", "invalid_type", "must be a string")
    elif needed and not text.strip():
        yield at("/text", "no_text", "a message needs visible text, blocks or attachments")
    elif len(text) > MAX_TEXT:
        yield at("/text", "msg_too_long", f"must have at most {MAX_TEXT} characters, has {len(text)}")
    elif update and (size := len(text.encode("utf-8", "replace"))) > MAX_UPDATE_BYTES:
        yield at("/text", "msg_too_long", f"an update takes at most {MAX_UPDATE_BYTES} bytes of text, has {size}")


def _attachments(attachments: object) -> Iterator[Problem]:
    if not isinstance(attachments, list | tuple):
        yield at("/attachments", "invalid_attachments", "must be a list")
        return
    if len(attachments) > 100:
        yield at("/attachments", "too_many_attachments", "must have at most 100 items")
    for index, each in enumerate(attachments[:100]):
        pointer = f"/attachments/{index}"
        if not isinstance(each, Mapping):
            yield at(pointer, "invalid_attachments", "must be an object")
            continue
        if "color" in each:
            yield from string(1, 10)(each["color"], f"{pointer}/color")
        if "blocks" in each:
            yield from _blocks(each["blocks"], "message", f"{pointer}/blocks", lo=1)


def _metadata(metadata: object) -> Iterator[Problem]:
    if not isinstance(metadata, Mapping):
        yield at("/metadata", "invalid_metadata_format", "must be an object")
        return
    payload = metadata.get("event_payload")
    if (
        not isinstance(metadata.get("event_type"), str)
        or not metadata["event_type"]
        or not isinstance(payload, Mapping)
    ):
        yield at("/metadata", "invalid_metadata_schema", "needs event_type and event_payload")
        return
    for name, value in payload.items():
        if not isinstance(value, str | int | float | bool):
            yield at(f"/metadata/event_payload/{name}", "invalid_metadata_schema", "must be a plain value")
    if sum(len(name) + len(word) for name, word in _words(payload)) > MAX_METADATA:
        yield at("/metadata", "metadata_too_large", f"must stay below {MAX_METADATA} characters")


# --- blocks --------------------------------------------------------------------------------------------------------
def _blocks(blocks: object, surface: Surface, pointer: str, *, lo: int) -> Iterator[Problem]:
    yield from array(BLOCKS[surface], lo, MAX_BLOCKS[surface])(blocks, pointer)
    for index, block in enumerate(_list(blocks)):
        yield from _repeated(_action_ids(block), f"{pointer}/{index}", "action_id")
        yield from _table_size(block, f"{pointer}/{index}")


def _across(blocks: list[object]) -> Iterator[Problem]:
    """What no block shows alone: repeated block_ids, too many of a kind, Markdown summed over the message."""
    everything = blocks + [child for block in blocks for child in _list(_get(block, "child_blocks"))]
    yield from _repeated([_get(block, "block_id") for block in everything], "/blocks", "block_id")
    kinds = Counter(str(_get(block, "type")) for block in everything)
    for kind, most in _ONCE.items():
        if kinds[kind] > most:
            yield at("/blocks", "too_many", f"at most {most} {kind} per message")
    markdown = sum(rendered_length(_get(block, "text")) for block in blocks if _get(block, "type") == "markdown")
    if markdown > MAX_MARKDOWN:
        yield at("/blocks", "too_long", f"Markdown blocks hold at most {MAX_MARKDOWN} characters together")


def _repeated(names: list[object], pointer: str, what: str) -> Iterator[Problem]:
    for name, times in Counter(name for name in names if isinstance(name, str)).items():
        if times > 1:
            yield at(pointer, "duplicate", f"{what} {name[:60]!r} stands {times} times")


def _action_ids(block: object) -> list[object]:
    holders = [*_list(_get(block, "elements")), *_list(_get(block, "actions")), _get(block, "accessory")]
    return [_get(holder, "action_id") for holder in holders]


def _table_size(block: object, pointer: str) -> Iterator[Problem]:
    kind = _get(block, "type")
    if kind in ("table", "data_table") and (size := rendered_length(_get(block, "rows"))) > MAX_TABLE:
        yield at(f"{pointer}/rows", "too_long", f"a table holds at most {MAX_TABLE} characters, has {size}")


# --- views ---------------------------------------------------------------------------------------------------------
_COMMON: Final[Mapping[str, Shape]] = {
    "private_metadata": string(0, 3000),
    "callback_id": string(0, 255),
    "external_id": string(0, 255),
}


def _anything(_value: object, _pointer: str) -> Iterator[Problem]:
    return iter(())


_MODAL: Final = record(
    {"type": choice("modal"), "title": plain(24), "blocks": _anything},
    {
        **_COMMON,
        "submit": plain(24),
        "close": plain(24),
        "clear_on_close": flag(),
        "notify_on_close": flag(),
        "submit_disabled": flag(),
    },
)
_HOME: Final = record({"type": choice("home"), "blocks": _anything}, _COMMON)


def _submit_for_inputs(value: object, pointer: str) -> Iterator[Problem]:
    kinds = [_get(block, "type") for block in _list(_get(value, "blocks"))]
    if "input" in kinds and _get(value, "submit") is None:
        yield at(f"{pointer}/submit", "missing_field", "a modal with inputs needs submit")


def _view(payload: Mapping[str, object], surface: Surface) -> Iterator[Problem]:
    shape = both(_MODAL, _submit_for_inputs) if surface == "modal" else _HOME
    yield from shape(payload, "")
    blocks = _get(payload, "blocks")
    if blocks is not None:
        yield from _blocks(blocks, surface, "/blocks", lo=1)
        yield from _across(_list(blocks))
    if sum(len(name) + len(word) for name, word in _words(payload)) > MAX_VIEW:
        yield at("", "too_long", f"a view holds at most {MAX_VIEW} characters")


def _get(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else None


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []
