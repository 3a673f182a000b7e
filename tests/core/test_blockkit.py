"""The Block Kit validator takes what Slack documents, up to every limit, and never raises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.blockkit import MAX_RENDERED, problems, rendered_length, slack_error
from bot.core.blockkit_elements import PICKERS
from tests.core.blocks import (
    DEEP,
    EVERY_LEAF,
    PICTURE,
    Json,
    actions,
    button,
    chart,
    confirm,
    data_table,
    element,
    home,
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
