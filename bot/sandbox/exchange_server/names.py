"""How the stand-in names things: Guids of connectors, queues, and messages in them. Names stay as long as it lives."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime


class Names:
    """The names of one server."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._numbers: dict[tuple[str, str], int] = {}
        self._queues: dict[str, int] = {}

    def guid(self, connector_key: str) -> str:
        """A connector's Guid."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, connector_key))

    def queue(self, connector_key: str | None) -> str:
        """The queue that a connector empties; None: mail that no connector carries."""
        if connector_key is None:
            return f"{self.server}\\Unreachable"
        return f"{self.server}\\{self._queues.setdefault(connector_key, 15 + len(self._queues))}"

    def connector_of(self, queue: str) -> str:
        """The key of the connector that empties this queue; "" for none."""
        return next((key for key in self._queues if self.queue(key) == queue), "")

    def identity(self, message_key: str, connector_key: str | None) -> str:
        """The full identity of a message's copy in one queue."""
        number = self._numbers.setdefault((message_key, connector_key or ""), 7_864_320 + len(self._numbers))
        return f"{self.queue(connector_key)}\\{number}"


def iso(moment: datetime) -> str:
    """A moment as the script writes it."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
