"""What Slack would be given, as text."""

from __future__ import annotations

from typing import Any

from bot.core.blockkit import problems
from bot.slack.blocks import Message


def shown(drawn: Message | dict[str, Any]) -> str:
    """The whole payload as text; every one must be fit for Slack."""
    payload = drawn.payload() if isinstance(drawn, Message) else drawn
    surface: Any = "message" if isinstance(drawn, Message) else drawn["type"]
    assert not problems(payload, surface), problems(payload, surface)
    return str(payload)
