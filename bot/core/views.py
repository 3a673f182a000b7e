"""What the Slack and terminal surfaces draw from: read models, gathered in one transaction by bot/services/views.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from bot.core.capabilities import Capability, Family, Place
from bot.core.evidence import Sample
from bot.core.mail_clock import MailClock
from storage.queue_records import TopList
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
    """How the queue's view and the probe's view of one connector differ (design 4); bot/core/two_views.py decides."""

    FIREWALL_ADMITS_BOT_ONLY = "firewall_admits_bot_only"
    """The probe is fine, but the mail system is refused or times out: its addresses are blocked."""
    FIREWALL_THEN_MORE = "firewall_then_more"
    """The mail system can't connect; the probe can, and then meets something else."""
    JUST_REPAIRED = "just_repaired"
    """The probe has been fine again for a short while only: the queue's error may be from before."""
    SOME_SERVERS = "some_servers"
    """One of several servers fails in the probe just as it does in the queue; another works."""
    SPLIT_DNS = "split_dns"
    """The name does not resolve for the mail system, but for us."""
    SPLIT_DNS_HERE = "split_dns_here"
    """The name resolves for the mail system, but not for us."""
    OTHER_CERTIFICATE = "other_certificate"
    """The probe verified the certificate; the mail system did not like the one that it met."""
    CLOSED_ON_MAIL = "closed_on_mail"
    """The probe's session is fine; the mail system's is cut off."""
    TURNED_AWAY = "turned_away"
    """The probe is welcome; the mail system gets an error for an answer."""
    LATER_THAN_PROBED = "later_than_probed"
    """The probe is fine; the mail system's error belongs to something that a probe does not do."""
    BOT_IS_BLOCKED = "bot_is_blocked"
    """The probe fails, but mail flows: we are the ones blocked."""
    BOT_IS_STRICTER = "bot_is_stricter"
    """The probe does not like the certificate, but mail flows."""
    BOT_REACHES_LESS = "bot_reaches_less"
    """The mail system gets further than the probe, and fails there."""
    NEITHER_CONNECTS = "neither_connects"
    """One is refused, the other gets no answer."""
    DIFFERENT_CODES = "different_codes"
    """Both fail, each in its own way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedFrom:
    """From which addresses a mail system connects, as its operator publishes them.

    `system`: what people call it. `ranges`: networks, empty while the list could not be had; `read_at`: when it was.
    """

    system: str
    ranges: tuple[str, ...] = ()
    read_at: datetime | None = None


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
    following: Incident | None = None
    """The incident that was opened anew after the fix of this one was undone."""
    action: Action | None = None
    steps: tuple[ActionStep, ...] = ()
    disagreement: Disagreement | None = None
    differences: tuple[Difference, ...] = ()
    capabilities: frozenset[Capability] = frozenset()
    """What the connector's mail system can do; empty where nobody can act on it."""
    place: Place = field(default_factory=Place)
    """Which kind of mail system it is, and where people type: advice differs."""
    queue_read_at: datetime | None = None
    queue_stale: bool = False
    clock: MailClock = field(default_factory=MailClock)
    sample: Sample | None = None
    """What the known reasons say of the unknown ones."""
    allowed_from: AllowedFrom | None = None
    """From where the mail system connects, where its operator says so."""
    unconfigured: bool = False
    """Its mail system was renamed or taken out of the settings: nobody says any more what it lists."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """The evidence as it was told last: what early warnings and the monitor's own incident are drawn from."""
    top: TopList = field(default_factory=TopList)
    """Of mail that belongs to no connector: for whom and from whom most of it is."""
    stale: tuple[StaleSource, ...] = ()
    """Of such mail: those of its mail systems that were not read lately."""

    @property
    def family(self) -> Family:
        """Which kind of mail system it is."""
        return self.place.family


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
    clock: MailClock = field(default_factory=MailClock)
    sample: Sample | None = None
    disagreement: Disagreement | None = None
    allowed_from: AllowedFrom | None = None
    queue_read_at: datetime | None = None
    queue_stale: bool = False

    @property
    def stranded(self) -> bool:
        """Does mail wait behind a connector that is off or no longer listed, with no open outage that tells of it?"""
        off = not self.connector.enabled or self.connector.missing_since is not None
        return off and self.queue.total > 0 and not self.incidents


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleSource:
    """A mail system whose figures are old or missing: when it was read last, and how the last try failed."""

    backend: str
    read_at: datetime | None
    """None: it was never read, so nothing is known of what waits there."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """What waits everywhere (`/mfi queue`, `mfi queue`): every connector, then what belongs to none."""

    now: datetime
    connectors: tuple[ConnectorView, ...]
    unassigned: QueueSummary = field(default_factory=QueueSummary)
    unassigned_clock: MailClock = field(default_factory=MailClock)
    stale: tuple[StaleSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OneQueue:
    """What waits at one connector (`/mfi queue <connector>`)."""

    row: ConnectorView
    top: TopList = field(default_factory=TopList)
    never_read: tuple[StaleSource, ...] = ()
    """Its mail system, if its queue was tried but never read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnassignedQueue:
    """What waits at no known connector (`/mfi queue unassigned`).

    `systems`: where it waits. `stale`: the mail systems whose figures are old or missing, which may hold more.
    """

    now: datetime
    queue: QueueSummary
    clock: MailClock = field(default_factory=MailClock)
    top: TopList = field(default_factory=TopList)
    systems: tuple[str, ...] = ()
    stale: tuple[StaleSource, ...] = ()


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
    unassigned_clock: MailClock = field(default_factory=MailClock)
    stale: tuple[StaleSource, ...] = ()
