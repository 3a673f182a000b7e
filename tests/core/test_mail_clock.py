"""The 24-hour clock: ages in bands, bounces by when, the pace, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.core.mail_clock import BANDS, HOURS, LATER, Due, MailClock, Pace, mail_clock, pace_in_words, pace_of, rate
from storage.queue_records import Flow, QueueClock
from storage.records import CodeCount, QueueSummary

NOW = datetime(2026, 3, 2, 3, 10, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def held(*, ages: dict[float, int] | None = None, left: dict[float, int] | None = None) -> QueueClock:
    """Buckets by hours ago and by hours ahead."""
    return QueueClock(
        received=tuple((NOW - age * HOUR, count) for age, count in sorted((ages or {}).items(), reverse=True)),
        expiries=tuple((NOW + hours * HOUR, count) for hours, count in sorted((left or {}).items())),
    )


def waits(count: int, age: float, left: float) -> QueueSummary:
    group = CodeCount(
        code="4.4.316", count=count, oldest_received_at=NOW - age * HOUR, first_expiry_at=NOW + left * HOUR
    )
    return QueueSummary(by_code=(group,))


def test_hours_are_said_as_people_say_them() -> None:
    told = [Due(hours=hours, count=1).within for hours in (*HOURS, *LATER)]
    assert told == ["1 h", "2 h", "4 h", "8 h", "24 h", "2 d", "3 d", "5 d", "7 d", "10 d"]


@pytest.mark.parametrize(
    ("age", "left", "band"),
    [(30, 18, "1-2 d"), (30, 90, "1-2 d"), (60, 60, "2-5 d"), (119, 1, "2-5 d"), (130, 1, ">5 d"), (23, 1, "20-24 h")],
)
def test_where_mail_is_kept_for_days_its_age_is_told_in_days(age: float, left: float, band: str) -> None:
    found = mail_clock(waits(7, age, left), held(ages={age: 7}), NOW)
    assert [(b.name, b.count) for b in found.bands if b.count] == [(band, 7)]


def test_a_mail_system_that_keeps_mail_for_a_day_has_the_bands_of_a_day() -> None:
    found = mail_clock(waits(7, 24, 0.5), held(ages={24: 7}), NOW)
    assert [band.name for band in found.bands] == [name for _, name in BANDS]


def test_nothing_waiting_is_an_empty_clock() -> None:
    found = mail_clock(QueueSummary(), QueueClock(), NOW)
    assert (found.waiting, found.first_bounce_at, found.life, found.overdue, found.peak) == (0, None, 0.0, 0, None)
    assert [band.count for band in found.bands] == [0] * len(BANDS)
    assert [due.count for due in found.due] == [0] * len(HOURS)
    assert found.pace is None


@pytest.mark.parametrize(
    ("hours", "band"),
    [
        (0.0, "<15 min"),
        (0.25, "<15 min"),
        (0.5, "15-60 min"),
        (1.2, "1-4 h"),
        (5, "4-8 h"),
        (9, "8-12 h"),
        (13, "12-20 h"),
        (21, "20-24 h"),
        (30, ">24 h"),
        (-5, "<15 min"),
    ],
)
def test_each_bucket_is_in_one_band_by_its_middle(hours: float, band: str) -> None:
    found = mail_clock(waits(7, 1, 1), held(ages={hours: 7}), NOW)
    assert [(b.name, b.count) for b in found.bands if b.count] == [(band, 7)]


@pytest.mark.parametrize(
    ("left", "by_hour", "overdue"),
    [
        ({0.5: 1, 1.5: 2, 3: 4, 7: 8, 23: 16}, [1, 3, 7, 15, 31], 0),
        ({24.0: 3}, [0, 0, 0, 0, 0], 0),
        ({24.5: 3}, [0, 0, 0, 0, 0, 3], 0),
        ({2: 1, 47: 2, 47.9: 1}, [0, 0, 1, 1, 1, 4], 0),
        ({118: 7}, [0, 0, 0, 0, 0, 0, 0, 7], 0),
        ({300: 7}, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0),
        ({-0.1: 2}, [2, 2, 2, 2, 2], 0),
        ({-0.25: 2, -9: 3}, [5, 5, 5, 5, 5], 5),
        ({0.99: 1, 1.0: 1}, [1, 2, 2, 2, 2], 0),
    ],
)
def test_bounces_are_counted_by_the_hour_until_which_they_come(
    left: dict[float, int], by_hour: list[int], overdue: int
) -> None:
    found = mail_clock(waits(1, 1, 1), held(left=left), NOW)
    assert [due.count for due in found.due] == by_hour
    assert found.overdue == overdue
    assert found.within(4) == by_hour[2]
    assert found.within(3) == found.within(2)
    assert found.within(240) == by_hour[-1], "what bounces earlier has bounced by then"
    assert [due.count for due in found.ahead] == [count for count in by_hour if count]


def test_each_of_the_next_24_hours_has_its_bounces() -> None:
    found = mail_clock(waits(1, 1, 1), held(left={-2: 1, 0.5: 2, 1.0: 4, 23.9: 8, 24.1: 16}), NOW)
    assert (found.hourly[0], found.hourly[1], found.hourly[23], sum(found.hourly)) == (3, 4, 8, 15)


@pytest.mark.parametrize(
    ("left", "at", "count"),
    [
        ({0.2: 3, 0.5: 3, 1.0: 5}, datetime(2026, 3, 2, 3, tzinfo=UTC), 6),
        ({0.2: 3, 5.0: 3}, datetime(2026, 3, 2, 3, tzinfo=UTC), 3),
        ({-6: 9}, datetime(2026, 3, 2, 3, tzinfo=UTC), 9),
        ({0.2: 3, 5.0: 4}, datetime(2026, 3, 2, 8, tzinfo=UTC), 4),
    ],
)
def test_the_hour_with_the_most_bounces_is_a_clock_hour_and_the_earlier_of_two(
    left: dict[float, int], at: datetime, count: int
) -> None:
    peak = mail_clock(waits(1, 1, 1), held(left=left), NOW).peak
    assert peak is not None
    assert (peak.at, peak.count) == (at, count)


@pytest.mark.parametrize(
    ("age", "left", "life"), [(6, 18, 0.25), (24, 0, 1.0), (30, -6, 1.0), (-1, 2, 0.0), (1, -1, 0)]
)
def test_the_first_to_bounce_has_used_a_share_of_its_time(age: float, left: float, life: float) -> None:
    assert mail_clock(waits(1, age, left), QueueClock(), NOW).life == pytest.approx(life)


def test_a_pace_is_per_minute_and_counts_every_way_out_that_is_known() -> None:
    flow = Flow(since=NOW - HOUR, arrived=60, delivered=90, bounced=20, unknown=10)
    pace = mail_clock(waits(120, 1, 1), QueueClock(), NOW, flow=flow, bounced=33).pace
    assert pace is not None
    assert (pace.arrivals, pace.drains, pace.bounces) == (1.0, pytest.approx(11 / 6), pytest.approx(1 / 3))
    assert pace.departures == pytest.approx(3 / 2)
    assert pace.empty_in(120) == 240 * MINUTE
    assert pace.growth == -60
    assert mail_clock(waits(1, 1, 1), QueueClock(), NOW, bounced=33).bounced == 33


def test_a_queue_that_does_not_shrink_is_never_empty() -> None:
    pace = pace_of(Flow(since=NOW - HOUR, arrived=60, delivered=60), NOW)
    assert pace is not None
    assert pace.empty_in(10) is None


@pytest.mark.parametrize("flow", [None, Flow(since=NOW - 4 * MINUTE, arrived=5)])
def test_too_short_a_time_says_nothing_of_a_pace(flow: Flow | None) -> None:
    assert pace_of(flow, NOW) is None


def test_a_clock_that_was_never_made_is_empty() -> None:
    assert MailClock().within(24) == 0


@pytest.mark.parametrize(
    ("per_minute", "words"),
    [
        (0, "none"),
        (0.001, "hardly any"),
        (0.05, "3 an hour"),
        (1.02, "1 a minute"),
        (1.26, "1.3 a minute"),
        (1234, "1,234 a minute"),
    ],
)
def test_rates_are_told_per_minute_or_per_hour(per_minute: float, words: str) -> None:
    assert rate(per_minute) == words


@pytest.mark.parametrize(
    ("arrived", "left", "bounced", "waiting", "words"),
    [
        (0, 0, 0, 42, "nothing came or went in the last hour"),
        (60, 60, 0, 42, "1 a minute come in, 1 a minute leave"),
        (60, 0, 0, 42, "1 a minute come in, none leave: it grew by 60 in the last hour"),
        (60, 0, 30, 42, "1 a minute come in, none leave, 30 an hour bounce: it grew by 30 in the last hour"),
        (60, 20, 40, 42, "1 a minute come in, 20 an hour leave, 40 an hour bounce"),
        (0, 60, 0, 42, "none come in, 1 a minute leave: empty in about 42 min at this pace"),
        (0, 60, 0, 0, "none come in, 1 a minute leave"),
        (0, 0, 12, 42, "none come in, none leave, 12 an hour bounce"),
    ],
)
def test_a_pace_is_told_with_its_trend(arrived: int, left: int, bounced: int, waiting: int, words: str) -> None:
    pace = Pace(over=HOUR, arrived=arrived, delivered=left, bounced=bounced, unknown=0)
    assert pace_in_words(pace, waiting) == words


@pytest.mark.parametrize(
    ("arrived", "delivered", "unknown", "words"),
    [
        (0, 0, 400, "none come in, none leave; 400 gone in the last hour, nobody says how"),
        (60, 0, 2, "1 a minute come in, none leave: it grew by 58 in the last hour; 2 gone, nobody says how"),
        (
            0,
            42,
            1,
            "none come in, 42 an hour leave: empty in about 1 h at this pace; 1 gone in the last hour, nobody says how",
        ),
    ],
)
def test_mail_that_is_gone_without_a_word_how_is_no_sign_that_a_queue_drains(
    arrived: int, delivered: int, unknown: int, words: str
) -> None:
    pace = Pace(over=HOUR, arrived=arrived, delivered=delivered, bounced=0, unknown=unknown)
    assert pace_in_words(pace, 42) == words
    assert (pace.empty_in(42) is None) == (delivered == 0)
