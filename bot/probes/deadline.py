"""One monotonic deadline for a whole probe; every phase is clipped to it. The wall clock plays no part."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager


class Deadline:
    """So many seconds from now, on the running loop's clock."""

    def __init__(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self.started = self._clock()
        self.at = self.started + seconds

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self._clock())

    def elapsed_ms(self, since: float | None = None) -> float:
        """Milliseconds since a moment of `now`, or since the start."""
        return (self._clock() - (self.started if since is None else since)) * 1000

    def now(self) -> float:
        """The present moment on the same clock."""
        return self._clock()

    def until(self, seconds: float) -> float:
        """The moment on the loop's clock at which a phase of so many seconds ends, but no later than the deadline."""
        return min(self._clock() + seconds, self.at)

    def within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """A timeout for one phase: raises TimeoutError after `seconds` or at the deadline, whichever comes first."""
        return asyncio.timeout_at(self.until(seconds))
