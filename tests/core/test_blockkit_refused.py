"""What Slack refuses is named: its place, its code, and what to do about it."""

from __future__ import annotations

from typing import Any

import pytest

from bot.core.blockkit import problems
from tests.core.blocks import (
    DEEP,
    EVERY_LEAF,
    PICTURE,
    Json,
    actions,
    button,
    cell,
    chart,
    confirm,
    data_table,
    element,
    home,
    line,
    md,
    message,
    modal,
    options,
    plain,
    rich,
    section,
    table,
    text_input,
)

BAD: list[tuple[str, Json, str, str]] = [
    # the message as a whole
    ("message", {}, "/text", "no_text"),
    ("message", {"text": ""}, "/text", "no_text"),
    ("message", {"text": "  \n", "blocks": []}, "/text", "no_text"),
    ("message", {"text": 5}, "/text", "invalid_type"),
    ("message", {"text": "x" * 40_001}, "/text", "msg_too_long"),
    ("message", message(*[section()] * 51), "/blocks", "too_many"),
    ("message", {"text": "x", "blocks": "[]"}, "/blocks", "invalid_type"),
    ("message", message(*[section(text=md("x" * 2700))] * 5), "/blocks", "msg_blocks_too_long"),
    ("message", message(section(block_id="b"), section(block_id="b")), "/blocks", "duplicate"),
    ("message", {"text": "x", "attachments": {}}, "/attachments", "invalid_attachments"),
    ("message", {"text": "x", "attachments": ["red"]}, "/attachments/0", "invalid_attachments"),
    ("message", {"text": "x", "attachments": [{"color": 3}]}, "/attachments/0/color", "invalid_type"),
    ("message", {"text": "x", "attachments": [{"blocks": []}]}, "/attachments/0/blocks", "too_few"),
    ("message", {"text": "x", "attachments": [{"text": "x"}] * 101}, "/attachments", "too_many_attachments"),
    (
        "message",
        message(section(block_id="b"), attachments=[{"blocks": [section(block_id="b")]}]),
        "/blocks",
        "duplicate",
    ),
    # metadata
    ("message", message(metadata="x"), "/metadata", "invalid_metadata_format"),
    ("message", message(metadata={"event_payload": {}}), "/metadata", "invalid_metadata_schema"),
    ("message", message(metadata={"event_type": "", "event_payload": {}}), "/metadata", "invalid_metadata_schema"),
    ("message", message(metadata={"event_type": "x"}), "/metadata", "invalid_metadata_schema"),
    (
        "message",
        message(metadata={"event_type": "x", "event_payload": {"a": {}}}),
        "/metadata/event_payload/a",
        "invalid_metadata_schema",
    ),
    (
        "message",
        message(metadata={"event_type": "x", "event_payload": {"a": "x" * 8000}}),
        "/metadata",
        "metadata_too_large",
    ),
    # blocks and their properties
    ("message", message({"type": "sektion"}), "/blocks/0/type", "unknown_type"),
    ("message", message({"type": [[]]}), "/blocks/0/type", "unknown_type"),
    ("message", message({"type": "section", "fields": DEEP[0][0]}), "/blocks/0/fields/0", "invalid_type"),
    ("message", message({}), "/blocks/0/type", "unknown_type"),
    ("message", {"text": "x", "blocks": ["section"]}, "/blocks/0", "invalid_type"),
    ("message", message(section(colour="red")), "/blocks/0/colour", "unknown_field"),
    ("message", message(section(block_id="b" * 256)), "/blocks/0/block_id", "too_long"),
    ("message", message({"type": "alert", "text": md()}), "/blocks/0/type", "unknown_type"),
    ("message", message({"type": "section"}), "/blocks/0", "missing_field"),
    ("message", message(section(text=md(""))), "/blocks/0/text/text", "too_short"),
    ("message", message(section(text=md("x" * 3001))), "/blocks/0/text/text", "too_long"),
    ("message", message(section(text="words")), "/blocks/0/text", "invalid_type"),
    ("message", message(section(text={"type": "mrkdwn"})), "/blocks/0/text/text", "missing_field"),
    ("message", message(section(text={**md(), "emoji": True})), "/blocks/0/text/emoji", "unknown_field"),
    ("message", message(section(fields=[md()] * 11)), "/blocks/0/fields", "too_many"),
    ("message", message(section(fields=[md("x" * 2001)])), "/blocks/0/fields/0/text", "too_long"),
    ("message", message(section(fields=[])), "/blocks/0/fields", "too_few"),
    ("message", message(section(expand="yes")), "/blocks/0/expand", "invalid_type"),
    ("message", message(section(accessory=text_input()["element"])), "/blocks/0/accessory/type", "unknown_type"),
    ("message", message({"type": "header", "text": md()}), "/blocks/0/text/type", "unknown_type"),
    ("message", message({"type": "header", "text": plain("x" * 151)}), "/blocks/0/text/text", "too_long"),
    ("message", message({"type": "context", "elements": [md()] * 11}), "/blocks/0/elements", "too_many"),
    ("message", message({"type": "context", "elements": [button()]}), "/blocks/0/elements/0/type", "unknown_type"),
    ("message", message(actions()), "/blocks/0/elements", "too_few"),
    (
        "message",
        message(actions(*[button(action_id=f"a{n}") for n in range(26)])),
        "/blocks/0/elements",
        "too_many",
    ),
    ("message", message(actions(button(), button())), "/blocks/0", "duplicate"),
    ("message", message({**PICTURE, "alt_text": ""}), "/blocks/0/alt_text", "too_short"),
    ("message", message({"type": "image", "alt_text": "x"}), "/blocks/0", "missing_field"),
    ("message", message({**PICTURE, "slack_file": {"id": "F1"}}), "/blocks/0", "missing_field"),
    ("message", message({**PICTURE, "image_url": "a.png"}), "/blocks/0/image_url", "invalid_value"),
    ("message", message({**PICTURE, "image_url": "https://e.test/a b"}), "/blocks/0/image_url", "invalid_value"),
    # elements
    ("message", message(actions(button(text=plain("x" * 76)))), "/blocks/0/elements/0/text/text", "too_long"),
    ("message", message(actions(button(text=md()))), "/blocks/0/elements/0/text/type", "unknown_type"),
    ("message", message(actions(button(value="v" * 2001))), "/blocks/0/elements/0/value", "too_long"),
    ("message", message(actions(button(url=5))), "/blocks/0/elements/0/url", "invalid_type"),
    ("message", message(actions(button(style="default"))), "/blocks/0/elements/0/style", "invalid_value"),
    ("message", message(actions(button(style=[]))), "/blocks/0/elements/0/style", "invalid_value"),
    ("message", message(actions(button(action_id="a" * 256))), "/blocks/0/elements/0/action_id", "too_long"),
    (
        "message",
        message(actions(button(confirm=confirm(title=plain("x" * 101))))),
        "/blocks/0/elements/0/confirm/title/text",
        "too_long",
    ),
    (
        "message",
        message(actions(button(confirm=confirm(text=md("x" * 301))))),
        "/blocks/0/elements/0/confirm/text/text",
        "too_long",
    ),
    (
        "message",
        message(actions(button(confirm=confirm(confirm=plain("x" * 31))))),
        "/blocks/0/elements/0/confirm/confirm/text",
        "too_long",
    ),
    (
        "message",
        message(actions(button(confirm={"title": plain()}))),
        "/blocks/0/elements/0/confirm/deny",
        "missing_field",
    ),
    ("message", message(actions(button(confirm=[]))), "/blocks/0/elements/0/confirm", "invalid_type"),
    (
        "message",
        message(actions(element("static_select", options=options(101)))),
        "/blocks/0/elements/0/options",
        "too_many",
    ),
    ("message", message(actions(element("static_select"))), "/blocks/0/elements/0", "missing_field"),
    (
        "message",
        message(actions(element("static_select", options=options(1), initial_option=options(2)[1]))),
        "/blocks/0/elements/0",
        "invalid_value",
    ),
    (
        "message",
        message(actions(element("checkboxes", options=options(1), initial_options=[5]))),
        "/blocks/0/elements/0",
        "invalid_value",
    ),
    (
        "message",
        message(actions(element("radio_buttons", options=[5], initial_option={"value": "v", "text": 5}))),
        "/blocks/0/elements/0",
        "invalid_value",
    ),
    (
        "message",
        message(actions(element("static_select", option_groups=["x"]))),
        "/blocks/0/elements/0/option_groups/0",
        "invalid_type",
    ),
    (
        "message",
        message(actions(element("overflow", options=options(6)))),
        "/blocks/0/elements/0/options",
        "too_many",
    ),
    ("message", message(actions(element("overflow", options=[]))), "/blocks/0/elements/0/options", "too_few"),
    (
        "message",
        message(actions(element("checkboxes", options=options(11)))),
        "/blocks/0/elements/0/options",
        "too_many",
    ),
    (
        "message",
        message(actions(element("external_select", min_query_length=-1))),
        "/blocks/0/elements/0/min_query_length",
        "invalid_value",
    ),
    (
        "message",
        message(actions(element("external_select", min_query_length=True))),
        "/blocks/0/elements/0/min_query_length",
        "invalid_type",
    ),
    # rich text
    ("message", message(rich(line({"type": "text", "text": ""}))), "/blocks/0/elements/0/elements/0/text", "too_short"),
    ("message", message(rich({"type": "section", "elements": []})), "/blocks/0/elements/0/type", "unknown_type"),
    ("message", message(rich(line({"type": "button"}))), "/blocks/0/elements/0/elements/0/type", "unknown_type"),
    # tables, charts, Markdown
    ("message", message(table(101)), "/blocks/0/rows", "too_many"),
    ("message", message(table(1, 21)), "/blocks/0/rows/0", "too_many"),
    ("message", message(table(2, 2, "x" * 2501)), "/blocks/0/rows", "too_long"),
    ("message", message(table(), table()), "/blocks", "too_many"),
    ("message", message(table(text="")), "/blocks/0/rows/0/0/text", "too_short"),
    ("message", message({"type": "table", "rows": {}}), "/blocks/0/rows", "invalid_type"),
    ("message", message(data_table(1)), "/blocks/0/rows", "too_few"),
    ("message", message(data_table(102)), "/blocks/0/rows", "too_many"),
    ("message", message({"type": "data_table", "rows": [[cell()]] * 2}), "/blocks/0/caption", "missing_field"),
    ("message", message({**data_table(), "rows": [[cell()], [cell()] * 2]}), "/blocks/0/rows", "invalid_value"),
    ("message", message({**data_table(), "rows": 5}), "/blocks/0/rows", "invalid_type"),
    ("message", message({**data_table(), "rows": [5, [cell()]]}), "/blocks/0/rows/0", "invalid_type"),
    (
        "message",
        message({**data_table(), "rows": [[{"type": "rich_text", "elements": [EVERY_LEAF]}], [cell()]]}),
        "/blocks/0/rows/0",
        "invalid_value",
    ),
    ("message", message(chart(), chart(), chart()), "/blocks", "too_many"),
    ("message", message(chart(title="x" * 51)), "/blocks/0/title", "too_long"),
    (
        "message",
        message(chart(chart={"type": "pie", "segments": [{"label": "x", "value": "3"}]})),
        "/blocks/0/chart/segments/0/value",
        "invalid_type",
    ),
    ("message", message(*[{"type": "markdown", "text": "x" * 6001}] * 2), "/blocks", "too_long"),
    (
        "message",
        message({"type": "container", "title": plain(), "child_blocks": [section()] * 11}),
        "/blocks/0/child_blocks",
        "too_many",
    ),
    (
        "message",
        message(
            section(block_id="b"), {"type": "container", "title": plain(), "child_blocks": [section(block_id="b")]}
        ),
        "/blocks",
        "duplicate",
    ),
    ("message", message({"type": "card"}), "/blocks/0", "missing_field"),
    # views
    ("modal", modal(*[section()] * 101), "/blocks", "too_many"),
    ("modal", modal(), "/blocks", "too_few"),
    ("modal", {"type": "modal", "title": plain()}, "/blocks", "missing_field"),
    ("modal", modal(section(), title=plain("x" * 25)), "/title/text", "too_long"),
    ("modal", modal(section(), submit=plain("x" * 25)), "/submit/text", "too_long"),
    ("modal", modal(section(), close=plain("x" * 25)), "/close/text", "too_long"),
    ("modal", modal(section(), private_metadata="x" * 3001), "/private_metadata", "too_long"),
    ("modal", modal(section(), callback_id="x" * 256), "/callback_id", "too_long"),
    ("modal", modal(section(), colour="red"), "/colour", "unknown_field"),
    ("modal", {"type": "modal", "title": plain(), "blocks": [text_input()]}, "/submit", "missing_field"),
    ("modal", modal(text_input(label=plain("x" * 2001))), "/blocks/0/label/text", "too_long"),
    ("modal", modal(text_input(button())), "/blocks/0/element/type", "unknown_type"),
    (
        "modal",
        modal(text_input(element("plain_text_input", max_length=3001))),
        "/blocks/0/element/max_length",
        "invalid_value",
    ),
    (
        "modal",
        modal(text_input(element("plain_text_input", max_length=2.5))),
        "/blocks/0/element/max_length",
        "invalid_type",
    ),
    ("modal", modal(table()), "/blocks/0/type", "unknown_type"),
    ("modal", modal({"type": "markdown", "text": "x"}), "/blocks/0/type", "unknown_type"),
    ("modal", modal({"type": "alert", "text": md("x" * 201)}), "/blocks/0/text/text", "too_long"),
    ("modal", modal(*[section(text=md("x" * 3000))] * 90), "", "too_long"),
    ("modal", home(section()), "/type", "invalid_value"),
    ("home", home(section(), title=plain()), "/title", "unknown_field"),
    (
        "home",
        home({"type": "container", "title": plain(), "child_blocks": [section()]}),
        "/blocks/0/type",
        "unknown_type",
    ),
]


@pytest.mark.parametrize(("surface", "payload", "pointer", "code"), BAD)
def test_what_slack_refuses_is_named_with_its_place(surface: Any, payload: Json, pointer: str, code: str) -> None:
    assert (pointer, code) in [(p.pointer, p.code) for p in problems(payload, surface)]


@pytest.mark.parametrize(("surface", "payload", "pointer", "code"), BAD)
def test_every_problem_says_what_to_do_in_one_line(surface: Any, payload: Json, pointer: str, code: str) -> None:
    for problem in problems(payload, surface):
        assert problem.message
        assert "\n" not in problem.message
        assert len(problem.message) < 200
