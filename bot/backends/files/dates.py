"""In which order a file writes day and month, where its dates can be read both ways (05/12/2026).

Windows PowerShell's Export-Csv writes them as its user's language does, and the file doesn't say which that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_Written = tuple[int, int, int]
"""A date's numbers as they stand there."""

_RECENT = timedelta(days=10)
"""A queue's oldest mail is not older: two days is the usual time until it bounces, five or seven the longest."""
_AHEAD = timedelta(days=1)
"""Local time that is taken for UTC looks so much ahead at most."""
_BETTER = "to be sure, export with ConvertTo-Json in place of Export-Csv"


@dataclass(frozen=True, slots=True)
class Verdict:
    """In which order to read, and what a reader should know about it, if anything."""

    day_first: bool
    note: str | None = None


@dataclass(slots=True)
class SlashedDates:
    """Reads dates like 05/12/2026 in one order, and notes what speaks for either."""

    day_first: bool = False
    _seen: set[_Written] = field(default_factory=set)
    _twelve_hours: bool = True
    """Each had AM or PM: so it is written in America, mostly."""

    def month_and_day(self, first: int, second: int, year: int, *, twelve_hours: bool) -> tuple[int, int]:
        """Which of the two numbers is which."""
        self._seen.add((first, second, year))
        self._twelve_hours = self._twelve_hours and twelve_hours
        return (second, first) if self.day_first else (first, second)

    def verdict(self, now: datetime | None) -> Verdict:
        """What the dates that were read tell: a number above 12 is a day; else the order in which they are recent."""
        day_first = next((d for d in sorted(self._seen) if d[1] <= 12 < d[0]), None)
        month_first = any(first <= 12 < second for first, second, _ in self._seen)
        if day_first and not month_first:
            return Verdict(True, f"dates are read as day/month/year, because of {_as_written(day_first)}")
        unclear = sorted(d for d in self._seen if d[0] != d[1] and max(d[:2]) <= 12)
        if not unclear or (month_first and not day_first):
            return Verdict(False)
        both = day_first is not None
        return _by_nearness(unclear, self._seen, None if both else now, sure=self._twelve_hours)


def _by_nearness(unclear: list[_Written], seen: Iterable[_Written], now: datetime | None, *, sure: bool) -> Verdict:
    like = f"dates like {_as_written(unclear[0])} are read as"
    readings = (_recent(seen, now, _day_first), _recent(seen, now, _month_first)) if now else (False, False)
    if readings == (True, False):
        return Verdict(True, f"{like} day/month/year, because that is near now; {_BETTER}")
    if readings == (False, True):
        return Verdict(False, None if sure else f"{like} month/day/year, because that is near now; {_BETTER}")
    return Verdict(False, f"{like} month/day/year, which may be wrong; {_BETTER}")


def _recent(seen: Iterable[_Written], now: datetime, read: Callable[[_Written], datetime]) -> bool:
    """Is the oldest date of the file near now, if it is read so?"""
    moments = []
    for written in seen:
        with suppress(ValueError):
            moments.append(read(written))
    return bool(moments) and now - _RECENT <= min(moments) + timedelta(days=1) and min(moments) <= now + _AHEAD


def _day_first(written: _Written) -> datetime:
    return datetime(written[2], written[1], written[0], tzinfo=UTC)


def _month_first(written: _Written) -> datetime:
    return datetime(written[2], written[0], written[1], tzinfo=UTC)


def _as_written(written: _Written) -> str:
    return f"{written[0]:02}/{written[1]:02}/{written[2]}"
