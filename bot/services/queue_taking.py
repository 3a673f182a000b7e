"""Taking over a mail system's list of waiting mail: compared on a reader, written in slices, never all at once.

Promises: a list that says nothing new writes nothing and holds up no writer; whatever waits to write has its turn
between two slices; memory doesn't grow with the list. A take-over that is cut off leaves true rows behind, and the
next list completes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlite_utils import Database

from storage.connection import Store
from storage.queue_diff import CHUNK, Changes, Comparison, Listed, Written, end, take
from storage.records import MessageStatus, SyncCounts

SMALL = 2000
"""Up to so many changes are written together with what follows from them."""


@dataclass(slots=True)
class Taking:
    """What is left to write of a list: `finish` does it, inside the caller's transaction.

    `touched`: the connectors at which the list changes what waits.
    """

    comparison: Comparison
    status: MessageStatus
    rows: Changes = field(default_factory=Changes)
    vanished: list[int] = field(default_factory=list)
    written: Written = field(default_factory=Written)
    missing: int = 0

    @property
    def touched(self) -> set[int]:
        """Grows until the end."""
        return self.comparison.touched

    def finish(self, db: Database) -> SyncCounts:
        """Write the rest; the counts are of the whole list."""
        self.write(db, self.rows)
        self.end(db, self.vanished)
        self.rows, self.vanished = Changes(), []
        return SyncCounts(
            added=self.written.added,
            changed=self.written.changed,
            unchanged=self.comparison.unchanged,
            missing=self.missing,
        )

    def write(self, db: Database, rows: Changes) -> None:
        """Write one slice."""
        self.written += take(db, rows)

    def end(self, db: Database, ids: list[int]) -> None:
        """One slice of those that are no longer listed."""
        ended, connectors = end(db, ids, self.comparison.now, self.status)
        self.missing += ended
        self.comparison.touched |= connectors


async def compare(
    store: Store,
    backend: str,
    listed: Iterable[Listed],
    now: datetime,
    *,
    ended: Iterable[Listed] = (),
    vanished: MessageStatus = MessageStatus.GONE,
) -> Taking:
    """Look at the whole list (its items are made in a thread), write all but the last slice of what it changes.

    `ended`: how messages left, as far as the mail system tells; of those only what we know as waiting counts.
    `vanished`: how one ended that is in neither.
    """
    taking = Taking(await store.read(lambda db: Comparison.begin(db, backend, now)), vanished)
    await _look(store, taking, listed, only_known=False)
    await _look(store, taking, ended, only_known=True)
    taking.vanished = await store.read(taking.comparison.unlisted)
    while len(taking.rows) + len(taking.vanished) > SMALL and taking.vanished:
        some, taking.vanished = taking.vanished[:CHUNK], taking.vanished[CHUNK:]
        await store.write(partial(taking.end, ids=some))
    if len(taking.rows) > SMALL:
        await _flush(store, taking)
    return taking


async def _look(store: Store, taking: Taking, listed: Iterable[Listed], *, only_known: bool) -> None:
    look = partial(taking.comparison.look, listed=iter(listed), only_known=only_known)
    while (changes := await store.read(look)) is not None:
        taking.rows += changes
        if len(taking.rows) >= CHUNK:
            await _flush(store, taking)


async def _flush(store: Store, taking: Taking) -> None:
    rows, taking.rows = taking.rows, Changes()
    await store.write(partial(taking.write, rows=rows))
