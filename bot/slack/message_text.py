"""What a Slack message says, as plain text: its blocks, its text, attachments, and files whose text came along. Pure.

Total on any JSON object, and bounded: at most LIMIT characters come out, at most NODES parts are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

LIMIT = 65_536
NODES = 5000
DEPTH = 12

_LINKED = re.compile(r"<(?![@#!])(?:mailto:)?([^<>|\n]{1,2000})(?:\|([^<>\n]{0,2000}))?>")
_FILE_TEXTS = ("subject", "plain_text", "preview_plain_text", "preview")
_ATTACHED = ("pretext", "author_name", "title", "text", "fallback", "footer")
_WORDS = ("text", "url", "value", "name", "user_id", "fallback")


def message_text(message: object) -> str:
    """The words of a message, each kind once: what stands in the blocks already is not taken from `text` again."""
    if not isinstance(message, Mapping):
        return ""
    told: list[str] = []
    for part in islice(_parts(message), NODES):
        if part.strip() and not any(_squeezed(part) in _squeezed(known) for known in told[:20]):
            told.append(part)
    return "\n".join(told)[:LIMIT]


def unlinked(text: str) -> str:
    """Slack's mrkdwn as the person wrote it: links as their labels, entities as characters."""
    plain = _LINKED.sub(lambda found: found[2] or found[1], text[:LIMIT])
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _parts(message: Mapping[str, Any]) -> Iterator[str]:
    blocks = "\n".join(islice(_blocks(message.get("blocks")), NODES))
    yield blocks
    yield unlinked(_string(message, "text"))
    for attachment in _objects(message.get("attachments")):
        yield "\n".join(islice(_blocks(attachment.get("blocks")), NODES))
        yield from (unlinked(_string(attachment, name)) for name in _ATTACHED)
        for field in _objects(attachment.get("fields")):
            yield f"{unlinked(_string(field, 'title'))}: {unlinked(_string(field, 'value'))}"
    for file in _objects(message.get("files")):
        yield from (_string(file, name)[:LIMIT] for name in _FILE_TEXTS)


def _blocks(blocks: object) -> Iterator[str]:
    """The lines of blocks: one a paragraph, list item, cell or field; what stands in one line stays in one."""
    for block in _objects(blocks):
        yield from _lines(block, 0)


def _lines(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    if depth > DEPTH or node.get("type") in ("actions", "input"):
        return
    leaves = list(_objects(node.get("elements")))
    if leaves and str(node.get("type", "")).startswith("rich_text_") and node.get("type") != "rich_text_list":
        yield "".join(_leaf(leaf) for leaf in leaves)
        return
    text = node.get("text")
    if isinstance(text, str):
        yield unlinked(text) if node.get("type") in ("mrkdwn", "markdown") else text[:LIMIT]
    for inner in (text, *_objects(node.get("fields")), *leaves, *_cells(node), *_objects(node.get("child_blocks"))):
        if isinstance(inner, Mapping):
            yield from _lines(inner, depth + 1)


def _cells(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    rows = node.get("rows")
    for row in rows if isinstance(rows, list) else ():
        yield from _objects(row)


def _leaf(leaf: Mapping[str, Any]) -> str:
    """A piece of a line: its words, or the address of a link that has none."""
    found = next((word for name in _WORDS if isinstance(word := leaf.get(name), str) and word), "")
    return found.removeprefix("mailto:")[:LIMIT]


def _squeezed(text: str) -> str:
    return " ".join(text[:LIMIT].split())


def _string(node: Mapping[str, Any], name: str) -> str:
    value = node.get(name)
    return value if isinstance(value, str) else ""


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    return (each for each in value[:NODES] if isinstance(each, Mapping)) if isinstance(value, list) else iter(())
