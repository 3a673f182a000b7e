"""What must wait, and how long: for our own pace, for Slack's limits, for a message to become visible.

Promises: counted on a clock that nobody sets, so that setting the host's clock shortens no wait; a limit of redraws
holds no post and a limit of posts holds no redraw; waits that are over are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable

from storage.records import OutboxItem

_LANES = (True, False)


class Pacing:
    """The waits of delivery, in seconds. A redraw has a lane of its own in its channel."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._lanes: dict[tuple[str, bool], float] = {}
        self._incidents: dict[int, float] = {}
        self._everybody = float("-inf")
        self._redraws = float("-inf")

    def hold(self, channel: str, seconds: float, *, redraw: bool | None = None) -> None:
        """Nothing goes to this channel for so long; with `redraw`, only no redraw (True) or no post (False)."""
        until = self._now() + seconds
        for lane in _LANES if redraw is None else (redraw,):
            self._lanes[channel, lane] = max(self._lanes.get((channel, lane), until), until)

    def hold_redraws(self, seconds: float) -> None:
        """No redraw goes anywhere for so long: Slack limits them together."""
        self._redraws = max(self._redraws, self._now() + seconds)

    def hold_everybody(self, seconds: float) -> None:
        """Nothing goes anywhere for so long."""
        self._everybody = max(self._everybody, self._now() + seconds)

    def rest(self, incident_id: int, seconds: float) -> None:
        """This incident's rows are left alone for so long."""
        self._incidents[incident_id] = self._now() + seconds

    def wake_incidents(self) -> None:
        """The clock was set: how long an incident rests must be read from its rows again."""
        self._incidents.clear()

    def redraws_may_go(self, channel: str) -> bool:
        """Would a redraw in this channel be in time now?"""
        return max(self._redraws, self._lane(channel, redraw=True)) <= self._now()

    def left(self, item: OutboxItem, *, redraw: bool) -> float:
        """The seconds until this row may go; not positive: now."""
        lane = max(self._lane(item.channel, redraw=redraw), self._redraws if redraw else self._everybody)
        return max(lane, self._everybody, self._incidents.get(item.incident_id, lane)) - self._now()

    def forget_past(self) -> None:
        """Drop the waits that are over."""
        now = self._now()
        self._lanes = {lane: until for lane, until in self._lanes.items() if until > now}
        self._incidents = {incident: until for incident, until in self._incidents.items() if until > now}

    def _lane(self, channel: str, *, redraw: bool) -> float:
        return self._lanes.get((channel, redraw), float("-inf"))
