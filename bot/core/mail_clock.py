"""The clock of one connector: how long its mail has waited, and how much of it bounces by when. Pure.

It reaches as far as the mail system keeps mail: 24 hours at Exchange Online, days elsewhere.

Counts come in buckets of 15 minutes (storage/queue.py keeps them), so an age or a deadline is right to a quarter of an
hour; the first bounce is exact. A deadline counts as soon as its bucket begins: rather too early than too late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.core.forecast import plain_span
from storage.queue_records import BUCKET, Flow, QueueClock
from storage.records import QueueSummary

BANDS = (
    (timedelta(minutes=15), "<15 min"),
    (timedelta(hours=1), "15-60 min"),
    (timedelta(hours=4), "1-4 h"),
    (timedelta(hours=8), "4-8 h"),
    (timedelta(hours=12), "8-12 h"),
    (timedelta(hours=20), "12-20 h"),
    (timedelta(hours=24), "20-24 h"),
    (timedelta.max, ">24 h"),
)
"""Each age band with its end."""
LONG_BANDS = (
    *BANDS[:-1],
    (timedelta(days=2), "1-2 d"),
    (timedelta(days=5), "2-5 d"),
    (timedelta.max, ">5 d"),
)
"""Where mail is kept for longer than a day."""
LONGER_THAN_A_DAY = timedelta(hours=25)
"""A lifetime from here on is not one of 24 hours that a clock or a retry stretched."""
HOURS = (1, 2, 4, 8, 24)
"""By so many hours from now the bounces are counted."""
LATER = (48, 72, 120, 168, 240)
"""And by so many, as far as needed, where mail is kept for longer."""
PACE_OVER = timedelta(hours=1)
"""The time over which arrivals and departures are averaged."""
BOUNCES_OVER = timedelta(hours=24)
"""The time over which bounces that happened are counted."""
SHORTEST = timedelta(minutes=5)
"""Less than this says nothing of a pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """How many messages have waited for a time within this band."""

    name: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """How many messages bounce within so many hours from now, unless they leave before."""

    hours: int
    count: int

    @property
    def within(self) -> str:
        """ "8 h", "24 h", "5 d"."""
        return in_words(self.hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The clock hour (by its start, UTC) in which most messages bounce."""

    at: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many messages came and went in `over`. `bounced` and `unknown` went, too; unknown: nobody says how.

    Mail that is gone, nobody says how, may have bounced: it shortens the queue, but is no sign that the queue drains.
    """

    over: timedelta
    arrived: int
    delivered: int
    bounced: int
    unknown: int

    @property
    def arrivals(self) -> float:
        """Messages per minute that came in."""
        return self.arrived / (self.over.total_seconds() / 60)

    @property
    def drains(self) -> float:
        """Messages per minute that were delivered or bounced."""
        return (self.delivered + self.bounced) / (self.over.total_seconds() / 60)

    @property
    def growth(self) -> int:
        """So many more messages came than left, however they left; below 0: the queue shrank."""
        return self.arrived - self.delivered - self.bounced - self.unknown

    @property
    def departures(self) -> float:
        """Messages per minute that were delivered, as far as anybody saw."""
        return self.delivered / (self.over.total_seconds() / 60)

    @property
    def bounces(self) -> float:
        """Messages per minute that bounced."""
        return self.bounced / (self.over.total_seconds() / 60)

    def empty_in(self, waiting: int) -> timedelta | None:
        """When all is delivered at this pace; None: no more is delivered than comes in."""
        net = self.departures - self.arrivals
        return timedelta(minutes=waiting / net) if net > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailClock:
    """What people look at first. `hourly`: bounces in each of the next 24 hours, the first with what is overdue.

    `bounced`: how many bounced in the last 24 hours. `life`: the share of its time that the first to bounce has used.
    """

    waiting: int = 0
    first_bounce_at: datetime | None = None
    life: float = 0.0
    overdue: int = 0
    bands: tuple[Band, ...] = ()
    due: tuple[Due, ...] = ()
    hourly: tuple[int, ...] = ()
    peak: Peak | None = None
    pace: Pace | None = None
    bounced: int = 0

    def within(self, hours: int) -> int:
        """How many bounce within so many hours (one of HOURS or LATER)."""
        return max((due.count for due in self.due if due.hours <= hours), default=0)

    @property
    def ahead(self) -> tuple[Due, ...]:
        """By when something bounces at all: nothing is told of the hours before."""
        return tuple(due for due in self.due if due.count)


def mail_clock(
    queue: QueueSummary, held: QueueClock, now: datetime, *, flow: Flow | None = None, bounced: int = 0
) -> MailClock:
    """The clock of what waits. `flow`: what came and went lately; `bounced`: how many bounced in BOUNCES_OVER."""
    left = [(max(moment - now, timedelta(0)), count) for moment, count in held.expiries]
    return MailClock(
        waiting=queue.total,
        first_bounce_at=queue.first_expiry_at,
        life=_life(queue, now),
        overdue=sum(count for moment, count in held.expiries if moment + BUCKET <= now),
        bands=_bands(held.received, now, LONG_BANDS if _lifetime(queue) > LONGER_THAN_A_DAY else BANDS),
        due=tuple(
            Due(hours=h, count=sum(n for away, n in left if away < timedelta(hours=h)))
            for h in _hours(max((away for away, _ in left), default=timedelta(0)))
        ),
        hourly=tuple(sum(n for away, n in left if away // timedelta(hours=1) == hour) for hour in range(24)),
        peak=_peak(held.expiries, now),
        pace=pace_of(flow, now),
        bounced=bounced,
    )


def in_words(hours: int) -> str:
    """ "8 h", "24 h", "5 d"."""
    return f"{hours // 24} d" if hours > 24 else f"{hours} h"


def _hours(last: timedelta) -> tuple[int, ...]:
    """Until the last of what waits has bounced; always those of a day."""
    return (*HOURS, *(h for before, h in zip((24, *LATER), LATER, strict=False) if timedelta(hours=before) < last))


def pace_of(flow: Flow | None, now: datetime) -> Pace | None:
    """What came and went; None where the time is too short to say."""
    if flow is None or now - flow.since < SHORTEST:
        return None
    return Pace(
        over=now - flow.since,
        arrived=flow.arrived,
        delivered=flow.delivered,
        bounced=flow.bounced,
        unknown=flow.unknown,
    )


def rate(per_minute: float) -> str:
    """ "12 a minute", "3 an hour", "none"."""
    if per_minute <= 0:
        return "none"
    if per_minute >= 1:
        return f"{per_minute:,.0f} a minute" if per_minute >= 10 else f"{per_minute:.1f} a minute".replace(".0 ", " ")
    return f"{per_minute * 60:.0f} an hour" if per_minute * 60 >= 0.5 else "hardly any"


def pace_in_words(pace: Pace, waiting: int) -> str:
    """ "12 a minute come in, 3 an hour leave, 1 an hour bounce: it grew by 716 in the last hour".

    What is gone is told apart: "none come in, none leave; 400 gone in the last hour, nobody says how".
    The pace is an average: one burst of mail does not mean that it goes on growing, only that it grew.
    """
    if not pace.arrived + pace.delivered + pace.unknown + pace.bounced:
        return "nothing came or went in the last hour"
    bounces = f", {rate(pace.bounces)} bounce" if pace.bounced else ""
    moves = f"{rate(pace.arrivals)} come in, {rate(pace.departures)} leave{bounces}"
    grew = f": it grew by {pace.growth:,} in the last hour" if pace.growth > 0 else ""
    gone = f"{'' if grew else ' in the last hour'}, nobody says how"
    empty = pace.empty_in(waiting) if waiting else None
    trend = f": empty in about {plain_span(empty)} at this pace" if empty is not None else grew
    return f"{moves}{trend}; {pace.unknown:,} gone{gone}" if pace.unknown else f"{moves}{trend}"


def _lifetime(queue: QueueSummary) -> timedelta:
    """How long the mail system keeps mail, as far as what waits tells."""
    oldest, first = queue.oldest_received_at, queue.first_expiry_at
    return first - oldest if oldest and first else timedelta(0)


def _life(queue: QueueSummary, now: datetime) -> float:
    oldest, first = queue.oldest_received_at, queue.first_expiry_at
    if oldest is None or first is None or first <= oldest:
        return 0.0
    return min(max((now - oldest) / (first - oldest), 0.0), 1.0)


def _bands(
    received: Iterable[tuple[datetime, int]], now: datetime, bands: Sequence[tuple[timedelta, str]]
) -> tuple[Band, ...]:
    """A bucket is as old as its middle."""
    ages = [(now - moment - BUCKET / 2, count) for moment, count in received]
    starts = (timedelta.min, *(end for end, _ in bands))
    return tuple(
        Band(name=name, count=sum(count for age, count in ages if start <= age < end))
        for start, (end, name) in zip(starts, bands, strict=False)
    )


def _peak(expiries: Iterable[tuple[datetime, int]], now: datetime) -> Peak | None:
    hours: dict[datetime, int] = {}
    for moment, count in expiries:
        hour = max(moment, now).replace(minute=0, second=0, microsecond=0)
        hours[hour] = hours.get(hour, 0) + count
    if not hours:
        return None
    at = max(hours, key=lambda hour: (hours[hour], -hour.timestamp()))
    return Peak(at=at, count=hours[at])
