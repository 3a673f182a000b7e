"""The README's tables, made from the code that they describe. `make fmt` writes them, `make lint` checks them."""

from __future__ import annotations

from collections.abc import Iterable

from bot.cli import cli
from bot.core.permissions import Verb
from bot.settings import SETTINGS
from bot.slack.vocabulary import WORDS
from knowledge.articles import articles
from knowledge.codes import FAMILY


def slack_words() -> str:
    """What can be typed after /mfi."""
    rows = ((f"`/mfi {w.usage}`", w.does, "everybody" if w.verb is Verb.READ else "`MFI_ADMINS`") for w in WORDS)
    return _table(("type", "what it does", "who"), rows)


def commands() -> str:
    """The command line."""
    rows = ((f"`mfi {name}`", command.get_short_help_str(200)) for name, command in sorted(cli.commands.items()))
    return _table(("command", "what it does"), rows)


def codes() -> str:
    """The six codes that raise alerts."""
    found = (articles().for_code(code) for code in FAMILY)
    rows = ((f"`450 {a.code}`", f"`550 5{a.code[1:]}`", a.title, "yes" if a.fix_now else "") for a in found)
    return _table(("while it waits", "once it bounced", "what it says", "Fix now"), rows)


def settings_table() -> str:
    """Every environment variable."""
    rows = ((f"`{s.name}`", f"`{s.default}`" if s.default else "", s.comment) for s in SETTINGS)
    secrets = ", ".join(f"`{s.name}_FILE`" for s in SETTINGS if s.secret)
    return _table(("variable", "default", "what it is"), rows) + f"\nSecrets may also come from a file: {secrets}.\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
