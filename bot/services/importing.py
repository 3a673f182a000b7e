"""Taking over an exported file: read it off the event loop, then store it without holding up the bot beside it.

What a file lacks stays as it was: an export may show a part only. Importing the same file again changes nothing. Few
messages are stored in one transaction, many in slices: an import that is cut off is completed by the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

from sqlite_utils import Database

from bot.backends.files import (
    BACKEND,
    MessageIds,
    ParsedMessages,
    Problem,
    read_connectors,
    read_domains,
    read_messages,
    read_recipients,
)
from bot.core.assignment import assigner, basis
from bot.services.queue_adding import Adding, add, in_slices
from bot.services.two_ids import named_as_known, remember, warning
from knowledge.diagnose import Diagnosis, diagnose
from storage import connectors, domains, messages, recipients, syncs
from storage.connection import Store
from storage.queue_diff import Listed
from storage.records import Connector, DomainFacts, MessageFacts, MessageStatus, QueuedMessage, SyncCounts

_REASON_SHOWN = 1000
_CAME_BACK = (MessageStatus.EXPIRED, MessageStatus.REJECTED)
_DAY = timedelta(days=1)


class ImportKind(StrEnum):
    """What a file holds: the word after `mfi import`."""

    CONNECTORS = "connectors"
    DOMAINS = "domains"
    MESSAGES = "messages"
    RECIPIENTS = "recipients"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did, what in the file it could not use, and what a reader should know besides, a line each."""

    kind: ImportKind
    counts: SyncCounts
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


async def import_file(store: Store, kind: ImportKind | str, path: Path, now: datetime) -> ImportReport:
    """Read a file and store its good rows. Raises UnreadableFile (nothing usable; then nothing changed) or StoreError.

    1. Parse the file in a thread; bad rows become problems.
    2. Messages: find out what their reasons mean and who carries them, drop those that arrived without our ever knowing
       them as queued; what came back is kept all the same, so that somebody can have it sent again.
    3. Store everything: in one transaction, or many messages in slices, and only the last one says that all was read.
    4. Connectors and domains (also those that came while messages were stored): messages that belong to no connector
       are tried again.
    """
    kind = ImportKind(kind)
    problems, work = await asyncio.to_thread(_READERS[kind], path, now)
    counts, notes = await work(store)
    return ImportReport(kind=kind, counts=counts, problems=problems, notes=notes)


_Outcome = tuple[SyncCounts, tuple[str, ...]]
_Work = Callable[[Store], Awaitable[_Outcome]]

_AHEAD = timedelta(hours=1)
"""Mail dated later than this from now is a mistake in the file (clocks and time zones differ by less)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Roster:
    """What an assignment rests on, as it stands in the database at one moment."""

    connectors: Sequence[Connector]
    domains: Sequence[DomainFacts]

    @classmethod
    def of(cls, db: Database) -> _Roster:
        mine = [c for c in connectors.every(db) if c.backend == BACKEND]
        return cls(connectors=mine, domains=domains.every(db, BACKEND))

    def assigned(self, rows: Iterable[MessageFacts]) -> Iterator[Listed]:
        """Each message with its connector."""
        names = {name for c in self.connectors for name in (c.key.casefold(), c.name.casefold())}
        find = assigner(self.connectors, self.domains)
        return ((message, find(message)) for message in (_stating_only(names, m) for m in rows))

    def same_as(self, other: _Roster) -> bool:
        """Would every assignment be the same?"""
        return basis(self.connectors, self.domains) == basis(other.connectors, other.domains)


def _connectors(path: Path, now: datetime) -> tuple[tuple[Problem, ...], _Work]:
    parsed = read_connectors(path, BACKEND)
    keys = {row.key for row in parsed.rows}
    return parsed.problems, partial(
        _take_settings,
        lambda db: connectors.sync(db, BACKEND, parsed.rows, now, complete=False),
        lambda db: _unlisted([c.name for c in connectors.every(db) if c.backend == BACKEND and c.key not in keys]),
    )


def _domains(path: Path, now: datetime) -> tuple[tuple[Problem, ...], _Work]:
    parsed = read_domains(path, BACKEND)
    return parsed.problems, partial(
        _take_settings, lambda db: domains.sync(db, BACKEND, parsed.rows, now, complete=False), lambda db: ()
    )


def _messages(path: Path, now: datetime) -> tuple[tuple[Problem, ...], _Work]:
    parsed = read_messages(path, BACKEND, now=now)
    ahead = sum(m.received_at > now + _AHEAD for m in parsed.rows)
    rows = [_understood(m) for m in parsed.rows if m.received_at <= now + _AHEAD]
    problems = (Problem(0, f"{ahead} rows are dated in the future", rows=ahead),) if ahead else ()
    return parsed.problems + problems, partial(_take_messages, rows=rows, now=now, parsed=parsed)


def _recipients(path: Path, now: datetime) -> tuple[tuple[Problem, ...], _Work]:
    parsed = read_recipients(path)
    return parsed.problems, lambda store: store.write(
        lambda db: (recipients.replace(db, BACKEND, parsed.rows, parsed.complete, now), ())
    )


_READERS = {
    ImportKind.CONNECTORS: _connectors,
    ImportKind.DOMAINS: _domains,
    ImportKind.MESSAGES: _messages,
    ImportKind.RECIPIENTS: _recipients,
}


async def _take_settings(
    sync: Callable[[Database], SyncCounts], remark: Callable[[Database], tuple[str, ...]], store: Store
) -> _Outcome:
    counts = await store.write(sync)
    await _assign_waiting(store)
    return counts, await store.read(remark)


def _unlisted(names: Sequence[str]) -> tuple[str, ...]:
    """An export may show a part only, so what it lacks stays; but somebody may have meant to be rid of it."""
    shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    return (f"{len(names)} known before and not in this file, still watched: {shown}",) if names else ()


async def _take_messages(
    store: Store, *, rows: Sequence[MessageFacts], now: datetime, parsed: ParsedMessages
) -> _Outcome:
    named = await store.read(lambda db: named_as_known(db, BACKEND, rows, parsed.ids))
    rows = named.rows
    roster = await store.read(_Roster.of)
    returned = [m for m in rows if m.status in _CAME_BACK]
    waiting = [m for m in rows if m.status is MessageStatus.QUEUED]
    ended = [m for m in rows if m.status is not MessageStatus.QUEUED and m.status not in _CAME_BACK]
    kept = roster.assigned(chain(waiting, returned))
    adding = await add(store, BACKEND, kept, now, ended=roster.assigned(ended))
    counts, warned = await store.write(lambda db: _finish(db, adding, now, parsed.ids, named.doubtful))
    await remember(store, BACKEND, parsed.ids)
    if not roster.same_as(await store.read(_Roster.of)):
        await _assign_waiting(store)
    distinct = len({(m.key, m.recipient) for m in rows})
    needless = distinct - counts.added - counts.changed - counts.unchanged
    unneeded = (f"{needless} are not waiting and never were here: not needed",) if needless else ()
    return counts, (*parsed.notes, *warned, *_returned(returned, now), *unneeded)


def _returned(rows: Sequence[MessageFacts], now: datetime) -> tuple[str, ...]:
    """Where to see what came back: a report of yesterday tells of more than the usual day."""
    if not rows:
        return ()
    days = -((min(m.received_at for m in rows) - now) // _DAY)
    since = f" --since {min(days, 90)}d" if days > 1 else ""
    return (f"{len({(m.key, m.recipient) for m in rows})} came back: mfi queue --bounced{since} lists them",)


def _finish(db: Database, adding: Adding, now: datetime, ids: MessageIds, doubtful: int) -> _Outcome:
    """Write the rest, and that the queue was read: an import that was cut off doesn't make the figures fresh."""
    run = syncs.begin(db, BACKEND, now)
    counts = adding.finish(db)
    syncs.finish(db, run, now, {"added": counts.added, "changed": counts.changed, "unchanged": counts.unchanged})
    warned = warning(db, ids, doubtful)
    return counts, (warned,) if warned else ()


def _stating_only(names: set[str], message: MessageFacts) -> MessageFacts:
    """A connector that is not one of ours (mostly the one that received the mail) says nothing."""
    stated = message.connector_key
    return replace(message, connector_key=None) if stated and stated.casefold() not in names else message


async def _assign_waiting(store: Store) -> None:
    """Look again for the connectors of the messages that had none."""
    roster, homeless = await store.read(lambda db: (_Roster.of(db), messages.waiting(db, None, limit=1_000_000)))
    found = await asyncio.to_thread(_homes, roster, homeless)
    await in_slices(store, found, messages.adopt)


def _homes(roster: _Roster, homeless: Iterable[QueuedMessage]) -> list[tuple[int, int]]:
    find = assigner(roster.connectors, roster.domains)
    found = ((m.id, find(m)) for m in homeless if m.backend == BACKEND)
    return [(message_id, to) for message_id, to in found if to is not None]


def _understood(message: MessageFacts) -> MessageFacts:
    """The message with what its reason means: the code, the server that was tried, and whether it expired."""
    if message.reason is None:
        return message
    diagnosis = _diagnosed(message.reason)
    failed = message.status is MessageStatus.REJECTED
    return replace(
        message,
        code=diagnosis.code,
        reason=_shown(message.reason),
        remote_host=diagnosis.smart_host or message.remote_host,
        remote_ip=diagnosis.ip or message.remote_ip,
        status=MessageStatus.EXPIRED if failed and diagnosis.expired else message.status,
    )


@lru_cache(maxsize=4096)
def _diagnosed(reason: str) -> Diagnosis:
    return diagnose(reason)


def _shown(reason: str) -> str:
    """The system's last error, without the wrapping of message trace: "[{LED=…};{MSG=…}]" → "…"."""
    _, wrapped, inner = reason.partition("{LED=")
    return (inner.partition("};{")[0] if wrapped else reason)[:_REASON_SHOWN]
