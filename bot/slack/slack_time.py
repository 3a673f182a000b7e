"""Slack's own time, learnt from its answers: what we sent is looked for by Slack's clock, not by ours.

Promises: a window of ours, turned into Slack's time, begins no later than it did by ours; while Slack's clock was never
seen it is a whole day wider on both sides. A clock that was wrong and put right is remembered as both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

SKEW = 60.0
"""Seconds to spare on both sides of a window."""
UNSEEN = 86400.0
"""Seconds by which the two clocks may differ as long as nothing is known."""


class SlackTime:
    """How far our clock was from Slack's, at least and at most, since the start."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._least: float | None = None
        self._most: float | None = None

    @property
    def is_known(self) -> bool:
        """Has Slack ever said what time it is?"""
        return self._least is not None

    def learn(self, answer: object) -> None:
        """Read the time from the headers of an answer, if it has any."""
        headers = getattr(answer, "headers", None)
        said = _date(headers) if isinstance(headers, Mapping) else None
        if said is None:
            return
        ahead = self._now() - said
        self._least = ahead if self._least is None else min(self._least, ahead)
        self._most = ahead if self._most is None else max(self._most, ahead)

    def window(self, since: datetime, until: datetime) -> dict[str, str]:
        """The arguments that make Slack look from `since` to `until` of our clock."""
        least = -UNSEEN if self._least is None else self._least
        most = UNSEEN if self._most is None else max(self._most, 0.0)
        return {
            "oldest": f"{max(since.timestamp() - most - SKEW, 0.0):.6f}",
            "latest": f"{until.timestamp() - least + SKEW:.6f}",
        }


def _date(headers: Mapping[str, object]) -> float | None:
    raw = headers.get("Date") or headers.get("date")
    try:
        return parsedate_to_datetime(str(raw)).timestamp() if raw else None
    except (ValueError, OverflowError):
        return None
