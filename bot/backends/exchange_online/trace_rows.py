"""Rows and events of the message trace, from Graph's JSON and from the cmdlets' rows. Pure.

One row per message and recipient. The same pair may come twice, on two pages: it counts once. A row that can't be read
is counted, so that nobody takes the list for a whole one, and who may be behind it is remembered.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bot.backends.exchange_online.rows import Json, moment, number, text, trace_id
from bot.backends.ports import Unreachable
from storage.records import MessageStatus

Ref = tuple[str, str]
"""(trace id, recipient in small letters)"""
Whose = tuple[str | None, str | None]
"""What can be told of a row that can't be read: as Ref, None for what can't even be told."""

PENDING = "pending"
UPDATING = "gettingStatus"
"""As it is asked for: its status is being looked up, so it may wait as well as have ended."""
FAILED = "failed"
DELIVERED = "delivered"
ENDS: Mapping[str, MessageStatus] = {
    PENDING: MessageStatus.QUEUED,
    UPDATING.lower(): MessageStatus.QUEUED,
    DELIVERED: MessageStatus.DELIVERED,
    "filteredasspam": MessageStatus.DELIVERED,
    FAILED: MessageStatus.REJECTED,
    "expanded": MessageStatus.GONE,
    "resolved": MessageStatus.GONE,
    "quarantined": MessageStatus.GONE,
    "recalled": MessageStatus.GONE,
}
"""What a status means for mail that waited. Spam was delivered: into the junk folder. Failed: expired or rejected."""
MAX_DATA = 64 * 1024
_MEP = re.compile(r"<MEP\s{1,9}Name=\"([^\"<>&]{1,80})\"\s{1,9}(?:String|Integer|Long)=\"([^\"<>]{0,2000})\"\s{0,9}/>")
_PLAIN = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&"}
_ENTITY = re.compile(r"&(lt|gt|quot|apos|amp);")


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One message for one recipient. `status` in small letters, as the service has it: also one that we don't know."""

    key: str
    recipient: str
    sender: str
    received_at: datetime
    status: str
    size: int | None

    @property
    def ref(self) -> Ref:
        """What it is known by."""
        return self.key, self.recipient

    @property
    def ending(self) -> MessageStatus:
        """What the status means; one that we don't know: it no longer waits, and nobody knows more."""
        return ENDS.get(self.status, MessageStatus.GONE)


@dataclass(slots=True)
class Listing:
    """All pages of a listing. `skipped`: rows that can't be read; `unreadable`: whose they are."""

    rows: dict[Ref, TraceRow] = field(default_factory=dict)
    unreadable: set[Whose] = field(default_factory=set)
    skipped: int = 0
    pages: int = 0

    @property
    def whole(self) -> bool:
        """May one conclude something from a message not being in it?"""
        return not self.skipped

    def take(self, page: Iterable[TraceRow | Whose]) -> None:
        """Add a page's rows; the first one of a pair counts."""
        for row in page:
            if isinstance(row, TraceRow):
                self.rows.setdefault(row.ref, row)
            else:
                self.skipped += 1
                self.unreadable.add(row)
        self.pages += 1

    def add(self, other: Listing, wanted: Iterable[Ref]) -> None:
        """Add those rows of another listing, and what can't be read in it."""
        self.rows |= {ref: other.rows[ref] for ref in wanted if ref in other.rows}
        self.unreadable |= other.unreadable
        self.skipped += other.skipped
        self.pages += other.pages

    def checked(self) -> Listing:
        """Itself. Raises Unreachable where less of it can be read than can't: then it says nothing about what waits."""
        if self.skipped > len(self.rows):
            raise Unreachable("the message trace gave rows that can't be read; it is read again later")
        return self

    def may_hide(self, ref: Ref) -> bool:
        """May this message be one of the rows that can't be read?"""
        key, recipient = ref
        return not self.unreadable.isdisjoint(((key, recipient), (key, None), (None, recipient), (None, None)))


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a message on its way to one recipient. `name` in small letters."""

    at: datetime
    name: str
    description: str
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Columns:
    """What one kind of row calls its fields."""

    key: str
    recipient: str
    sender: str
    received: str
    status: str
    size: str


_GRAPH = _Columns("id", "recipientAddress", "senderAddress", "receivedDateTime", "status", "size")
_CMDLET = _Columns("MessageTraceId", "RecipientAddress", "SenderAddress", "Received", "Status", "Size")


def graph_rows(rows: Iterable[Json]) -> list[TraceRow | Whose]:
    """Graph's rows; of each that can't be read, whose it is."""
    return [_row(row, _GRAPH) for row in rows]


def cmdlet_rows(rows: Iterable[Json]) -> list[TraceRow | Whose]:
    """The rows of Get-MessageTraceV2; of each that can't be read, whose it is."""
    return [_row(row, _CMDLET) for row in rows]


def _row(row: Json, columns: _Columns) -> TraceRow | Whose:
    try:
        to, state = text(row, columns.recipient, 500), text(row, columns.status, 60)
        if to is None or state is None:
            return _whose(row, columns)
        return TraceRow(
            key=trace_id(row.get(columns.key)),
            recipient=to.lower(),
            sender=sys.intern((text(row, columns.sender, 500) or "<>").lower()),
            received_at=moment(row.get(columns.received), columns.received),
            status=sys.intern(state.lower()),
            size=number(row, columns.size),
        )
    except ValueError:
        return _whose(row, columns)


def _whose(row: Json, columns: _Columns) -> Whose:
    key: str | None = None
    to: str | None = None
    with suppress(ValueError):
        key = trace_id(row.get(columns.key))
    with suppress(ValueError):
        to = text(row, columns.recipient, 500)
    return key, to.lower() if to else None


def graph_events(rows: Iterable[Json]) -> tuple[Event, ...]:
    """Graph's details, oldest first; what can't be read is left out."""
    return _events(_event(row, "dateTime", "event", "description", "data") for row in rows)


def cmdlet_events(rows: Iterable[Json]) -> tuple[Event, ...]:
    """The rows of Get-MessageTraceDetailV2, oldest first; what can't be read is left out."""
    return _events(_event(row, "Date", "Event", "Detail", "Data") for row in rows)


def _event(row: Json, at: str, name: str, description: str, data: str) -> Event | None:
    try:
        return Event(
            at=moment(row.get(at), at),
            name=(text(row, name, 60) or "").lower(),
            description=text(row, description) or "",
            data=mep(text(row, data, MAX_DATA) or ""),
        )
    except ValueError:
        return None


def _events(found: Iterable[Event | None]) -> tuple[Event, ...]:
    return tuple(sorted((event for event in found if event), key=lambda event: event.at))


def mep(data: str) -> dict[str, str]:
    """The names and values in a detail's XML. It is searched, not parsed: no entity can grow, nothing is fetched."""
    return {name: _ENTITY.sub(lambda m: _PLAIN[m[1]], value) for name, value in _MEP.findall(data[:MAX_DATA])}


def oldest(rows: Iterable[TraceRow]) -> datetime:
    """When the oldest of these came in; the far future where there is none."""
    return min((row.received_at for row in rows), default=datetime.max.replace(tzinfo=UTC))
