"""Several processes on one database: the lock, simultaneous first starts, and kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage import meta
from storage.connection import AlreadyRunning, Store
from storage.process_lock import ProcessLock

ROOT = Path(__file__).parents[2]
OWNER = """
import asyncio, sys, pathlib
from storage.connection import Store
async def main():
    store = await Store.open(pathlib.Path(sys.argv[1]), sole=True)
    await store.write(lambda db: db.execute("INSERT INTO meta VALUES ('owner', 'was here')"))
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
STARTER = """
import asyncio, sys, pathlib
from storage.connection import Store
print("ready", flush=True)
sys.stdin.readline()
async def main():
    async with await Store.open(pathlib.Path(sys.argv[1])) as store:
        for i in range(20):
            await store.write(lambda db: db.execute("INSERT INTO inbox VALUES (?, 0)", [f"{sys.argv[2]} {i}"]))
asyncio.run(main())
"""
INTERRUPTED = """
import asyncio, sys, pathlib, time
from storage.connection import Store
from storage.migrations import migrations
@migrations()
def of_this_process(db):
    db.execute("CREATE TABLE half (id INTEGER) STRICT")
    print("ready", flush=True)
    time.sleep(60)
asyncio.run(Store.open(pathlib.Path(sys.argv[1]), sole=len(sys.argv) > 2))
"""


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another Python process that has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_a_second_owner_is_refused_and_told_who_runs(path: Path) -> None:
    says = r"process \d+\) is running on .*mfi\.db: stop it first"
    with running(OWNER, path), pytest.raises(AlreadyRunning, match=says):
        await Store.open(path, sole=True)


async def test_a_command_works_beside_a_running_owner(path: Path) -> None:
    with running(OWNER, path):
        async with await Store.open(path) as guest:
            assert await guest.read(lambda db: meta.get(db, "owner")) == "was here"
            await guest.write(lambda db: meta.put(db, "guest", "too"))


async def test_kill_9_of_the_owner_keeps_what_was_committed_and_frees_the_lock(path: Path) -> None:
    with running(OWNER, path) as owner:
        owner.send_signal(signal.SIGKILL)
        owner.wait(10)
    async with await Store.open(path, sole=True) as store:
        assert await store.read(lambda db: meta.get(db, "owner")) == "was here"


@pytest.mark.parametrize("sole", [(), ("sole",)])
async def test_kill_9_in_mid_migration_leaves_no_half_schema(path: Path, sole: tuple[str, ...]) -> None:
    with running(INTERRUPTED, path, *sole) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    async with await Store.open(path, sole=True) as store:
        tables = await store.read(lambda db: db.table_names())
    assert "half" not in tables
    assert "incidents" in tables


async def test_four_processes_may_open_a_new_database_at_once(path: Path) -> None:
    with (
        running(STARTER, path, 1) as one,
        running(STARTER, path, 2) as two,
        running(STARTER, path, 3) as three,
        running(STARTER, path, 4) as four,
    ):
        processes = (one, two, three, four)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        ended = [await asyncio.to_thread(p.communicate, timeout=30) for p in processes]
        assert [(p.returncode, err) for p, (_, err) in zip(processes, ended, strict=True)] == [(0, "")] * 4
    async with await Store.open(path, sole=True) as store:
        assert await store.read(lambda db: db.execute("SELECT count(*) FROM inbox").fetchone()[0]) == 80


def test_the_lock_is_held_by_one_and_given_back(path: Path) -> None:
    first, second = ProcessLock(path), ProcessLock(path)
    assert first.take()
    assert not second.take()
    assert not second.take(patience=0.05)
    first.release()
    first.release()
    assert second.take()
    second.release()


def test_a_lock_file_without_a_process_number_is_refused_all_the_same(path: Path) -> None:
    first, second = ProcessLock(path), ProcessLock(path)
    assert first.take()
    with pytest.raises(AlreadyRunning, match="another mfi is running"):
        second.take_or_refuse(0)
    first.release()


def test_the_marker_is_known_to_every_later_process(path: Path) -> None:
    lock = ProcessLock(path)
    assert not lock.installed()
    assert lock.take()
    lock.mark_installed()
    lock.release()
    assert ProcessLock(path).installed()
    assert lock.path.name == "mfi.db.lock"
