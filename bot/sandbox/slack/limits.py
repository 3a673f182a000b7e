"""Rate limits as Slack has them: messages about one a second per channel with a short burst, tiers for the rest.

Promises: a caller who waits the whole Retry-After is let through; one who comes earlier is refused again and noticed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

PER_MINUTE: Final = {1: 10, 2: 20, 3: 50, 4: 100}
"""Calls a minute of Slack's tiers 1 to 4 (1 is widened a little: apps.connections.open is told both ways)."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Limits:
    """Token buckets per (method, channel), and the pauses that callers were told to make.

    `enabled = False` switches the buckets off; pauses told by a fault still hold.
    """

    def __init__(self, *, message_interval: float = 1.0, message_burst: int = 5) -> None:
        self.enabled = True
        self.message_interval = message_interval
        self.message_burst = message_burst
        self._buckets: dict[tuple[str, str | None], _Bucket] = {}
        self._until: dict[tuple[str, str | None], float] = {}

    def pause(self, method: str, channel: str | None, seconds: float, now: float) -> None:
        """Tell a caller to keep away for so long."""
        self._until[(method, channel)] = now + seconds

    def paused(self, method: str, channel: str | None, now: float) -> int:
        """Whole seconds that the caller still had to wait; 0 if it may call."""
        left = self._until.get((method, channel), now) - now
        return math.ceil(left) if left > 0 else 0

    def spend(self, method: str, channel: str | None, tier: int, now: float) -> int:
        """Take one call from the bucket: 0, or the whole seconds to wait."""
        if not self.enabled or tier == 0:
            return 0
        posting = method == "chat.postMessage"
        rate = (1 / self.message_interval if self.message_interval else math.inf) if posting else PER_MINUTE[tier] / 60
        size = float(self.message_burst if posting else PER_MINUTE[tier])
        bucket = self._buckets.setdefault((method, channel if posting else None), _Bucket(size, now))
        earned = 0.0 if rate == math.inf else (now - bucket.at) * rate
        bucket.tokens, bucket.at = (size if rate == math.inf else min(size, bucket.tokens + earned)), now
        if bucket.tokens < 1:
            return max(1, math.ceil((1 - bucket.tokens) / rate))
        bucket.tokens -= 1
        return 0
