"""The clock of waiting mail as lines and bars, for alerts, `/mfi queue` and Home. Pure. Made for a phone's width."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bot.core.bars import bar, gauge, spark
from bot.core.forecast import plain_span as span
from bot.core.mail_clock import MailClock, pace_in_words
from bot.slack.blocks import Block, preformatted
from bot.slack.text import Mrkdwn, code, joined, literal, mrkdwn, prose, when
from bot.slack.wording import count

GAUGE_CELLS = 16
CHART_CELLS = 12
LABEL_CELLS = 10


def life_bar(clock: MailClock) -> Mrkdwn:
    """How much of its time the first to bounce has used up; empty when nothing waits."""
    return code(gauge(clock.life, 1.0, GAUGE_CELLS)) if clock.waiting else Mrkdwn("")


def by_when(clock: MailClock) -> Mrkdwn:
    """ "3 overdue · 12 within 4 h · 40 within 24 h; fullest hour: 30 from 14:00": only what says something."""
    told: list[Mrkdwn] = []
    before = clock.overdue
    if clock.overdue:
        told.append(mrkdwn("*{} overdue*", clock.overdue))
    for due in clock.due:
        if due.count > before:
            told.append(mrkdwn("*{}* within {}", due.count, due.within))
            before = due.count
    if not told:
        return Mrkdwn("")
    return mrkdwn("Bounce unless they leave: {}{}", joined(told, " · "), _most(clock))


def _most(clock: MailClock) -> Mrkdwn:
    peak = clock.peak
    if peak is None or peak.count <= 1 or peak.count == clock.waiting == clock.within(1):
        return Mrkdwn("")
    if peak.count == clock.waiting:
        return mrkdwn(", all in the hour from {}", when(peak.at))
    return mrkdwn("; fullest hour: {} from {}", peak.count, when(peak.at))


def pace_words(clock: MailClock) -> Mrkdwn:
    """ "4.2 a minute come in, 0.3 leave; 12 bounced in the last 24 h"."""
    pace = clock.pace
    moves = prose(pace_in_words(pace, clock.waiting)) if pace else Mrkdwn("")
    bounced = mrkdwn("*{} bounced* in the last 24 h", clock.bounced) if clock.bounced else Mrkdwn("")
    return joined([moves, bounced])


def hours_spark(clock: MailClock) -> Mrkdwn:
    """When it bounces: one character for each of the next 24 hours; empty when nothing waits."""
    return mrkdwn("{} bounces by hour, the next 24", code(spark(clock.hourly))) if any(clock.hourly) else Mrkdwn("")


def ages_chart(clock: MailClock) -> Block | None:
    """How long it has waited, as bars; None when nothing waits."""
    rows = [(band.name, band.count) for band in clock.bands]
    return _chart(rows) if any(number for _, number in rows) else None


def bounces_chart(clock: MailClock) -> Block | None:
    """How many bounce by when, as bars; None when nothing waits."""
    overdue = [("overdue", clock.overdue)] if clock.overdue else []
    rows = [*overdue, *((f"in {due.within}", due.count) for due in clock.ahead)]
    return _chart(rows, clock.waiting) if any(number for _, number in rows) else None


def _chart(rows: Iterable[tuple[str, int]], whole: int = 0) -> Block:
    shown = list(rows)
    most = whole or max(number for _, number in shown)
    drawn = (
        f"{name:<{LABEL_CELLS}}{bar(number, most, CHART_CELLS):<{CHART_CELLS}}{number:>8,}" for name, number in shown
    )
    return preformatted(literal("\n".join(drawn)))


def stale_words(read_at: datetime | None, now: datetime, *, stale: bool) -> Mrkdwn:
    """That figures are old, and how old; empty while they are fresh."""
    if not stale or read_at is None:
        return Mrkdwn("")
    return mrkdwn("⚠️ *stale*: read {} ago", span(now - read_at))


def overview(clock: MailClock) -> tuple[Mrkdwn, ...]:
    """The countdown in an alert: how far it is, how many by when, and where it goes."""
    return (life_bar(clock), by_when(clock), pace_words(clock))


def heading(waiting: int, bounced: int, where: int) -> Mrkdwn:
    """ "1,284 messages waiting at 3 connectors · 12 bounced in the last 24 h"."""
    places = mrkdwn(" at {}", count(where, "connector")) if where > 1 else Mrkdwn("")
    gone = mrkdwn("*{} bounced* in the last 24 h", bounced) if bounced else Mrkdwn("")
    return joined([mrkdwn("*{} waiting*{}", count(waiting, "message"), places), gone])
