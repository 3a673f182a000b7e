"""What a message says, whatever it is made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.slack.message_text import LIMIT, message_text, unlinked


def block(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


def rich(*elements: dict[str, Any], kind: str = "rich_text_section") -> dict[str, Any]:
    return {"type": "rich_text", "elements": [{"type": kind, "elements": list(elements)}]}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"text": "450 4.4.316 &lt;x&gt; &amp;amp;"}, "450 4.4.316 <x> &amp;"),
        ({"text": "to <mailto:a@b.test|a@b.test> at <http://mx.b.test|mx.b.test>"}, "to a@b.test at mx.b.test"),
        ({"text": "<https://a.test/x> <@U1> <!here>"}, "https://a.test/x <@U1> <!here>"),
        (
            {
                "text": "to=<mailto:a@b.test|a@b.test> x",
                "blocks": [
                    rich({"type": "text", "text": "to="}, {"type": "link", "url": "mailto:a@b.test"},
                         {"type": "text", "text": " x"})
                ],
            },
            "to=a@b.test x",
        ),
        ({"text": "summary", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "450 4.4.1"}}]},
         "450 4.4.1\nsummary"),
        ({"blocks": [block("section", fields=[block("mrkdwn", text="a"), block("plain_text", text="b")])]}, "a\nb"),
        ({"blocks": [rich({"type": "rich_text_section", "elements": [{"type": "text", "text": "item"}]},
                          kind="rich_text_list")]}, "item"),
        ({"blocks": [{"type": "table", "rows": [[{"type": "raw_text", "text": "5.1.10"}], 7]}]}, "5.1.10"),
        ({"blocks": [{"type": "container", "child_blocks": [{"type": "markdown", "text": "4.4.7"}]}]}, "4.4.7"),
        ({"blocks": [block("actions", elements=[block("button", text=block("plain_text", text="No"))])]}, ""),
        (
            {"attachments": [{"title": "Bounce", "text": "550 5.1.1", "fallback": "550 5.1.1",
                              "fields": [{"title": "Server", "value": "mx.b.test"}],
                              "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "Head"}}]}]},
            "Head\nBounce\n550 5.1.1\nServer: mx.b.test",
        ),
        ({"files": [{"subject": "Undeliverable", "plain_text": "550 5.1.1 <no>", "url_private": "https://x"}]},
         "Undeliverable\n550 5.1.1 <no>"),
        ({}, ""),
        (None, ""),
        ("text", ""),
        ({"text": 7, "blocks": "x", "attachments": [None], "files": {}}, ""),
    ],
)  # fmt: skip
def test_every_part_of_a_message_is_read_once(message: object, text: str) -> None:
    assert message_text(message) == text


def test_what_is_read_is_bounded() -> None:
    deep: dict[str, Any] = {"type": "x", "text": "deep"}
    for _ in range(500):
        deep = {"type": "x", "elements": [deep]}
    assert message_text({"blocks": [deep]}) == ""
    assert (
        len(message_text({"text": "x" * 200_000, "blocks": [rich({"type": "text", "text": "y" * 200_000})]})) <= LIMIT
    )
    assert len(unlinked("<" * 100_000)) <= LIMIT


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "blocks", "elements", "rows", "fields", "attachments", "files", "url", "title"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_any_json_gives_some_text(message: Any) -> None:
    assert isinstance(message_text(message), str)
