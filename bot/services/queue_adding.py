"""Adding an exported list to what waits: compared on a reader, written in slices, with a pause after each.

For a command that runs beside the bot: both want the one lock for writing. Promises: the bot waits for a slice at most,
however long the list is; what the list lacks stays as it was. A take-over that is cut off leaves true rows behind, and
the same list again completes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from sqlite_utils import Database

from storage.connection import Store
from storage.queue_diff import Changes, Comparison, Listed, Written, take
from storage.records import SyncCounts

T = TypeVar("T")

SLICE = 3000
"""So many rows are written at a time: some 0.2 seconds' work in a large database."""
PAUSE = 0.12
"""Seconds after a slice. SQLite asks for a lock that is taken every 0.1 s: whoever waits gets it in this time."""


@dataclass(slots=True)
class Adding:
    """What is left to write of a list: `finish` does it, inside the caller's transaction."""

    comparison: Comparison
    rows: Changes = field(default_factory=Changes)
    written: Written = field(default_factory=Written)

    def finish(self, db: Database) -> SyncCounts:
        """Write the rest; the counts are of the whole list."""
        self.write(db, self.rows)
        self.rows = Changes()
        return SyncCounts(added=self.written.added, changed=self.written.changed, unchanged=self.comparison.unchanged)

    def write(self, db: Database, rows: Changes) -> None:
        """Write one slice."""
        self.written += take(db, rows)


async def add(
    store: Store, backend: str, listed: Iterable[Listed], now: datetime, *, ended: Iterable[Listed] = ()
) -> Adding:
    """Look at the whole list and write all but the last slice of what it changes.

    `listed`: what waits, and what came back. `ended`: mail that ended otherwise; of it only what we know counts.
    """
    adding = Adding(await store.read(lambda db: Comparison.begin(db, backend, now)))
    for rows, only_known in ((listed, False), (ended, True)):
        look = partial(adding.comparison.look, listed=iter(rows), only_known=only_known)
        while (changes := await store.read(look)) is not None:
            adding.rows += changes
            while len(adding.rows) > SLICE:
                await _write_one(store, adding)
    return adding


async def _write_one(store: Store, adding: Adding) -> None:
    new, others = adding.rows.new, adding.rows.others
    room = SLICE - len(new[:SLICE])
    rows, adding.rows = Changes(new[:SLICE], others[:room]), Changes(new[SLICE:], others[room:])
    await store.write(partial(adding.write, rows=rows))
    await asyncio.sleep(PAUSE)


async def in_slices(store: Store, rows: Sequence[T], write: Callable[[Database, Sequence[T]], None]) -> None:
    """Write rows that need nothing of each other, a slice in each transaction."""
    for start in range(0, len(rows), SLICE):

        def write_some(db: Database, some: Sequence[T] = rows[start : start + SLICE]) -> None:
            write(db, some)

        if start:
            await asyncio.sleep(PAUSE)
        await store.write(write_some)
