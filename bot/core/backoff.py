"""How long to wait before the next try. Pure: the jitter is an argument."""

from __future__ import annotations

from datetime import timedelta

BASE = timedelta(seconds=1)
CAP = timedelta(minutes=5)


def delay(attempt: int, jitter: float, *, base: timedelta = BASE, cap: timedelta = CAP) -> timedelta:
    """The wait after try number `attempt` (1 is the first): it doubles up to `cap`, and is cut by up to half.

    `jitter` is a number from 0 to 1 that spreads those who failed together: 1 waits fully, 0 half as long.
    """
    doublings = min(max(attempt - 1, 0), 30)
    whole = min(base * (1 << doublings), cap)
    return whole * (0.5 + 0.5 * min(max(jitter, 0.0), 1.0))
