"""Characters that look like plain ones: read as those where only one reading makes sense, else named in a complaint.

Spreadsheets, office programs and translated pages write them: a full-width colon, a minus that is no hyphen, spaces
that don't break, marks that nobody sees.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2236\ua789\u02d0\u205a\u0589", ":"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u2044\u2215", "/"),
        **dict.fromkeys("\u201c\u201d\u201e", '"'),
    }
)
_OTHER_ALPHABETS = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")


def plain(text: str) -> str:
    """The text with plain colons, dashes, slashes, spaces, letters and digits, without what nobody sees.

    For words, names of columns and dates; not for addresses, whose letters count as they are.
    """
    if text.isascii():
        return text
    told = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    return "".join(c for c in told if unicodedata.category(c) != "Cf")


def strange(text: str) -> str | None:
    """Which character looks like a plain one and is another, by its name; None: there is none."""
    if text.isascii():
        return None
    latin = any(c.isascii() and c.isalpha() for c in text)
    found = next((c for c in text if _misleads(c, among_latin=latin)), None)
    return (
        None if found is None else f"{found!r} in it is U+{ord(found):04X}, {unicodedata.name(found, 'no character')}"
    )


def in_passing(columns: Iterable[str]) -> str:
    """Which column only looks like a plain one, to be put behind what the columns lack; empty: none does."""
    found = next(((name, odd) for name in columns if (odd := strange(name))), None)
    return f" ({found[0][:40]!r} only looks right: {found[1]})" if found else ""


def _misleads(character: str, *, among_latin: bool) -> bool:
    if character.isascii():
        return False
    if plain(character).isascii():
        return True
    return among_latin and character.isalpha() and unicodedata.name(character, "").startswith(_OTHER_ALPHABETS)
