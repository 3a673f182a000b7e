"""What is true, as frozen values: the nouns that the whole program shares.

Pure: no SQL, no clock, no I/O. Moments are aware UTC datetimes, durations timedeltas. `…Facts` are what a mail system
says; the record of the same name adds what we know besides (ids, our own schedule).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

WARNING_PREFIX = "warning:"
"""Codes of incidents that are told before mail stops begin so (bot/core/early_warnings.py lists them)."""

DEFAULT_EXPIRY = timedelta(hours=24)
"""How long a mail system retries before it bounces, unless it says otherwise (as Exchange Online does)."""


class Caution(StrEnum):
    """What about a connector makes switching it off dangerous (Exchange Online)."""

    RULE_SCOPED = "rule_scoped"
    """Mail flow rules send mail to it, whatever its recipient domains say."""
    ROUTES_ALL_MAIL = "routes_all_mail"
    """All outbound mail goes through it (RouteAllMessagesViaOnPremises)."""
    ALL_ACCEPTED_DOMAINS = "all_accepted_domains"
    TEST_MODE = "test_mode"


class ConnectorKind(StrEnum):
    """Whose server stands behind a connector: decides whether the advice is "your server" or "the partner"."""

    ON_PREMISES = "on_premises"
    PARTNER = "partner"


class TlsSetting(StrEnum):
    """What a connector demands of the next hop's TLS, in Exchange's meaning."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    ENCRYPTION = "encryption"
    CERTIFICATE = "certificate"
    DOMAIN = "domain"


class DomainType(StrEnum):
    """Authoritative: unknown recipients are rejected. Relay types: they are passed on."""

    AUTHORITATIVE = "authoritative"
    INTERNAL_RELAY = "internal_relay"
    EXTERNAL_RELAY = "external_relay"


class MessageStatus(StrEnum):
    """Where one (message, recipient) stands. Only `queued` still counts down to a bounce."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    REJECTED = "rejected"
    GONE = "gone"


class IncidentState(StrEnum):
    """firing → acknowledged → fixing → verifying → resolved; any open state may resolve."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    FIXING = "fixing"
    VERIFYING = "verifying"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """How soon mail bounces or how much waits; the rule is in bot/core/incidents.py."""

    WARNING = "warning"
    CRITICAL = "critical"


class OutboxKind(StrEnum):
    """root: the incident's one message (posted once, then redrawn). reply: into its thread.
    broadcast: a thread reply also shown in the channel (escalations only)."""

    ROOT = "root"
    REPLY = "reply"
    BROADCAST = "broadcast"


class OutboxState(StrEnum):
    """pending → sending → sent | pending (again, at next_at) | dead (never sent; loud)."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"


class ActionState(StrEnum):
    """The life of one Fix now offer. unknown: killed or timed out while executing; the state is read, never re-run."""

    OFFERED = "offered"
    CONFIRMING = "confirming"
    CLAIMED = "claimed"
    EXECUTING = "executing"
    VERIFYING = "verifying"
    VERIFIED = "verified"
    FAILED = "failed"
    UNDONE = "undone"
    UNKNOWN = "unknown"


class StepKind(StrEnum):
    """What Fix now can do, in the order in which steps run (the domain before the connector)."""

    REJECT_INVALID = "reject_invalid"
    DOMAIN_AUTHORITATIVE = "domain_authoritative"
    DISABLE_CONNECTOR = "disable_connector"
    RETRY_QUEUE = "retry_queue"


class StepState(StrEnum):
    """intended is committed before anything is touched; done only after the result was read back."""

    PLANNED = "planned"
    INTENDED = "intended"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorFacts:
    """A connector as its mail system describes it. `key` is stable (Exchange: the Guid); names change."""

    backend: str
    key: str
    name: str
    kind: ConnectorKind
    enabled: bool = True
    use_mx: bool = False
    smart_hosts: tuple[str, ...] = ()
    port: int | None = None
    recipient_domains: tuple[str, ...] = ()
    tls_setting: TlsSetting = TlsSetting.OPPORTUNISTIC
    tls_domain: str | None = None
    partner_contact: str | None = None
    alert_channel: str | None = None
    probe_interval: timedelta | None = None
    cautions: frozenset[Caution] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector(ConnectorFacts):
    """A connector that we track. `missing_since`: the mail system no longer lists it; its history stays."""

    id: int
    next_probe_at: datetime
    changed_at: datetime
    missing_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFacts:
    """An accepted domain as its mail system describes it."""

    backend: str
    name: str
    type: DomainType
    match_subdomains: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFacts:
    """One queued message for one recipient. Key: (backend, key, recipient). Subjects are never kept.

    `code` is the family code where one is known ("4.4.316"), else the enhanced code, else None.
    `connector_key` is set only where the mail system itself says which connector carries the message.
    """

    backend: str
    key: str
    recipient: str
    sender: str
    received_at: datetime
    expires_at: datetime
    status: MessageStatus = MessageStatus.QUEUED
    size: int | None = None
    code: str | None = None
    reason: str | None = None
    remote_host: str | None = None
    remote_ip: str | None = None
    evidence_at: datetime | None = None
    connector_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage(MessageFacts):
    """A message that we track, assigned to one of our connectors (None: unassigned, and shown as such)."""

    id: int
    connector_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncCounts:
    """What one import or sync did. `missing`: known before, not listed now."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCount:
    """The messages that wait at one connector with one code (None: no reason known yet)."""

    code: str | None
    count: int
    oldest_received_at: datetime
    first_expiry_at: datetime
    reason: str | None = None
    remote_host: str | None = None
    remote_ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSummary:
    """What waits at one connector, most urgent code first."""

    by_code: tuple[CodeCount, ...] = ()

    @property
    def total(self) -> int:
        """How many (message, recipient) pairs wait."""
        return sum(c.count for c in self.by_code)

    @property
    def oldest_received_at(self) -> datetime | None:
        """When the oldest of them came in; None when nothing waits."""
        return min((c.oldest_received_at for c in self.by_code), default=None)

    @property
    def first_expiry_at(self) -> datetime | None:
        """When the first of them bounces; None when nothing waits."""
        return min((c.first_expiry_at for c in self.by_code), default=None)

    def for_code(self, code: str) -> CodeCount | None:
        """The group that waits with exactly this code."""
        return next((c for c in self.by_code if c.code == code), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRecord:
    """One stored probe of one connector. `document`: the JSON of `mfi probe --json`, as text. `fingerprint`: what may
    explain a later failure (addresses, banner, certificate, settings).
    """

    connector_id: int
    at: datetime
    ok: bool
    code: str | None
    cause: str | None
    status: str | None
    stage: str
    degraded: bool
    elapsed_ms: int
    document: str
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    id: int | None = None

    @property
    def nothing_probed(self) -> bool:
        """Was there nothing to dial? Then its `ok` doesn't say that mail gets through."""
        return self.ok and self.stage != "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One (connector, code) that can't deliver. `id` is the number that people type.

    `connector_id` None: the monitor's own incident ("we are blind", code "blind"). `revision` grows by one with
    every event; the outbox is keyed by it. `previous_id`: this one re-opened that one. `escalated`: how many
    escalation marks were told.
    """

    id: int
    connector_id: int | None
    code: str
    state: IncidentState
    severity: Severity
    opened_at: datetime
    updated_at: datetime
    first_failure_at: datetime
    channel: str
    revision: int = 1
    ts: str | None = None
    resolved_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    escalated: int = 0
    flapping: bool = False
    previous_id: int | None = None
    resolution: str | None = None

    @property
    def is_warning(self) -> bool:
        """Is it told before mail stops? Then it is no outage: mail flows, and nothing counts it as failing."""
        return self.code.startswith(WARNING_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEvent:
    """One line of an incident's timeline. `actor` is a Slack user id; None: the bot itself."""

    incident_id: int
    revision: int
    at: datetime
    kind: str
    actor: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    """A duty to tell Slack, written in the transaction of the fact that it tells. A root draws the incident's present;
    replies tell `event_id`. `uid` is opaque and goes into the message's metadata, to be found after an uncertain send.
    """

    id: int
    uid: str
    incident_id: int
    revision: int
    channel: str
    kind: OutboxKind
    state: OutboxState
    created_at: datetime
    next_at: datetime
    event_id: int | None = None
    attempts: int = 0
    attempt_at: datetime | None = None
    ts: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One Fix now offer and what became of it. `id` is opaque: all that a button or modal carries. `plan`: the JSON of
    bot.core.fix_plan.Plan as it was offered; `chosen`: the steps that the person picked. `requested_by`: who confirmed
    it and waits for a second person's yes, who is `claimed_by` then. `look_at`: when its effect is looked at before
    the verification is due.
    """

    id: str
    incident_id: int
    connector_id: int
    state: ActionState
    offered_at: datetime
    expires_at: datetime
    plan: str
    offered_to: str | None = None
    chosen: tuple[StepKind, ...] = ()
    claimed_by: str | None = None
    claimed_at: datetime | None = None
    verify_at: datetime | None = None
    verify_attempts: int = 0
    finished_at: datetime | None = None
    result: str | None = None
    undone_by: str | None = None
    requested_by: str | None = None
    requested_at: datetime | None = None
    look_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStep:
    """Intent and result of one step; `before` and `after` are JSON images of what it touched."""

    action_id: str
    position: int
    kind: StepKind
    state: StepState
    intended_at: datetime | None = None
    finished_at: datetime | None = None
    before: str | None = None
    after: str | None = None
    detail: str | None = None
