"""What a mail system's list changes about what is stored: found out by reading, written in slices.

So that whoever waits to write is held up neither by a long list nor by one that says nothing new. What is written is
compared once more by the writing statement itself: other writers may come between.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice

from sqlite_utils import Database

from storage import queue_bulk
from storage.message_rows import LOOK_UP, LOOKED_AT, UPSERT, Values, digests_of, never_seen_waiting, values
from storage.moments import to_ms
from storage.records import MessageFacts, MessageStatus

CHUNK = 10_000
"""So many rows are looked at, and at most written, at a time."""
FEW = 250
"""So many rows of a list are in memory at a time, besides those that are to be written."""

Listed = tuple[MessageFacts, int | None]

# A row of many numbers comes over in half the time of many rows. The groups are as the index has them.
_DIGESTS = """SELECT json_group_array(digest) FROM queued_messages INDEXED BY queued_messages_expiring
    WHERE status = 'queued' AND backend = ? GROUP BY connector_id, code"""
_WITHOUT = """SELECT id FROM queued_messages INDEXED BY queued_messages_expiring
    WHERE status = 'queued' AND backend = ? AND digest IS NULL"""
_WITH = """SELECT id FROM queued_messages INDEXED BY queued_messages_expiring
    WHERE status = 'queued' AND backend = ? AND digest IN (SELECT value FROM json_each(?))"""
_ANY = "SELECT EXISTS (SELECT 1 FROM queued_messages WHERE backend = ?), ifnull(max(id), 0) FROM queued_messages"
# What vanishes when its time is up bounced, for all we know: nobody says that it was delivered.
_END = """UPDATE queued_messages SET status = iif(?1 = 'gone' AND expires_at <= ?2, 'expired', ?1), ended_at = ?2,
        digest = NULL, presumed = 1, left_from = ifnull(connector_id, 0)
    WHERE id = ?3 AND status = 'queued'"""
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
    nothing new. Memory grows with what is stored (about 100 bytes a message), not with the list.
    """

    backend: str
    now: datetime
    unchanged: int = 0
    touched: set[int] = field(default_factory=set)
    _known: bool = False
    _newest: int = 0
    _digests: set[int | None] = field(default_factory=set)
    """Of what waits and was not listed yet. Two rows with the same one are taken for one."""
    _others: set[int] = field(default_factory=set)
    """The ids of what waits without a digest and was not listed yet."""

    @classmethod
    def begin(cls, db: Database, backend: str, now: datetime) -> Comparison:
        """Learn what waits at this mail system, as far as we know."""
        comparison = cls(backend, now)
        known, newest = db.execute(_ANY, [backend]).fetchone()
        comparison._known, comparison._newest = bool(known), int(newest)
        for (digests,) in db.execute(_DIGESTS, [backend]):
            comparison._digests.update(json.loads(digests))
        if None in comparison._digests:
            comparison._digests.remove(None)
            comparison._others = set(chain.from_iterable(db.execute(_WITHOUT, [backend])))
        return comparison

    def look(self, db: Database, listed: Iterator[Listed], *, only_known: bool = False) -> Changes | None:
        """What the next CHUNK rows of the list change; None: the list is at its end.

        Of a message listed twice the later row counts. only_known: what is not stored is none of our business.
        """
        fresh: dict[tuple[str, str], Values] = {}
        looked, waiting = 0, self._digests
        # The rows of a few are made, compared and forgotten while they are still in the processor's cache.
        while looked < CHUNK and (few := list(islice(listed, FEW))):
            looked += len(few)
            digests = digests_of(few)
            others = [position for position, digest in enumerate(digests) if digest not in waiting]
            before = len(waiting)
            waiting.difference_update(digests)
            self.unchanged += before - len(waiting)
            for position in others:
                facts, connector_id = few[position]
                row = values(self.backend, facts, connector_id, digests[position], self.now)
                fresh[facts.key, facts.recipient] = row
        return self._changes(db, fresh.values(), only_known=only_known) if looked else None

    def _changes(self, db: Database, rows: Iterable[Values], *, only_known: bool) -> Changes:
        changes = Changes()
        for row in rows:
            found = db.execute(LOOK_UP, row[:LOOKED_AT]).fetchone() if self._known else None
            if found is not None:
                if self._differs(row, found):
                    changes.others.append(row)
            elif not only_known:
                self._touch(row[4])
                changes.new.append(row if row[9] == MessageStatus.QUEUED else never_seen_waiting(row))
        return changes

    def unlisted(self, db: Database) -> list[int]:
        """The ids of the waiting messages that the list lacked; ask when all of it was looked at."""
        listed_as = db.execute(_WITH, [self.backend, json.dumps(list(self._digests))]) if self._digests else ()
        return [*chain.from_iterable(listed_as), *self._others]

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
        awaited = digest in self._digests or message_id in self._others
        self._digests.discard(digest)
        self._others.discard(message_id)
        return awaited

    def _touch(self, connector_id: int | None) -> None:
        if connector_id is not None:
            self.touched.add(connector_id)


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
    """Those of these messages that still wait have ended this way, presumably: how many, and at which connectors.

    What is GONE after its time was up counts as expired.
    """
    at = to_ms(now)
    ended = db.conn.executemany(_END, [(status, at, message_id) for message_id in ids]).rowcount
    return max(ended, 0), {row[0] for row in db.execute(_CONNECTORS_OF, [json.dumps(list(ids))])}
