"""What Slack's answers say about its clock, and the windows that follow from it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from bot.slack.slack_time import SKEW, UNSEEN, SlackTime

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = NOON.timestamp()


def answer(said: float) -> Any:
    return SimpleNamespace(headers={"Date": formatdate(said, usegmt=True)})


@pytest.mark.parametrize(
    ("said", "before", "after"),
    [
        ([], UNSEEN, UNSEEN),
        ([0], 0, 0),
        ([-600], 600, -600),
        ([600], 0, 600),
        ([-600, 0, 300], 600, 300),
    ],
)
def test_a_window_is_as_wide_as_the_clocks_ever_differed(said: list[float], before: float, after: float) -> None:
    slack_time = SlackTime(lambda: AT)
    for offset in said:
        slack_time.learn(answer(AT + offset))
    assert slack_time.is_known is bool(said)
    assert slack_time.window(NOON, NOON) == {
        "oldest": f"{AT - before - SKEW:.6f}",
        "latest": f"{AT + after + SKEW:.6f}",
    }


@pytest.mark.parametrize("odd", [None, "x", answer, {"headers": 1}, SimpleNamespace(headers={"Date": "soon"})])
def test_an_answer_without_a_time_teaches_nothing(odd: object) -> None:
    slack_time = SlackTime(lambda: AT)
    slack_time.learn(odd)
    assert not slack_time.is_known


def test_a_window_never_begins_before_time_itself() -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC)
    assert SlackTime(lambda: AT).window(moment, moment)["oldest"] == "0.000000"
