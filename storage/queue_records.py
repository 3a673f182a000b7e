"""What the queue's counters say, as frozen values. Pure. Moments are aware UTC datetimes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.records import MessageStatus

BUCKET = timedelta(minutes=15)
"""The width of a bucket of `QueueClock`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueClock:
    """When the waiting messages came in and when they bounce: (start of a 15-minute bucket, messages), ascending.

    Empty buckets are left out.
    """

    received: tuple[tuple[datetime, int], ...] = ()
    expiries: tuple[tuple[datetime, int], ...] = ()

    @property
    def waiting(self) -> int:
        """How many (message, recipient) pairs wait."""
        return sum(count for _, count in self.received)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What moved since a moment, to the minute. Only mail that was seen waiting counts.

    arrived: came into the mail system. delivered, bounced (rejected or expired), unknown (gone, nobody says how): left.
    """

    since: datetime
    arrived: int = 0
    delivered: int = 0
    bounced: int = 0
    unknown: int = 0

    @property
    def left(self) -> int:
        """How many left, in whichever way."""
        return self.delivered + self.bounced + self.unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class TopList:
    """Who has most of the waiting mail: (recipient domain | sender, messages), most first.

    `looked_at` of the `waiting` messages were counted, the oldest: a long queue is sampled, and said to be.
    """

    domains: tuple[tuple[str, int], ...] = ()
    senders: tuple[tuple[str, int], ...] = ()
    looked_at: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Homeless:
    """What of one mail system waits at no connector for longer than in flight. `count`: counted no further than asked.

    The oldest of them are looked at; the first to bounce is the first of these.
    """

    backend: str
    count: int
    oldest_received_at: datetime
    first_expiry_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """One message that ended without being delivered. `status`: expired or rejected.

    `presumed`: nobody says so; it was gone when its time was up.
    """

    backend: str
    key: str
    sender: str
    recipient: str
    connector: str | None
    code: str | None
    reason: str | None
    received_at: datetime
    ended_at: datetime
    status: MessageStatus
    presumed: bool = False
