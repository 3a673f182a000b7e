"""Where rows and events of the message trace come from: Graph, or the cmdlets."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from bot.backends.exchange_online.trace_rows import Event, Listing, Ref


class Trace(Protocol):
    """One tenant's message trace. Every method may raise BackendError; a listing is whole or it raises."""

    async def listing(
        self, since: datetime, *, status: str | None = None, key: str | None = None, recipient: str | None = None
    ) -> Listing:
        """Every row that came in since then and has these properties."""
        ...

    async def events(self, ref: Ref, received_at: datetime) -> tuple[Event, ...]:
        """What happened to one message on its way to one recipient, oldest first."""
        ...

    async def probe(self, *, patient: bool) -> None:
        """Ask for a single row, to see whether we may."""
        ...
