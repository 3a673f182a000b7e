"""Postfix's commands for the instance that is meant: with its configuration directory, and on which machine. Pure.

Where the directory is the default one, commands stay as everybody knows them.
"""

from __future__ import annotations

import re

from bot.core.capabilities import POSTFIX_DIRECTORY, Place
from bot.core.quoting import shell_word

_TOOL = re.compile(
    r"(?<![\w./-])(?:(?P<tool>postqueue|postconf|postsuper|postmap|postcat|posttls-finger)"
    r"|postfix(?= (?:reload|check|start|stop|flush|status)\b))(?![\w./=-])(?! -c /)"
)
_HERE = re.compile(r"\b([Oo]n) the Postfix machine\b")


def tool(place: Place, name: str) -> str:
    """The command's name as it is typed for this instance: `postmap`, or `postmap -c /etc/postfix-out`.

    posttls-finger, whose -c means something else, is told by the environment.
    """
    if place.config_dir == POSTFIX_DIRECTORY:
        return name
    where = shell_word(place.config_dir)
    return f"MAIL_CONFIG={where} {name}" if name == "posttls-finger" else f"{name} -c {where}"


def on_host(place: Place) -> str:
    """ " on relay1.example.org", or nothing where that is not known."""
    return f" on {place.host}" if place.host else ""


def at_place(text: str, place: Place) -> str:
    """A step of ours with every command and file of the default instance turned into this one's, and its machine."""
    told = _TOOL.sub(lambda found: tool(place, found[0]), text)
    named = told if place.config_dir == POSTFIX_DIRECTORY else _files(told, shell_word(place.config_dir))
    if place.host is None:
        return named
    if _HERE.search(named):
        return _HERE.sub(lambda found: f"{found[1]} `{place.host}`", named)
    return f"{named} (Type it on `{place.host}`.)" if _TOOL.search(text) else named


def _files(text: str, directory: str) -> str:
    return re.sub(rf"{POSTFIX_DIRECTORY}(?![\w.-])", lambda _: directory, text)
