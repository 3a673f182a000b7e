"""From a cell of unknown kind to a value. Each function is total: a value, None for an empty cell, or BadRow."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from bot.backends.files.dates import SlashedDates
from bot.backends.files.lookalikes import plain, strange
from bot.backends.files.parsed import BadRow

MAX_TEXT = 1000
MAX_REASON = 8000
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")
_ADDRESS = re.compile(r"[^\s@<>;,\"]{1,256}@[^\s@<>;,\"]{1,255}")
_SPOILED = re.compile(r"(System|Microsoft\.Exchange)(\.\w+)+(`\d+)?(\[.*\])?|@\(\)|System\.Object\[\]")
_WORDS = {"true": True, "$true": True, "yes": True, "1": True, "false": False, "$false": False, "no": False, "0": False}
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}),? +(\d{1,2}):(\d\d)(?::(\d\d))?(?: *([AaPp])[Mm])?")
_DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4}),? +(\d{1,2})[:.](\d\d)(?:[:.](\d\d))?")
_DOTNET = re.compile(r"/Date\((-?\d{1,15})(?:[+-]\d{4})?\)/")
_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def text(value: Any, limit: int = MAX_TEXT) -> str | None:
    """One line of clean text, or None when there is none."""
    if value is None or isinstance(value, list | dict):
        return None
    clean = str(value)[: 2 * limit]
    clean = clean.strip() if clean.isprintable() else _UNSAFE.sub(" ", clean).strip()
    return clean[:limit].rstrip() or None


def boolean(value: Any, column: str) -> bool | None:
    """JSON's true, or PowerShell's "True"."""
    if isinstance(value, bool):
        return value
    word = text(value)
    if word is None:
        return None
    if word.casefold() not in _WORDS:
        raise BadRow(f"{column} is {word[:40]!r}, neither True nor False")
    return _WORDS[word.casefold()]


def spoiled(value: Any) -> bool:
    """Does the cell hold the name of a .NET type in place of the values?"""
    return isinstance(value, str) and _SPOILED.fullmatch(value.strip()) is not None


def several(value: Any, column: str) -> tuple[str, ...]:
    """A list, or text joined with ; or , (also in PowerShell's braces)."""
    if isinstance(value, dict) and isinstance(value.get("value"), list):  # Windows PowerShell wraps some arrays so
        value = value["value"]
    if not isinstance(value, list):
        value = re.split(r"[;,\s]+", (text(value, MAX_REASON) or "").strip("{}"))
    if any(isinstance(v, list | dict) for v in value):
        raise BadRow(f"{column} is nested")
    return tuple(dict.fromkeys(v for v in map(text, value) if v))


def whole(value: Any, column: str, lowest: int, highest: int) -> int | None:
    """A whole number within bounds."""
    digits = text(value)
    if digits is None:
        return None
    if not re.fullmatch(r"\d{1,18}", digits, re.ASCII) or not lowest <= int(digits) <= highest:
        raise BadRow(f"{column} is {digits[:40]!r}, not a whole number from {lowest} to {highest}")
    return int(digits)


def size(value: Any) -> int | None:
    """A size in bytes; None for what is not one."""
    digits = (text(value) or "").replace(",", "")
    return int(digits) if re.fullmatch(r"\d{1,15}", digits, re.ASCII) else None


def address(value: Any, column: str) -> str | None:
    """An e-mail address in lower case."""
    found = text(value)
    if found is None or found == "<>":
        return None
    bare = found.strip("<>").strip().removeprefix("smtp:").removeprefix("SMTP:")
    if not _ADDRESS.fullmatch(bare):
        odd = strange(found[:60])
        raise BadRow(f"{column} is {found[:60]!r}, not an address{f': {odd}' if odd else ''}")
    return bare.lower()


def moment(
    value: Any, column: str, offset: timedelta = timedelta(), dates: SlashedDates | None = None
) -> datetime | None:
    """A date and time: ISO 8601, .NET JSON, 11/24/2026 4:30 AM (in the order of `dates`), 24.11.2026 04:30.

    One without a time zone is at `offset` from UTC.
    """
    found = plain(text(value) or "")
    if not found:
        return None
    try:
        at = _parsed_moment(found, dates or SlashedDates())
        at = (at if at.tzinfo else at.replace(tzinfo=timezone(offset))).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadRow(f"{column} is {found[:40]!r}, not a date like 2026-11-24T04:30:00Z") from error
    if not _EARLIEST <= at <= _LATEST:
        raise BadRow(f"{column} is {found[:40]!r}, out of any sensible range")
    return at


def _parsed_moment(found: str, dates: SlashedDates) -> datetime:
    if dotnet := _DOTNET.fullmatch(found):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(dotnet[1]))
    if slashed := _SLASHED.fullmatch(found):
        first, second, year, hour = (int(slashed[n]) for n in range(1, 5))
        month, day = dates.month_and_day(first, second, year, twelve_hours=bool(slashed[7]))
        if slashed[7]:
            hour = hour % 12 + (12 if slashed[7] in "Pp" else 0)
        found = f"{year}-{month:02}-{day:02}T{hour:02}:{slashed[5]}:{slashed[6] or '00'}"
    if dotted := _DOTTED.fullmatch(found):
        day, month, hour = int(dotted[1]), int(dotted[2]), int(dotted[4])
        found = f"{dotted[3]}-{month:02}-{day:02}T{hour:02}:{dotted[5]}:{dotted[6] or '00'}"
    return datetime.fromisoformat(found)


def header_offset(header: str) -> timedelta:
    """The UTC offset that a column's name states, as in "Date (UTC+02:00)"."""
    found = re.search(r"UTC\s*([+-])(\d\d?):?(\d\d)", plain(header), re.ASCII | re.IGNORECASE)
    if not found:
        return timedelta()
    away = timedelta(hours=int(found[2]) % 24, minutes=int(found[3]) % 60)
    return -away if found[1] == "-" else away
