"""The nouns of the sandbox's mail system: what a small tenant has and what waits in it.

Frozen values; a change is a new value. The field names are those of the bot's own records, so that the control API
needs no translation table; the types are the sandbox's own, because a mail system knows nothing of its monitor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import Message as Mail
from enum import StrEnum

MAX_ADDRESS = 254


class DomainType(StrEnum):
    """Authoritative: an address that the directory doesn't hold is rejected. Relay types: it is passed on."""

    AUTHORITATIVE = "authoritative"
    INTERNAL_RELAY = "internal_relay"
    EXTERNAL_RELAY = "external_relay"


class Status(StrEnum):
    """Where one (message, recipient) stands; everything but queued is final."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    REJECTED = "rejected"


class BadRequest(ValueError):
    """The tenant was asked for something that makes no sense; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantConnector:
    """Where mail for `recipient_domains` goes: to the smart hosts in order, or by MX when `use_mx`."""

    key: str
    name: str
    kind: str = "on_premises"
    enabled: bool = True
    use_mx: bool = False
    smart_hosts: tuple[str, ...] = ()
    port: int | None = None
    recipient_domains: tuple[str, ...] = ()
    tls_setting: str = "opportunistic"
    tls_domain: str | None = None
    partner_contact: str | None = None
    alert_channel: str | None = None
    probe_interval: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantDomain:
    """An accepted domain."""

    name: str
    type: DomainType = DomainType.INTERNAL_RELAY
    match_subdomains: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One accepted message; its recipients are entries of the queue."""

    key: str
    sender: str
    subject: str
    content: bytes = field(repr=False)
    received_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message for one recipient. `reject_with` is set when a reject came while it was on the wire."""

    message: Message
    recipient: str
    next_attempt_at: datetime
    connector_key: str | None = None
    status: Status = Status.QUEUED
    attempts: int = 0
    reason: str | None = None
    remote_host: str | None = None
    remote_ip: str | None = None
    evidence_at: datetime | None = None
    ended_at: datetime | None = None
    in_flight: bool = False
    reject_with: str | None = None

    @property
    def ref(self) -> tuple[str, str]:
        """What names it: (message key, recipient)."""
        return self.message.key, self.recipient

    @property
    def expires_at(self) -> datetime:
        """When it is given up."""
        return self.message.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxItem:
    """One mail in a mailbox; `ndr` is the enhanced code of a non-delivery report, None for ordinary mail."""

    at: datetime
    subject: str
    content: bytes = field(repr=False)
    ndr: str | None = None
    failed_recipient: str | None = None


def address(text: str) -> str:
    """A lower-case, plain ASCII address, safe to write into an SMTP dialogue; BadRequest otherwise."""
    found = text.strip().lower()
    local, _, domain = found.rpartition("@")
    if not local or not domain or len(found) > MAX_ADDRESS or not found.isascii() or not found.isprintable():
        raise BadRequest(f"not a mail address: {found[:80]!r}")
    if any(c in found for c in ' <>,;\\"'):
        raise BadRequest(f"not a plain mail address: {found[:80]!r}")
    return found


def domain_of(recipient: str) -> str:
    """What follows the @."""
    return recipient.rpartition("@")[2]


def header(mail: Mail, name: str, value: str) -> None:
    """Set a header from foreign text: one line, bounded."""
    mail[name] = " ".join(value.split())[:200]
