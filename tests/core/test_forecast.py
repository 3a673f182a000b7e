"""The countdown to the first bounce, and durations in words."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.core.forecast import forecast, plain_span
from storage.records import CodeCount, QueueSummary

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def waiting(count: int, age_hours: float, left_hours: float, code: str = "4.4.316") -> CodeCount:
    return CodeCount(
        code=code,
        count=count,
        oldest_received_at=NOW - timedelta(hours=age_hours),
        first_expiry_at=NOW + timedelta(hours=left_hours),
    )


def test_nothing_waiting_has_no_forecast() -> None:
    assert forecast(None, NOW) is None
    assert forecast(QueueSummary(), NOW) is None


def test_tells_the_oldest_and_the_first_bounce_of_a_whole_queue() -> None:
    queue = QueueSummary(by_code=(waiting(2, 5, 19), waiting(3, 7, 20, "4.4.315")))
    found = forecast(queue, NOW)
    assert found is not None
    assert (found.waiting, found.oldest_age, found.first_bounce_in) == (5, timedelta(hours=7), timedelta(hours=19))
    assert found.first_bounce_at == NOW + timedelta(hours=19)


def test_is_never_negative_when_a_clock_was_wrong() -> None:
    found = forecast(waiting(1, -2, -3), NOW)
    assert found is not None
    assert found.oldest_age == found.first_bounce_in == timedelta(0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (4320, "1 h 12 min"),
        (86400, "1 d"),
        (97200, "1 d 3 h"),
    ],
)
def test_spans_have_two_units_at_most(seconds: int, words: str) -> None:
    assert plain_span(timedelta(seconds=seconds)) == words
