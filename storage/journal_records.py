"""What mfi notes about its own doings, as frozen values: who did what, and each read of a queue. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did or was refused what, and why. Append-only."""

    at: datetime
    actor: str
    verb: str
    target: str
    allowed: bool
    detail: str = ""
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRun:
    """One read of a mail system's queue: when, what it did, how it failed (None: it didn't, or is under way).

    `true_at`: when what was read was so, where that isn't when it was read. `notes`: what was odd about it.
    """

    id: int
    backend: str
    started_at: datetime
    finished_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    true_at: datetime | None = None
    notes: tuple[str, ...] = ()
