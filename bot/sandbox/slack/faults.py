"""Faults on demand: everything that Slack, or the road to it, has been seen to do to a bot.

A fault is armed with a number of times (None: until `clear`) and fires on the next matching calls. The method may be a
name, "*" for all, or "response_url"; `channel` narrows it to calls that name the channel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class FaultKind(StrEnum):
    """What happens to the call."""

    RATE_LIMIT = "rate_limit"
    """HTTP 429 with Retry-After; nothing is done."""
    STATUS = "status"
    """Another HTTP status with a body; nothing is done."""
    ERROR = "error"
    """{"ok": false, "error": …}; nothing is done."""
    ERROR_AFTER = "error_after"
    """The same, but the call was carried out (fatal_error and internal_error behave so)."""
    DROP = "drop"
    """The connection is cut; nothing is done."""
    ACCEPT_THEN_DROP = "accept_then_drop"
    """The call is carried out, then the connection is cut without an answer."""
    HANG = "hang"
    """No answer for so many seconds, then the connection is cut; nothing is done."""
    ACCEPT_THEN_HANG = "accept_then_hang"
    """The call is carried out, but the answer never comes."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One armed fault."""

    kind: FaultKind
    method: str = "*"
    channel: str | None = None
    times: int | None = 1
    status: int = 500
    body: str = ""
    error: str = ""
    retry_after: int = 1
    seconds: float = 60.0
    fired: int = 0

    def matches(self, method: str, channel: str | None) -> bool:
        """Whether it fires on this call."""
        spent = self.times is not None and self.fired >= self.times
        return not spent and self.method in ("*", method) and self.channel in (None, channel)


@dataclass(slots=True)
class Faults:
    """All the faults of one stand-in, those of its sockets too."""

    armed: list[Fault] = field(default_factory=list)
    dead_tickets: int = 0
    """So many of the next WebSocket tickets are refused with 403."""
    disconnects: list[str] = field(default_factory=list)
    """Reasons: each of the next connections gets `disconnect` with one right after `hello`."""
    duplicates: int = 0
    """So many of the next envelopes are delivered twice."""
    lost: int = 0
    """So many of the next envelopes get lost on the way to the bot."""
    ghosts: int = 0
    """Registrations that nobody reads: payloads are spread over them too, and are lost there."""
    strip_metadata: bool = False
    """History is answered without metadata."""

    def arm(self, fault: Fault) -> Fault:
        """Add a fault; faults fire in the order in which they were armed."""
        self.armed.append(fault)
        return fault

    def clear(self) -> None:
        """Forget every fault."""
        self.armed.clear()
        self.disconnects.clear()
        self.dead_tickets = self.duplicates = self.lost = self.ghosts = 0
        self.strip_metadata = False

    def take(self, method: str, channel: str | None) -> Fault | None:
        """The fault that fires on this call; it counts as fired."""
        for fault in self.armed:
            if fault.matches(method, channel):
                fault.fired += 1
                return fault
        return None

    # --- short forms -----------------------------------------------------------------------------------------------
    def rate_limit(
        self, method: str = "*", *, times: int | None = 1, retry_after: int = 1, channel: str | None = None
    ) -> Fault:
        """429 with Retry-After."""
        return self.arm(
            Fault(kind=FaultKind.RATE_LIMIT, method=method, times=times, retry_after=retry_after, channel=channel)
        )

    def http(self, status: int, method: str = "*", *, times: int | None = 1, body: str = "") -> Fault:
        """A bare HTTP status, such as 500, 502 or 504."""
        return self.arm(Fault(kind=FaultKind.STATUS, method=method, times=times, status=status, body=body))

    def html(self, method: str = "*", *, times: int | None = 1) -> Fault:
        """200 with a page instead of JSON, as proxies and maintenance pages do."""
        return self.http(200, method, times=times, body="<!DOCTYPE html><title>Maintenance</title>")

    def error(self, word: str, method: str = "*", *, times: int | None = 1, channel: str | None = None) -> Fault:
        """One of Slack's error words: token_revoked, invalid_auth, not_in_channel, is_archived, …"""
        return self.arm(Fault(kind=FaultKind.ERROR, method=method, times=times, error=word, channel=channel))

    def error_after(self, word: str = "fatal_error", method: str = "*", *, times: int | None = 1) -> Fault:
        """Carried out, yet answered with an error."""
        return self.arm(Fault(kind=FaultKind.ERROR_AFTER, method=method, times=times, error=word))

    def drop(self, method: str = "*", *, times: int | None = 1) -> Fault:
        """Cut the connection before anything is done."""
        return self.arm(Fault(kind=FaultKind.DROP, method=method, times=times))

    def accept_then_drop(self, method: str = "chat.postMessage", *, times: int | None = 1) -> Fault:
        """Carry the call out and cut the connection without an answer."""
        return self.arm(Fault(kind=FaultKind.ACCEPT_THEN_DROP, method=method, times=times))

    def hang(self, method: str = "*", *, times: int | None = 1, seconds: float = 60.0) -> Fault:
        """Answer nothing for a while; nothing is done."""
        return self.arm(Fault(kind=FaultKind.HANG, method=method, times=times, seconds=seconds))

    def accept_then_hang(
        self, method: str = "chat.postMessage", *, times: int | None = 1, seconds: float = 60.0
    ) -> Fault:
        """Carry the call out and answer nothing."""
        return self.arm(Fault(kind=FaultKind.ACCEPT_THEN_HANG, method=method, times=times, seconds=seconds))
