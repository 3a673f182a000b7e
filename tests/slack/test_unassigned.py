"""Mail that belongs to no connector, as its alert, its thread and the lists draw it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.core.mail_clock import MailClock
from bot.core.views import StaleSource
from bot.slack.alert import render_alert
from bot.slack.blocks import Message
from bot.slack.home import home_view
from bot.slack.lists import health_line
from bot.slack.queues import unassigned_reply
from bot.slack.replies import status_reply
from bot.slack.text import Mrkdwn
from bot.slack.thread import render_event
from knowledge.articles import articles
from storage.records import IncidentState, QueueSummary, Severity

OTHER = articles().for_code(None)


def shown(made: Message) -> str:
    assert not problems(made.payload(), "message", update=True)
    return str(made.payload())


def test_the_alert_says_how_many_until_when_why_for_whom_and_what_to_do(world: Any) -> None:
    text = shown(render_alert(world.unassigned_view(severity=Severity.WARNING), OTHER))
    for part in (
        "🟠 #12 Firing, warning: mail that belongs to no known connector is stuck",
        "*42 messages wait, the oldest for 5 h; first bounce in 19 h*",
        "*42* within 24 h",
        "in `relay`",
        "⚠️ *stale*: `exo` was last read 1 h ago",
        "• *42* with 4.4.316: `450 4.4.316 Connection refused",
        "`contoso.com` 30",
        "`app@fabrikam.test` 42",
        "To and From: of the 20 oldest",
        "`/mfi queue unassigned` shows",
        "*A content filter*",
        "*Exchange Server's Unreachable queue*",
        "(their MX)",
        "mfi.ack",
    ):
        assert part in text, part
    for part in ("mfi.reprobe", "mfi.fix_now", "blind"):
        assert part not in text, part


def test_the_most_frequent_reasons_come_first_and_the_rest_is_counted(world: Any) -> None:
    groups = tuple(replace(world.queue(n, f"4.3.{n}").by_code[0], reason=None) for n in range(1, 9))
    text = shown(render_alert(world.unassigned_view(queue=QueueSummary(by_code=groups)), OTHER))
    assert "• *8* with 4.3.8\\n• *7* with 4.3.7" in text
    assert "*6* with other codes" in text


@pytest.mark.parametrize(
    ("reason", "guess", "first"),
    [
        ("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", "a content filter on the", "*A content filter*"),
        ("A matching connector cannot be found", "no send connector carries it", "*Exchange Server's Unreachable"),
        ("connect to mx.contoso.test[192.0.2.7]:25: timed out", None, "`/mfi queue unassigned` shows"),
    ],
)
def test_what_the_reasons_point_to_is_said_at_once_and_comes_first(
    world: Any, reason: str, guess: str | None, first: str
) -> None:
    group = replace(world.queue().by_code[0], reason=reason)
    made = render_alert(world.unassigned_view(queue=QueueSummary(by_code=(group,))), OTHER)
    assert f"*What to do*\n1. {first}" in "".join(str(b["text"]["text"]) for b in made.blocks if "text" in b)
    assert ("Most likely" in made.text) is (guess is not None)
    assert f"Most likely {guess}" in made.text or guess is None
    assert shown(made).count("*A content filter*") == 1


def test_one_that_somebody_looks_after_says_so_and_has_no_button(world: Any) -> None:
    text = shown(render_alert(world.unassigned_view(IncidentState.ACKNOWLEDGED), OTHER))
    assert "Acknowledged, critical" in text
    assert "mfi.ack" not in text


@pytest.mark.parametrize(
    ("resolution", "words"),
    [("cleared", "is stuck any more"), ("unwatched", "`MFI_UNASSIGNED_COUNT` is 0")],
)
def test_its_end_says_why_how_long_it_was_and_what_is_left(world: Any, resolution: str, words: str) -> None:
    view = world.unassigned_view(IncidentState.RESOLVED, resolution=resolution, resolved_at=world.now)
    text = shown(render_alert(view, OTHER))
    for part in (words, "It was open for 4 h", "Still in the queue: 42 messages wait"):
        assert part in text, part
    assert "mfi.ack" not in text
    assert "Still in" not in shown(render_alert(replace(view, queue=QueueSummary()), OTHER))


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (
            "critical",
            {"reason": "250 messages wait"},
            "Mail of no known connector is *critical* now: 250 messages wait.",
        ),
        ("escalated", {"mark": "4 h", "waiting": 250}, "4 h: 250 messages still waiting at no known connector; *first"),
        ("resolved", {"reason": "cleared"}, "Resolved: little of the mail that belongs to no known connector is stuck"),
        ("resolved", {"reason": "unwatched"}, "is not watched any more"),
    ],
)
def test_its_thread_never_speaks_of_the_monitor(world: Any, kind: str, data: dict[str, Any], words: str) -> None:
    text = shown(render_event(world.event(kind, **data), world.unassigned_view()))
    assert words in text
    assert "monitor" not in text


def test_lists_count_it_as_an_outage(world: Any) -> None:
    incident = world.unassigned_view().incident
    calm = world.row(0)
    view = world.status(calm, monitor=(incident,))
    assert str(health_line(view)).startswith("🔴 *1 open incident*")
    line = "*#12* mail that belongs to no known connector is stuck · Firing, critical · 3 waiting, first bounce in 19 h"
    assert line in shown(status_reply(view, "connected"))
    home = home_view(view, "connected", Mrkdwn("x"))
    assert not problems(home, "home")
    assert line in str(home)
    assert "None. Mail flows." not in str(home)
    blind = world.incident(code="blind", connector_id=None)
    assert "the monitor is blind" in str(health_line(world.status(calm, monitor=(incident, blind))))


def test_what_waits_nowhere_is_good_news_but_not_when_a_mail_system_was_never_read(world: Any) -> None:
    none = world.unassigned(queue=QueueSummary(), clock=MailClock(), stale=())
    assert "✅ All waiting mail belongs to a known connector." in shown(unassigned_reply(none))
    unread = (StaleSource(backend="exo", read_at=None),)
    for drawn in (replace(none, stale=unread), world.unassigned(stale=unread)):
        made = unassigned_reply(drawn)
        assert "✅" not in shown(made)
        assert made.blocks[0]["text"]["text"].startswith("⚠️ `exo` was *never read*")


def test_old_figures_of_it_are_shown_as_old(world: Any) -> None:
    old = (StaleSource(backend="relay", read_at=world.now - timedelta(hours=2)),)
    assert "⚠️ *stale*: `relay` was last read 2 h ago" in shown(unassigned_reply(world.unassigned(stale=old)))
