"""Several errors in one paste: each part of a text that reports an error of its own, as rows for a short table.

A part is a recipient's block in a delivery report, a log line, a line of a bounce or trace that begins an error, or
what follows a separator on the same line. Bounded: at most PARTS parts are read, ROWS rows come out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice, pairwise

from knowledge.codes import is_family, parse
from knowledge.diagnosis import Diagnosis

PARTS = 40
ROWS = 8
_PART_LIMIT = 2000

_BLOCK = re.compile(r"^final-recipient:", re.M)
_HEADERS = re.compile(r"(?:[a-z-]{2,40}:[^\n]{0,2000}|[ \t]+[^\n]{0,2000})\n?")
_BEGIN = re.compile(
    r"\bto=<|\bled ?=|(?:==|\*\*) \S{1,80}@|returned:? ['\"\u00ab]|remote server returned|stat=|status="
    r"|^\W{0,3}(?:[245][0-9]{2}[ -])?#?[245]\.[0-7]\.[0-9]|^<[^<>\s]{1,80}@[^<>\s]{1,80}>:"
)
_APART = re.compile(r"(?:[;|/,] ?|\} |\band |\bund |\bet |& )(?=[245][0-9]{2}[ -][245]\.[0-7]\.[0-9])")
_NOISE = frozenset({"4.4.0", "4.4.101", "4.4.395", "4.4.397", "4.0.0", "5.0.0", "2.0.0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """One of several errors. `recipients`: how many different ones it names (0: it names none)."""

    diagnosis: Diagnosis
    title: str
    recipients: int

    @property
    def code(self) -> str:
        """The code, as in Diagnosis.code; never empty."""
        return self.diagnosis.code or ""

    @property
    def server(self) -> str | None:
        """The destination server that it names, else its address."""
        return self.diagnosis.smart_host or self.diagnosis.ip


def rows(
    shown: str, main: Diagnosis, read: Callable[[str], Diagnosis], title: Callable[[Diagnosis], str]
) -> tuple[ErrorRow, ...]:
    """The errors in a readable text, the main one first; () if there are not at least two different ones."""
    found = [diagnosis for part in parts(shown) if _tells(diagnosis := read(part))]
    groups: list[list[Diagnosis]] = [[main]]
    for diagnosis in found:
        fitting = next((group for group in groups if _same(group[0], diagnosis)), None)
        if fitting is None:
            groups.append([diagnosis])
        else:
            fitting.append(diagnosis)
    if len(groups) < 2 or main.code is None:
        return ()
    made = [_row(groups[0][1:] or [main], title), *(_row(group, title) for group in groups[1:])]
    return (made[0], *sorted(made[1:], key=lambda row: -row.recipients))[:ROWS]


def parts(shown: str) -> list[str]:
    """The parts of a text that may each report an error; the whole text is not one of them."""
    low = shown.lower()
    starts = [match.start() for match in islice(_BLOCK.finditer(low), PARTS)]
    if starts:
        ends = [*starts[1:], len(shown)]
        blocks = [shown[start:end] for start, end in zip(starts, ends, strict=True)]
        return [_headers(block[:_PART_LIMIT]) for block in blocks]
    lines = list(islice(_lines(shown), 10 * PARTS))
    begins = [number for number, line in enumerate(lines) if _BEGIN.search(line[:400].lower())]
    chunks = ["\n".join(lines[first:last]) for first, last in pairwise([*begins[:PARTS], len(lines)])]
    return [chunk[:_PART_LIMIT] for chunk in chunks]


def final(diagnosis: Diagnosis) -> bool:
    """Was it refused for good (and not merely expired)?"""
    status = parse(diagnosis.reported or diagnosis.code or "")
    return status is not None and status.permanent and not diagnosis.expired


def _lines(shown: str) -> Iterable[str]:
    for line in shown.split("\n"):
        yield from _APART.split(line) if len(line) < _PART_LIMIT else [line]


def _headers(block: str) -> str:
    """The header lines at the start of this block."""
    at = 0
    low = block.lower()
    while (line := _HEADERS.match(low, at)) is not None and line.end() > at:
        at = line.end()
    return block[:at]


def _tells(diagnosis: Diagnosis) -> bool:
    """Is it an error of its own, and neither a wrapper nor a success?"""
    code = diagnosis.code
    return code is not None and code not in _NOISE and not code.startswith("2") and parse(code) is not None


def _same(first: Diagnosis, other: Diagnosis) -> bool:
    """The same code, at the same server as far as both name one."""
    servers = {d.smart_host for d in (first, other)} - {None}
    return first.code == other.code and (len(servers) < 2 or not is_family(first.code))


def _row(group: list[Diagnosis], title: Callable[[Diagnosis], str]) -> ErrorRow:
    named = next((d for d in group if d.smart_host), None) or next((d for d in group if d.ip), group[0])
    recipients = {d.recipient.lower() for d in group if d.recipient}
    return ErrorRow(diagnosis=named, title=title(named), recipients=len(recipients))
