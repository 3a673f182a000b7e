"""What taking over a long queue costs, against `sqlite3 .import` of the same rows. `python -m tests.bench.queue`.

It runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.services.queue_taking import compare
from storage import connectors, messages, queue
from storage.connection import Store
from storage.message_rows import digests_of, values
from storage.records import ConnectorFacts, ConnectorKind, MessageFacts, SyncCounts

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
CONNECTORS = 40
COUNTS = (100_000, 1_000_000)
REASONS = (
    ("4.4.316", "450 4.4.316 Connection refused [Message=Socket error code 10061]"),
    ("4.4.315", "450 4.4.315 Connection timed out"),
    ("4.7.320", "450 4.7.320 Certificate validation failed"),
)
Rows = Iterator[tuple[MessageFacts, int]]


def rows(count: int, *, later: int = 0, after: int = 0) -> Rows:
    """`count` messages as a parser yields them; `later` of them, spread, with evidence of `after` seconds from now."""
    for n in range(count):
        received = NOW - timedelta(seconds=n % 80_000)
        code, reason = REASONS[n % 3]
        yield (
            MessageFacts(
                backend="b",
                key=f"{n * 2_654_435_761 % 2**32:08x}-{n:024x}",
                recipient=f"r{n % 997}@contoso.test",
                sender=f"app{n % 50}@fabrikam.test",
                received_at=received,
                expires_at=received + timedelta(days=1),
                size=4000 + n % 1000,
                code=code,
                reason=reason,
                remote_host="mail.contoso.test",
                remote_ip="203.0.113.9",
                evidence_at=NOW - timedelta(seconds=-after if later and n % (count // later) == 0 else 60 + n % 900),
                connector_key=f"k{n % CONNECTORS}",
            ),
            n % CONNECTORS + 1,
        )


def tell(what: str, figure: str) -> None:
    print(f"| {what} | {figure} |", flush=True)


def schema_of(database: Path) -> list[str]:
    with sqlite3.connect(database) as db:
        found = db.execute("""SELECT sql FROM sqlite_master WHERE tbl_name = 'queued_messages' AND sql IS NOT NULL
            AND type <> 'trigger' ORDER BY type DESC""").fetchall()
    db.close()
    return [sql for (sql,) in found]


def imported(directory: Path, database: Path, count: int) -> float:
    """Seconds that the sqlite3 program takes for these rows, into a table with the same columns and indexes."""
    source, target = directory / "rows.csv", directory / "imported.db"
    with source.open("w", newline="") as file:
        writer = csv.writer(file)
        for n, (facts, connector_id) in enumerate(rows(count), 1):
            row = list(values("b", facts, connector_id, digests_of([(facts, connector_id)])[0], NOW))
            writer.writerow([n, *row[:15], 0, row[16]])
    target.unlink(missing_ok=True)
    db = sqlite3.connect(target)
    db.execute("PRAGMA journal_mode = wal")
    for statement in schema_of(database):
        db.execute(statement)
    db.close()
    begun = time.perf_counter()
    commands = ["PRAGMA cache_size = -32768", "PRAGMA synchronous = 2", f".import --csv {source} queued_messages"]
    subprocess.run(["sqlite3", str(target), *commands], check=True, capture_output=True)
    taken = time.perf_counter() - begun
    db = sqlite3.connect(target)
    assert db.execute("SELECT count(*) FROM queued_messages").fetchone() == (count,)
    db.close()
    return taken


@dataclass(frozen=True)
class Taken:
    """Seconds on the clock, and of the processor."""

    wall: float
    cpu: float

    def __sub__(self, other: Taken) -> Taken:
        return Taken(self.wall - other.wall, self.cpu - other.cpu)


def clocks() -> Taken:
    return Taken(time.perf_counter(), time.process_time())


def made(listed: Rows) -> Taken:
    """What making the rows takes: no part of taking them over."""
    begun = clocks()
    for _ in listed:
        pass
    return clocks() - begun


async def taken_over(store: Store, now: datetime, count: int, **which: int) -> tuple[Taken, SyncCounts]:
    begun = clocks()
    taking = await compare(store, "b", rows(count, **which), now)
    counts = await store.write(taking.finish)
    return clocks() - begun - made(rows(count, **which)), counts


async def opened(path: Path) -> Store:
    store = await Store.open(path, sole=True)
    facts = [
        ConnectorFacts(backend="b", key=f"k{n}", name=f"Connector {n}", kind=ConnectorKind.ON_PREMISES)
        for n in range(CONNECTORS)
    ]
    await store.write(lambda db: connectors.sync(db, "b", facts, NOW, complete=True))
    return store


def peak() -> float:
    """Of this program alone: what getrusage tells begins with the most that the program before `exec` had."""
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


async def once(directory: Path, count: int, *, compared: bool) -> None:
    store = await opened(directory / f"{count}.db")
    first, counts = await taken_over(store, NOW, count)
    assert counts == SyncCounts(added=count)
    tell(f"first sync of {count:,} queued messages", f"{first.wall:.1f} s; peak memory {peak():.0f} MiB")
    changes, runs = count // 100, []
    for after in (1, 2, 3):
        again, counts = await taken_over(store, LATER, count, later=changes, after=after)
        assert counts == SyncCounts(changed=changes, unchanged=count - changes), counts
        runs.append(again)
    wall, cpu = min(r.wall for r in runs), min(r.cpu for r in runs)
    tell(
        f"the same {count:,} again, 1 % of them changed (best of 3)",
        f"{wall:.2f} s, {wall / first.wall:.1%} of the first; processor {cpu / first.cpu:.1%}",
    )
    before = await store.write(lambda db: db.conn.total_changes)
    same, _ = await taken_over(store, LATER, count, later=changes, after=3)
    assert await store.write(lambda db: db.conn.total_changes) == before
    tell(f"the same {count:,} again, nothing changed: nothing is written", f"{same.wall:.2f} s")
    await views(store, count)
    tell("peak memory so far", f"{peak():.0f} MiB")
    if compared:  # last: its memory is not ours
        other = imported(directory, store.path, count)
        tell(
            f"sqlite3 .import of the same {count:,}",
            f"{other:.1f} s; the first sync took {first.wall / other:.1f} times as long",
        )
    await store.close()


async def views(store: Store, count: int) -> None:
    for what, look in (
        ("count, oldest and first bounce per connector", messages.summaries),
        ("the 24-hour clocks of all connectors", queue.clocks),
    ):
        best = min([await seconds(store, look) for _ in range(5)])
        tell(f"{what}, over {count:,}", f"{best * 1000:.1f} ms")


async def seconds(store: Store, look: object) -> float:
    begun = time.perf_counter()
    await store.read(look)
    return time.perf_counter() - begun


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        compared = shutil.which("sqlite3") is not None
        if not compared:
            tell("sqlite3 .import", "not compared: the program sqlite3 is not installed")
        print("\n### Long queues (making the rows is not counted)\n", "| what | figure |", "| --- | --- |", sep="\n")
        for count in COUNTS:
            asyncio.run(once(Path(directory), count, compared=compared))


def in_own_process() -> None:
    """The same, as part of a longer run."""
    subprocess.run([sys.executable, "-m", "tests.bench.queue"], check=True, env=dict(os.environ))


if __name__ == "__main__":
    main()
