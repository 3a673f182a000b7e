"""What people paste, made readable: any bytes or text in, at most 64 KiB of text out. Never raises.

Whole messages (.eml) are reduced to their delivery report and readable text: the returned original is left out, because
its contents are not about the error.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from email.message import Message

LIMIT = 64 * 1024
"""So much of a paste is read; the rest cannot matter."""

_MOST_PARTS = 100
_LOOK_ALIKE = str.maketrans(
    {
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": "-",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u00a0": " ",
        "\u202f": " ",
        "\r": "\n",
        "\0": " ",
    }
)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|nbsp|#39|#34);")
_SLACK_LINK = re.compile(r"<(?:mailto:|https?://)[^<>|\s]{1,400}\|([^<>|]{1,400})>")
_MESSAGE = re.compile(r"^(?:mime-version|content-type|received|return-path|from|date):[^\n]{1,500}\n", re.I | re.M)
_QMAIL = re.compile(r"\b(?:deferral|failure): [^\s_]{1,80}_[^\s]{1,2000}")
"""What qmail logs is one word, with _ for every space."""
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,2000}>")


def readable(pasted: str | bytes) -> str:
    """The text that a person would read in this paste."""
    if isinstance(pasted, bytes):
        pasted = _decode(pasted[: 2 * LIMIT])
    text = pasted[:LIMIT]
    if (
        text.count("\n") > 4
        and text.count("\n--") < _MOST_PARTS
        and "content-type:" in text.lower()
        and _MESSAGE.search(text[:4096])
    ):
        text = _report(text) or text
    if _ENTITY.search(text):
        text = html.unescape(text)
    if "|" in text:
        text = _SLACK_LINK.sub(r"\1", text)
    if "_" in text:
        text = _QMAIL.sub(lambda line: line[0].replace("_", " "), text)
    return text.translate(_LOOK_ALIKE)


def _decode(raw: bytes) -> str:
    """UTF-8, or UTF-16 where every other byte is NUL (what Windows tools write), or Latin-1, which fits any bytes."""
    head = raw[:400]
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    if head and head[1::2].count(0) > len(head) // 3:
        return raw.decode("utf-16-le", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A cut in the middle of a letter is no reason to misread the whole.
        good = raw[: error.start] if error.start > len(raw) - 4 else b""
        return good.decode("utf-8-sig") if good else raw.decode("latin-1")


def _report(source: str) -> str:
    """The readable parts of a whole message, delivery report first; "" if it has none."""
    import email
    import email.policy

    try:
        message = email.message_from_string(source, policy=email.policy.compat32)
        parts = [(part.get_content_type(), part) for part in _own_parts(message)]
        texts = [_status(part) for kind, part in parts if kind == "message/delivery-status"]
        texts += [_text(part) for kind, part in parts if kind == "text/plain"]
        texts += [_TAG.sub(" ", _text(part)) for kind, part in parts if kind == "text/html"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError, IndexError):
        return ""
    return "\n".join(text for text in texts if text.strip())[:LIMIT]


def _own_parts(message: Message) -> Iterator[Message]:
    """The leaves of the message itself, not those of the message that it returns."""
    if message.get_content_type() in ("message/rfc822", "text/rfc822-headers"):
        return
    if message.get_content_type() != "message/delivery-status" and message.is_multipart():
        inner: Any = message.get_payload()
        for part in inner:
            yield from _own_parts(part)
        return
    yield message


def _status(part: Message) -> str:
    """A delivery report as text, headers unfolded."""
    blocks: Any = part.get_payload()
    lines = (f"{name}: {' '.join(str(value).split())}" for block in blocks for name, value in block.items())
    return "\n".join(lines)


def _text(part: Message) -> str:
    """A text part with its transfer encoding and charset undone."""
    raw: Any = part.get_payload(decode=True)
    try:
        return str(raw.decode(part.get_content_charset("utf-8"), "replace"))
    except LookupError:
        return str(raw.decode("latin-1"))
