"""Are we blind? Targets that go dark together, and what ends it."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.core.blindness import Horizon
from bot.core.policy import Policy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DNS, TIMED_OUT, REFUSED = "4.4.312", "4.4.315", "4.4.316"


def horizon(*codes: str, apart: timedelta = timedelta(0), was_fine: bool = True, one_host: bool = False) -> Horizon:
    made = Horizon(Policy())
    for n, code in enumerate(codes):
        target = "host" if one_host else f"host{n}"
        made.note(n, target, was_fine=was_fine, code=code, now=NOW + n * apart)
    return made


@pytest.mark.parametrize(
    ("made", "minute", "expected"),
    [
        (horizon(*[DNS] * 5), 0, DNS),
        (horizon(*[TIMED_OUT] * 5), 0, TIMED_OUT),
        (horizon(*[DNS] * 4), 0, None),
        (horizon(*[DNS] * 3, *[TIMED_OUT] * 3), 0, None),
        (horizon(*[REFUSED] * 9), 0, None),
        (horizon(*[DNS] * 9, was_fine=False), 0, None),
        (horizon(*[DNS] * 9, one_host=True), 0, None),
        (horizon(*[DNS] * 5, apart=2 * MINUTE), 8, None),
        (horizon(*[DNS] * 5, apart=MINUTE), 4, DNS),
    ],
)
def test_enough_fine_targets_that_turn_to_one_network_code_at_once(
    made: Horizon, minute: int, expected: str | None
) -> None:
    assert made.went_dark(NOW + minute * MINUTE) == expected


def test_a_target_that_is_seen_again_no_longer_counts() -> None:
    made = horizon(*[DNS] * 5)
    made.note(2, "host2", was_fine=False, code=None, now=NOW)
    assert made.went_dark(NOW) is None
    assert made.sees_again(NOW, NOW)


def test_it_lasts_while_everything_is_dark() -> None:
    assert not horizon(*[DNS] * 5).sees_again(NOW, NOW + timedelta(days=1))


def test_others_that_are_fine_for_long_end_it() -> None:
    made = horizon(*[DNS] * 5)
    made.note(9, "host9", was_fine=True, code=None, now=NOW + MINUTE)
    assert not made.sees_again(NOW, NOW + 14 * MINUTE)
    assert made.sees_again(NOW, NOW + 15 * MINUTE)
    assert not made.sees_again(NOW + 2 * MINUTE, NOW + 60 * MINUTE), "fine before it began says nothing"


def test_it_is_taken_up_again_after_a_restart() -> None:
    made = Horizon(Policy())
    made.restore([(n, f"host{n}") for n in range(5)], DNS, NOW)
    assert not made.sees_again(NOW, NOW)
    assert sorted(made.dark(DNS, NOW)) == [0, 1, 2, 3, 4]
