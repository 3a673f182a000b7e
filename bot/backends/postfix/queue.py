"""`postqueue -j`, line by line, as messages: one for each recipient that still waits. Pure.

A queue id is used again by Postfix, so a message's key is host, queue id and arrival. Members that we don't know are
ignored; a line that isn't a message is counted, not guessed at. The same message may be listed twice while it moves
from one queue to another: it counts once, and the listing that says why it waits wins. Mail on hold waits for a person,
not for a next hop, and never bounces: it is only counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from bot.backends.ports import MessageRef
from knowledge.diagnose import diagnose
from storage.records import MessageFacts

QUEUE_ID = re.compile(r"[0-9A-Za-z]{5,32}")
ON_HOLD = "hold"
"""The queue of mail that is neither tried nor returned until somebody releases it."""
MOST_REASON = 1000
MOST_RECIPIENTS = 100_000
_ADDRESS_LENGTH = 320
_AGAIN = "delivery temporarily suspended: "
_LATEST = 253402300799 - 400 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTerms:
    """What turns a listing into messages: whose queue it is, how long mail lives, and who carries which recipient.

    `waits_for`: from a reason and the key of the carrier to the key of what really is waited for.
    """

    backend: str
    host: str
    lifetime: timedelta
    bounce_lifetime: timedelta
    connector_key: Callable[[str], str | None]
    waits_for: Callable[[str, str | None], str | None] = lambda _reason, own: own


@dataclass(frozen=True, slots=True)
class _Head:
    """What all recipients of a message share."""

    key: str
    sender: str
    received_at: datetime
    expires_at: datetime
    size: int | None


@dataclass(slots=True)
class Listing:
    """Messages by (key, recipient), gathered line by line. `before`: an earlier listing, whose equal messages are
    shared with it: a long queue that hardly changes is not held twice.
    """

    terms: QueueTerms
    before: Mapping[tuple[str, str], MessageFacts] = field(default_factory=dict)
    messages: dict[tuple[str, str], MessageFacts] = field(default_factory=dict)
    by_queue: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Take these lines in."""
        for line in lines:
            if not line.strip():
                continue
            try:
                self._take(json.loads(line.decode("utf-8", "replace")))
            except (ValueError, TypeError, KeyError, RecursionError):
                self.unreadable += 1

    def _take(self, row: Any) -> None:
        queue_id, arrived = _text(row["queue_id"]), row["arrival_time"]
        if not QUEUE_ID.fullmatch(queue_id) or not isinstance(arrived, int) or not 0 < arrived < _LATEST:
            raise ValueError("no message")
        recipients, sender = row["recipients"], _sender(_text(row.get("sender", "")))
        if not isinstance(recipients, list) or len(recipients) > MOST_RECIPIENTS:
            raise ValueError("no recipients")
        received = _moment(arrived)
        lifetime = self.terms.lifetime if sender else min(self.terms.bounce_lifetime, self.terms.lifetime)
        size, key = row.get("message_size"), message_key(self.terms.host, queue_id, arrived)
        known_size = size if isinstance(size, int) and 0 <= size < 1 << 62 else None
        head = _Head(key, sender, received, _later(received, lifetime), known_size)
        made = [self._message(head, entry) for entry in recipients]
        queue = _text(row.get("queue_name", ""))[:20]
        self.by_queue[queue] += 1
        for message in made if queue != ON_HOLD else ():
            ref = (key, message.recipient)
            listed, before = self.messages.get(ref), self.before.get(ref)
            if listed is None or listed.reason is None:
                self.messages[ref] = before if before is not None and before == message else message

    def _message(self, head: _Head, entry: Any) -> MessageFacts:
        recipient = _text(entry["address"]).lower()
        if not 0 < len(recipient) <= _ADDRESS_LENGTH:
            raise ValueError("no address")
        reason = entry.get("delay_reason")
        why = self._why((head.key, recipient), reason) if isinstance(reason, str) and reason.strip() else Meaning()
        own = self.terms.connector_key(recipient)
        return MessageFacts(
            backend=self.terms.backend,
            key=head.key,
            recipient=recipient,
            sender=head.sender,
            received_at=head.received_at,
            expires_at=head.expires_at,
            size=head.size,
            code=why.code,
            reason=why.reason,
            remote_host=why.host,
            remote_ip=why.ip,
            connector_key=self.terms.waits_for(why.reason, own) if why.reason else own,
        )

    def _why(self, ref: tuple[str, str], reason: str) -> Meaning:
        """A reason that names its recipient is no other message's: what it meant the last time is known by that one."""
        said, before = tidy(_text(reason)), self.before.get(ref)
        if before is not None and before.reason == said:
            return Meaning(said, before.code, before.remote_host, before.remote_ip)
        return meaning(said)


@dataclass(frozen=True, slots=True)
class Meaning:
    """A reason and what it says."""

    reason: str | None = None
    code: str | None = None
    host: str | None = None
    ip: str | None = None


@lru_cache(maxsize=4096)
def meaning(reason: str) -> Meaning:
    """Reasons repeat: thousands of messages wait for the same one."""
    found = diagnose(reason)
    return Meaning(reason, found.code, found.smart_host, found.ip)


@lru_cache(maxsize=65536)
def _moment(arrived: int) -> datetime:
    return datetime.fromtimestamp(arrived, UTC)


@lru_cache(maxsize=65536)
def _later(received: datetime, lifetime: timedelta) -> datetime:
    return received + lifetime


def tidy(reason: str) -> str:
    """Without what the queue manager puts before a reason that it repeats (no new attempt), and not too long."""
    return " ".join(reason.split()).removeprefix(_AGAIN)[:MOST_REASON]


def message_key(host: str, queue_id: str, arrived: int) -> str:
    """A message's key."""
    return f"{host}/{queue_id}/{arrived}"


def queue_id_of(key: str) -> str:
    """The queue id in a key; ValueError where there is none."""
    parts = key.rsplit("/", 2)
    if len(parts) != 3 or not QUEUE_ID.fullmatch(parts[1]):
        raise ValueError(f"{key[:80]!r} is no message of a Postfix queue")
    return parts[1]


def ref_of(message: MessageFacts) -> MessageRef:
    """How the ports name it."""
    return MessageRef(key=message.key, recipient=message.recipient)


def _sender(text: str) -> str:
    """Bounces have the empty sender; the listing writes MAILER-DAEMON."""
    return "" if text.upper() == "MAILER-DAEMON" else text[:_ADDRESS_LENGTH]


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError("no text")
    # JSON can hold halves of characters, which no database takes: one such address must not cost the whole list.
    return found if found.isascii() else found.encode("utf-8", "replace").decode("utf-8")
