"""Blocks and surfaces in their shortest valid form, to be varied by tests of the validator."""

from __future__ import annotations

from typing import Any

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
