"""What an alert says, as text."""

from __future__ import annotations

from bot.slack.blocks import Message


def shown(message: Message) -> str:
    """Every text in the blocks, in order."""
    found: list[str] = []
    for block in message.blocks:
        parts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
        for part in parts:
            inner = part.get("text") if isinstance(part, dict) else None
            found.append(inner["text"] if isinstance(inner, dict) else inner) if inner else None
    return "\n".join(found)
