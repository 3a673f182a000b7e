"""Token buckets, per person and for everybody together: one person who floods can't starve the others. Pure in time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then one each `every`."""

    burst: int
    every: timedelta


class Bucket:
    """How much of one rate is left."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: Rate, now: datetime) -> None:
        self._rate = rate
        self._left = float(rate.burst)
        self._at = now

    def take(self, now: datetime) -> timedelta:
        """Zero when there was one to take; else how long until there is. A clock that jumps back costs nothing."""
        gained = max(timedelta(), now - self._at) / self._rate.every
        self._left = min(float(self._rate.burst), self._left + gained)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return timedelta()
        return (1 - self._left) * self._rate.every


class RateLimit:
    """One bucket per person (at most `people` remembered) and one for all."""

    def __init__(self, each: Rate, everybody: Rate, people: int = 1000) -> None:
        self._each, self._everybody, self._people = each, everybody, people
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._all: Bucket | None = None

    def take(self, person: str, now: datetime) -> timedelta:
        """Zero when this person may go on, else how long to wait."""
        bucket = self._buckets.setdefault(person, Bucket(self._each, now))
        self._buckets.move_to_end(person)
        while len(self._buckets) > self._people:
            self._buckets.popitem(last=False)
        wait = bucket.take(now)
        if wait:
            return wait
        self._all = self._all or Bucket(self._everybody, now)
        return self._all.take(now)
