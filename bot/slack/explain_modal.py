"""The windows of explain: one to paste into, one that shows an answer. Pure.

`private_metadata` is empty, or the opaque id under which the place for a shared answer is remembered.
"""

from __future__ import annotations

from bot.core.blockkit import problems
from bot.slack.blocks import Block, Message, View, context, modal, paragraph, plain_object, section, sections_only
from bot.slack.explained import example
from bot.slack.text import Mrkdwn, code, lines, mrkdwn

PASTE_CALLBACK, ANSWER_CALLBACK = "mfi.explain", "mfi.explained"
TEXT, MORE = "text", "more"
MOST = 3000
"""Slack's limit for what is typed into one field."""
TITLE = "Explain a mail error"

NOTHING_THERE = (
    "No delivery error in this. Paste the status code with the words after it: 450 4.4.316 Connection refused"
)


def paste_view(first: Mrkdwn | None = None, *, shared_as: str = "") -> View:
    """Paste here. `first`: why we ask. `shared_as`: the answer will be shown to the channel."""
    intro = lines(
        first,
        Mrkdwn(
            "Paste the error as you have it: a bounce message, a message trace's `{LED=…}`, the queue viewer's last "
            "error, log lines; in any language, several at once too."
        ),
    )
    shared = Mrkdwn("⚠️ The answer will be shown to the whole channel.") if shared_as else None
    eml = mrkdwn("A whole bounce as a file: {} on the command line.", code("mfi explain - < bounce.eml"))
    return modal(
        TITLE,
        [
            section(lines(intro, shared)),
            _input(TEXT, "The error", "Slack takes 3,000 characters in one field; the rest goes into the next one."),
            _input(MORE, "The rest, if it is longer", None),
            context(example(), eml),
        ],
        callback_id=PASTE_CALLBACK,
        private_metadata=shared_as,
        submit="Explain",
        close="Cancel",
    )


def _input(block_id: str, label: str, hint: str | None) -> Block:
    element = {"type": "plain_text_input", "action_id": block_id, "multiline": True, "max_length": MOST}
    made: Block = {"type": "input", "block_id": block_id, "label": plain_object(label), "element": element}
    return made | ({"hint": plain_object(hint, 200)} if hint else {"optional": True})


def pasted(text: str, more: str) -> str:
    """Both fields as one text: a full first field was cut wherever it was full."""
    return text + more if len(text) >= MOST - 1 else "\n".join(part for part in (text, more) if part)


def loading_view() -> View:
    """Shown at once, because a trigger lives three seconds."""
    return modal(TITLE, [section(Mrkdwn("⏳ Reading the message …"))], callback_id=ANSWER_CALLBACK)


def answer_view(answer: Message, title: str = TITLE) -> View:
    """An answer in a window: what only messages can show becomes paragraphs."""
    blocks = [paragraph(b) if b["type"] == "table" else b for b in answer.blocks] or [section(answer.text)]
    view = modal(title, blocks, callback_id=ANSWER_CALLBACK)
    if not problems(view, "modal"):
        return view
    return modal(title, sections_only(answer).blocks or [section(answer.text)], callback_id=ANSWER_CALLBACK)
