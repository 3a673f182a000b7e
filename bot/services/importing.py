"""Taking over an exported file: read it off the event loop, then store it in one transaction.

What a file lacks stays as it was: an export may show a part only. Importing the same file again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache, partial
from pathlib import Path

from sqlite_utils import Database

from bot.backends.files import (
    BACKEND,
    Parsed,
    ParsedRecipients,
    Problem,
    read_connectors,
    read_domains,
    read_messages,
    read_recipients,
)
from bot.core.assignment import assigner
from knowledge.diagnose import Diagnosis, diagnose
from storage import connectors, domains, messages, recipients, syncs
from storage.connection import Store
from storage.records import ConnectorFacts, DomainFacts, MessageFacts, MessageStatus, SyncCounts

_REASON_SHOWN = 1000


class ImportKind(StrEnum):
    """What a file holds: the word after `mfi import`."""

    CONNECTORS = "connectors"
    DOMAINS = "domains"
    MESSAGES = "messages"
    RECIPIENTS = "recipients"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did, and what in the file it could not use."""

    kind: ImportKind
    counts: SyncCounts
    problems: tuple[Problem, ...] = ()


async def import_file(store: Store, kind: ImportKind | str, path: Path, now: datetime) -> ImportReport:
    """Read a file and store its good rows. Raises UnreadableFile (nothing usable) or StoreError; then nothing changed.

    1. Parse the file in a thread; bad rows become problems.
    2. Messages: find out what their reasons mean, drop those that ended without our ever knowing them as queued.
    3. Store everything in one transaction; messages that belong to no connector yet are tried again.
    """
    kind = ImportKind(kind)
    problems, work = await asyncio.to_thread(_READERS[kind], path, now)
    return ImportReport(kind=kind, counts=await store.write(work), problems=problems)


_Work = Callable[[Database], SyncCounts]


def _connectors(path: Path, now: datetime) -> tuple[tuple[Problem, ...], _Work]:
    parsed = read_connectors(path, BACKEND)
    return parsed.problems, partial(_store_connectors, parsed=parsed, now=now)


def _domains(path: Path, now: datetime) -> tuple[tuple[Problem, ...], _Work]:
    parsed = read_domains(path, BACKEND)
    return parsed.problems, partial(_store_domains, parsed=parsed, now=now)


def _messages(path: Path, now: datetime) -> tuple[tuple[Problem, ...], _Work]:
    parsed = read_messages(path, BACKEND)
    return parsed.problems, partial(_store_messages, rows=[_understood(m) for m in parsed.rows], now=now)


def _recipients(path: Path, now: datetime) -> tuple[tuple[Problem, ...], _Work]:
    parsed = read_recipients(path)
    return parsed.problems, partial(_store_recipients, parsed=parsed, now=now)


_READERS = {
    ImportKind.CONNECTORS: _connectors,
    ImportKind.DOMAINS: _domains,
    ImportKind.MESSAGES: _messages,
    ImportKind.RECIPIENTS: _recipients,
}


def _store_connectors(db: Database, parsed: Parsed[ConnectorFacts], now: datetime) -> SyncCounts:
    counts = connectors.sync(db, BACKEND, parsed.rows, now, complete=False)
    _assign_waiting(db)
    return counts


def _store_domains(db: Database, parsed: Parsed[DomainFacts], now: datetime) -> SyncCounts:
    counts = domains.sync(db, BACKEND, parsed.rows, now, complete=False)
    _assign_waiting(db)
    return counts


def _store_recipients(db: Database, parsed: ParsedRecipients, now: datetime) -> SyncCounts:
    return recipients.replace(db, BACKEND, parsed.rows, parsed.complete, now)


def _store_messages(db: Database, rows: Sequence[MessageFacts], now: datetime) -> SyncCounts:
    run = syncs.begin(db, BACKEND, now)
    listed = connectors.every(db)
    names = {name for c in listed if c.backend == BACKEND for name in (c.key.casefold(), c.name.casefold())}
    find = assigner(listed, domains.every(db, BACKEND))
    taken = (_stating_only(names, m) for m in _worth_keeping(db, rows))
    counts = messages.sync(db, BACKEND, ((m, find(m)) for m in taken), now, complete=False)
    syncs.finish(db, run, now, {"added": counts.added, "changed": counts.changed, "unchanged": counts.unchanged})
    return counts


def _worth_keeping(db: Database, rows: Sequence[MessageFacts]) -> Iterable[MessageFacts]:
    """All that wait, and the ends of those that we know: other ended mail is none of our business."""
    ended = [(m.key, m.recipient) for m in rows if m.status is not MessageStatus.QUEUED]
    known = {(m.key, m.recipient) for m in messages.get_refs(db, BACKEND, ended)}
    return (m for m in rows if m.status is MessageStatus.QUEUED or (m.key, m.recipient) in known)


def _stating_only(names: set[str], message: MessageFacts) -> MessageFacts:
    """A connector that is not one of ours (mostly the one that received the mail) says nothing."""
    stated = message.connector_key
    return replace(message, connector_key=None) if stated and stated.casefold() not in names else message


def _assign_waiting(db: Database) -> None:
    """Look again for the connectors of the messages that had none."""
    find = assigner(connectors.every(db), domains.every(db, BACKEND))
    homeless = messages.waiting(db, None, limit=1_000_000)
    found = ((m.id, find(m)) for m in homeless if m.backend == BACKEND)
    messages.assign(db, [(message_id, to) for message_id, to in found if to is not None])


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
