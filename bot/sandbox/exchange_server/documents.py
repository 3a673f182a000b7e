"""The documents that the script writes, from what the sandbox's mail system holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.sandbox.exchange_server.names import Names, iso
from bot.sandbox.mail_system.model import DomainType, Entry, TenantConnector
from bot.sandbox.mail_system.tenant import Tenant

Json = dict[str, Any]
TYPES = {
    "Authoritative": DomainType.AUTHORITATIVE,
    "InternalRelay": DomainType.INTERNAL_RELAY,
    "ExternalRelay": DomainType.EXTERNAL_RELAY,
}
"""How Exchange writes a domain's type."""
_WORDS = {kind: word for word, kind in TYPES.items()}
_LEVELS = {"encryption": "EncryptionOnly", "certificate": "CertificateValidation", "domain": "DomainValidation"}
_NO_CONNECTOR = "00000000-0000-0000-0000-000000000000"


@dataclass(slots=True)
class ScriptFaults:
    """What goes wrong, until it is cleared. `max_messages`: the script's -MaxMessages."""

    deaf: bool = False
    """Orders are not looked at."""
    dies_while_acting: bool = False
    """Orders are taken and carried out, but no result is ever written."""
    silent: bool = False
    """No documents are written."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Part → what the script could not read of it."""
    max_messages: int = 100_000
    version: int = 1


class Documents:
    """Writes documents. `acts`: the script runs with -KeyFile; `directory`: with -DirectoryHours."""

    def __init__(self, tenant: Tenant, names: Names, faults: ScriptFaults, *, acts: bool, directory: bool) -> None:
        self._tenant = tenant
        self._names = names
        self._faults = faults
        self._acts = acts
        self._directory = directory

    def document(self, started: datetime) -> Json:
        """The document's JSON."""
        listed, queues = self._listing()
        parts: dict[str, list[Json]] = {
            "queues": queues,
            "messages": listed,
            "connectors": [self._connector(one) for one in self._tenant.connectors.values()],
            "domains": [
                {"DomainName": d.name, "DomainType": _WORDS[d.type], "MatchSubDomains": d.match_subdomains, "Guid": ""}
                for d in self._tenant.domains.values()
            ],
        }
        errors = [{"part": part, "where": "", "text": text} for part, text in self._faults.unreadable.items()]
        truncated = not all(queue["Complete"] for queue in queues)
        found: Json = {
            "format": "mfi-exchange",
            "version": self._faults.version,
            "script": "1.0.0",
            "server": self._names.server,
            "acts": self._acts,
            "started_at": iso(started),
            "finished_at": iso(started),
            "servers": [self._names.server],
            **parts,
            "counts": {name: len(rows) for name, rows in parts.items()} | {"servers": 1},
            "errors": errors,
            "truncated": truncated,
            "complete": not (errors or truncated),
        }
        if self._directory and "directory" not in self._faults.unreadable:
            addresses = sorted(a for held in self._tenant.directory.values() for a in held)
            found["directory"] = {
                "read_at": iso(started),
                "complete": True,
                "count": len(addresses),
                "domains": sorted(self._tenant.directory),
                "addresses": addresses,
            }
        return found

    def _listing(self) -> tuple[list[Json], list[Json]]:
        messages: dict[str, Json] = {}
        counts: dict[str, int] = {}
        errors: dict[str, tuple[Entry, str | None]] = {}
        for entry in self._tenant.queued():
            identity = self._names.identity(entry.message.key, entry.connector_key)
            queue = identity.rpartition("\\")[0]
            if identity not in messages:
                counts[queue] = counts.get(queue, 0) + 1
                messages[identity] = _message(identity, queue, entry)
            messages[identity]["Recipients"].append(_recipient(entry))
            if entry.reason or queue not in errors:
                errors[queue] = (entry, _last_error(entry))
        listed = list(messages.values())[: self._faults.max_messages]
        shown: dict[str, int] = {}
        for message in listed:
            shown[message["Queue"]] = shown.get(message["Queue"], 0) + 1
        queues = [self._queue_row(q, n, shown.get(q, 0), *errors[q]) for q, n in counts.items()]
        return listed, queues

    def _queue_row(self, queue: str, count: int, shown: int, entry: Entry, error: str | None) -> Json:
        carrier = self._tenant.connectors.get(entry.connector_key or "")
        hosts = ",".join(carrier.smart_hosts) if carrier else ""
        kind = "DnsConnectorDelivery" if carrier and carrier.use_mx else "SmartHostConnectorDelivery"
        return {
            "Identity": queue,
            "DeliveryType": kind if carrier else "Unreachable",
            "Status": "Retry" if error else "Ready",
            "MessageCount": count,
            "NextHopDomain": hosts or "Unreachable",
            "NextHopCategory": "External",
            "NextHopConnector": self._names.guid(carrier.key) if carrier else _NO_CONNECTOR,
            "TlsDomain": "",
            "LastError": error or "",
            "LastRetryTime": iso(entry.evidence_at) if entry.evidence_at else None,
            "NextRetryTime": iso(entry.next_attempt_at),
            "RetryCount": str(entry.attempts),
            "Listed": shown,
            "Complete": shown == count,
        }

    def _connector(self, one: TenantConnector) -> Json:
        return {
            "Name": one.name,
            "Guid": self._names.guid(one.key),
            "Enabled": one.enabled,
            "AddressSpaces": [f"SMTP:{domain};1" for domain in one.recipient_domains],
            "SmartHosts": [f"[{h}]" if h.replace(".", "").isdigit() else h for h in one.smart_hosts],
            "DNSRoutingEnabled": one.use_mx,
            "Port": str(one.port or 25),
            "RequireTLS": one.tls_setting in _LEVELS,
            "IgnoreSTARTTLS": one.tls_setting == "none",
            "TlsAuthLevel": _LEVELS.get(one.tls_setting, ""),
            "TlsDomain": one.tls_domain or "",
            "SourceTransportServers": [self._names.server],
            "WhenChangedUTC": None,
        }


def _message(identity: str, queue: str, entry: Entry) -> Json:
    return {
        "Identity": identity,
        "Queue": queue,
        "FromAddress": entry.message.sender or "<>",
        "Recipients": [],
        "InternetMessageId": f"<{entry.message.key}@sandbox.test>",
        "Size": f"{len(entry.message.content) / 1024:.3g} KB ({len(entry.message.content):,} bytes)",
        "Status": "Retry" if entry.reason else "Ready",
        "DateReceived": iso(entry.message.received_at),
        "ExpirationTime": iso(entry.expires_at),
        "LastError": "",
        "RetryCount": str(entry.attempts),
    }


def _recipient(entry: Entry) -> Json:
    return {
        "Address": entry.recipient,
        "Type": "External",
        "Status": "Retry" if entry.reason else "Ready",
        "LastError": _last_error(entry) or "",
    }


def _last_error(entry: Entry) -> str | None:
    if entry.reason is None:
        return None
    at = f"{entry.evidence_at:%m/%d/%Y %I:%M:%S %p}" if entry.evidence_at else ""
    return f"[{{LRT={at}}};{{LED={entry.reason}}};{{FQDN={entry.remote_host or ''}}};{{IP={entry.remote_ip or ''}}}]"
