"""The words of `/mfi`: one table for parsing, for help, for the nearest match and for the README. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from bot.core.permissions import Verb
from bot.slack.blocks import Message, context, message, section
from bot.slack.text import Mrkdwn, code, lines, mrkdwn, prose


@dataclass(frozen=True, slots=True)
class Word:
    """One sub-command: how it is written, what it does, who may use it, and an example."""

    name: str
    usage: str
    does: str
    example: str
    verb: Verb = Verb.READ


WORDS = (
    Word(
        "explain",
        "explain [code or pasted error]",
        "What an error means, why, who must act, and the fix; alone, it opens a window to paste into",
        "explain 450 4.4.316",
    ),
    Word("probe", "probe <connector|all>", "Test a connector's server now", "probe Contoso", Verb.PROBE),
    Word("status", "status", "Is mail flowing, and is mfi itself well?", "status"),
    Word("connectors", "connectors", "Every connector with its last probe and queue", "connectors"),
    Word(
        "queue",
        "queue [connector|unassigned|bounced]",
        "What waits, when it bounces; what belongs to no connector; or what came back",
        "queue Contoso",
    ),
    Word("incident", "incident [id]", "One incident with its timeline; without an id, the open ones", "incident 12"),
    Word("ack", "ack <id>", "Say that you look after an incident", "ack 12", Verb.ACK),
    Word("fix", "fix <id>", "See the fix plan in numbers, choose, confirm", "fix 12", Verb.FIX),
    Word("whoami", "whoami", "Who Slack says you are and what you may do", "whoami"),
    Word("help", "help", "This list", "help"),
)
BY_NAME = {word.name: word for word in WORDS}
SHARE = "share"
LONGEST = 500
"""Characters of an argument, except for explain."""
LONGEST_EXPLAIN = 65_536


@dataclass(frozen=True, slots=True)
class Line:
    """What was typed after `/mfi`."""

    word: str
    argument: str
    share: bool


def parse(text: str) -> Line:
    """Total: any text gives a line; the word is lower case, the argument as it was typed, without quotes around it."""
    first, rest = _split(text)
    share = first == SHARE
    if share:
        first, rest = _split(rest)
    return Line(first, _unquoted(rest) if first != "explain" else rest, share)


def unescaped(text: str) -> str:
    """What the person typed: Slack replaces three characters by entities in command text."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _split(text: str) -> tuple[str, str]:
    parts = text.strip().split(maxsplit=1)
    return (parts[0].casefold()[:100], parts[1].strip() if len(parts) > 1 else "") if parts else ("", "")


def _unquoted(text: str) -> str:
    for left, right in ('""', "''", "``", "“”", "‘’", "«»"):
        if len(text) > 1 and text[0] == left and text[-1] == right:
            return text[1:-1].strip()
    return text


def too_long(line: Line) -> bool:
    """More than anybody means to type."""
    return len(line.argument) > (LONGEST_EXPLAIN if line.word == "explain" else LONGEST)


def nearest(word: str) -> str | None:
    """The word that was probably meant."""
    begun = [name for name in BY_NAME if word and name.startswith(word)]
    return next(iter(begun or get_close_matches(word, BY_NAME, n=1, cutoff=0.5)), None)


def help_lines() -> Mrkdwn:
    """Every word with what it does."""
    return lines(*(_help_line(word) for word in WORDS))


def _help_line(word: Word) -> Mrkdwn:
    lock = Mrkdwn(" 🔒") if word.verb is not Verb.READ else Mrkdwn("")
    return mrkdwn("{}{} {}", code(f"/mfi {word.usage}"), lock, word.does)


def help_reply() -> Message:
    """The answer to `/mfi help` and to a bare `/mfi`."""
    examples = lines(*(code(f"/mfi {word.example}") for word in (BY_NAME["explain"], BY_NAME["queue"])))
    return message(
        mrkdwn("mfi explains mail-flow errors, watches connectors and fixes what it can. Words: {}.", _names()),
        [
            section(help_lines()),
            section(lines(Mrkdwn("*For example*"), examples)),
            context(
                Mrkdwn("🔒 only for people in MFI_ADMINS · `/mfi share …` shows the answer to the whole channel"),
                Mrkdwn("In the menu of any message: *Explain mail error*"),
            ),
        ],
    )


def _names() -> Mrkdwn:
    return prose(", ".join(BY_NAME))


def unknown_word(word: str) -> Message:
    """Not a word of ours: the nearest one, and the list."""
    guess = nearest(word)
    meant = mrkdwn(" Did you mean {}?", code(f"/mfi {guess}")) if guess else Mrkdwn("")
    said = mrkdwn("I don't know {}.{}", code(word, 60), meant)
    return message(said, [section(said), section(help_lines())])
