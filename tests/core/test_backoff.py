"""How long to wait before the next try."""

from datetime import timedelta

import pytest

from bot.core.backoff import CAP, delay


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"),
    [(1, 1, 1), (2, 1, 2), (3, 1, 4), (1, 0, 0.5), (3, 0.5, 3), (0, 1, 1), (2, 7, 2), (2, -1, 1)],
)
def test_doubles_with_each_try_and_is_cut_by_up_to_half(attempt: int, jitter: float, seconds: float) -> None:
    assert delay(attempt, jitter) == timedelta(seconds=seconds)


def test_never_exceeds_the_cap_however_often_it_failed() -> None:
    assert delay(10_000, 1) == CAP
    assert delay(10, 1, base=timedelta(seconds=0.5), cap=timedelta(seconds=4)) == timedelta(seconds=4)
