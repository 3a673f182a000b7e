"""What the Slack and terminal surfaces draw from: read models, gathered in one transaction by bot/services/views.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from bot.core.capabilities import Capability
from storage.records import (
    Action,
    ActionStep,
    Connector,
    Incident,
    IncidentEvent,
    OutboxState,
    ProbeRecord,
    QueueSummary,
)


class Disagreement(StrEnum):
    """How the queue's view and the probe's view of one connector differ (design 4)."""

    FIREWALL_ADMITS_BOT_ONLY = "firewall_admits_bot_only"
    """The probe is fine, but the mail system is refused or times out: its addresses are blocked."""
    BOT_IS_BLOCKED = "bot_is_blocked"
    """The probe fails, but mail flows: we are the ones blocked."""
    DIFFERENT_CODES = "different_codes"
    """Both fail, each in its own way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs between the last good observation and the first bad one."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentView:
    """Everything that an incident's message, thread and commands show."""

    incident: Incident
    connector: Connector | None
    queue: QueueSummary
    now: datetime
    probe: ProbeRecord | None = None
    last_good: ProbeRecord | None = None
    events: tuple[IncidentEvent, ...] = ()
    previous: Incident | None = None
    """The incident that this one re-opened, for the link to its message."""
    action: Action | None = None
    steps: tuple[ActionStep, ...] = ()
    disagreement: Disagreement | None = None
    differences: tuple[Difference, ...] = ()
    capabilities: frozenset[Capability] = frozenset()
    """What the connector's mail system can do; empty where nobody can act on it."""
    queue_read_at: datetime | None = None
    queue_stale: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)
    """The evidence as it was told last: what early warnings and the monitor's own incident are drawn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorView:
    """One line of `/mfi connectors` and `/mfi queue`."""

    connector: Connector
    queue: QueueSummary
    now: datetime
    probe: ProbeRecord | None = None
    incidents: tuple[Incident, ...] = ()
    """Its open outages."""
    warnings: tuple[Incident, ...] = ()
    """What will stop mail if nobody acts: mail still flows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """The bot's own health and the state of mail flow at a glance."""

    now: datetime
    connectors: tuple[ConnectorView, ...]
    unassigned: QueueSummary
    outbox: Mapping[OutboxState, int] = field(default_factory=dict)
    dead: tuple[str, ...] = ()
    """One line per undeliverable outbox item, newest first."""
    late: tuple[str, ...] = ()
    """One line per channel whose next message has been failing for a while; it is still tried."""
    syncs: Mapping[str, str] = field(default_factory=dict)
    """Backend name → one line: when it was last read, how it went."""
    monitor: tuple[Incident, ...] = ()
    """Open incidents of the monitor itself ("we are blind")."""
