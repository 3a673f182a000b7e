"""The Block Kit validator: every documented limit has a witness just inside and just outside of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.blockkit import MAX_RENDERED, problems, rendered_length, slack_error
from bot.core.blockkit_elements import PICKERS

Json = dict[str, Any]


def plain(text: str = "Go") -> Json:
    return {"type": "plain_text", "text": text}


def md(text: str = "*Go*") -> Json:
    return {"type": "mrkdwn", "text": text}


def button(**more: Any) -> Json:
    return {"type": "button", "action_id": "a", "text": plain(), **more}


def options(count: int) -> list[Json]:
    return [{"text": plain(f"Option {n}"), "value": f"v{n}"} for n in range(count)]


def section(**more: Any) -> Json:
    return {"type": "section", "text": md(), **more}


def actions(*elements: Json, **more: Any) -> Json:
    return {"type": "actions", "elements": list(elements), **more}


def text_input(element: Json | None = None, **more: Any) -> Json:
    return {
        "type": "input",
        "label": plain("Name"),
        "element": element or {"type": "plain_text_input", "action_id": "a"},
        **more,
    }


def message(*blocks: Json, **more: Any) -> Json:
    return {"text": "hello", "blocks": list(blocks), **more}


def modal(*blocks: Json, **more: Any) -> Json:
    return {"type": "modal", "title": plain("Title"), "submit": plain(), "blocks": list(blocks), **more}


def home(*blocks: Json, **more: Any) -> Json:
    return {"type": "home", "blocks": list(blocks), **more}


def confirm(**more: Any) -> Json:
    return {"title": plain(), "text": md(), "confirm": plain(), "deny": plain(), **more}


def rich(*elements: Json) -> Json:
    return {"type": "rich_text", "elements": list(elements)}


def line(*elements: Json) -> Json:
    return {"type": "rich_text_section", "elements": list(elements)}


def cell(text: str = "x") -> Json:
    return {"type": "raw_text", "text": text}


def table(rows: int = 2, columns: int = 2, text: str = "x", **more: Any) -> Json:
    return {"type": "table", "rows": [[cell(text)] * columns for _ in range(rows)], **more}


def data_table(rows: int = 2, **more: Any) -> Json:
    return {"type": "data_table", "caption": "Connectors", "rows": [[cell(), cell()] for _ in range(rows)], **more}


def chart(**more: Any) -> Json:
    series = [{"name": "Contoso", "data": [{"label": "08:00", "value": 210}, {"label": "09:00", "value": 12.5}]}]
    axis = {"categories": ["08:00", "09:00"], "x_label": "UTC", "y_label": "Messages"}
    return {
        "type": "data_visualization",
        "title": "Queue",
        "chart": {"type": "line", "series": series, "axis_config": axis},
        **more,
    }


def element(kind: str, **more: Any) -> Json:
    return {"type": kind, "action_id": "a", **more}


PICTURE = {"type": "image", "image_url": "https://example.test/a.png", "alt_text": "A picture"}
DEEP: Any = []
for _ in range(5000):
    DEEP = [DEEP]

EVERY_LEAF = line(
    {"type": "text", "text": "x", "style": {"bold": True}},
    {"type": "link", "url": "https://example.test/", "text": "x"},
    {"type": "emoji", "name": "red_circle"},
    {"type": "user", "user_id": "U1"},
    {"type": "usergroup", "usergroup_id": "S1"},
    {"type": "channel", "channel_id": "C1"},
    {"type": "broadcast", "range": "here"},
    {"type": "date", "timestamp": 1, "format": "{date}", "fallback": "then"},
    {"type": "color", "value": "#fff"},
)

FINE: list[tuple[str, Json]] = [
    ("message", {"text": "hello"}),
    ("message", {"text": "x" * 40_000}),
    ("message", message()),
    ("message", {"blocks": [section()]}),
    ("message", {"text": "", "attachments": [{"color": "#a30200", "blocks": [section()]}]}),
    ("message", {"text": "hello", "attachments": [{"fallback": "words"}]}),
    ("message", message(*[section()] * 50)),
    ("message", message(section(text=md("x" * 3000), expand=True, block_id="b" * 255))),
    ("message", message({"type": "section", "fields": [md("x" * 100)] * 10})),
    ("message", message({"type": "section", "fields": [plain("x" * 2000)]})),
    ("message", message(section(text={**md(), "verbatim": True}, accessory=PICTURE))),
    ("message", message({"type": "header", "text": {**plain("x" * 150), "emoji": True}})),
    ("message", message({"type": "context", "elements": [md(), plain(), PICTURE] * 3 + [md()]})),
    ("message", message({"type": "divider"})),
    ("message", message(actions(*[button(action_id=f"a{n}") for n in range(25)]))),
    (
        "message",
        message(actions(button(value="v" * 2000, style="danger", accessibility_label="x" * 75, confirm=confirm()))),
    ),
    ("message", message(actions(button(text=plain("x" * 75), url="https://example.test/" + "x" * 2979)))),
    ("message", message(section(accessory=button(confirm=confirm(style="danger", text=plain("x" * 300)))))),
    ("message", message(actions(element("static_select", options=options(100), placeholder=plain("x" * 150))))),
    ("message", message(actions(element("static_select", options=options(2), initial_option=options(2)[1])))),
    (
        "message",
        message(
            actions(
                element(
                    "static_select",
                    option_groups=[{"label": plain(), "options": options(3)}],
                    initial_option=options(1)[0],
                )
            )
        ),
    ),
    (
        "message",
        message(actions(element("multi_static_select", options=options(3), initial_options=options(2)))),
    ),
    ("message", message(actions(element("overflow", options=[{**o, "url": "https://e.test/"} for o in options(5)])))),
    ("message", message(actions(element("checkboxes", options=options(10), initial_options=options(1))))),
    ("message", message(actions(element("radio_buttons", options=options(10), initial_option=options(1)[0])))),
    ("message", message(actions(element("external_select", min_query_length=1), element("datepicker", action_id="d")))),
    ("message", message({**PICTURE, "title": plain("x" * 2000)})),
    ("message", message({"type": "image", "alt_text": "x", "slack_file": {"id": "F0123"}})),
    ("message", message(rich(EVERY_LEAF))),
    (
        "message",
        message(
            rich(
                {"type": "rich_text_list", "style": "bullet", "elements": [EVERY_LEAF], "indent": 1, "border": 0},
                {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "x"}], "border": 1},
                {"type": "rich_text_quote", "elements": [{"type": "text", "text": "x"}]},
            )
        ),
    ),
    ("message", message(table(100, 20, column_settings=[{"align": "right", "is_wrapped": True}] * 20))),
    ("message", message({"type": "table", "rows": [[{"type": "rich_text", "elements": [EVERY_LEAF]}]]})),
    ("message", message(data_table(101, page_size=100, row_header_column_index=0))),
    ("message", message(chart(), chart())),
    (
        "message",
        message(chart(chart={"type": "pie", "segments": [{"label": "Contoso", "value": 3}]})),
    ),
    ("message", message({"type": "markdown", "text": "x" * 12_000})),
    ("message", message({"type": "card", "title": md("4.4.316"), "body": md("Refused"), "actions": [button()]})),
    ("message", message({"type": "carousel", "elements": [{"type": "card", "title": md("4.4.316")}]})),
    (
        "message",
        message(
            {"type": "container", "title": plain("Evidence"), "is_collapsible": True, "child_blocks": [section()] * 10}
        ),
    ),
    (
        "message",
        message(
            {
                "type": "video",
                "title": plain(),
                "video_url": "https://example.test/v",
                "thumbnail_url": "https://example.test/t",
                "alt_text": "x",
            }
        ),
    ),
    ("message", message(metadata={"event_type": "mfi_alert", "event_payload": {"uid": "u1", "rev": 3, "live": True}})),
    ("modal", modal(*[section()] * 100)),
    ("modal", modal(text_input(), private_metadata="x" * 3000, callback_id="c" * 255, notify_on_close=True)),
    ("modal", {"type": "modal", "title": plain("x" * 24), "close": plain("x" * 24), "blocks": [section()]}),
    ("modal", modal(text_input(element("checkboxes", options=options(3)), optional=True, hint=plain("x" * 2000)))),
    ("modal", modal(text_input(element("number_input", is_decimal_allowed=False)))),
    ("modal", modal({"type": "alert", "level": "warning", "text": md("Mind this")})),
    ("home", home(*[section()] * 100, private_metadata="")),
    ("home", home(table())),
]


@pytest.mark.parametrize(("surface", "payload"), FINE)
def test_what_slack_documents_is_accepted_up_to_its_limit(surface: Any, payload: Json) -> None:
    assert problems(payload, surface) == []


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


@pytest.mark.parametrize(
    ("text", "refused"),
    [("x" * 4000, False), ("x" * 4001, True), ("é" * 2000, False), ("é" * 2001, True), ("\ud800", False)],
)
def test_an_update_takes_four_thousand_bytes_of_text(text: str, refused: bool) -> None:
    assert [p.code for p in problems({"text": text}, "message", update=True)] == ["msg_too_long"] * refused
    assert problems({"text": text}, "message") == []


@pytest.mark.parametrize(
    ("payload", "surface", "error"),
    [
        ({"text": "fine"}, "message", None),
        ({}, "message", "no_text"),
        (message({"type": "sektion"}), "message", "invalid_blocks"),
        (message(*[section(text=md("x" * 2700))] * 5), "message", "msg_blocks_too_long"),
        (modal(), "modal", "invalid_arguments"),
        ("not an object", "message", "invalid_blocks"),
    ],
)
def test_problems_become_the_word_with_which_slack_answers(payload: Any, surface: Any, error: str | None) -> None:
    assert slack_error(problems(payload, surface), surface) == error


def test_an_element_that_is_no_object_is_one_problem() -> None:
    assert [problem.code for problem in PICKERS["static_select"]("words", "/element")] == ["invalid_type"]


def test_what_nobody_reads_does_not_count_as_rendered() -> None:
    assert rendered_length([section(block_id="b" * 200, text=md("four"))]) == len("four")
    assert rendered_length(actions(button(value="v" * 2000, text=plain("Go")))) == len("Go")
    assert rendered_length(DEEP) == 0
    assert MAX_RENDERED == 13_200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "blocks", "elements", "rows", "attachments", "options", "initial_options", "x"]
            )
            | st.text(max_size=4),
            inner | st.sampled_from(["section", "actions", "table", "data_table", "static_select", "modal", "mrkdwn"]),
            max_size=5,
        )
    ),
    max_leaves=30,
)


@settings(deadline=None, max_examples=200)
@given(JSON, st.sampled_from(["message", "modal", "home"]), st.booleans())
def test_no_json_value_makes_the_validator_raise(payload: Any, surface: Any, update: bool) -> None:
    found = problems(payload, surface, update=update)
    assert (slack_error(found, surface) is None) == (found == [])
