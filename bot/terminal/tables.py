"""Tables and short reports for the terminal. Without colour and at 80 columns they still read well."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bot.core.finding import Finding

if TYPE_CHECKING:
    from bot.backends.files import Problem
    from bot.services.importing import ImportReport

_UNFOLDED = 1000
"""Columns of what goes to a file or another program, so that grep finds whole lines."""

_MARKS = {"ok": ("✓", "green"), "note": ("·", "yellow"), "fault": ("✗", "bold red")}


def printed(*parts: RenderableType) -> str:
    """What rich would print, as text; coloured, and folded to its width, only where stdout is a terminal."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNFOLDED
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return captured.get().rstrip("\n")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One plain table."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        drawn.add_column(escape(header), overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(one_line(cell)) for cell in row))
    return printed(drawn)


def render_findings(findings: Sequence[Finding]) -> str:
    """The doctor's report: one line a finding, its fix below."""
    lines: list[RenderableType] = []
    for finding in findings:
        mark, style = _MARKS[finding.level]
        lines.append(Text.assemble((f"{mark} ", style), (finding.what, "bold"), f": {one_line(finding.says)}"))
        if finding.fix:
            lines.append(Text(f"    → {one_line(finding.fix)}"))
    faults = sum(f.level == "fault" for f in findings)
    lines.append(Text(""))
    lines.append(Text("Everything checked is fine." if not faults else f"{faults} to fix.", "bold"))
    return printed(*lines)


def render_import(report: ImportReport) -> str:
    """What an import did, what to know about the file, then every row of it that can't be used."""
    counts = report.counts
    head = f"{report.kind}: {counts.added} added, {counts.changed} changed, {counts.unchanged} unchanged"
    notes = [Text(one_line(note)) for note in report.notes]
    remarks = [Text(_problem(problem)) for problem in report.problems if not problem.rows]
    bad = [Text(f"  {_problem(problem)}") for problem in report.problems if problem.rows]
    lost = sum(problem.rows for problem in report.problems)
    counted = [Text(f"{lost} {'row' if lost == 1 else 'rows'} not used:")] if bad else []
    return printed(Text(head), *notes, *remarks, *counted, *bad)


def _problem(problem: Problem) -> str:
    return f"line {problem.line}: {one_line(problem.text)}" if problem.line else one_line(problem.text)


def render_syncs(outcomes: Sequence[Mapping[str, Any]]) -> str:
    """One line a mail system."""
    rows = [
        [o["backend"], o["error"] or "read", ", ".join(f"{k} {v}" for k, v in o["counts"].items())] for o in outcomes
    ]
    notes = [f"{o['backend']}: {one_line(note)}" for o in outcomes for note in o.get("notes", ())]
    return "\n".join([table(["Mail system", "Result", "What changed"], rows), *notes])


def one_line(text: str) -> str:
    """Foreign text can't move the cursor or forge a line: control characters become visible marks."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
