"""What the tests of the Exchange Online backend share: a clock, waits that only move it, deferrals, a maker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.backends.exchange_online.options import read_options
from bot.sandbox.mail_system import MailSystem
from bot.sandbox.mail_system.led import Failure, Trouble

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
TO_ONPREM = "d0d71cb9-0000-4000-8000-000000000001"
TO_PARTNER = "d0d71cb9-0000-4000-8000-000000000002"
REFUSED = Failure(
    trouble=Trouble.REFUSED,
    detail="Socket error code 10061",
    host="mail.onprem.test",
    ip="203.0.113.10",
    port=25,
)


class Clock:
    """The moment of the mail; it stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


class Waits:
    """Instead of sleeping: notes for how long, and moves the clock on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._clock.forward(seconds=seconds)

    @property
    def long_ones(self) -> list[float]:
        """Without the short pause between two cmdlets."""
        return [seconds for seconds in self.seconds if seconds > 0.5]


def made(options: Mapping[str, str], clock: Clock, waits: Waits) -> ExchangeOnlineBackend:
    """A backend that lives by this clock and picks the first by chance."""
    return ExchangeOnlineBackend(
        "exo", read_options(options), clock=clock, pick=lambda _: 0, sleep=waits, monotonic=lambda: 0.0
    )


def defer(mail: MailSystem, ref: tuple[str, str], now: datetime, failure: Failure = REFUSED) -> None:
    """One failed attempt, an hour until the next."""
    mail.tenant.deferred(ref, now, failure, until=now + timedelta(hours=1))


def deliver(mail: MailSystem, ref: tuple[str, str], now: datetime) -> None:
    """It reached its server."""
    mail.tenant.delivered(ref, now, REFUSED)
