"""Many things in few lines, the most urgent first: what status, Home and the lists of incidents share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bot.core.views import ConnectorView, StatusView
from bot.slack.text import Mrkdwn, code, joined, lines, mrkdwn, num, prose, when
from bot.slack.unreadable import is_unassigned, is_unreadable, monitor_words
from bot.slack.warning import kind_words, warning_words
from bot.slack.wording import bounce, count, emoji, state_words
from storage.records import Incident, Severity

SHOWN = 15
"""So many lines are shown of one kind."""
STRANDED_SHOWN = 5
"""So many connectors are named that are off while mail waits behind them."""

LOOK = code("/mfi queue unassigned")
"""How to look into what belongs to no known connector."""

NEVER = datetime.max.replace(tzinfo=UTC)
Placed = tuple[Incident, ConnectorView]


def urgent_first(views: Iterable[ConnectorView]) -> list[Placed]:
    """The open outages: critical ones first, then what bounces first; those without waiting mail last."""
    every = [(incident, view) for view in views for incident in view.incidents]
    return sorted(
        every,
        key=lambda one: (one[0].severity is not Severity.CRITICAL, one[1].queue.first_expiry_at or NEVER, one[0].id),
    )


def warnings_of(views: Iterable[ConnectorView]) -> list[Placed]:
    """The open warnings, oldest first."""
    return sorted(((w, view) for view in views for w in view.warnings), key=lambda one: one[0].id)


def by_urgency(views: Iterable[ConnectorView]) -> list[ConnectorView]:
    """What bounces first comes first; what has nothing waiting comes last."""
    return sorted(views, key=lambda v: (v.queue.first_expiry_at or NEVER, v.connector.name))


def some(shown: Sequence[Mrkdwn], most: int = SHOWN) -> Mrkdwn:
    """The first of these lines, and how many more there are."""
    more = mrkdwn("… and {} more", len(shown) - most) if len(shown) > most else None
    return lines(*shown[:most], more)


def stranded_lines(views: Iterable[ConnectorView]) -> Mrkdwn:
    """Mail that nothing will take away, although no incident is open: it bounces; empty when there is none."""
    return some([_stranded_line(view) for view in by_urgency(views) if view.stranded], STRANDED_SHOWN)


def _stranded_line(view: ConnectorView) -> Mrkdwn:
    return mrkdwn(
        "⚠️ *{}* behind the {} connector {}; {}",
        count(view.queue.total, "message waits", "messages wait"),
        "removed" if view.connector.missing_since else "disabled",
        code(view.connector.name, 80), bounce(view.queue.first_expiry_at, view.now),
    )  # fmt: skip


def warning_lines(views: Iterable[ConnectorView]) -> Mrkdwn:
    """What will stop mail if nobody acts, apart from what has stopped it; empty when there is nothing."""
    shown = [warning_line(incident, view) for incident, view in warnings_of(views)]
    return lines(Mrkdwn("*Before mail stops*"), some(shown)) if shown else Mrkdwn("")


def warning_line(incident: Incident, view: ConnectorView) -> Mrkdwn:
    """One warning in a list."""
    return mrkdwn(
        "{} *#{}* {} · {} · {}, mail flows",
        emoji(incident), num(incident.id), kind_words(incident), code(view.connector.name, 80),
        warning_words(incident).lower(),
    )  # fmt: skip


def health_line(view: StatusView) -> Mrkdwn:
    """The state of mail flow in one line."""
    own = [i for i in view.monitor if not is_unassigned(i)]
    open_ones = sum(len(v.incidents) for v in view.connectors) + len(view.monitor) - len(own)
    waits = sum(v.queue.total for v in view.connectors) + view.unassigned.total
    if any(not is_unreadable(i) for i in own):
        picture, words = "🙈", "the monitor is blind"
    elif own:
        picture, words = "🙈", "a mail system can't be read"
    elif open_ones:
        picture, words = "🔴", count(open_ones, "open incident")
    elif any(v.stranded for v in view.connectors):
        picture, words = "⚠️", "no open incident, but mail is left behind"
    else:
        picture, words = "✅", "no open incident"
    ahead = sum(len(v.warnings) for v in view.connectors)
    return joined(
        [
            mrkdwn("{} *{}*", picture, words),
            prose(count(ahead, "warning")) if ahead else Mrkdwn(""),
            prose(count(len(view.connectors), "connector")),
            mrkdwn("{} waiting", count(waits, "message")),
        ]
    )


def monitor_line(incident: Incident, view: StatusView) -> Mrkdwn:
    """One incident without a connector in a list; of mail that has none, how much waits."""
    told = mrkdwn("{} *#{}* {}", emoji(incident), num(incident.id), monitor_words(incident))
    if not is_unassigned(incident):
        return mrkdwn("{} since {}", told, when(incident.opened_at))
    first = bounce(view.unassigned.first_expiry_at, view.now)
    return mrkdwn("{} · {} · {} waiting, {}", told, state_words(incident), view.unassigned.total, first)


def incident_line(incident: Incident, view: ConnectorView) -> Mrkdwn:
    """One outage in a list."""
    return mrkdwn(
        "{} *#{}* {} · {} · {} · {} waiting, {}",
        emoji(incident), num(incident.id), incident.code, code(view.connector.name, 80), state_words(incident),
        view.queue.total, bounce(view.queue.first_expiry_at, view.now),
    )  # fmt: skip
