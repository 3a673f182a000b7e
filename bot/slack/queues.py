"""What `/mfi queue …` answers: what waits everywhere, at one connector, and what has bounced. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from bot.core.forecast import period
from bot.core.forecast import plain_span as span
from bot.core.mail_clock import MailClock
from bot.core.unassigned import UNASSIGNED
from bot.core.views import ConnectorView, OneQueue, QueueView, StaleSource, UnassignedQueue
from bot.slack.blocks import Block, Message, context, fields, message, section
from bot.slack.countdown import (
    ages_chart,
    bounces_chart,
    by_when,
    heading,
    hours_spark,
    life_bar,
    pace_words,
    stale_words,
)
from bot.slack.evidence import by_code, code_line, differ, reasons, sample_line
from bot.slack.lists import LOOK, SHOWN, by_urgency
from bot.slack.text import Mrkdwn, code, joined, lines, mrkdwn, prose, when
from bot.slack.wording import bounce, count
from storage.queue_records import Bounce, TopList
from storage.records import QueueSummary

SENDERS_SHOWN = 10
HOW_TO_LOOK = mrkdwn(
    "{}: ages, recipients, senders · {}: what came back", code("/mfi queue <connector>"), code("/mfi queue bounced")
)


def queue_reply(view: QueueView) -> Message:
    """What waits where, the most urgent first; then what belongs to no connector. Old figures are said to be old.

    A mail system that was never read comes before all: an empty list says nothing of it.
    """
    waiting = by_urgency(v for v in view.connectors if v.queue.total)
    total = sum(v.queue.total for v in waiting) + view.unassigned.total
    bounced = sum(v.clock.bounced for v in view.connectors) + view.unassigned_clock.bounced
    old, unread = stale_lines(view.stale, view.now), any(s.read_at is None for s in view.stale)
    if not total:
        gone = mrkdwn(" {} bounced in the last 24 h: `/mfi queue bounced`.", bounced) if bounced else Mrkdwn("")
        good = lines(mrkdwn("✅ Nothing waits.{}", gone), old)
        nothing = lines(old, mrkdwn("Nothing is known to wait.{}", gone)) if unread else good
        return message(nothing, [section(nothing)])
    told = heading(total, bounced, len(waiting))
    head = lines(old, told) if unread else lines(told, old)
    rows = [queue_row(v) for v in waiting[:SHOWN]]
    more = mrkdwn("… and {} more connectors", len(waiting) - SHOWN) if len(waiting) > SHOWN else None
    nowhere = unassigned_row(view.unassigned, view.unassigned_clock, view.now)
    return message(
        lines(head, *map(_in_a_line, waiting[:5]), nowhere),
        [
            section(head),
            *(section(row) for row in rows),
            section(more or Mrkdwn("")),
            section(nowhere),
            context(HOW_TO_LOOK),
        ],
    )


def queue_row(view: ConnectorView) -> Mrkdwn:
    """One connector among others: how much, the bar of its countdown, how many by when."""
    queue, clock = view.queue, view.clock
    oldest = span(view.now - queue.oldest_received_at) if queue.oldest_received_at else "unknown"
    return lines(
        mrkdwn("📬 *{}* · {} · {}", code(view.connector.name, 100), count(queue.total, "message"),
               reasons(queue, view.sample)),
        joined(
            [life_bar(clock), mrkdwn("oldest {}, *{}*", oldest, bounce(queue.first_expiry_at, view.now))], " "
        ),
        by_when(clock),
        pace_words(clock),
        stale_words(view.queue_read_at, view.now, stale=view.queue_stale),
    )  # fmt: skip


def _in_a_line(view: ConnectorView) -> Mrkdwn:
    return mrkdwn(
        "📬 {}: {}, {}", code(view.connector.name, 100), view.queue.total,
        bounce(view.queue.first_expiry_at, view.now),
    )  # fmt: skip


def unassigned_row(queue: QueueSummary, clock: MailClock, now: datetime) -> Mrkdwn:
    """What belongs to no known connector; empty when everything does."""
    if not queue.total:
        return Mrkdwn("")
    return lines(
        mrkdwn("⚪ *belonging to no known connector* · {} · {}", count(queue.total, "message"), by_code(queue)),
        joined([life_bar(clock), mrkdwn("*{}*", bounce(queue.first_expiry_at, now))], " "),
        by_when(clock),
        mrkdwn("why, for whom, from whom: {}", LOOK),
    )


def stale_lines(stale: Iterable[StaleSource], now: datetime) -> Mrkdwn:
    """Which mail systems' figures are old, and which were never read."""
    return lines(*(_stale_line(s, now) for s in stale))


def _stale_line(source: StaleSource, now: datetime) -> Mrkdwn:
    name = code(source.backend, 60)
    failed = mrkdwn("; the last try failed: {}", prose(source.error, 200)) if source.error else Mrkdwn("")
    if source.read_at is None:
        return mrkdwn("⚠️ {} was *never read*: what waits there is unknown{}", name, failed)
    return mrkdwn("⚠️ *stale*: {} was last read {} ago{}", name, span(now - source.read_at), failed)


def one_queue_reply(one: OneQueue) -> Message:
    """What waits at one connector: how old, bouncing when, for whom, from whom, and why."""
    row, clock, queue = one.row, one.row.clock, one.row.queue
    stale = stale_words(row.queue_read_at, row.now, stale=row.queue_stale)
    name = code(row.connector.name, 100)
    unread = stale_lines(one.never_read, row.now)
    if not queue.total:
        what = mrkdwn("Nothing is known to wait at {}.", name) if unread else mrkdwn("✅ Nothing waits at {}.", name)
        nothing = lines(unread, what, None if unread else pace_words(clock), stale)
        return message(nothing, [section(nothing)])
    head = lines(unread, _head(mrkdwn("📬 *{}*", name), queue, clock, row.now), stale)
    groups = [group for group in queue.by_code if group.code or row.sample is None]
    why = lines(Mrkdwn("*Why*"), sample_line(row.sample), *map(code_line, groups[:5]))
    return _in_full(
        head,
        clock,
        [section(why), section(differ(row.disagreement, row.allowed_from))],
        one.top,
        mrkdwn("{}: what came back", code(f"/mfi queue bounced {row.connector.name}", 120)),
    )


def unassigned_reply(view: UnassignedQueue) -> Message:
    """What waits at no known connector: the same, and in which mail systems."""
    queue, clock = view.queue, view.clock
    old, unread = stale_lines(view.stale, view.now), any(s.read_at is None for s in view.stale)
    if not queue.total:
        what = Mrkdwn("Nothing that belongs to no known connector is known to wait.")
        fine = Mrkdwn("✅ All waiting mail belongs to a known connector.")
        nothing = lines(old, what) if unread else lines(fine, pace_words(clock), old)
        return message(nothing, [section(nothing)])
    name = Mrkdwn("⚪ *belonging to no known connector*")
    where = joined([code(system, 60) for system in view.systems[:8]], ", ")
    told = lines(_head(name, queue, clock, view.now), mrkdwn("in {}", where) if where else None)
    head = lines(old, told) if unread else lines(told, old)
    groups = sorted(queue.by_code, key=lambda group: -group.count)
    return _in_full(
        head,
        clock,
        [section(lines(Mrkdwn("*Why*"), *map(code_line, groups[:8])))],
        view.top,
        mrkdwn("{}: what came back", code(f"/mfi queue bounced {UNASSIGNED}")),
    )


def _head(name: Mrkdwn, queue: QueueSummary, clock: MailClock, now: datetime) -> Mrkdwn:
    first = queue.first_expiry_at
    deadline = mrkdwn(" ({})", when(first)) if first else Mrkdwn("")
    oldest = span(now - queue.oldest_received_at) if queue.oldest_received_at else "unknown"
    return lines(
        mrkdwn("{} · *{} waiting*", name, count(queue.total, "message")),
        mrkdwn("the oldest for {}; *{}*{}", oldest, bounce(first, now), deadline),
        life_bar(clock),
    )


def _in_full(head: Mrkdwn, clock: MailClock, why: Iterable[Block | None], top: TopList, more: Mrkdwn) -> Message:
    """Bars, reasons and top lists below one head."""
    bounces = bounces_chart(clock)
    return message(
        lines(head, by_when(clock), pace_words(clock)),
        [
            section(head),
            section(lines(Mrkdwn("*How long it has waited*"))),
            ages_chart(clock),
            section(lines(Mrkdwn("*Bounces unless it leaves*"), hours_spark(clock))) if bounces else None,
            bounces,
            section(pace_words(clock)),
            *why,
            fields(*top_columns(top)),
            context(looked_at(top), more),
        ],
    )


def top_columns(top: TopList) -> tuple[Mrkdwn | None, Mrkdwn | None]:
    """For whom and from whom most of it is, as two cells."""
    return (
        _top(Mrkdwn("*To*"), top.domains),
        _top(Mrkdwn("*From*"), [(sender or "<>", number) for sender, number in top.senders]),
    )


def _top(title: Mrkdwn, counted: Sequence[tuple[str, int]]) -> Mrkdwn | None:
    shown = [mrkdwn("{} {}", code(name, 60), number) for name, number in counted[:5]]
    return lines(title, *shown) if shown else None


def looked_at(top: TopList) -> Mrkdwn:
    """That only some were counted for these; empty where all were."""
    if not top.looked_at or top.looked_at >= top.waiting:
        return Mrkdwn("")
    return mrkdwn("To and From: of the {} oldest", top.looked_at)


def bounced_reply(
    bounces: Sequence[Bounce], since: timedelta, name: str | None, *, most: int, unassigned: bool = False
) -> Message:
    """Whose mail came back, the most first, and how to get the whole list."""
    nowhere = Mrkdwn(" of what belongs to no known connector" if unassigned else "")
    where = mrkdwn(" at {}", code(name, 100)) if name else nowhere
    if not bounces:
        nothing = mrkdwn("✅ No mail bounced{} in the last {}, as far as the mail systems tell.", where, period(since))
        return message(nothing, [section(nothing)])
    least = Mrkdwn("at least ") if len(bounces) >= most else Mrkdwn("")
    head = mrkdwn("*{}{} bounced*{} in the last {}", least, count(len(bounces), "message"), where, period(since))
    if presumed := sum(b.presumed for b in bounces):
        head = mrkdwn("{}; {} of these presumably: gone when the time was up, nobody says how", head, presumed)
    senders = Counter(b.sender for b in bounces)
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for each in bounces:
        codes[each.sender].add(each.code or "no code known")
    rows = [
        mrkdwn("• {} {} ({})", code(sender or "<>", 100), number, ", ".join(sorted(codes[sender])[:3]))
        for sender, number in senders.most_common(SENDERS_SHOWN)
    ]
    more = len(senders) - SENDERS_SHOWN
    rest = mrkdwn("… and {}", count(more, "more sender", "more senders")) if more > 0 else None
    of = f" {UNASSIGNED}" if unassigned else ""
    how = lines(
        Mrkdwn("*The whole list, to have it sent again*: on the bot's host"),
        code(f"mfi queue --bounced{of} --csv > bounced.csv"),
    )
    return message(lines(head, *rows[:5]), [section(head), section(lines(*rows, rest)), section(how)])
