"""One writer, snapshots for readers, nothing on the event loop, whole transactions whatever happens."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlite_utils import Database

from storage import meta
from storage.connection import Busy, Full, Store, StoreError, Unusable
from storage.errors import translated


def put(key: str, value: str = "x") -> Callable[[Database], None]:
    return lambda db: meta.put(db, key, value)


def value(key: str) -> Callable[[Database], str | None]:
    return lambda db: meta.get(db, key)


def pragmas(db: Database, *names: str) -> dict[str, object]:
    return {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in names}


SETTINGS = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "trusted_schema", "cell_size_check")


async def test_the_writer_is_durable_and_strict(store: Store) -> None:
    found = await store.write(lambda db: pragmas(db, *SETTINGS, "wal_autocheckpoint", "query_only"))
    assert list(found.values()) == ["wal", 2, 1, 5000, 0, 1, 1000, 0]


async def test_readers_can_not_write(store: Store) -> None:
    found = await store.read(lambda db: pragmas(db, *SETTINGS, "wal_autocheckpoint", "query_only"))
    assert list(found.values()) == ["wal", 2, 1, 5000, 0, 1, 0, 1]
    with pytest.raises(Unusable):
        await store.read(put("a"))
    assert await store.read(value("a")) is None


async def test_only_the_owner_checkpoints(store: Store, path: Path) -> None:
    async with await Store.open(path) as guest:
        assert await guest.write(lambda db: pragmas(db, "wal_autocheckpoint")) == {"wal_autocheckpoint": 0}


async def test_a_write_returns_its_result_and_is_seen_by_readers(store: Store) -> None:
    assert await store.write(lambda db: meta.put(db, "a", "1") or "done") == "done"
    assert await store.read(value("a")) == "1"


async def test_an_exception_rolls_everything_back(store: Store) -> None:
    def half(db: Database) -> None:
        meta.put(db, "a", "1")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await store.write(half)
    assert await store.read(value("a")) is None
    await store.write(put("b"))
    assert await store.read(value("b")) == "x"


async def test_a_broken_constraint_is_the_callers_fault_and_rolls_back(store: Store) -> None:
    def orphan(db: Database) -> None:
        meta.put(db, "a", "1")
        db.execute("INSERT INTO queue_samples (connector_id, at, waiting) VALUES (99, 0, 0)")

    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await store.write(orphan)
    assert await store.read(value("a")) is None


async def test_a_reader_sees_one_moment(store: Store) -> None:
    reading, written = threading.Event(), threading.Event()

    def twice(db: Database) -> tuple[str | None, str | None]:
        first = meta.get(db, "a")
        reading.set()
        written.wait(5)
        return first, meta.get(db, "a")

    answer = asyncio.create_task(store.read(twice))
    await asyncio.to_thread(reading.wait, 5)
    await store.write(put("a"))
    written.set()
    assert await answer == (None, None)
    assert await store.read(value("a")) == "x"


async def test_work_that_commits_by_itself_is_found_out(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no transaction"):
        await store.write(lambda db: db.commit())


async def test_the_loop_runs_on_while_a_write_takes_long(store: Store) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await store.write(lambda db: time.sleep(0.2))
    ticking.cancel()
    assert ticks >= 10


async def test_writes_are_done_in_the_order_in_which_they_were_asked_for(store: Store) -> None:
    await asyncio.gather(*(store.write(put("a", str(i))) for i in range(50)))
    assert await store.read(value("a")) == "49"


async def test_a_cancelled_caller_leaves_a_whole_transaction(store: Store) -> None:
    started = threading.Event()

    def both(db: Database) -> None:
        meta.put(db, "first", "x")
        started.set()
        time.sleep(0.1)
        meta.put(db, "second", "x")

    running = asyncio.create_task(store.write(both))
    waiting = asyncio.create_task(store.write(put("never")))
    await asyncio.to_thread(started.wait, 5)
    running.cancel()
    waiting.cancel()
    for task in (running, waiting):
        with pytest.raises(asyncio.CancelledError):
            await task
    await store.write(put("after"))
    found = [await store.read(value(k)) for k in ("first", "second", "never", "after")]
    assert found == ["x", "x", None, "x"]


async def test_a_full_disk_rolls_back_whole_and_heals_by_itself(store: Store) -> None:
    def limit(pages: int) -> Callable[[Database], object]:
        return lambda db: db.execute(f"PRAGMA max_page_count={pages}").fetchone()

    def flood(db: Database) -> None:
        meta.put(db, "first", "x")
        for i in range(2000):
            meta.put(db, f"row {i}", "x" * 500)

    await store.write(limit(1))  # SQLite takes the present size as the limit then
    with pytest.raises(Full, match="no space left"):
        await store.write(flood)
    assert await store.read(value("first")) is None
    assert await store.write(lambda db: db.conn.in_transaction)
    await store.write(limit(1_000_000))
    await store.write(flood)
    assert await store.read(lambda db: db.execute("SELECT count(*) FROM meta").fetchone()[0]) == 2001
    assert await store.read(lambda db: db.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"


async def test_another_writer_for_too_long_is_busy_and_writes_nothing(store: Store, path: Path) -> None:
    async with await Store.open(path, patience=0.05) as guest:
        held, done = threading.Event(), threading.Event()

        def hold(db: Database) -> None:
            held.set()
            done.wait(5)

        holding = asyncio.create_task(store.write(hold))
        await asyncio.to_thread(held.wait, 5)
        with pytest.raises(Busy, match="try again"):
            await guest.write(put("a"))
        assert await guest.read(value("a")) is None
        done.set()
        await holding
        await guest.write(put("a"))
    assert await store.read(value("a")) == "x"


async def test_a_guest_writes_beside_the_owner_and_both_see_it(store: Store, path: Path) -> None:
    async with await Store.open(path) as guest:
        assert guest.path == path
        await asyncio.gather(*(s.write(put(f"{s is guest} {i}")) for i in range(20) for s in (store, guest)))
        count = "SELECT count(*) FROM meta"
        assert await store.read(lambda db: db.execute(count).fetchone()[0]) == 40
        assert await guest.read(lambda db: db.execute(count).fetchone()[0]) == 40


async def test_a_closed_store_says_so(path: Path) -> None:
    store = await Store.open(path)
    await store.write(put("a"))
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.write(put("b"))
    with pytest.raises(StoreError, match="closed"):
        await store.read(value("a"))


async def test_closing_waits_for_what_was_begun(path: Path) -> None:
    store = await Store.open(path, sole=True)
    begun = asyncio.create_task(store.write(lambda db: (time.sleep(0.1), meta.put(db, "a", "x"))))
    await asyncio.sleep(0)
    await store.close()
    await begun
    async with await Store.open(path) as again:
        assert await again.read(value("a")) == "x"


async def test_the_owner_leaves_no_log_behind(path: Path) -> None:
    async with await Store.open(path, sole=True) as store:
        await store.write(put("a"))
        assert path.with_name("mfi.db-wal").stat().st_size > 0
    assert sorted(p.name for p in path.parent.iterdir()) == ["mfi.db", "mfi.db.lock"]


async def test_a_cancelled_opening_gives_the_lock_back(path: Path) -> None:
    opening = asyncio.create_task(Store.open(path, sole=True))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with await Store.open(path, sole=True) as store:
        assert await store.read(value("a")) is None


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (sqlite3.SQLITE_BUSY, Busy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Busy),
        (sqlite3.SQLITE_LOCKED, Busy),
        (sqlite3.SQLITE_FULL, Full),
        (sqlite3.SQLITE_CORRUPT, Unusable),
        (sqlite3.SQLITE_NOTADB, Unusable),
        (sqlite3.SQLITE_READONLY, Unusable),
        (sqlite3.SQLITE_CANTOPEN, Unusable),
        (sqlite3.SQLITE_IOERR_READ, StoreError),
        (sqlite3.SQLITE_CONSTRAINT, None),
        (None, None),
    ],
)
def test_every_sqlite_error_has_one_meaning(code: int | None, meaning: type[StoreError] | None) -> None:
    error = sqlite3.OperationalError("words")
    if code is not None:
        error.sqlite_errorcode = code
    found = translated(error, Path("mfi.db"))
    assert type(found) is (meaning or type(None))
    assert found is None or "\n" not in str(found)


async def test_a_stray_stop_iteration_is_an_error_and_does_not_hang_the_caller(tmp_path):
    async with await Store.open(tmp_path / "mfi.db") as store:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(store.read(lambda db: next(iter(()))), 5)
