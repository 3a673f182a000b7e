"""Loads many waiting messages at once: for measurements, where accepting each like a real mail would take minutes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from bot.sandbox.mail_system.led import Failure
from bot.sandbox.mail_system.model import BadRequest, Entry, Message
from bot.sandbox.mail_system.tenant import MAX_ENTRIES, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One message for one recipient at a connector, with the failure of its last attempt."""

    key: str
    sender: str
    recipient: str
    connector_key: str
    received_at: datetime
    next_attempt_at: datetime
    failure: Failure | None = None
    evidence_at: datetime | None = None
    subject: str = ""


def load(tenant: Tenant, backlog: Iterable[Waiting], *, content: bytes = b"Subject: backlog\r\n\r\n") -> int:
    """Put these into the queue; addresses are taken as they are (lower case), the content is one for all.

    Returns how many. BadRequest when a (message, recipient) is already there or the queue is full.
    """
    count = 0
    for waiting in backlog:
        if len(tenant.entries) >= MAX_ENTRIES:
            raise BadRequest("the queue is full")
        entry = _entry(waiting, content, tenant)
        if entry.ref in tenant.entries:
            raise BadRequest(f"message {waiting.key} is already here")
        tenant.entries[entry.ref] = entry
        count += 1
    return count


def _entry(waiting: Waiting, content: bytes, tenant: Tenant) -> Entry:
    message = Message(
        key=waiting.key,
        sender=waiting.sender,
        subject=waiting.subject,
        content=content,
        received_at=waiting.received_at,
        expires_at=waiting.received_at + tenant.lifetime,
    )
    failure = waiting.failure
    return Entry(
        message=message,
        recipient=waiting.recipient,
        next_attempt_at=waiting.next_attempt_at,
        connector_key=waiting.connector_key,
        attempts=1 if failure else 0,
        reason=failure.text() if failure else None,
        remote_host=(failure.host or None) if failure else None,
        remote_ip=(failure.ip or None) if failure else None,
        evidence_at=waiting.evidence_at,
    )
