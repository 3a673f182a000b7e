"""Bars are never wider than asked for, and nothing that is there is invisible."""

from __future__ import annotations

import pytest

from bot.core.bars import bar, gauge, spark


@pytest.mark.parametrize(
    ("part", "whole", "drawn"),
    [
        (0, 10, ""),
        (10, 10, "████"),
        (5, 10, "██"),
        (1, 1_000_000, "▏"),
        (3, 8, "█▌"),
        (20, 10, "████"),
        (-1, 10, ""),
        (0, 0, ""),
        (3, 0, "▏"),
    ],
)
def test_a_bar_is_as_long_as_its_share(part: int, whole: int, drawn: str) -> None:
    assert bar(part, whole, 4) == drawn


@pytest.mark.parametrize(
    ("part", "whole", "drawn"), [(0, 1, "░░░░"), (0.5, 1, "██░░"), (1, 1, "████"), (9, 1, "████"), (1, 0, "░░░░")]
)
def test_a_gauge_is_always_as_wide(part: float, whole: float, drawn: str) -> None:
    assert gauge(part, whole, 4) == drawn


@pytest.mark.parametrize(
    ("counts", "drawn"), [([], ""), ([0, 0], "··"), ([0, 1, 8, 4], "·▁█▄"), ([1, 1000], "▁█"), ([7], "█")]
)
def test_a_spark_has_one_character_per_number(counts: list[int], drawn: str) -> None:
    assert spark(counts) == drawn
