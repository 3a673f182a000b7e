"""Are we the ones who can't see? Many targets that go dark at once mean our own network, not theirs. Pure: no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from bot.core.evidence import NETWORK_CODES
from bot.core.policy import Policy

PATIENCE = 3
"""So many probe intervals after it began, one target that is fine ends a blindness that nothing else ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A target that was fine and went dark."""

    at: datetime
    code: str
    target: str


class Horizon:
    """Remembers which targets went dark, until they are seen again. Connectors with one next hop are one target."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._dark: dict[int, Turn] = {}
        self._fine_at: datetime | None = None

    def note(self, connector_id: int, target: str, *, was_fine: bool, code: str | None, now: datetime) -> None:
        """Take in one probe: `code` None is a good one."""
        if code is None:
            self._dark.pop(connector_id, None)
            self._fine_at = now
        elif was_fine and code in NETWORK_CODES:
            self._dark[connector_id] = Turn(at=now, code=code, target=target)

    def restore(self, dark: Iterable[tuple[int, str]], code: str, now: datetime) -> None:
        """After a restart while blind: (connector, target) pairs that were dark then."""
        self._dark |= {connector_id: Turn(at=now, code=code, target=target) for connector_id, target in dark}

    def dark(self, code: str | None = None, since: datetime | None = None) -> list[int]:
        """The connectors whose targets are dark, one per target."""
        found = {
            turn.target: connector_id
            for connector_id, turn in self._dark.items()
            if code in (None, turn.code) and (since is None or turn.at >= since)
        }
        return list(found.values())

    def went_dark(self, now: datetime) -> str | None:
        """The code that enough targets turned to within one interval; None: we are not blind."""
        since = now - self._policy.probe_interval
        enough = (code for code in sorted(NETWORK_CODES) if len(self.dark(code, since)) >= self._policy.blind_after)
        return next(enough, None)

    def sees_again(self, blind_since: datetime, now: datetime) -> bool:
        """Is the blindness over? Too few are still dark; or others are fine for long: then these really are down."""
        if len(self.dark()) < self._policy.blind_after:
            return True
        others_are_fine = self._fine_at is not None and self._fine_at > blind_since
        return others_are_fine and now - blind_since >= PATIENCE * self._policy.probe_interval
