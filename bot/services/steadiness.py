"""Can the clock be trusted? After it was set, nothing that can't be taken back is done for a while.

A wrong clock makes mail look expired, history old and every escalation mark passed: for seconds that is an error, and
what follows from it would stay. What the probes and queues say now does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from bot.core.clock import Clock

STEADY_FOR = timedelta(minutes=5)
"""For so long the clock must have run evenly."""
JUMP = 5.0
"""Seconds by which wall clock and monotonic clock may drift apart between two looks."""


class Steadiness:
    """Compares the clock with one that nobody can set. Each `look` also notices a jump that nobody reported."""

    def __init__(self, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._offset = self._drift()
        self._since = monotonic()
        self._jumped = False

    def jumped(self) -> None:
        """The clock was set: begin again."""
        self._offset, self._since, self._jumped = self._drift(), self._monotonic(), True

    def look(self) -> bool:
        """Is the clock steady, as far as this process knows? True at its start: nothing says otherwise."""
        if abs(self._drift() - self._offset) > JUMP:
            self.jumped()
        self._offset = self._drift()
        return not self._jumped or self.proven

    @property
    def proven(self) -> bool:
        """Has it run evenly for long enough, since it was set or since the start?"""
        return self._monotonic() - self._since >= STEADY_FOR.total_seconds()

    def _drift(self) -> float:
        return self._clock().timestamp() - self._monotonic()
