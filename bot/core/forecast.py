"""When mail bounces: the countdown that matters more than any count. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.records import CodeCount, QueueSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How old the oldest message is and how long the first one still has; never negative."""

    waiting: int
    oldest_age: timedelta
    first_bounce_in: timedelta
    first_bounce_at: datetime


def forecast(waiting: CodeCount | QueueSummary | None, now: datetime) -> Forecast | None:
    """The countdown of what waits; None when nothing does."""
    if waiting is None:
        return None
    count = waiting.total if isinstance(waiting, QueueSummary) else waiting.count
    oldest, first = waiting.oldest_received_at, waiting.first_expiry_at
    if oldest is None or first is None:
        return None
    none = timedelta(0)
    return Forecast(
        waiting=count,
        oldest_age=max(now - oldest, none),
        first_bounce_in=max(first - now, none),
        first_bounce_at=first,
    )


def plain_span(length: timedelta) -> str:
    """A duration for people, two units at most: "2 d 3 h", "4 h 12 min", "7 min", "12 s"; never negative."""
    seconds = max(int(length.total_seconds()), 0)
    for size, unit, smaller, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {unit} {rest} {part}" if rest else f"{seconds // size} {unit}"
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def period(length: timedelta) -> str:
    """How far a list looks back, as in “the last 24 h”, “the last 7 d”."""
    return "24 h" if length == timedelta(days=1) else plain_span(length)
