"""Block Kit as small pure builders that keep Slack's limits by construction.

A `Message` always has both parts: blocks to look at and a `text` sentence for notifications, search and screen readers.
`sections_only` and `text_only` are the two lower steps of the degrade ladder (bot/slack/client.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bot.slack.text import Mrkdwn, Plain, code, fit, joined, lines, mrkdwn, of_object

Block = dict[str, Any]
View = dict[str, Any]

MAX_BLOCKS = 48
MAX_SECTION = 2900
MAX_FIELD = 1900
MAX_TEXT_BYTES = 3900
MAX_RENDERED = 12_000
"""Slack refuses a message somewhere above 13,000 rendered characters, undocumented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is posted. `text` alone says everything that matters."""

    text: Mrkdwn
    blocks: tuple[Block, ...] = ()

    def payload(self) -> dict[str, Any]:
        """As Slack's methods take it."""
        body: dict[str, Any] = {"text": bounded(self.text)}
        return body | {"blocks": list(self.blocks)} if self.blocks else body


def bounded(text: Mrkdwn) -> Mrkdwn:
    """Fit for `text` of chat.update, whose limit counts bytes."""
    shorter = text
    while len(shorter.encode()) > MAX_TEXT_BYTES:
        shorter = fit(shorter, len(shorter) * 3 // 4)
    return shorter


def message(text: Mrkdwn, blocks: Iterable[Block | None]) -> Message:
    """A message of these blocks, absent ones left out, cut to what Slack takes as a whole."""
    kept: list[Block] = []
    budget = MAX_RENDERED
    for block in blocks:
        if block is None:
            continue
        budget -= _rendered(block)
        if budget < 0 or len(kept) == MAX_BLOCKS:
            kept.append(context(Mrkdwn("…shortened; the rest did not fit into one message")))
            break
        kept.append(block)
    return Message(text=text, blocks=tuple(kept))


def _rendered(value: object) -> int:
    """How many characters of text a block shows."""
    if isinstance(value, Mapping):
        own = value.get("text")
        return (len(own) if isinstance(own, str) else 0) + sum(_rendered(v) for v in value.values())
    return sum(_rendered(v) for v in value) if isinstance(value, list) else 0


def mrkdwn_object(text: Mrkdwn, limit: int = MAX_SECTION) -> Block:
    """`verbatim`: Slack adds no links or mentions of its own to what we wrote."""
    return {"type": "mrkdwn", "text": fit(text, limit), "verbatim": True}


def plain_object(text: str, limit: int = 75) -> Block:
    """Literal text: our own words, or a `Plain`. Never empty, because Slack refuses that."""
    shown = text.strip() or "–"
    return {"type": "plain_text", "text": shown if len(shown) <= limit else shown[: limit - 1] + "…", "emoji": True}


def header(text: Plain) -> Block:
    """The big line."""
    return {"type": "header", "text": plain_object(text, 150)}


def section(text: Mrkdwn) -> Block | None:
    """A paragraph; None for an empty one."""
    return {"type": "section", "text": mrkdwn_object(text)} if text else None


def fields(*cells: Mrkdwn | None) -> Block | None:
    """Two columns; None when nothing is in them."""
    kept = [mrkdwn_object(cell, MAX_FIELD) for cell in cells if cell][:10]
    return {"type": "section", "fields": kept} if kept else None


def context(*parts: Mrkdwn | None) -> Block:
    """The small grey line."""
    return {"type": "context", "elements": [mrkdwn_object(part, MAX_FIELD) for part in parts if part][:10]}


NO_CELL = "–"


def table(rows: Sequence[Sequence[Plain]]) -> Block:
    """A table whose first row is the header. Messages only, one in each; say the same in the message's text.

    Without tables each row becomes a line, without the header: cells must speak for themselves.
    """
    cells = [[{"type": "raw_text", "text": cell.strip() or NO_CELL} for cell in row] for row in rows]
    return {"type": "table", "column_settings": [{"is_wrapped": True} for _ in rows[0]], "rows": cells}


MAX_LEAF = 2900


def preformatted(text: Plain) -> Block:
    """Text to copy, as it stands."""
    parts = [text[start : start + MAX_LEAF] for start in range(0, len(text), MAX_LEAF)]
    leaves = [{"type": "text", "text": part} for part in parts]
    return {"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": leaves}]}


def divider() -> Block:
    """A line between parts."""
    return {"type": "divider"}


def actions(*buttons: Block | None) -> Block | None:
    """A row of buttons; None when there are none."""
    kept = [b for b in buttons if b is not None][:25]
    return {"type": "actions", "elements": kept} if kept else None


def button(
    label: str,
    action_id: str,
    value: str,
    *,
    style: Literal["primary", "danger"] | None = None,
    confirm: Block | None = None,
    hint: str | None = None,
) -> Block:
    """A button. `value` is an opaque id: what it means is read from storage at the click."""
    made: Block = {"type": "button", "text": plain_object(label), "action_id": action_id, "value": value}
    extras = {"style": style, "confirm": confirm, "accessibility_label": hint[:75] if hint else None}
    return made | {key: extra for key, extra in extras.items() if extra is not None}


def confirm(title: str, question: Plain, yes: str, no: str = "Cancel") -> Block:
    """The "are you sure" of a button that acts."""
    return {
        "title": plain_object(title, 100),
        "text": plain_object(question, 300),
        "confirm": plain_object(yes, 30),
        "deny": plain_object(no, 30),
        "style": "danger",
    }


def modal(
    title: str,
    blocks: Iterable[Block | None],
    *,
    callback_id: str,
    private_metadata: str = "",
    submit: str | None = None,
    close: str = "Close",
) -> View:
    """A dialog. `private_metadata` holds an id and nothing else."""
    view: View = {
        "type": "modal",
        "callback_id": callback_id,
        "title": plain_object(title, 24),
        "close": plain_object(close, 24),
        "private_metadata": private_metadata,
        "blocks": [b for b in blocks if b is not None][:90],
    }
    return view | {"submit": plain_object(submit, 24)} if submit else view


def home(blocks: Iterable[Block | None]) -> View:
    """The App Home tab."""
    return {"type": "home", "blocks": [b for b in blocks if b is not None][:90]}


def sections_only(full: Message) -> Message:
    """The same facts without anything but paragraphs and buttons, for a Slack that refuses newer or richer blocks."""
    return message(full.text, map(_as_section, full.blocks))


def _as_section(block: Block) -> Block | None:
    if block["type"] == "actions":
        return block
    return paragraph(block)


def paragraph(block: Block) -> Block | None:
    """Any block of ours that only shows text, as a paragraph."""
    text = lines(*_texts(block))
    return {"type": "section", "text": {"type": "mrkdwn", "text": fit(text, MAX_SECTION)}} if text else None


def _texts(block: Block) -> list[Mrkdwn]:
    """The texts of a block. They were made safe when the block was built."""
    if block["type"] == "table":
        return [
            mrkdwn("• {}", joined([of_object(c) for c in row if c["text"] != NO_CELL])) for row in block["rows"][1:]
        ]
    if block["type"] == "rich_text":
        told = "".join(leaf["text"] for part in block["elements"] for leaf in part["elements"])
        return [code(line, 300) for line in told.split("\n") if line.strip()]
    found = [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]
    return [of_object(part) for part in found if isinstance(part, Mapping)]


def text_only(full: Message) -> Message:
    """The sentence alone: the last thing that Slack may still take."""
    return Message(text=full.text)
