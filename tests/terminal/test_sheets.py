"""CSV files hold what was read, and no spreadsheet takes a cell of them for a formula."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.terminal.sheets import csv_text


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (-5, "-5"),
        (datetime(2026, 11, 24, 8, 0, 1, tzinfo=UTC), "2026-11-24T08:00:01Z"),
        ("plain, with comma", "plain, with comma"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
    ],
)
def test_each_kind_of_value_has_its_cell(value: object, cell: str) -> None:
    assert list(csv.reader(io.StringIO(csv_text([{"a": value}], ["a"])))) in ([["a"], [cell]], [["a"], []])


@given(st.text(alphabet=st.characters(exclude_characters="\r\0")))
def test_no_text_starts_a_formula_and_none_is_lost(text: str) -> None:
    (cell,) = list(csv.reader(io.StringIO(csv_text([{"a": f"x{text}"}], ["a"]), newline="")))[1]
    assert cell == f"x{text}"
    (_, [guarded]) = csv.reader(io.StringIO(csv_text([{"a": f"={text}"}], ["a"]), newline=""))
    assert guarded == f"'={text}"
