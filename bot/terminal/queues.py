"""`mfi queue` for people: the clock of every connector or of one, and the mail that bounced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bot.core.bars import bar, gauge
from bot.core.evidence import Sample, SampleKind, code_words, own_words
from bot.core.forecast import plain_span
from bot.core.mail_clock import HOURS, LATER, MailClock, in_words, pace_in_words
from bot.core.two_views import MAIL_SYSTEM, conclusion
from bot.core.unassigned import UNASSIGNED
from bot.core.views import ConnectorView, OneQueue, QueueView, StaleSource, UnassignedQueue
from bot.terminal.tables import one_line, printed
from storage.queue_records import TopList
from storage.records import CodeCount, QueueSummary

NOWHERE = "(no known connector)"
_GAUGE, _BAR = 8, 24
_WORDS = 300
_BAND_STYLES = ("green", "green", "yellow", "yellow", "dark_orange", "red", "bold red", "bold red")


def render_overview(view: QueueView) -> str:
    """Every connector where something waits, the most urgent first, with its bar; then why; then what is old.

    Before all of it: which mail systems were never read.
    """
    unread = _stale((s for s in view.stale if s.read_at is None), view.now)
    old = _stale((s for s in view.stale if s.read_at is not None), view.now)
    shown = sorted(
        (v for v in view.connectors if v.queue.total),
        key=lambda v: (v.queue.first_expiry_at or view.now, v.connector.id),
    )
    if not shown and not view.unassigned.total:
        bounced = sum(v.clock.bounced for v in view.connectors)
        came_back = f" {bounced} bounced in the last 24 h: mfi queue --bounced" if bounced else ""
        nothing = "Nothing is known to wait." if unread else "Nothing waits."
        return printed(*unread, Text(f"{nothing}{came_back}"), *old)
    table = _table("Connector", "Waiting", "Oldest", "Time used", "Bounces in", "Reason")
    for v in shown:
        why = Text(one_line(_reasons(v.queue, v.sample)))
        table.add_row(Text(one_line(v.connector.name)), *_cells(v.queue, v.clock, view.now), why)
    if view.unassigned.total:
        cells = _cells(view.unassigned, view.unassigned_clock, view.now)
        table.add_row(NOWHERE, *cells, Text(one_line(_reasons(view.unassigned, None))))
    by_when = _by_when([*(v.clock for v in shown), view.unassigned_clock])
    below = [Text(""), Text(f"Bounces unless it leaves: {by_when}", "bold")] if by_when else []
    if view.unassigned.total:
        below.append(Text(f"What belongs to {NOWHERE.strip('()')}: mfi queue {UNASSIGNED}"))
    return printed(*unread, table, *below, *old)


def _cells(queue: QueueSummary, clock: MailClock, now: datetime) -> tuple[str | Text, ...]:
    return (
        f"{queue.total:,}",
        plain_span(now - queue.oldest_received_at) if queue.oldest_received_at else "",
        Text(gauge(clock.life, 1.0, _GAUGE), _life_style(clock.life)),
        _left(queue.first_expiry_at, now),
    )


def _life_style(life: float) -> str:
    return "green" if life < 0.5 else "yellow" if life < 0.8 else "bold red"


def _left(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    return "due now" if moment <= now else plain_span(moment - now)


def _first(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "no bounce ahead"
    return "first bounces are due now" if moment <= now else f"first bounce in {plain_span(moment - now)}"


def _by_when(clocks: Sequence[MailClock]) -> str:
    """How many bounce by when, of all these together: only the hours in which the number grows."""
    before = sum(clock.overdue for clock in clocks)
    told = [f"{before:,} overdue"] if before else []
    for hours in (*HOURS, *LATER):
        if (number := sum(clock.within(hours) for clock in clocks)) > before:
            told.append(f"{number:,} within {in_words(hours)}")
            before = number
    return ", ".join(told)


def _reasons(queue: QueueSummary, sample: Sample | None) -> str:
    if sample is not None and sample.kind is SampleKind.AGREES:
        return f"{sample.code} ({sample.known} of {sample.known} looked at)"
    return ", ".join(f"{group.count:,} × {code_words(group.code)}" for group in queue.by_code[:4])


def render_one(one: OneQueue) -> str:
    """One connector: its countdown, ages and bounces as bars, why, for whom and from whom."""
    row, clock, queue = one.row, one.row.clock, one.row.queue
    stale = _stale_row(row)
    unread = _stale(one.never_read, row.now)
    if not queue.total:
        name = one_line(row.connector.name)
        if unread:
            return printed(*unread, Text(f"Nothing is known to wait at {name}."))
        return printed(Text(f"Nothing waits at {name}."), *stale, *_moves(clock))
    head = _head(row.connector.name, queue, row.now)
    return printed(*unread, head, *_life(clock), *stale, *_in_full(queue, clock, _why(row), one.top))


def render_unassigned(view: UnassignedQueue) -> str:
    """What waits at no known connector: the same, and in which mail systems."""
    queue, clock, old = view.queue, view.clock, _stale(view.stale, view.now)
    if not queue.total:
        unread = any(s.read_at is None for s in view.stale)
        nothing = "Nothing is known to wait" if unread else "Nothing waits"
        return printed(*old, Text(f"{nothing} that belongs to no known connector."), *_moves(clock))
    where = Text(f"in {', '.join(one_line(system) for system in view.systems)}")
    why = _groups(sorted(queue.by_code, key=lambda group: -group.count)[:8])
    return printed(
        _head("Belonging to no known connector", queue, view.now), *_life(clock), *([where] if view.systems else []),
        *old, *_in_full(queue, clock, why, view.top),
    )  # fmt: skip


def _head(name: str, queue: QueueSummary, now: datetime) -> Text:
    oldest = plain_span(now - queue.oldest_received_at) if queue.oldest_received_at else "unknown"
    return Text.assemble(
        (one_line(name), "bold"), f": {queue.total:,} waiting, the oldest for {oldest}; ",
        (_first(queue.first_expiry_at, now), "bold"),
    )  # fmt: skip


def _life(clock: MailClock) -> list[RenderableType]:
    return [Text(gauge(clock.life, 1.0, 40), _life_style(clock.life))]


def _in_full(
    queue: QueueSummary, clock: MailClock, why: Sequence[RenderableType], top: TopList
) -> list[RenderableType]:
    parts: list[RenderableType] = [*_moves(clock)]
    parts += ["", Text("How long it has waited", "bold"), _ages(clock)]
    overdue = [("overdue", clock.overdue)] if clock.overdue else []
    due = [*overdue, *((f"within {d.within}", d.count) for d in clock.ahead)]
    if due:
        parts += ["", Text("Bounces unless it leaves", "bold"), _bars(due, ("red",) * len(due), queue.total)]
    parts += ["", Text("Why", "bold"), *why]
    for title, counted in (
        ("To", top.domains),
        ("From", [(sender or "<>", number) for sender, number in top.senders]),
    ):
        if counted:
            parts += ["", Text(title, "bold"), _bars(counted, ("cyan",) * len(counted))]
    return parts


def _ages(clock: MailClock) -> Table:
    styles = (*_BAND_STYLES, *_BAND_STYLES[-1:] * (len(clock.bands) - len(_BAND_STYLES)))
    return _bars([(b.name, b.count) for b in clock.bands], styles)


def _why(row: ConnectorView) -> list[RenderableType]:
    told = _groups([g for g in row.queue.by_code if g.code or row.sample is None][:5])
    if row.sample is not None:
        told.insert(0, Text(f"  {sample_words(row.sample)}"))
    if row.disagreement is not None:
        system = row.allowed_from.system if row.allowed_from else MAIL_SYSTEM
        told.append(Text(f"  Queue and probe disagree. {conclusion(row.disagreement, system)}", "yellow"))
    return told


def _groups(groups: Iterable[CodeCount]) -> list[RenderableType]:
    return [Text(f"  {g.count:,} × {code_words(g.code)}{_said(g.reason)}") for g in groups]


def _said(reason: str | None) -> str:
    words = one_line(own_words(reason)) if reason else ""
    return f": {words if len(words) <= _WORDS else words[: _WORDS - 1].rstrip() + '…'}" if words else ""


def sample_words(sample: Sample) -> str:
    """How far the known reasons speak for what waits."""
    head = f"{sample.waiting:,} wait;"
    if sample.kind is SampleKind.AGREES:
        return f"{head} {sample.known:,} of {sample.known:,} looked at say {sample.code}"
    if sample.kind is SampleKind.FEW:
        return f"{head} {sample.known:,} looked at so far, the rest unknown"
    return f"{head} {sample.known:,} looked at say different things, the rest unknown"


def _moves(clock: MailClock) -> list[RenderableType]:
    told = []
    if clock.pace is not None:
        told.append(pace_in_words(clock.pace, clock.waiting))
    if clock.bounced:
        told.append(f"{clock.bounced:,} bounced in the last 24 h (mfi queue --bounced)")
    return [Text("; ".join(told))] if told else []


def _bars(rows: Sequence[tuple[str, int]], styles: Sequence[str], whole: int = 0) -> Table:
    most = whole or max((number for _, number in rows), default=0)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(min_width=12, overflow="fold", max_width=40)
    table.add_column(min_width=_BAR)
    table.add_column(justify="right")
    for (name, number), style in zip(rows, styles, strict=True):
        table.add_row(Text(f"  {one_line(name)}"), Text(bar(number, most, _BAR), style), f"{number:,}")
    return table


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        free = header in ("Connector", "Reason", "Sender", "Recipient")
        table.add_column(header, overflow="fold", no_wrap=not free, justify="right" if header == "Waiting" else "left")
    return table


def _stale(stale: Iterable[StaleSource], now: datetime) -> list[RenderableType]:
    return [
        Text(
            (
                f"{one_line(s.backend)} was never read: what waits there is unknown"
                if s.read_at is None
                else f"Stale: {one_line(s.backend)} was last read {plain_span(now - s.read_at)} ago"
            )
            + (f"; the last try failed: {one_line(s.error)[:200]}" if s.error else ""),
            "bold yellow",
        )
        for s in stale
    ]


def _stale_row(row: ConnectorView) -> list[RenderableType]:
    if not row.queue_stale or row.queue_read_at is None:
        return []
    return [Text(f"Stale: read {plain_span(row.now - row.queue_read_at)} ago", "bold yellow")]


def render_bounced(rows: Sequence[Mapping[str, Any]], since: str) -> str:
    """Who has to send again: one line a message."""
    if not rows:
        return f"No mail bounced in the last {since}, as far as the mail systems tell."
    table = _table("When", "Sender", "Recipient", "Connector", "Code")
    for row in rows:
        table.add_row(
            f"{row['ended_at']:%m-%d %H:%M}",
            *(Text(one_line(str(row[name] or ""))) for name in ("sender", "recipient", "connector", "code")),
        )
    if presumed := sum(bool(row["presumed"]) for row in rows):
        return printed(table, Text(f"{presumed:,} of these presumably: gone when the time was up, nobody says how"))
    return printed(table)
