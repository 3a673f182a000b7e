"""How Slack reads message text: what it keeps as markup, what it escapes, and which parts of a text are live.

Promises: pure and total. `live` names everything in a text that would notify somebody or become clickable; tests of
injection ask it instead of trusting their own idea of Slack's syntax.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"<(?:[@#!][^<>\n]*|(?:https?|mailto|tel|slack):[^<>\n]+)>")
_ENTITY: Final = re.compile(r"&(?:amp|lt|gt);")
_BARE: Final = re.compile(r"\b(?:https?://|mailto:)[^\s<>|]+", re.IGNORECASE)
_SPLIT: Final = re.compile(f"({_TOKEN.pattern}|{_ENTITY.pattern})")


def escape(text: str) -> str:
    """What a person typed, as Slack stores it: nothing in it is live."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def normalise(text: str) -> str:
    """What an app posted, as Slack stores it: markup and entities stay, stray &, < and > are escaped."""
    parts = _SPLIT.split(text)
    return "".join(part if index % 2 else escape(part) for index, part in enumerate(parts))


def live(text: str) -> list[str]:
    """Mentions, links, dates and addresses in the text that Slack would make live, in order."""
    tokens = [(found.start(), found.group()) for found in _TOKEN.finditer(text)]
    blanked = _TOKEN.sub(lambda found: " " * len(found.group()), text)
    bare = [(found.start(), found.group()) for found in _BARE.finditer(blanked)]
    return [word for _, word in sorted(tokens + bare)]


def mentions(text: str, user_id: str) -> bool:
    """Whether the text mentions the user live."""
    return f"<@{user_id}>" in text or f"<@{user_id}|" in text
