"""CSV that a spreadsheet opens safely: a cell that it would take for a formula gets an apostrophe in front.

On a terminal it is harmless, too: what would move the cursor or colour the screen is shown as a mark there. A file has
what was read, unchanged.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last ones are full-width forms, which some spreadsheets read as the plain ones."""


def print_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """On stdout. Into a file or a pipe, nothing is taken out or put in."""
    text = csv_text(rows, columns)
    click.echo(harmless(text) if sys.stdout.isatty() else text, nl=False, color=True)


def harmless(text: str) -> str:
    """Foreign text of several lines for a terminal: all that it doesn't print becomes a mark."""
    return "".join(c if c == "\n" or c.isprintable() else "\ufffd" for c in text)


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A header line and one line for each row; moments in ISO form with Z, None as an empty cell."""
    return "".join([_line(columns), *(_line([_cell(row[name]) for name in columns]) for row in rows)])


def _line(cells: Sequence[str]) -> str:
    """One line. A lone carriage return is quoted only by a writer whose own lines end with one; bare, it would begin a
    row, whose first cell may be a formula.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA_STARTS) else text
