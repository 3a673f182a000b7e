"""Foreign names as words of a command: exactly this name to PowerShell and to a POSIX shell, and nothing else. Pure.

Slack shows a backtick as an apostrophe, which would end a quoted name: so none is left in what is typed here, and the
name's own backtick is made by the shell.
"""

from __future__ import annotations

import re
import shlex
import unicodedata

_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_BACKTICK = "`"


def powershell_string(text: str) -> str:
    """A PowerShell expression that holds exactly this text (control characters become spaces): a string literal, or
    several joined by [char]96, the backtick. In PowerShell also typographic quotes end a string.
    """
    literals = ["'" + _QUOTES.sub(r"\1\1", part) + "'" for part in _clean(text).split(_BACKTICK)]
    return literals[0] if len(literals) == 1 else f"({' + [char]96 + '.join(literals)})"


def shell_word(text: str) -> str:
    """One word for a POSIX shell that holds exactly this text (control characters become spaces)."""
    first, *others = _clean(text).split(_BACKTICK)
    return "".join([shlex.quote(first), *(f"\"$(printf '\\140')\"{shlex.quote(part)}" for part in others)])


def _clean(text: str) -> str:
    """As Slack will show it: composed, which can make a backtick of another character."""
    return _CONTROL.sub(" ", unicodedata.normalize("NFC", text))
