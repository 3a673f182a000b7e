"""What is stored as a moment or duration comes back as the same one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.moments import from_ms, optional_moment, optional_ms, optional_span, span_ms, to_ms

MOMENTS = st.integers(-(10**15), 2 * 10**17).map(lambda us: from_ms(0) + timedelta(microseconds=us))


@given(MOMENTS)
def test_a_moment_survives_to_the_millisecond(moment: datetime) -> None:
    assert from_ms(to_ms(moment)) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def test_the_time_zone_does_not_matter() -> None:
    here = datetime(2026, 11, 24, 7, tzinfo=timezone(timedelta(hours=1)))
    assert from_ms(to_ms(here)) == datetime(2026, 11, 24, 6, tzinfo=UTC)


def test_a_moment_before_1970_is_kept_too() -> None:
    moment = datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC)
    assert to_ms(moment) == -500
    assert from_ms(-500) == moment


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        to_ms(datetime(2026, 11, 24, tzinfo=UTC).replace(tzinfo=None))


def test_none_stays_none() -> None:
    assert optional_ms(None) is optional_moment(None) is span_ms(None) is optional_span(None) is None


def test_a_duration_survives() -> None:
    assert optional_span(span_ms(timedelta(seconds=90))) == timedelta(seconds=90)
    assert optional_moment(optional_ms(from_ms(5))) == from_ms(5)
