"""How many message trace requests may still be sent: Microsoft allows a tenant 100 in any 5 minutes, for all its tools.

Pure: the moment is an argument. Listings and details share one budget. Details may use what is left of our own share
(`limit`) after the pages of the next listing; a listing begins within that share too, but once begun it may use all
that Microsoft allows, because a part of a list is worth nothing.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

TENANT_QUOTA = 100
WINDOW = timedelta(minutes=5)


class Budget:
    """The requests of the last 5 minutes. `limit`: our share of the `quota` that the tenant has."""

    def __init__(self, limit: int = 60, quota: int = TENANT_QUOTA) -> None:
        self.quota = quota
        self.limit = min(max(limit, 1), quota)
        self._sent: deque[datetime] = deque()
        self._held: datetime | None = None

    def spend(self, now: datetime) -> None:
        """One request is sent."""
        self._sent.append(now)

    def hold(self, until: datetime) -> None:
        """The service wants a pause: nothing is free before."""
        self._held = max(until, self._held or until)

    def used(self, now: datetime) -> int:
        """How many were sent in the last 5 minutes."""
        # A clock that was put back must not keep old requests for ever.
        while self._sent and not now - WINDOW < self._sent[0] <= now + WINDOW:
            self._sent.popleft()
        return len(self._sent)

    def held(self, now: datetime) -> datetime | None:
        """Until when the service wants to be left alone; None: it doesn't."""
        if self._held is None or self._held <= now or self._held > now + timedelta(hours=1):
            return None
        return self._held

    def free(self, now: datetime) -> int:
        """How many of our share are left."""
        return 0 if self.held(now) else max(self.limit - self.used(now), 0)

    def may_go_on(self, now: datetime) -> bool:
        """May a listing that has begun ask for its next page?"""
        return self.held(now) is None and self.used(now) < self.quota

    def for_details(self, now: datetime, pages: int) -> int:
        """How many details may be asked for, when a listing takes so many `pages`."""
        return max(self.free(now) - pages, 0)
