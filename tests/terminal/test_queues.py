"""The terminal's queue follows the time that the mail system itself keeps mail: a day, two or five."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.core.mail_clock import mail_clock
from bot.core.views import ConnectorView, OneQueue, QueueView
from bot.terminal.queues import render_one, render_overview
from storage.queue_records import QueueClock
from storage.records import QueueSummary
from tests.slack.queue_world import HOUR, NOW
from tests.slack.world import World


def waiting(age: float, left: float) -> ConnectorView:
    """42 messages that came in at once."""
    world = World()
    (group,) = world.queue(42).by_code
    group = replace(group, oldest_received_at=NOW - age * HOUR, first_expiry_at=NOW + left * HOUR)
    queue = QueueSummary(by_code=(group,))
    held = QueueClock(received=((NOW - age * HOUR, 42),), expiries=((NOW + left * HOUR, 42),))
    return world.row(now=NOW, queue=queue, clock=mail_clock(queue, held, NOW))


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")


@pytest.mark.parametrize(
    ("age", "left", "within"), [(6, 18, "24 h"), (12, 36, "2 d"), (30, 90, "5 d"), (50, 70, "3 d"), (30, 10, "24 h")]
)
def test_what_bounces_later_than_tomorrow_is_told_and_no_zeros(age: float, left: float, within: str) -> None:
    row = waiting(age, left)
    overview = render_overview(QueueView(now=NOW, connectors=(row,)))
    assert f"Bounces unless it leaves: 42 within {within}" in overview
    assert "Time used" in overview and " 24 h " not in overview.splitlines()[0]
    lines = render_one(OneQueue(row=row)).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Bounces unless it leaves"))
    bars = lines[start + 1 : lines.index("", start)]
    assert bars[0].split()[:3] == ["within", *within.split()]
    assert not [line for line in bars if line.endswith(" 0")]


def test_ages_beyond_a_day_are_told_in_days_where_mail_is_kept_for_days() -> None:
    shown = render_one(OneQueue(row=waiting(60, 60)))
    assert any(line.split()[:2] == ["2-5", "d"] and line.endswith("42") for line in shown.splitlines())
    assert ">24 h" not in shown


def test_where_nothing_bounces_in_sight_there_is_no_empty_heading() -> None:
    assert "Bounces unless it leaves" not in render_one(OneQueue(row=waiting(1, timedelta(days=30) / HOUR)))
