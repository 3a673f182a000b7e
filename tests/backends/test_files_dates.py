"""Dates that can be read in two ways: the file decides, else what is near now, and the reader is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.backends.files import read_messages

NOW = datetime(2026, 12, 5, 10, tzinfo=UTC)
FIFTH = datetime(2026, 12, 5, 9, tzinfo=UTC)
TWELFTH_OF_MAY = datetime(2026, 5, 12, 9, tzinfo=UTC)
BETTER = "; to be sure, export with ConvertTo-Json in place of Export-Csv"
LIKE = "dates like 05/12/2026 are read as "
DAY_FIRST, MONTH_FIRST = f"{LIKE}day/month/year", f"{LIKE}month/day/year"
NEAR = f", because that is near now{BETTER}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


def read(path: Path, *dates: str, now: datetime | None = NOW) -> tuple[list[datetime], tuple[str, ...], int]:
    """The arrivals, the notes, and how many rows were refused."""
    rows = [f"{date},a@x.test,b@y.test,Pending,{number}" for number, date in enumerate(dates)]
    path.write_text("\n".join(["Received,Sender,Recipient,Status,Message ID", *rows]))
    parsed = read_messages(path, now=now)
    return [m.received_at for m in parsed.rows], parsed.notes, len(parsed.problems)


def test_a_first_number_above_12_tells_that_the_day_is_first(path: Path) -> None:
    arrivals, notes, refused = read(path, "05/12/2026 09:00:00", "30/11/2026 09:00:00", now=None)
    assert arrivals == [FIFTH, datetime(2026, 11, 30, 9, tzinfo=UTC)]
    assert (notes, refused) == (("dates are read as day/month/year, because of 30/11/2026",), 0)


def test_a_second_number_above_12_tells_that_the_month_is_first(path: Path) -> None:
    assert read(path, "05/12/2026 09:00:00", "11/30/2026 09:00:00") == (
        [TWELFTH_OF_MAY, datetime(2026, 11, 30, 9, tzinfo=UTC)],
        (),
        0,
    )


def test_where_both_occur_the_day_first_ones_are_refused_and_the_unclear_ones_named(path: Path) -> None:
    arrivals, notes, refused = read(path, "05/12/2026 09:00:00", "30/11/2026 09:00:00", "11/30/2026 09:00:00")
    assert arrivals == [TWELFTH_OF_MAY, datetime(2026, 11, 30, 9, tzinfo=UTC)]
    assert (notes, refused) == ((f"{MONTH_FIRST}, which may be wrong{BETTER}",), 1)


@pytest.mark.parametrize(
    ("written", "now", "arrival", "note"),
    [
        ("05/12/2026 09:00:00", NOW, FIFTH, DAY_FIRST + NEAR),
        ("5/12/2026 9:00:00 AM", NOW, FIFTH, DAY_FIRST + NEAR),
        ("05/12/2026 09:00:00", datetime(2026, 5, 13, tzinfo=UTC), TWELFTH_OF_MAY, MONTH_FIRST + NEAR),
        ("5/12/2026 9:00:00 AM", datetime(2026, 5, 13, tzinfo=UTC), TWELFTH_OF_MAY, None),
        (
            "05/12/2026 09:00:00",
            datetime(2027, 1, 30, tzinfo=UTC),
            TWELFTH_OF_MAY,
            f"{MONTH_FIRST}, which may be wrong{BETTER}",
        ),
        (
            "05/12/2026 09:00:00",
            datetime(2026, 12, 2, tzinfo=UTC),
            TWELFTH_OF_MAY,
            f"{MONTH_FIRST}, which may be wrong{BETTER}",
        ),
        ("05/12/2026 09:00:00", None, TWELFTH_OF_MAY, f"{MONTH_FIRST}, which may be wrong{BETTER}"),
        ("12/12/2026 09:00:00", NOW, datetime(2026, 12, 12, 9, tzinfo=UTC), None),
        ("05.12.2026 09:00:00", NOW, FIFTH, None),
        ("2026-12-05T09:00:00Z", NOW, FIFTH, None),
    ],
)
def test_what_only_the_time_can_tell_is_told_with_a_note(
    path: Path, written: str, now: datetime | None, arrival: datetime, note: str | None
) -> None:
    assert read(path, written, now=now) == ([arrival], (note,) if note else (), 0)


def test_two_readings_that_are_both_near_leave_the_month_first(path: Path) -> None:
    _, notes, _ = read(path, "05/12/2026 09:00:00", "12/05/2026 09:00:00", now=datetime(2026, 5, 13, tzinfo=UTC))
    assert notes == (f"{MONTH_FIRST}, which may be wrong{BETTER}",)


def test_a_date_that_does_not_exist_decides_nothing(path: Path) -> None:
    assert read(path, "30/30/2026 09:00:00", "05/12/0000 09:00:00", "05/12/2026 09:00:00")[0] == [FIFTH]


def test_the_expiry_speaks_for_the_order_too(path: Path) -> None:
    path.write_text(
        "Received,Sender,Recipient,Status,Message ID,Expires\n"
        "12/12/2026 09:00:00,a@x.test,b@y.test,Pending,1,13/12/2026 09:00:00\n"
    )
    (found,) = read_messages(path).rows
    assert found.expires_at == datetime(2026, 12, 13, 9, tzinfo=UTC)


@pytest.mark.parametrize("written", ["05/12/2026 09:00:00", "5.12.2026 09:00:00"])
def test_a_listing_of_get_message_is_read_so_too(path: Path, written: str) -> None:
    row = {"Identity": "EX01\\15\\7", "FromAddress": "a@x.test", "DateReceived": written, "Recipients": ["b@y.test"]}
    path.write_text(json.dumps([row | {"ExpirationTime": written.replace("5", "7", 1)}]))
    (found,) = read_messages(path, now=NOW).rows
    assert (found.received_at, found.expires_at.day) == (FIFTH, 7)
