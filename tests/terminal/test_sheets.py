"""CSV files hold what was read, and no spreadsheet takes a cell of them for a formula."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
import sys
import tty
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.terminal.sheets import csv_text, harmless


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
        ("\n=1", "'\n=1"),
        ("\uff1dcmd()", "'\uff1dcmd()"),
    ],
)
def test_each_kind_of_value_has_its_cell(value: object, cell: str) -> None:
    assert list(csv.reader(io.StringIO(csv_text([{"a": value}], ["a"])))) in ([["a"], [cell]], [["a"], []])


@given(st.text(alphabet=st.characters(exclude_characters="\0")))
@example("\r=cmd")
def test_no_text_starts_a_formula_and_none_is_lost(text: str) -> None:
    _, (cell,) = list(csv.reader(io.StringIO(csv_text([{"a": f"x{text}"}], ["a"]), newline="")))
    assert cell == f"x{text}"
    (_, [guarded]) = csv.reader(io.StringIO(csv_text([{"a": f"={text}"}], ["a"]), newline=""))
    assert guarded == f"'={text}"


EVIL = "\x1b]0;x\x07\x1b[31m\x9b2J\r\u202ea\u200b@evil.test"
PRINTS = f"from bot.terminal.sheets import print_csv; print_csv([{{'sender': {EVIL!a}}}], ['sender'])"


def test_a_terminal_obeys_no_sender() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    subprocess.run([sys.executable, "-c", PRINTS], stdout=theirs, check=True, env={**os.environ, "PYTHONUTF8": "1"})
    os.close(theirs)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    assert said == 'sender\n"\ufffd]0;x\ufffd\ufffd[31m\ufffd2J\ufffd\ufffda\ufffd@evil.test"\n'


def test_a_pipe_gets_what_was_read() -> None:
    done = subprocess.run([sys.executable, "-c", PRINTS], stdout=-1, check=True, env={**os.environ, "PYTHONUTF8": "1"})
    assert list(csv.reader(io.StringIO(done.stdout.decode(), newline=""))) == [["sender"], [EVIL]]


@given(st.text())
def test_nothing_but_line_breaks_moves_a_terminals_cursor(text: str) -> None:
    assert len(harmless(text)) == len(text)
    assert all(c.isprintable() for c in harmless(text).replace("\n", ""))
    printable = "".join(c for c in text if c.isprintable())
    assert harmless(printable) == printable
