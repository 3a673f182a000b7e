"""The message trace: what is known of every (message, recipient), newest first, as late as the tenant shows it.

An index by moment serves any window without looking at all mail; it is made anew only when mail was added.
"""

from __future__ import annotations

import bisect
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.sandbox.mail_system.model import Entry, Status
from bot.sandbox.mail_system.tenant import Ref, Tenant

Json = dict[str, Any]
WINDOW = timedelta(days=10)
REACH = timedelta(days=90)
USUAL = timedelta(hours=48)
FROM_IP = "203.0.113.10"
STATUSES = (
    "gettingStatus",
    "pending",
    "failed",
    "delivered",
    "expanded",
    "quarantined",
    "filteredAsSpam",
    "unknownFutureValue",
    "recalled",
)
_SHOWN = {Status.QUEUED: "pending", Status.DELIVERED: "delivered"}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a (message, recipient). `data`: names and values of the details."""

    at: datetime
    name: str
    description: str
    data: tuple[tuple[str, str], ...] = ()

    def xml(self) -> str:
        """The details as they stand in an answer."""
        inner = "".join(f'<MEP Name="{name}" String="{_escaped(value)}" />' for name, value in self.data)
        return f"<root>{inner}</root>"


class Trace:
    """Over a tenant. `lag`: how late a change of status shows; `appears_after`: how late a message shows at all."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.lag = timedelta(0)
        self.appears_after = timedelta(0)
        self._shown: dict[Ref, str] = {}
        self._keys: dict[str, str] = {}
        self._index: list[tuple[float, str, str]] = []

    def show_as(self, ref: Ref, status: str) -> None:
        """Whatever happens to it, the trace says this (`quarantined`, `recalled`, …)."""
        self._shown[ref] = status

    def window(self, since: datetime, until: datetime, now: datetime) -> Iterator[Entry]:
        """What was received between these (both included) and shows by now: newest first, then by recipient."""
        index, entries = self._indexed(), self._tenant.entries
        until = min(until, now - self.appears_after)
        start = bisect.bisect_left(index, (-until.timestamp(), "", ""))
        for moment, recipient, key in index[start:] if start else index:
            if -moment < since.timestamp():
                return
            yield entries[key, recipient]

    def status(self, entry: Entry, now: datetime) -> str:
        """As the trace shows it."""
        shown = self._shown.get(entry.ref)
        if shown is not None:
            return shown
        if entry.ended_at is not None and entry.ended_at + self.lag > now:
            return "pending"
        return _SHOWN.get(entry.status, "failed")

    def trace_id(self, key: str) -> str:
        """The message trace id (a GUID with dashes) of a message's key."""
        if len(key) == 32 and _is_hex(key):
            return f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}"
        found = str(uuid.uuid5(uuid.NAMESPACE_OID, key))
        self._keys[found] = key
        return found

    def find(self, trace_id: str, recipient: str) -> Entry | None:
        """By what an answer named it with; a GUID in any spelling."""
        try:
            plain = uuid.UUID(trace_id)
        except ValueError:
            return None
        key = self._keys.get(str(plain), plain.hex)
        return self._tenant.entries.get((key, recipient.lower()))

    def events(self, entry: Entry, now: datetime) -> list[Event]:
        """What happened to it as far as it shows, in order."""
        found = [self._received(entry)]
        if entry.status is Status.QUEUED and entry.evidence_at and entry.reason:
            found.append(Event(entry.evidence_at, "Defer", _reason(entry, entry.reason), _server(entry)))
        if entry.ended_at is not None and entry.ended_at + self.lag <= now:
            found.append(_end(entry, entry.ended_at))
        return found

    def _received(self, entry: Entry) -> Event:
        message = entry.message
        connector = self._tenant.connectors.get(entry.connector_key or "")
        data = [("ClientIP", FROM_IP)]
        if connector is not None:
            data.insert(0, ("ConnectorId", connector.name))
        return Event(message.received_at, "Receive", f"Message received by: {self._tenant.name}", tuple(data))

    def _indexed(self) -> list[tuple[float, str, str]]:
        entries = self._tenant.entries
        if len(self._index) != len(entries):
            self._index = sorted(
                (-e.message.received_at.timestamp(), e.recipient, e.message.key) for e in entries.values()
            )
        return self._index


def row(trace: Trace, entry: Entry, now: datetime) -> Json:
    """What both the Graph and the cmdlet say of one entry, under neutral names; moments as datetimes."""
    message = entry.message
    return {
        "id": trace.trace_id(message.key),
        "senderAddress": message.sender,
        "recipientAddress": entry.recipient,
        "messageId": f"<{message.key}@{message.sender.rpartition('@')[2]}>",
        "receivedDateTime": message.received_at,
        "subject": message.subject,
        "size": len(message.content),
        "fromIP": FROM_IP,
        "toIP": entry.remote_ip or "" if entry.ended_at else "",
        "status": trace.status(entry, now),
    }


def _end(entry: Entry, at: datetime) -> Event:
    if entry.status is Status.DELIVERED:
        where = f"Message transferred to: {entry.remote_host} ({entry.remote_ip})" if entry.remote_host else "Delivered"
        return Event(at, "Send external" if entry.remote_host else "Deliver", where, _server(entry))
    return Event(at, "Fail", _reason(entry, entry.reason or ""), _server(entry))


def _reason(entry: Entry, reason: str) -> str:
    """The last error detail in its wrapping."""
    message = reason.partition("[Message=")[2].partition("]")[0]
    at = entry.evidence_at
    last = f"{at.month}/{at.day}/{at.year} {at:%I:%M:%S %p}" if at else ""
    host, ip = entry.remote_host or "", entry.remote_ip or ""
    return f"Reason: [{{LED={reason}}};{{MSG={message}}};{{FQDN={host}}};{{IP={ip}}};{{LRT={last}}}]"


def _server(entry: Entry) -> tuple[tuple[str, str], ...]:
    return (("ServerHostName", entry.remote_host),) if entry.remote_host else ()


def _escaped(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)
