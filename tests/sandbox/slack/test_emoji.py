"""The page draws every emoji that the bot uses: a machine without an emoji font shows no empty boxes."""

from __future__ import annotations

import re
from pathlib import Path

EMOJI = re.compile("[\u23e9-\u23fa\u2600-\u26ff\u2705\u274c\U0001f300-\U0001faff]")


def test_every_emoji_of_the_bot_is_drawn():
    used = {e for file in Path("bot/slack").glob("*.py") for e in EMOJI.findall(file.read_text(encoding="utf-8"))}
    drawn = Path("bot/sandbox/slack/page/emoji.js").read_text(encoding="utf-8")
    assert used
    assert {e for e in used if f'"{e}"' not in drawn} == set()
