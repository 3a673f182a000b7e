"""How moments and durations are stored: whole milliseconds since 1970 UTC, and whole milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """An aware moment as stored (rounded down to the millisecond). A naive one is refused with ValueError."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone can't be stored")
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(ms: int) -> datetime:
    """The aware UTC moment that was stored."""
    return _EPOCH + timedelta(milliseconds=ms)


def optional_ms(moment: datetime | None) -> int | None:
    """`to_ms`, None staying None."""
    return None if moment is None else to_ms(moment)


@overload
def optional_moment(ms: int) -> datetime: ...
@overload
def optional_moment(ms: int | None) -> datetime | None: ...
def optional_moment(ms: int | None) -> datetime | None:
    """`from_ms`, None staying None."""
    return None if ms is None else from_ms(ms)


def span_ms(span: timedelta | None) -> int | None:
    """A duration as stored; None stays None."""
    return None if span is None else span // _MILLISECOND


def optional_span(ms: int | None) -> timedelta | None:
    """The duration that was stored; None stays None."""
    return None if ms is None else timedelta(milliseconds=ms)
