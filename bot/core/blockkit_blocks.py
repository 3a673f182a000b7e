"""The shapes of Block Kit's blocks, and the surfaces on which each may stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from bot.core.blockkit_elements import (
    ACCESSORY,
    ACTIONS,
    BUTTON,
    CONTEXT,
    FILE,
    ID,
    IMAGE,
    INPUTS,
    plain,
    text,
)
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
    some_of_fields,
    string,
    tagged,
)

Surface = Literal["message", "modal", "home"]


def _block(required: Mapping[str, Shape] | None = None, optional: Mapping[str, Shape] | None = None) -> Shape:
    return record({"type": string(), **(required or {})}, {"block_id": ID, **(optional or {})})


def _node(required: Mapping[str, Shape] | None = None, optional: Mapping[str, Shape] | None = None) -> Shape:
    return record({"type": string(), **(required or {})}, optional)


# --- rich text -----------------------------------------------------------------------------------------------------
_STYLE: Final = record({}, {name: flag() for name in ("bold", "italic", "strike", "code", "underline")})
_LEAVES: Final = tagged(
    {
        "text": _node({"text": string(1, 3000)}, {"style": _STYLE}),
        "link": _node({"url": link()}, {"text": string(1, 3000), "style": _STYLE, "unsafe": flag()}),
        "emoji": _node({"name": string()}, {"unicode": string(), "style": _STYLE}),
        "user": _node({"user_id": string()}, {"style": _STYLE}),
        "usergroup": _node({"usergroup_id": string()}, {"style": _STYLE}),
        "channel": _node({"channel_id": string()}, {"style": _STYLE}),
        "broadcast": _node({"range": choice("here", "channel", "everyone")}, {"style": _STYLE}),
        "date": _node(
            {"timestamp": number(), "format": string()}, {"url": link(), "fallback": string(), "style": _STYLE}
        ),
        "color": _node({"value": string()}),
    }
)
_LINE: Final = _node({"elements": array(_LEAVES, 0)})
_BORDERED: Final[Mapping[str, Shape]] = {"border": number(0, 1)}
_RICH: Final = array(
    tagged(
        {
            "rich_text_section": _LINE,
            "rich_text_list": _node(
                {"style": choice("bullet", "ordered"), "elements": array(tagged({"rich_text_section": _LINE}), 1)},
                {**_BORDERED, "indent": number(0, 8), "offset": number(0)},
            ),
            "rich_text_preformatted": _node({"elements": array(_LEAVES, 0)}, {**_BORDERED, "language": string()}),
            "rich_text_quote": _node({"elements": array(_LEAVES, 0)}, _BORDERED),
        }
    ),
    1,
)
_RICH_TEXT: Final = _block({"elements": _RICH})

# --- tables and charts ---------------------------------------------------------------------------------------------
_RAW: Final[Mapping[str, Shape]] = {
    "raw_text": _node({"text": string(1)}),
    "raw_number": _node({"value": number(whole=False)}, {"text": string(1)}),
}
_CELL: Final = tagged({**_RAW, "rich_text": _node({"elements": _RICH})})
_COLUMN: Final = record({}, {"align": choice("left", "center", "right"), "is_wrapped": flag()})


def _equal_rows(value: object, pointer: str) -> Iterator[Problem]:
    rows = value.get("rows") if isinstance(value, Mapping) else None
    widths = {len(row) for row in rows if isinstance(row, list | tuple)} if isinstance(rows, list | tuple) else set()
    if len(widths) > 1:
        yield at(f"{pointer}/rows", "invalid_value", "all rows must have the same number of columns")


def _plain_header(value: object, pointer: str) -> Iterator[Problem]:
    rows = value.get("rows") if isinstance(value, Mapping) else None
    header = rows[0] if isinstance(rows, list | tuple) and rows else None
    for cell in header if isinstance(header, list | tuple) else ():
        if isinstance(cell, Mapping) and cell.get("type") == "rich_text":
            yield at(f"{pointer}/rows/0", "invalid_value", "the header row can't hold rich text")


_TABLE: Final = _block({"rows": array(array(_CELL, 1, 20), 1, 100)}, {"column_settings": array(_COLUMN, 1, 20)})
_DATA_TABLE: Final = both(
    _block(
        {"caption": string(1, 255), "rows": array(array(_CELL, 1, 20), 2, 101)},
        {"page_size": number(1, 100), "row_header_column_index": number(0, 19)},
    ),
    _equal_rows,
    _plain_header,
)
_POINT: Final = record({"label": string(1, 20), "value": number(whole=False)})
_LINES: Final = _node(
    {
        "series": array(record({"name": string(1, 20), "data": array(_POINT, 1, 20)}), 1, 6),
        "axis_config": record(
            {"categories": array(string(1, 20), 1, 20)}, {"x_label": string(1, 50), "y_label": string(1, 50)}
        ),
    }
)
_PIE: Final = _node({"segments": array(_POINT, 1, 6)})
_CHART: Final = _block(
    {"title": string(1, 50), "chart": tagged({"pie": _PIE, "line": _LINES, "bar": _LINES, "area": _LINES})}
)

# --- the classic blocks --------------------------------------------------------------------------------------------
_SECTION: Final = both(
    _block({}, {"text": text(3000), "fields": array(text(2000), 1, 10), "accessory": ACCESSORY, "expand": flag()}),
    some_of_fields("text", "fields"),
)
_IMAGE: Final = both(
    _block({"alt_text": string(1, 2000)}, {"title": plain(2000), "image_url": link(), "slack_file": FILE}),
    one_of_fields("image_url", "slack_file"),
)
_INPUT: Final = _block(
    {"label": plain(2000), "element": INPUTS}, {"hint": plain(2000), "optional": flag(), "dispatch_action": flag()}
)
_VIDEO: Final = _block(
    {"title": plain(200), "video_url": link(), "thumbnail_url": link(), "alt_text": string(1, 2000)},
    {
        "title_url": link(),
        "description": plain(200),
        "author_name": string(1, 50),
        "provider_name": string(1, 50),
        "provider_icon_url": link(),
    },
)
_CARD: Final = both(
    _block(
        {},
        {
            "title": text(150),
            "subtitle": text(150),
            "body": text(200),
            "subtext": text(200),
            "icon": IMAGE,
            "hero_image": IMAGE,
            "actions": array(tagged({"button": BUTTON}), 1, 3),
        },
    ),
    some_of_fields("title", "body", "hero_image"),
)
_EVERYWHERE: Final[Mapping[str, Shape]] = {
    "actions": _block({"elements": array(ACTIONS, 1, 25)}),
    "context": _block({"elements": array(CONTEXT, 1, 10)}),
    "divider": _block(),
    "header": _block({"text": plain(150)}),
    "image": _IMAGE,
    "input": _INPUT,
    "rich_text": _RICH_TEXT,
    "section": _SECTION,
    "video": _VIDEO,
}
_CONTAINER: Final = _block(
    {"title": plain(150), "child_blocks": array(tagged({**_EVERYWHERE, "table": _TABLE}), 1, 10)},
    {"is_collapsible": flag(), "default_collapsed": flag()},
)
_CAROUSEL: Final = _block({"elements": array(tagged({"card": _CARD}), 1, 10)})
_WIDE: Final[Mapping[str, Shape]] = {
    **_EVERYWHERE,
    "card": _CARD,
    "carousel": _CAROUSEL,
    "data_table": _DATA_TABLE,
    "table": _TABLE,
}
_ALERT: Final = _block({"text": text(200)}, {"level": choice("default", "info", "warning", "error", "success")})

BLOCKS: Final[Mapping[Surface, Shape]] = {
    "message": tagged(
        {
            **_WIDE,
            "container": _CONTAINER,
            "data_visualization": _CHART,
            "markdown": _block({"text": string(1, 12_000)}),
        }
    ),
    "home": tagged(_WIDE),
    "modal": tagged({**_EVERYWHERE, "alert": _ALERT}),
}
"""The block types of each surface. Cards are documented for modals but don't render there, so they are refused."""
