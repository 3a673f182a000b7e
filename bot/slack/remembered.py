"""Where shared answers go, while a window is open: in memory only, because the place holds a secret of half an hour."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from bot.slack.client import Where

KEEP = timedelta(minutes=30)
"""As long as Slack takes an answer there."""
MOST = 500


class Remembered:
    """Places by opaque token; the oldest give way when there are too many."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._places: dict[str, tuple[datetime, Where]] = {}

    def keep(self, where: Where, now: datetime) -> str:
        """Remember this place; returns its token."""
        while len(self._places) >= self._most:
            self._places.pop(next(iter(self._places)))
        token = secrets.token_hex(8)
        self._places[token] = (now, where)
        return token

    def take(self, token: str, now: datetime) -> Where | None:
        """The place of this token, once, and not after half an hour."""
        found = self._places.pop(token, None)
        return found[1] if found and now - found[0] < KEEP else None
