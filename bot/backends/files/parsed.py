"""What reading a file gives: good rows, one problem per bad row, or UnreadableFile when nothing can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from storage.records import MessageFacts

T = TypeVar("T")

MAX_PROBLEMS = 50
"""More are only counted."""


class UnreadableFile(Exception):
    """No row of the file can be used. The text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that was not taken over. `line`: in a CSV or text file the line, in JSON the item; 0 the whole file.

    `rows`: so many rows were lost by it; 0: none, it is a remark on the file.
    """

    line: int
    text: str
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """The good rows of a file, what was wrong with the others, and how what can be read in two ways was read."""

    rows: tuple[T, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageIds:
    """How a file names its mail. `of`: key → Message ID, where a row states another id too.

    `network`: some rows are named by their network message id; `alone`: some have a Message ID only.
    """

    of: Mapping[str, str]
    network: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class ParsedMessages(Parsed[MessageFacts]):
    """Messages, and how the file names them."""

    ids: MessageIds = field(default_factory=lambda: MessageIds(of={}))


@dataclass(frozen=True, slots=True)
class ParsedRecipients(Parsed[str]):
    """Addresses, and the domains whose whole directory they are."""

    complete: tuple[str, ...] = ()


class BadRow(Exception):
    """This row can't be used; the text says why."""


class Problems:
    """Collects problems and remarks, of each up to a limit."""

    def __init__(self) -> None:
        self._kept: list[Problem] = []
        self._remarks: list[Problem] = []
        self._count = 0

    def add(self, line: int, text: str) -> None:
        """Note a row that can't be used."""
        self._count += 1
        if len(self._kept) < MAX_PROBLEMS:
            self._kept.append(Problem(line, text))

    def remark(self, line: int, text: str) -> None:
        """Note what a reader should know of the file, by which no row was lost."""
        if len(self._remarks) < MAX_PROBLEMS:
            self._remarks.append(Problem(line, text, rows=0))

    @property
    def count(self) -> int:
        """How many rows can't be used."""
        return self._count

    def all(self) -> tuple[Problem, ...]:
        """Those that were kept, by line, and how many more rows there were."""
        more = self._count - len(self._kept)
        kept = sorted([*self._remarks, *self._kept], key=lambda p: p.line)
        rest = [Problem(0, f"and {more} more problems of this file are not listed", rows=more)] if more else []
        return (*kept, *rest)


def listing(names: Sequence[str], limit: int = 10) -> str:
    """Names in one line, quoted, the first ones only."""
    shown = ", ".join(repr(n[:40]) for n in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
