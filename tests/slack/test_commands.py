"""`/mfi …` through the real socket, the real store and the stand-in Slack."""

from __future__ import annotations

from typing import Any

ADMIN, OTHER_ADMIN, READER, CHANNEL = "U0ADMINONE", "U0ADMINTWO", "U0READER", "C0MAILALERTS"


def shown(messages: list[Any]) -> str:
    """Everything that the messages show."""
    return "\n".join(str(m.text) + str(m.blocks) for m in messages)


async def test_explain_answers_a_reader_in_private(live: Any) -> None:
    answers = await live.command("explain 450 4.4.316", READER)
    assert "Connection refused" in shown(answers)
    assert answers[0].ephemeral_to == READER
    assert live.slack.messages(CHANNEL) == []
