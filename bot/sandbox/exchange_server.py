"""A stand-in for an Exchange Server that runs mfi-exchange.ps1, over the sandbox's small mail system.

It writes the documents that the script writes, and obeys signed orders by the script's rules: signature, expiry, no
replay, known steps only, whole messages only. It has its own code for all of them, so that a test compares two readings
of the same contract.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.core.clock import Clock
from bot.sandbox.mail_system.model import BadRequest, DomainType, Entry, Status, TenantConnector
from bot.sandbox.mail_system.tenant import Tenant

Json = dict[str, Any]
REASON = "Removed by an administrator"
_TYPES = {
    "Authoritative": DomainType.AUTHORITATIVE,
    "InternalRelay": DomainType.INTERNAL_RELAY,
    "ExternalRelay": DomainType.EXTERNAL_RELAY,
}
_WORDS = {kind: word for word, kind in _TYPES.items()}
_LEVELS = {"encryption": "EncryptionOnly", "certificate": "CertificateValidation", "domain": "DomainValidation"}
_STEPS = ("reject_messages", "set_connector_enabled", "set_domain_type", "retry_queue")
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


class SandboxExchangeServer:
    """One server. `key` None: it runs without -KeyFile and only writes documents. `directory`: with -DirectoryHours.

    As a context manager it runs like the scheduled task: it looks for orders every `pause` seconds and writes a
    document after each, and at least every `interval` seconds. Without, call `write_document` and `obey`.
    """

    def __init__(
        self,
        tenant: Tenant,
        drop: Path,
        *,
        clock: Clock,
        key: bytes | None = None,
        directory: bool = False,
        server: str = "EX01",
        pause: float = 0.05,
        interval: float = 1.0,
    ) -> None:
        self.tenant = tenant
        self.drop = drop
        self.faults = ScriptFaults()
        self.done: set[str] = set()
        self._clock = clock
        self._key = key
        self._directory = directory
        self._server = server
        self._pause = pause
        self._interval = interval
        self._numbers: dict[tuple[str, str], int] = {}
        self._queues: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SandboxExchangeServer:
        self.run_once()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        while True:
            await asyncio.sleep(self._pause)
            if self.obey() or loop.time() >= due:
                self.write_document()
                due = loop.time() + self._interval

    def run_once(self) -> None:
        """One run of the script: orders, then a document."""
        for folder in (self.drop / "orders", self.drop / "results"):
            folder.mkdir(parents=True, exist_ok=True)
        self.obey()
        self.write_document()

    def guid(self, connector_key: str) -> str:
        """A connector's Guid."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, connector_key))

    def identity(self, message_key: str, connector_key: str | None) -> str:
        """The full identity of a message's copy in one queue."""
        number = self._numbers.setdefault((message_key, connector_key or ""), 7_864_320 + len(self._numbers))
        return f"{self._queue(connector_key)}\\{number}"

    # Documents

    def write_document(self) -> Path | None:
        """Write the newest state, as the script does; returns the file."""
        if self.faults.silent:
            return None
        started = self._clock().astimezone(UTC)
        path = self.drop / f"mfi-snapshot-{started:%Y%m%dT%H%M%S}{started.microsecond // 1000:03}Z"
        content = json.dumps(self.document(started)).encode()
        path.with_suffix(".tmp").write_bytes(content)
        if self._key is not None:
            path.with_suffix(".sig").write_text(self._mac(content))
        path.with_suffix(".tmp").replace(path.with_suffix(".json"))
        for old in sorted(self.drop.glob("mfi-snapshot-*.json"))[:-5]:
            old.unlink()
            old.with_suffix(".sig").unlink(missing_ok=True)
        return path.with_suffix(".json")

    def document(self, started: datetime) -> Json:
        """The document's JSON."""
        listed, queues = self._listing()
        parts: dict[str, list[Json]] = {
            "queues": queues,
            "messages": listed,
            "connectors": [self._connector(one) for one in self.tenant.connectors.values()],
            "domains": [
                {"DomainName": d.name, "DomainType": _WORDS[d.type], "MatchSubDomains": d.match_subdomains, "Guid": ""}
                for d in self.tenant.domains.values()
            ],
        }
        errors = [{"part": part, "where": "", "text": text} for part, text in self.faults.unreadable.items()]
        truncated = not all(queue["Complete"] for queue in queues)
        found: Json = {
            "format": "mfi-exchange",
            "version": self.faults.version,
            "script": "1.0.0",
            "server": self._server,
            "acts": self._key is not None,
            "started_at": _iso(started),
            "finished_at": _iso(started),
            "servers": [self._server],
            **parts,
            "counts": {name: len(rows) for name, rows in parts.items()} | {"servers": 1},
            "errors": errors,
            "truncated": truncated,
            "complete": not (errors or truncated),
        }
        if self._directory and "directory" not in self.faults.unreadable:
            addresses = sorted(a for held in self.tenant.directory.values() for a in held)
            found["directory"] = {
                "read_at": _iso(started),
                "complete": True,
                "count": len(addresses),
                "domains": sorted(self.tenant.directory),
                "addresses": addresses,
            }
        return found

    def _listing(self) -> tuple[list[Json], list[Json]]:
        messages: dict[str, Json] = {}
        counts: dict[str, int] = {}
        errors: dict[str, tuple[Entry, str | None]] = {}
        for entry in self.tenant.queued():
            identity = self.identity(entry.message.key, entry.connector_key)
            queue = identity.rpartition("\\")[0]
            if identity not in messages:
                counts[queue] = counts.get(queue, 0) + 1
                messages[identity] = _message(identity, queue, entry)
            messages[identity]["Recipients"].append(_recipient(entry))
            if entry.reason or queue not in errors:
                errors[queue] = (entry, _last_error(entry))
        listed = list(messages.values())[: self.faults.max_messages]
        shown: dict[str, int] = {}
        for message in listed:
            shown[message["Queue"]] = shown.get(message["Queue"], 0) + 1
        queues = [self._queue_row(q, n, shown.get(q, 0), *errors[q]) for q, n in counts.items()]
        return listed, queues

    def _queue_row(self, queue: str, count: int, shown: int, entry: Entry, error: str | None) -> Json:
        carrier = self.tenant.connectors.get(entry.connector_key or "")
        hosts = ",".join(carrier.smart_hosts) if carrier else ""
        kind = "DnsConnectorDelivery" if carrier and carrier.use_mx else "SmartHostConnectorDelivery"
        return {
            "Identity": queue,
            "DeliveryType": kind if carrier else "Unreachable",
            "Status": "Retry" if error else "Ready",
            "MessageCount": count,
            "NextHopDomain": hosts or "Unreachable",
            "NextHopCategory": "External",
            "NextHopConnector": self.guid(carrier.key) if carrier else _NO_CONNECTOR,
            "TlsDomain": "",
            "LastError": error or "",
            "LastRetryTime": _iso(entry.evidence_at) if entry.evidence_at else None,
            "NextRetryTime": _iso(entry.next_attempt_at),
            "RetryCount": str(entry.attempts),
            "Listed": shown,
            "Complete": shown == count,
        }

    def _queue(self, connector_key: str | None) -> str:
        if connector_key is None:
            return f"{self._server}\\Unreachable"
        return f"{self._server}\\{self._queues.setdefault(connector_key, 15 + len(self._queues))}"

    def _connector(self, one: TenantConnector) -> Json:
        return {
            "Name": one.name,
            "Guid": self.guid(one.key),
            "Enabled": one.enabled,
            "AddressSpaces": [f"SMTP:{domain};1" for domain in one.recipient_domains],
            "SmartHosts": [f"[{h}]" if h.replace(".", "").isdigit() else h for h in one.smart_hosts],
            "DNSRoutingEnabled": one.use_mx,
            "Port": str(one.port or 25),
            "RequireTLS": one.tls_setting in _LEVELS,
            "IgnoreSTARTTLS": one.tls_setting == "none",
            "TlsAuthLevel": _LEVELS.get(one.tls_setting, ""),
            "TlsDomain": one.tls_domain or "",
            "SourceTransportServers": [self._server],
            "WhenChangedUTC": None,
        }

    # Orders

    def obey(self) -> int:
        """Carry out the orders that lie there; returns how many were looked at."""
        if self._key is None or self.faults.deaf:
            return 0
        looked_at = 0
        for path in sorted((self.drop / "orders").glob("*.order")):
            if re.fullmatch(r"[0-9a-f]{32}", path.stem):
                looked_at += 1
                content = path.read_bytes()
                path.unlink()
                result = self._carried_out(path.stem, content)
                if not self.faults.dies_while_acting:
                    self._write_result(path.stem, result)
        return looked_at

    def _carried_out(self, order_id: str, content: bytes) -> Json:
        started = _iso(self._clock())
        order, refused = self._order(order_id, content)
        steps: list[Json] = []
        if order is not None:
            self.done.add(order_id)
            for step in order["steps"]:
                stopped = any(before["outcome"] != "done" for before in steps)
                outcome = _outcome("not_begun", "a step before it failed") if stopped else self._step(step)
                steps.append(outcome | {"do": step["do"]})
        return {
            "kind": "result",
            "version": 1,
            "order": order_id,
            "server": self._server,
            "started_at": started,
            "accepted": order is not None,
            "refused": refused,
            "steps": steps,
            "finished_at": _iso(self._clock()),
        }

    def _order(self, order_id: str, content: bytes) -> tuple[Json | None, str]:
        head, _, body = content.partition(b"\n")
        if not re.fullmatch(rb"hmac-sha256 [0-9a-f]{64}", head):
            return None, "it has no signature"
        if not hmac.compare_digest(head[12:].decode(), self._mac(body)):
            return None, "its signature is wrong: both sides need the same key"
        order: Json = json.loads(body)
        now = self._clock()
        issued, expires = (datetime.fromisoformat(order[name]) for name in ("issued_at", "expires_at"))
        if order.get("kind") != "order" or order.get("version") != 1 or order.get("id") != order_id:
            return None, "it is another order than its name says"
        if expires <= now:
            return None, "it has expired: compare the clocks of both machines"
        if issued > now + timedelta(minutes=5) or expires - issued > timedelta(minutes=15):
            return None, "its dates make no sense: compare the clocks of both machines"
        if order_id in self.done:
            return None, "it was done before"
        if not all(step.get("do") in _STEPS for step in order["steps"]):
            return None, "it holds a step that this script does not know"
        return order, ""

    def _step(self, step: Json) -> Json:
        try:
            if step["do"] == "reject_messages":
                return self._reject(step["messages"])
            if step["do"] == "set_domain_type":
                self.tenant.set_domain_type(step["domain"], _TYPES[step["type"]])
                return _outcome("done", f"DomainType is {step['type']}")
            if step["do"] == "set_connector_enabled":
                key = self._key_of(step["connector"])
                self.tenant.set_connector_enabled(key, step["enabled"], self._clock())
                return _outcome("done", f"Enabled is {step['enabled']}")
            keys = {q: k for k in self._queues for q in (self._queue(k),)}
            for queue in step["queues"]:
                self.tenant.retry(keys[queue], self._clock())
            return _outcome("done", f"{len(step['queues'])} queues are tried again")
        except BadRequest as error:
            return _outcome("failed", str(error))

    def _key_of(self, guid: str) -> str:
        return next((key for key in self.tenant.connectors if self.guid(key) == guid), "")

    def _reject(self, wanted: list[Json]) -> Json:
        rows = [one | dict(zip(("outcome", "text"), self._rejected(one), strict=True)) for one in wanted]
        left = sum(row["outcome"] not in ("rejected", "gone", "pending") for row in rows)
        word = "done" if not left else "partly" if left < len(rows) else "failed"
        return _outcome(word, f"{left} of {len(rows)} messages were left alone") | {"messages": rows}

    def _rejected(self, one: Json) -> tuple[str, str]:
        copy = [e for e in self._copies(one["identity"]) if e.status is Status.QUEUED]
        if not copy:
            return "gone", ""
        received = datetime.fromisoformat(one["received_at"])
        if abs(copy[0].message.received_at - received) > timedelta(seconds=2):
            return "refused", "it is another message by now"
        if not {e.recipient for e in copy} <= set(one["recipients"]):
            return "refused", "somebody else waits for it, who is not in the order"
        self.tenant.reject([e.ref for e in copy], REASON, self._clock())
        still = any(e.status is Status.QUEUED for e in self._copies(one["identity"]))
        return ("pending", "it is being delivered right now") if still else ("rejected", "")

    def _copies(self, identity: str) -> Iterator[Entry]:
        for entry in self.tenant.entries.values():
            if self.identity(entry.message.key, entry.connector_key) == identity:
                yield entry

    def _write_result(self, order_id: str, result: Json) -> None:
        body = json.dumps(result).encode()
        path = self.drop / "results" / order_id
        path.with_suffix(".tmp").write_bytes(f"hmac-sha256 {self._mac(body)}\n".encode() + body)
        path.with_suffix(".tmp").replace(path.with_suffix(".result"))

    def _mac(self, content: bytes) -> str:
        return hmac.new(self._key or b"", content, hashlib.sha256).hexdigest()


def _message(identity: str, queue: str, entry: Entry) -> Json:
    return {
        "Identity": identity,
        "Queue": queue,
        "FromAddress": entry.message.sender or "<>",
        "Recipients": [],
        "InternetMessageId": f"<{entry.message.key}@sandbox.test>",
        "Size": f"{len(entry.message.content) / 1024:.3g} KB ({len(entry.message.content):,} bytes)",
        "Status": "Retry" if entry.reason else "Ready",
        "DateReceived": _iso(entry.message.received_at),
        "ExpirationTime": _iso(entry.expires_at),
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


def _outcome(outcome: str, text: str) -> Json:
    return {"outcome": outcome, "text": text}


def _iso(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
