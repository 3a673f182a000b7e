"""How the stand-in refuses: with Slack's own words.

SlackError            an answer {"ok": false, "error": word, …}
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.core.blockkit import Problem, Surface, slack_error


class SlackError(Exception):
    """One refusal: Slack's word for it and what else stands in the answer."""

    def __init__(self, word: str, **extra: object) -> None:
        super().__init__(word)
        self.word = word
        self.extra = extra

    def answer(self) -> dict[str, object]:
        """The body that the caller reads."""
        return {"ok": False, "error": self.word, **self.extra}


def refuse_problems(found: Sequence[Problem], surface: Surface, prefix: str = "") -> None:
    """Raise what Slack answers when a payload has these problems; nothing happens without any."""
    word = slack_error(found, surface)
    if word is None:
        return
    lines = [f"{each.message} [json-pointer:{prefix}{each.pointer}]" for each in found[:20]]
    raise SlackError(word, errors=lines, response_metadata={"messages": [f"[ERROR] {line}" for line in lines]})
