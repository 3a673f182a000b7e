"""Queues and their messages of a document, as facts: one per message and recipient that waits.

Key: the message's full identity (Server\\Queue\\number), by which alone it can be acted on. The reason is the
recipient's last error, else the message's, else its queue's. Raises ValueError for a row that can't be used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from bot.backends.exchange_server.rows import Json, moment, needed, needed_moment, rows, text, whole
from knowledge.diagnose import diagnose
from storage.records import MessageFacts

LIFETIME = timedelta(days=2)
"""How long Exchange Server retries by default; each message tells its own end."""
NEVER = datetime(2199, 1, 1, tzinfo=UTC)
SHADOW = "shadowredundancy"
UNREACHABLE = "unreachable"
_MOST_REASON = 2000
_LONGEST_ADDRESS = 320


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """One queue. `connector_key`: the send connector that empties it, if it is one that we know."""

    identity: str
    row: Json
    connector_key: str | None

    @property
    def delivery(self) -> str:
        """How it is emptied, lower case: smarthostconnectordelivery, unreachable, shadowredundancy, …"""
        return text(self.row, "DeliveryType", 60).lower()

    @property
    def next_hops(self) -> tuple[str, ...]:
        """The smart hosts of its connector, as the queue names them; () where it isn't emptied by way of some."""
        if self.delivery != "smarthostconnectordelivery":
            return ()
        found = text(self.row, "NextHopDomain").replace(";", ",").split(",")
        return tuple(host.strip().strip("[]").lower() for host in found if host.strip())


@dataclass(slots=True)
class Listing:
    """Everything that waits, by (key, recipient), and what is odd."""

    queues: dict[str, Queued] = field(default_factory=dict)
    messages: dict[tuple[str, str], MessageFacts] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def recipients(self) -> dict[str, set[str]]:
        """Who still waits, by message."""
        found: dict[str, set[str]] = {}
        for key, recipient in self.messages:
            found.setdefault(key, set()).add(recipient)
        return found

    def of_connector(self, key: str) -> list[Queued]:
        """The queues that a connector empties."""
        return [queue for queue in self.queues.values() if queue.connector_key == key]


def read_queues(backend: str, queues: Iterable[Json], messages: Iterable[Json], known: Collection[str]) -> Listing:
    """The listing; `known`: keys of the send connectors. Copies kept for redundancy are not mail that waits."""
    listing = Listing()
    for row in queues:
        identity = needed(row, "Identity", 400)
        hop = text(row, "NextHopConnector", 60).strip("{}").lower()
        listing.queues[identity.lower()] = Queued(
            identity=identity, row=row, connector_key=hop if hop in known else None
        )
    for row in messages:
        for facts in _facts(backend, row, listing.queues):
            listing.messages[facts.key, facts.recipient] = facts
    listing.notes = list(_notes(listing, messages))
    return listing


def _facts(backend: str, row: Json, queues: dict[str, Queued]) -> Iterator[MessageFacts]:
    key = needed(row, "Identity", 600)
    queue = queues.get((text(row, "Queue", 400) or key.rpartition("\\")[0]).lower())
    if queue is not None and queue.delivery == SHADOW:
        return
    received = needed_moment(row, "DateReceived")
    expires = _expiry(row) or received + LIFETIME
    sender = _address(text(row, "FromAddress"))
    waiting = [one for one in rows(row, "Recipients") if text(one, "Status", 40).lower() != "complete"]
    for one in waiting:
        recipient = _address(needed(one, "Address"))
        reason = _reason(one, row, queue)
        why = _meaning(reason) if reason else _Meaning()
        hops = queue.next_hops if queue else ()
        yield MessageFacts(
            backend=backend,
            key=key,
            recipient=recipient,
            sender=sender,
            received_at=received,
            expires_at=expires,
            size=whole(row, "Size"),
            code=why.code,
            reason=reason,
            remote_host=why.host or (hops[0] if reason and len(hops) == 1 else None),
            remote_ip=why.ip,
            evidence_at=moment(queue.row, "LastRetryTime") if reason and queue else None,
            connector_key=queue.connector_key if queue else None,
        )


def _expiry(row: Json) -> datetime | None:
    """When it is given up; mail that Exchange never gives up (DateTime.MaxValue) has a far end."""
    return NEVER if text(row, "ExpirationTime", 60).startswith("9999-12-31") else moment(row, "ExpirationTime")


def _address(found: str) -> str:
    return "" if found == "<>" else found.lower()[:_LONGEST_ADDRESS]


def _reason(recipient: Json, message: Json, queue: Queued | None) -> str | None:
    said = (text(row, "LastError", _MOST_REASON) for row in (recipient, message, queue.row if queue else {}))
    return next(filter(None, said), None)


@dataclass(frozen=True, slots=True)
class _Meaning:
    code: str | None = None
    host: str | None = None
    ip: str | None = None


@lru_cache(maxsize=4096)
def _meaning(reason: str) -> _Meaning:
    """Reasons repeat: thousands of messages wait for the same one."""
    found = diagnose(reason)
    return _Meaning(found.code, found.smart_host, found.ip)


def _notes(listing: Listing, messages: Iterable[Json]) -> Iterator[str]:
    for queue in listing.queues.values():
        count = whole(queue.row, "MessageCount") or 0
        if queue.delivery == UNREACHABLE and count:
            yield f"{count} messages are in the queue {queue.identity}: no send connector carries them"
        if text(queue.row, "Status", 40).lower() == "suspended":
            yield f"queue {queue.identity} is suspended: nothing in it is tried until somebody resumes it"
    if held := sum(text(row, "Status", 40).lower() == "suspended" for row in messages):
        yield f"{held} messages are suspended: Exchange doesn't try them"
