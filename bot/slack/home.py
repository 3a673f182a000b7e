"""The Home tab: what needs attention on top, then what waits, then how to ask for more. Pure."""

from __future__ import annotations

from bot.core.forecast import plain_span as span
from bot.core.views import ConnectorView, StatusView
from bot.slack.blocks import View, context, divider, header, home, section
from bot.slack.countdown import by_when, life_bar, pace_words, stale_words
from bot.slack.evidence import differ_words
from bot.slack.lists import (
    by_urgency,
    health_line,
    monitor_line,
    stranded_lines,
    urgent_first,
    warning_lines,
    warnings_of,
)
from bot.slack.queues import stale_lines, unassigned_row
from bot.slack.text import Mrkdwn, code, joined, lines, mrkdwn, num, plain, prose, when
from bot.slack.wording import bounce, count, emoji, state_words
from storage.records import Incident, OutboxState

INCIDENTS_SHOWN, QUEUES_SHOWN = 20, 15


def home_view(view: StatusView, socket: str, commands: Mrkdwn) -> View:
    """The Home tab as things stand."""
    open_ones = urgent_first(view.connectors)
    ahead, stranded = warnings_of(view.connectors), stranded_lines(view.connectors)
    waiting = by_urgency(v for v in view.connectors if v.queue.total)
    return home(
        [
            header(plain("Mail flow", 150)),
            section(health_line(view)),
            divider(),
            section(Mrkdwn("*Open incidents*")),
            *(section(monitor_line(i, view)) for i in view.monitor),
            *(section(_incident(i, v)) for i, v in open_ones[:INCIDENTS_SHOWN]),
            section(_none(stranded) if not open_ones and not view.monitor else Mrkdwn("")),
            section(mrkdwn("… and {} more", len(open_ones) - INCIDENTS_SHOWN))
            if len(open_ones) > INCIDENTS_SHOWN
            else None,
            section(stranded),
            *((divider(), section(warning_lines(view.connectors))) if ahead else ()),
            divider(),
            section(lines(Mrkdwn("*Waiting mail*"), stale_lines(view.stale, view.now))),
            *(section(_queue(v)) for v in waiting[:QUEUES_SHOWN]),
            section(_more(len(waiting))),
            section(unassigned_row(view.unassigned, view.unassigned_clock, view.now)),
            section(_nothing(view) if not waiting and not view.unassigned.total else Mrkdwn("")),
            divider(),
            section(lines(Mrkdwn("*Ask*"), commands)),
            context(_own(view, socket), mrkdwn("drawn {}", when(view.now))),
        ]
    )


def _none(stranded: Mrkdwn) -> Mrkdwn:
    return Mrkdwn("None, but:") if stranded else Mrkdwn("None. Mail flows.")


def _nothing(view: StatusView) -> Mrkdwn:
    return Mrkdwn("Nothing is known to wait." if any(s.read_at is None for s in view.stale) else "Nothing waits.")


def _incident(incident: Incident, view: ConnectorView) -> Mrkdwn:
    kind = view.disagreement
    return lines(
        mrkdwn(
            "{} *#{} {}* · {} · {}",
            emoji(incident), num(incident.id), incident.code, code(view.connector.name, 80), state_words(incident),
        ),
        mrkdwn("open for {} · {} waiting, *{}*", span(view.now - incident.opened_at), view.queue.total,
               bounce(view.queue.first_expiry_at, view.now)),
        by_when(view.clock),
        mrkdwn("⚖️ {}", differ_words(kind, view.allowed_from)) if kind is not None else None,
    )  # fmt: skip


def _queue(view: ConnectorView) -> Mrkdwn:
    return lines(
        mrkdwn(
            "{}: {}, {}",
            code(view.connector.name, 80),
            count(view.queue.total, "message"),
            bounce(view.queue.first_expiry_at, view.now),
        ),
        joined([life_bar(view.clock), pace_words(view.clock)], " "),
        stale_words(view.queue_read_at, view.now, stale=view.queue_stale),
    )


def _more(waiting: int) -> Mrkdwn:
    return mrkdwn("… and {} more", waiting - QUEUES_SHOWN) if waiting > QUEUES_SHOWN else Mrkdwn("")


def _own(view: StatusView, socket: str) -> Mrkdwn:
    waiting = sum(view.outbox.get(state, 0) for state in (OutboxState.PENDING, OutboxState.SENDING))
    dead = view.outbox.get(OutboxState.DEAD, 0)
    return mrkdwn("Slack: {} · {} to send, {} undeliverable", prose(socket, 120), waiting, dead)
