"""When each mail system is read next: at its own interval, and less often while it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

SLOWEST = 4
"""A mail system that fails is read at so many times its interval at most…"""
LONGEST = timedelta(minutes=15)
"""…and at least this often, unless its interval is longer."""


class Pace:
    """Due times of mail systems, by a clock that nobody can set."""

    def __init__(
        self, intervals: Mapping[str, timedelta], default: timedelta, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._intervals = intervals
        self._default = default
        self._monotonic = monotonic
        self._due: dict[str, float] = {}
        self._misses: dict[str, int] = {}

    def interval(self, name: str) -> timedelta:
        """How often this one is read."""
        return self._intervals.get(name, self._default)

    def due(self, names: Iterable[str]) -> list[str]:
        """Those whose time has come; at the start all of them."""
        now = self._monotonic()
        return [name for name in names if self._due.get(name, now) <= now]

    def read(self, name: str, *, good: bool) -> None:
        """It was read, or tried: note when to do it next, counted from now."""
        self._misses[name] = 0 if good else self._misses.get(name, 0) + 1
        interval = self.interval(name)
        slower = min(interval * min(1 + self._misses[name], SLOWEST), max(LONGEST, interval))
        # A tick that comes a little early takes it along: else each read would be a whole tick late.
        self._due[name] = self._monotonic() + (slower - min(interval / 10, timedelta(seconds=1))).total_seconds()
