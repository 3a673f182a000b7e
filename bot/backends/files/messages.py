"""Queued messages from message-trace exports: the admin center's, both historical reports, Graph's JSON, simple CSV;
and from what an Exchange Server lists (server_exports).

A file may tell several things of one message and recipient (the detailed report has a row per event): the last counts.
Rows that say "pending" or "deferred" are queued; delivered and failed ones come out as ended, so that mail that we know
as queued can end. The reason is kept as it stands there: what it means is for knowledge.diagnose. Subjects aren't read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from bot.backends.files import cells
from bot.backends.files.dates import SlashedDates
from bot.backends.files.lookalikes import in_passing, strange
from bot.backends.files.message_columns import ALIASES, Standing, column_of, standing, unknown
from bot.backends.files.parsed import BadRow, MessageIds, ParsedMessages, Problems, UnreadableFile, listing
from bot.backends.files.server_exports import (
    document_messages,
    document_of,
    is_document,
    is_queue_message,
    queue_messages,
    refuse_queues,
)
from bot.backends.files.table import Row, Table, folded, opened
from storage.records import DEFAULT_EXPIRY, MessageFacts, MessageStatus

MESSAGES_HINT = (
    "export it in the Exchange admin center (Mail flow, Message trace, Export results) with the columns "
    "Date, Sender, Recipient, Status and Message ID"
)
_STATUS = {
    Standing.QUEUED: MessageStatus.QUEUED,
    Standing.GONE: MessageStatus.GONE,
    Standing.DELIVERED: MessageStatus.DELIVERED,
    Standing.EXPIRED: MessageStatus.EXPIRED,
    Standing.FAILED: MessageStatus.REJECTED,
}
_NETWORK_ID = re.compile(r"\{?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\}?")
_NETWORK_KEY = re.compile(r"[0-9a-f]{32}")
_MAX_RECIPIENTS = 1000


@dataclass(slots=True)
class _Track:
    """What the file has told so far about one message and recipient."""

    received: datetime
    told: tuple[datetime, int]
    standing: Standing = Standing.SILENT
    sender: str | None = None
    size: int | None = None
    expires: datetime | None = None
    reason: str | None = None
    evidence_at: datetime | None = None
    connector: str | None = None
    host: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one file is laid out."""

    offset: timedelta = timedelta()
    events: bool = False
    """Each row is an event, so that its date is the event's, not the message's."""
    dates: SlashedDates = field(default_factory=SlashedDates)
    message_ids: dict[str, str] = field(default_factory=dict)
    """Key → Message ID, where a row has one."""


def read_messages(
    path: Path, backend: str = "files", expiry: timedelta = DEFAULT_EXPIRY, now: datetime | None = None
) -> ParsedMessages:
    """One row per message and recipient. `expiry`: how long after arrival a message bounces, if the file is silent.

    `now`: helps to tell in which order day and month are written, where the file alone doesn't.
    """
    dates = SlashedDates()
    parsed = _read(path, backend, expiry, dates)
    verdict = dates.verdict(now)
    if verdict.day_first:
        parsed = _read(path, backend, expiry, SlashedDates(day_first=True))
    return replace(parsed, notes=(verdict.note,) if verdict.note else ())


def _read(path: Path, backend: str, expiry: timedelta, dates: SlashedDates) -> ParsedMessages:
    problems = Problems()
    message_ids: dict[str, str] = {}
    with opened(path, problems) as table:
        first = next(table.rows, None)
        columns = tuple(map(folded, table.columns)) or tuple(first.cells if first else ())
        rows = chain([first] if first else [], table.rows)
        if first and is_document(first.cells):
            facts = document_messages(document_of(first.cells, path), path, backend, problems)
        elif is_queue_message(columns):
            facts = _queue_rows(rows, backend, dates, problems)
        else:
            refuse_queues(columns, path)
            layout = replace(_layout(table, path, problems), dates=dates, message_ids=message_ids)
            facts = _traced(Table(table.columns, rows), path, backend, expiry, problems, layout=layout)
    return ParsedMessages(tuple(facts), problems.all(), ids=_ids(facts, message_ids))


def _ids(facts: Iterable[MessageFacts], message_ids: Mapping[str, str]) -> MessageIds:
    return MessageIds(
        of={key: message_id for key, message_id in message_ids.items() if key != message_id},
        network=any(_NETWORK_KEY.fullmatch(m.key) for m in facts),
        alone=any(key == message_id for key, message_id in message_ids.items()),
    )


def _queue_rows(rows: Iterable[Row], backend: str, dates: SlashedDates, problems: Problems) -> list[MessageFacts]:
    """Rows of Get-Message; of a message listed twice the later row counts."""
    found: dict[tuple[str, str], MessageFacts] = {}
    for row in rows:
        try:
            found.update(((m.key, m.recipient), m) for m in queue_messages(row.cells, backend, dates))
        except BadRow as error:
            problems.add(row.line, str(error))
    return list(found.values())


def _traced(
    table: Table, path: Path, backend: str, expiry: timedelta, problems: Problems, *, layout: _Layout
) -> list[MessageFacts]:
    """Rows of a message trace, folded to one fact for each message and recipient."""
    tracks: dict[tuple[str, str], _Track] = {}
    for row in _checked(table, path, problems):
        try:
            _take(row, layout, tracks)
        except BadRow as error:
            problems.add(row.line, str(error))
    facts = (_facts(backend, key, track, expiry) for key, track in tracks.items())
    return [f for f in facts if f is not None]


def _layout(table: Table, path: Path, problems: Problems) -> _Layout:
    columns = table.columns
    if not columns:
        return _Layout()
    _look_over(columns, table.line, path, problems)
    offsets = [cells.header_offset(c) for c in columns if column_of(c) in ALIASES["received"]]
    return _Layout(offset=next(iter(offsets), timedelta()), events="eventid" in map(folded, columns))


def _checked(table: Table, path: Path, problems: Problems) -> Iterable[Row]:
    for number, row in enumerate(table.rows):
        named = Row(row.line, {column_of(k): v for k, v in row.cells.items()})
        if number == 0 and not table.columns:
            _look_over(named.cells, row.line, path, problems)
        yield named


def _look_over(columns: Iterable[str], line: int, path: Path, problems: Problems) -> None:
    """Refuse a file without the columns that we need; report those that mean nothing to us."""
    names = {column_of(c) for c in columns}
    lacking = [what for what in ("received", "sender", "recipient", "status") if not names.intersection(ALIASES[what])]
    if lacking == ["status"] and "recipientstatus" in names:
        lacking = []
    if lacking:
        raise UnreadableFile(f"{path} has no column for {listing(lacking)}{in_passing(columns)}; {MESSAGES_HINT}")
    if unused := unknown(columns):
        problems.remark(
            line, f"not used: {'columns' if len(unused) > 1 else 'column'} {listing(unused)}{in_passing(unused)}"
        )


def _pick(row: Mapping[str, Any], what: str) -> Any:
    """The first filled cell that may hold this."""
    return next((row[name] for name in ALIASES[what] if row.get(name) not in (None, "")), None)


def _take(row: Row, layout: _Layout, tracks: dict[tuple[str, str], _Track]) -> None:
    pairs = _recipients(row.cells)
    at = cells.moment(_pick(row.cells, "received"), "the date", layout.offset, layout.dates)
    if at is None:
        raise BadRow("the date is empty")
    sender = cells.address(_pick(row.cells, "sender"), "the sender") or ""
    message_id = _message_id(row.cells)
    for recipient, said in pairs:
        key = _key(row.cells, f"{at.isoformat()} {sender} {recipient}")
        if message_id:
            layout.message_ids.setdefault(key, message_id)
        track = tracks.setdefault((key, recipient), _Track(received=at, told=(at, -1)))
        _note(track, row.cells, at, said, layout)
        track.sender = track.sender or sender


def _recipients(row: Mapping[str, Any]) -> list[tuple[str, Standing]]:
    """Each recipient of this row with what the row says of its mail."""
    stated = cells.text(row.get("recipientstatus"), cells.MAX_REASON) or ""
    if "##" in stated:
        return [_recipient_status(part) for part in stated.split(";")[:_MAX_RECIPIENTS] if part.strip()]
    said = _standing(cells.text(_pick(row, "status")) or "")
    found = cells.several(_pick(row, "recipient"), "the recipient")[:_MAX_RECIPIENTS]
    if not found:
        raise BadRow("the recipient is empty")
    return [(cells.address(r, "the recipient") or "", said) for r in found]


def _recipient_status(part: str) -> tuple[str, Standing]:
    """One "address##Receive, Defer" of the summary report: the last word that says something counts."""
    address, _, words = part.partition("##")
    recipient = cells.address(address, "the recipient")
    if recipient is None:
        raise BadRow("the recipient is empty")
    said = [s for s in map(_standing, words.split(",")) if s is not Standing.SILENT]
    return recipient, said[-1] if said else Standing.SILENT


def _standing(word: str) -> Standing:
    found = standing(word)
    if found is None:
        odd = strange(word)
        raise BadRow(f"the status {word.strip()[:40]!r} is not one that mfi knows{f': {odd}' if odd else ''}")
    return found


def _key(row: Mapping[str, Any], instead: str) -> str:
    """The network message id where there is one (with or without dashes), else another id, else one made of the row."""
    stated = cells.text(_pick(row, "key"), 400)
    if stated is None:
        return "row:" + sha256(instead.encode()).hexdigest()[:32]
    return stated.strip("{}").replace("-", "").lower() if _NETWORK_ID.fullmatch(stated) else stated.strip("<>")


def _message_id(row: Mapping[str, Any]) -> str | None:
    stated = cells.text(row.get("messageid") or row.get("internetmessageid"), 400)
    return None if stated is None or _NETWORK_ID.fullmatch(stated) else stated.strip("<>")


def _note(track: _Track, row: Mapping[str, Any], at: datetime, said: Standing, layout: _Layout) -> None:
    """Add what a row tells. The earliest date is the arrival; the latest event tells how the mail stands."""
    track.received = min(track.received, at)
    track.size = cells.size(_pick(row, "size")) or track.size
    track.expires = cells.moment(_pick(row, "expires"), "the expiry", layout.offset, layout.dates) or track.expires
    if said is Standing.SILENT or (at, said.value) < track.told:
        return
    track.told, track.standing = (at, said.value), said
    track.connector = cells.text(_pick(row, "connector"), 200) or track.connector
    if reason := _reason(row):
        track.reason, track.evidence_at = reason, at if layout.events else None
        track.host, track.ip = cells.text(_pick(row, "host"), 255), cells.text(_pick(row, "ip"), 64)


def _reason(row: Mapping[str, Any]) -> str | None:
    reason = cells.text(_pick(row, "reason"), cells.MAX_REASON)
    return None if reason is None or "##" in reason else reason


def _facts(backend: str, key: tuple[str, str], track: _Track, expiry: timedelta) -> MessageFacts | None:
    if track.standing is Standing.SILENT:
        return None
    return MessageFacts(
        backend=backend,
        key=key[0],
        recipient=key[1],
        sender=track.sender or "",
        received_at=track.received,
        expires_at=track.expires or track.received + expiry,
        status=_STATUS[track.standing],
        size=track.size,
        reason=track.reason,
        evidence_at=track.evidence_at,
        connector_key=track.connector,
        remote_host=track.host,
        remote_ip=track.ip,
    )
