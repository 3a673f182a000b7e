"""From a file on disk to rows: JSON or CSV, in whatever encoding and with whatever delimiter it was exported.

Trusts nothing: the file is opened without following a link, must be a regular file, and is bounded in bytes and rows.
Rows are streamed from CSV. Encodings: UTF-8 (with or without BOM) and UTF-16 (Windows PowerShell's, and that of the
message-trace reports, which often lack the BOM), decoded strictly.
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, StringIO, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any

from bot.backends.files.lookalikes import plain
from bot.backends.files.parsed import Problems, UnreadableFile

MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_BYTES = 256 * 1024 * 1024
MAX_ROWS = 500_000
MAX_COLUMNS = 500
_BLOCK = 1 << 20
"""Characters read at a time. Many, because a thread that reads every millisecond can starve the event loop's thread."""
_LONGEST_LINE = 16 << 20
_DELIMITERS = ",;\t"
_NOTE = re.compile(r"#\s*[^\s,;\t\"]")
"""A note before the column names; not a first column that is called #."""
_FEWEST = 4
"""Under so many columns, a row with one filled cell is none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its place in the file and its cells by folded column name."""

    line: int
    cells: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A file's rows (to be read once, in order) and the columns that a CSV file declares in its `line`, as they are
    written there.
    """

    columns: tuple[str, ...]
    rows: Iterator[Row]
    line: int = 1


def folded(name: str) -> str:
    """A column's name without case, spaces and punctuation: "Sender address" = "sender_address" = "SenderAddress"."""
    return re.sub(r"[^a-z0-9]", "", plain(name).casefold())


@contextmanager
def opened(path: Path, problems: Problems) -> Iterator[Table]:
    """The file as a table. Raises UnreadableFile, also while rows are read."""
    with text_of(path) as text:
        try:
            start = _first_character(text)
            if start in ("[", "{"):
                yield Table((), _json_rows(text, path, problems))
            elif start:
                yield _csv_table(text, path, problems)
            else:
                raise UnreadableFile(f"{path} is empty")
        except UnicodeError as error:
            raise UnreadableFile(
                f"{path} is neither UTF-8 nor UTF-16 text: export it again with -Encoding UTF8"
            ) from error


@contextmanager
def text_of(path: Path) -> Iterator[TextIOWrapper]:
    """The file as text, whatever its encoding. Raises UnreadableFile when there is no such readable, bounded file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{path} can't be read: {_why(path, error)}") from error
    file = os.fdopen(_checked(descriptor, path), "rb")
    with file, TextIOWrapper(file, encoding=_encoding(file), errors="strict", newline="") as text:
        yield text


def _checked(descriptor: int, path: Path) -> int:
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size <= MAX_BYTES:
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(found.st_mode):
        raise UnreadableFile(f"{path} is larger than {MAX_BYTES >> 20} MiB: export a shorter period")
    raise UnreadableFile(f"{path} is not a file")


def _why(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "its name holds a NUL character"
    return "it is a symbolic link; name the file itself" if path.is_symlink() else error.strerror or str(error)


def _encoding(file: BufferedReader) -> str:
    start = file.peek(4096)[:4096]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if start[1::2].count(0) > len(start) // 4:
        return "utf-16-le"
    if start[0::2].count(0) > len(start) // 4:
        return "utf-16-be"
    return "utf-8-sig"


def _first_character(text: TextIOWrapper) -> str:
    start = text.read(4096).lstrip("\ufeff \t\r\n")
    text.seek(0)
    return start[:1]


def lines_of(text: TextIOWrapper, path: Path) -> Iterator[str]:
    """The lines, with their ends (line feed, carriage return or both)."""
    rest = ""
    while block := text.read(_BLOCK):
        *lines, rest = StringIO(rest + block, newline="")
        if len(rest) > _LONGEST_LINE:
            raise UnreadableFile(f"{path} has a line of more than {_LONGEST_LINE >> 20} MiB: this is not an export")
        yield from lines
    yield from StringIO(rest, newline="")


def _json_rows(text: TextIOWrapper, path: Path, problems: Problems) -> Iterator[Row]:
    if os.fstat(text.fileno()).st_size > MAX_JSON_BYTES:
        raise UnreadableFile(f"{path} is JSON larger than {MAX_JSON_BYTES >> 20} MiB: export it as CSV, or in parts")
    try:
        document = json.loads(text.read().lstrip("\ufeff"))
    except RecursionError as error:
        raise UnreadableFile(f"{path} is nested too deeply to be an export") from error
    except UnicodeError:
        raise
    except ValueError as error:
        raise UnreadableFile(f"{path} is not valid JSON: {error}") from error
    yield from _json_items(document, path, problems)


def _json_items(document: Any, path: Path, problems: Problems) -> Iterator[Row]:
    items = document
    if isinstance(document, dict):
        items = document["value"] if isinstance(document.get("value"), list) else [document]
        if "@odata.nextLink" in document:
            problems.remark(0, "this is only the first page of the answer: the rows of the further pages are missing")
    if len(items) > MAX_ROWS:
        raise UnreadableFile(f"{path} has more than {MAX_ROWS} rows: export it in parts")
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict):
            yield Row(number, {folded(k): v for k, v in reversed(item.items()) if "@" not in k})
        else:
            problems.add(number, "is not an object with named values")


def _csv_table(text: TextIOWrapper, path: Path, problems: Problems) -> Table:
    lines = lines_of(text, path)
    header, skipped = _header_line(lines)
    rows = csv.reader(chain([header], lines), delimiter=max(_DELIMITERS, key=header.count))
    try:
        columns = tuple(c.strip().lstrip("\ufeff") for c in next(rows, []))
    except csv.Error as error:
        raise UnreadableFile(f"{path} has no readable line of column names: {error}") from error
    if not columns:
        raise UnreadableFile(f"{path} has no line of column names")
    if len(columns) > MAX_COLUMNS:
        raise UnreadableFile(f"{path} has more than {MAX_COLUMNS} columns: this is not an export that mfi knows")
    return Table(columns, _csv_rows(rows, columns, skipped, path, problems), skipped + 1)


def _header_line(lines: Iterator[str]) -> tuple[str, int]:
    """The line of column names, and how many lines stand before it (PowerShell's #TYPE, # notes, Excel's sep=, empty
    ones).
    """
    skipped = 0
    for line in lines:
        start = line.lstrip("\ufeff").strip().strip('"')
        if start and not _NOTE.match(start) and not re.fullmatch(r"sep=.", start):
            return line, skipped
        skipped += 1
    return "", skipped


def _csv_rows(rows: Any, columns: tuple[str, ...], skipped: int, path: Path, problems: Problems) -> Iterator[Row]:
    names = [folded(c) for c in columns]
    count = 0
    while True:
        line = skipped + rows.line_num + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            problems.add(line, f"can't be read as CSV ({error}): is a quote never closed?")
            continue
        if cells is None:
            return
        count += 1
        if count > MAX_ROWS:
            raise UnreadableFile(f"{path} has more than {MAX_ROWS} rows: export it in parts")
        filled = [c for c in cells if c.strip()]
        if len(filled) == 1 and len(names) >= _FEWEST:
            if not filled[0].lstrip().startswith("#"):
                problems.remark(line, f"taken for a remark of the file, no row: {filled[0].strip()[:60]!r}")
        elif len(cells) == len(names):
            yield Row(line, dict(zip(reversed(names), reversed(cells), strict=True)))
        elif filled and not filled[0].lstrip().startswith("#"):
            problems.add(line, f"has {len(cells)} cells under {len(names)} column names")
