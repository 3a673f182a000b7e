"""Faults of the control API on demand: how a mail system's management interface fails, one operation at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """What happens to a request instead of an honest answer."""

    REFUSE = "refuse"  # answers 403: nothing happened
    ERROR = "error"  # answers 500: nothing happened, though the caller can't know
    HANG = "hang"  # never answers: nothing happened
    DROP_BEFORE = "drop_before"  # closes the connection: nothing happened
    DROP_AFTER = "drop_after"  # does it, then closes the connection without an answer
    PARTIAL = "partial"  # directory: answers for the first half of the addresses only
    SHORT = "short"  # lists: leaves rows out, as a page that got lost
    STALE = "stale"  # reads: keeps answering what held at the first read under the fault


class Operation(StrEnum):
    """What the control API can be asked."""

    CONNECTORS = "connectors"
    CONNECTOR = "connector"
    SWITCH = "switch"
    DOMAINS = "domains"
    DOMAIN = "domain"
    DOMAIN_TYPE = "domain_type"
    QUEUE = "queue"
    LOOKUP = "lookup"
    DIRECTORY = "directory"
    REJECT = "reject"
    RETRY = "retry"
    SUBMIT = "submit"
    MAILBOX = "mailbox"


@dataclass(slots=True)
class Faults:
    """Which operation fails how, and how often still (None: until cleared). `seen` counts requests, `done` acts."""

    _set: dict[Operation, tuple[Fault, int | None]] = field(default_factory=dict)
    seen: dict[Operation, int] = field(default_factory=dict)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def set(self, operation: Operation, fault: Fault, *, times: int | None = None) -> None:
        """From now on this operation fails this way."""
        self._set[operation] = (fault, times)
        self._released.clear()

    def clear(self) -> None:
        """No more faults; hanging requests are let go unanswered."""
        self._set.clear()
        self._released.set()

    def active(self, operation: Operation) -> Fault | None:
        """The fault that is set, without using it up."""
        return self._set.get(operation, (None, None))[0]

    def take(self, operation: Operation) -> Fault | None:
        """The fault for the request that just came, counted."""
        self.seen[operation] = self.seen.get(operation, 0) + 1
        fault, times = self._set.get(operation, (None, None))
        if fault is None or times is None:
            return fault
        if times <= 1:
            del self._set[operation]
        else:
            self._set[operation] = (fault, times - 1)
        return fault

    async def hang(self) -> None:
        """Wait until the faults are cleared."""
        await self._released.wait()
