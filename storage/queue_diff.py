"""What a mail system's list changes about what is stored: found out by reading, written in slices.

So that whoever waits to write is held up neither by a long list nor by one that says nothing new. What is written is
compared once more by the writing statement itself: other writers may come between.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from sqlite_utils import Database

from storage import queue_bulk
from storage.message_rows import LOOK_UP, LOOKED_AT, UPSERT, Values, digests_of, values
from storage.moments import to_ms
from storage.records import MessageFacts, MessageStatus

CHUNK = 10_000
"""So many rows are looked at, and at most written, at a time."""

Listed = tuple[MessageFacts, int | None]

_WAITING = """SELECT id, digest FROM queued_messages INDEXED BY queued_messages_expiring
    WHERE status = 'queued' AND backend = ?"""
_ANY = "SELECT EXISTS (SELECT 1 FROM queued_messages WHERE backend = ?), ifnull(max(id), 0) FROM queued_messages"
_END = """UPDATE queued_messages SET status = ?, ended_at = ?, digest = NULL, presumed = 1
    WHERE id = ? AND status = 'queued'"""
_CONNECTORS_OF = """SELECT DISTINCT connector_id FROM queued_messages
    WHERE id IN (SELECT value FROM json_each(?)) AND connector_id IS NOT NULL"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write did: rows added and changed."""

    added: int = 0
    changed: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(added=self.added + other.added, changed=self.changed + other.changed)


@dataclass(slots=True)
class Changes:
    """The rows that are to be written: `new` ones that were not stored, and others."""

    new: list[Values] = field(default_factory=list)
    others: list[Values] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.new) + len(self.others)

    def __iadd__(self, more: Changes) -> Changes:
        self.new += more.new
        self.others += more.others
        return self


@dataclass(slots=True)
class Comparison:
    """One list against what is stored. Begin it with `begin`, give it the whole list with `look`, then ask `unlisted`.

    `touched`: the connectors whose queue the list changes, as far as it was looked at. `unchanged`: rows that say
    nothing new. Memory grows with what is stored (about 150 bytes a message), not with the list.
    """

    backend: str
    now: datetime
    unchanged: int = 0
    touched: set[int] = field(default_factory=set)
    _known: bool = False
    _newest: int = 0
    _by_digest: dict[int | None, int] = field(default_factory=dict)
    _others: set[int] = field(default_factory=set)

    @classmethod
    def begin(cls, db: Database, backend: str, now: datetime) -> Comparison:
        """Learn what waits at this mail system, as far as we know."""
        comparison = cls(backend, now)
        known, newest = db.execute(_ANY, [backend]).fetchone()
        comparison._known, comparison._newest = bool(known), int(newest)
        for message_id, digest in db.execute(_WAITING, [backend]):
            if digest is None or comparison._by_digest.setdefault(digest, message_id) != message_id:
                comparison._others.add(message_id)
        return comparison

    def look(self, db: Database, listed: Sequence[Listed], *, only_known: bool = False) -> Changes:
        """The rows of this part of the list that are to be written. Of a message listed twice the later row counts.

        only_known: what is not stored is none of our business.
        """
        digests = digests_of(listed)
        seen = [self._by_digest.pop(digest, None) for digest in digests]
        others = [position for position, known in enumerate(seen) if known is None]
        self.unchanged += len(seen) - len(others)
        fresh: dict[tuple[str, str], Values] = {}
        for position in others:
            facts, connector_id = listed[position]
            row = values(self.backend, facts, connector_id, digests[position], self.now)
            fresh[facts.key, facts.recipient] = row
        changes = Changes()
        for row in fresh.values():
            found = db.execute(LOOK_UP, row[:LOOKED_AT]).fetchone() if self._known else None
            if found is not None:
                if self._differs(row, found):
                    changes.others.append(row)
            elif not only_known:
                self._touch(row[4])
                changes.new.append(row)
        return changes

    def unlisted(self) -> list[int]:
        """The ids of the waiting messages that the list lacked; ask when all of it was looked at."""
        return [*self._by_digest.values(), *self._others]

    def _differs(self, row: Values, found: Values) -> bool:
        message_id, status, connector_id, digest, differs = found
        seen_first = self._see(message_id, digest) or (status != "queued" and message_id <= self._newest)
        if differs:
            self._touch(connector_id)
            self._touch(row[4])
        else:
            self.unchanged += seen_first
        return bool(differs)

    def _see(self, message_id: int, digest: int | None) -> bool:
        """Take it off what may be unlisted; False: it was not on it."""
        if digest is not None and self._by_digest.get(digest) == message_id:
            del self._by_digest[digest]
            return True
        waited = message_id in self._others
        self._others.discard(message_id)
        return waited

    def _touch(self, connector_id: int | None) -> None:
        if connector_id is not None:
            self.touched.add(connector_id)


def chunks(rows: Iterable[Listed], size: int = CHUNK) -> Iterator[list[Listed]]:
    """The rows in lists of at most this size."""
    several = iter(rows)
    while chunk := list(islice(several, size)):
        yield chunk


def take(db: Database, changes: Changes) -> Written:
    """Write these rows, as far as they still say something new."""
    added = queue_bulk.insert(db, changes.new)
    late = changes.new if added < len(changes.new) else []
    return Written(added=added) + upsert(db, [*late, *changes.others])


def upsert(db: Database, rows: Sequence[Values]) -> Written:
    """Write any rows, as far as they say something new."""
    before = db.execute("SELECT ifnull(max(id), 0) FROM queued_messages").fetchone()[0]
    written = max(db.conn.executemany(UPSERT, rows).rowcount, 0)
    added = db.execute("SELECT count(*) FROM queued_messages WHERE id > ?", [before]).fetchone()[0]
    return Written(added=added, changed=written - added)


def end(db: Database, ids: Collection[int], now: datetime, status: MessageStatus) -> tuple[int, set[int]]:
    """Those of these messages that still wait have ended this way, presumably: how many, and at which connectors."""
    at = to_ms(now)
    ended = db.conn.executemany(_END, [(status, at, message_id) for message_id in ids]).rowcount
    return max(ended, 0), {row[0] for row in db.execute(_CONNECTORS_OF, [json.dumps(list(ids))])}
