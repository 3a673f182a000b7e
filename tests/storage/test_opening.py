"""Which files are opened, made or upgraded, and which are refused untouched with one clear line."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import meta, opening
from storage.connection import AlreadyRunning, Store, Unusable
from storage.migrations import APPLICATION_ID
from storage.process_lock import ProcessLock


def script(path: Path, statements: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(statements)
    connection.close()


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


def loosen(path: Path) -> None:
    path.chmod(0o644)


def delete(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


async def made(path: Path) -> None:
    """A database with something in it."""
    async with await Store.open(path, sole=True) as store:
        await store.write(lambda db: [meta.put(db, f"{i}", "x" * 400) for i in range(200)])


async def test_a_new_file_is_ours_private_and_complete(path: Path) -> None:
    async with await Store.open(path) as store:
        found = await store.read(lambda db: opening.pragma(db, "application_id"))
    assert found == APPLICATION_ID
    assert rights(path) == 0o600
    assert rights(path.with_name("mfi.db.lock")) == 0o600


async def test_the_log_beside_it_is_private_too(path: Path) -> None:
    async with await Store.open(path) as store:
        await store.write(lambda db: meta.put(db, "a", "b"))
        assert [rights(path.with_name(f"mfi.db{end}")) for end in ("", "-wal", "-shm", ".lock")] == [0o600] * 4


async def test_rights_that_were_loosened_are_tightened_by_the_owner(path: Path) -> None:
    await made(path)
    loosen(path)
    await made(path)
    assert rights(path) == 0o600


async def test_an_empty_file_at_the_first_start_is_taken(path: Path) -> None:
    empty(path)
    await made(path)
    assert (content(path) or b"").startswith(b"SQLite format 3")


async def test_a_name_with_odd_characters_works(tmp_path: Path) -> None:
    await made(tmp_path / "100% sure? #1 é.db")
    assert content(tmp_path / "100% sure? #1 é.db")


def newer(path: Path) -> None:
    script(path, "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('mfi', 'of_tomorrow', '')")


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)


def bad_header(path: Path) -> None:
    path.write_bytes(b"X" * 100 + path.read_bytes()[100:])


def bad_page(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    for at in range(8192, len(whole) - 4096, 4096):
        whole[at : at + 64] = b"\xff" * 64
    path.write_bytes(whole)


def bad_leaf(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-4096:-4000] = b"\xff" * 96
    path.write_bytes(whole)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 20 + 100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.unlink()
    script(path, "CREATE TABLE customers (id INTEGER)")


def foreign_but_empty(path: Path) -> None:
    path.unlink()
    script(path, "PRAGMA application_id = 42; CREATE TABLE t (id); DROP TABLE t")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (newer, "newer mfi"),
        (garbage, "damaged"),
        (bad_header, "damaged"),
        (bad_page, "damaged"),
        (bad_leaf, "damaged"),
        (truncated, "damaged"),
        (empty, "is empty, but was set up before"),
        (delete, "is missing, but was set up before"),
        (foreign, "not a database of mfi"),
        (foreign_but_empty, "not a database of mfi"),
    ],
)
async def test_a_file_that_is_not_right_is_refused_and_left_as_it_is(
    path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    await made(path)
    spoil(path)
    before = content(path)
    for sole in (True, False):
        if not sole and spoil in (bad_page, bad_leaf, truncated):
            continue  # a short-lived command doesn't look at every page
        with pytest.raises(Unusable, match=says) as refusal:
            await Store.open(path, sole=sole)
        assert "\n" not in str(refusal.value)
        assert content(path) == before
    with pytest.raises(Unusable, match=says):
        await Store.open(path, sole=True)  # the lock was given back


async def test_deleting_the_marker_too_starts_anew(path: Path) -> None:
    await made(path)
    delete(path, path.with_name("mfi.db.lock"))
    await made(path)
    assert rights(path.with_name("mfi.db.lock")) == 0o600


@pytest.mark.parametrize("sole", [True, False])
async def test_a_folder_in_its_place_is_refused(tmp_path: Path, sole: bool) -> None:
    (tmp_path / "mfi.db").mkdir()
    with pytest.raises(Unusable, match="is not a file"):
        await Store.open(tmp_path / "mfi.db", sole=sole)


@pytest.mark.parametrize("sole", [True, False])
async def test_a_missing_folder_is_refused(tmp_path: Path, sole: bool) -> None:
    with pytest.raises(Unusable, match="there is no folder"):
        await Store.open(tmp_path / "nowhere" / "mfi.db", sole=sole)


@pytest.mark.parametrize("sole", [True, False])
async def test_a_file_in_place_of_its_folder_is_refused(path: Path, sole: bool) -> None:
    empty(path)
    with pytest.raises(Unusable, match="Not a directory"):
        await Store.open(path / "mfi.db", sole=sole)


async def test_a_link_in_place_of_the_lock_file_is_refused(tmp_path: Path, path: Path) -> None:
    path.with_name("mfi.db.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unusable, match="lock file"):
        await Store.open(path, sole=True)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_folder_in_place_of_the_lock_file_is_refused(path: Path) -> None:
    path.with_name("mfi.db.lock").mkdir()
    with pytest.raises(Unusable, match="lock file"):
        await Store.open(path)


async def test_an_upgrade_is_not_done_under_a_running_owner(path: Path) -> None:
    lock = ProcessLock(path)
    assert lock.take()
    try:
        with pytest.raises(AlreadyRunning, match="of another version"):
            await Store.open(path, patience=0.1)
    finally:
        lock.release()
    assert content(path) is None


async def test_a_command_waits_for_a_set_up_that_is_under_way(path: Path) -> None:
    lock = ProcessLock(path)
    assert lock.take()
    command = asyncio.create_task(Store.open(path))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(opening.set_up, path, patience=5, thorough=False)
    store = await command
    lock.release()
    await store.close()


async def test_a_file_in_another_journal_mode_is_set_right(path: Path) -> None:
    await made(path)
    script(path, "PRAGMA journal_mode=DELETE")
    async with await Store.open(path) as store:
        assert await store.read(lambda db: opening.pragma(db, "journal_mode")) == "wal"


async def test_a_set_up_that_fails_half_way_leaves_nothing(path: Path) -> None:
    opening._create(path)
    db = opening.connect(path, patience=1)
    db.execute("PRAGMA max_page_count=3")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        opening._migrate(db)
    assert db.table_names() == []
    db.close()
    await made(path)


def test_a_setting_that_sqlite_refuses_is_noticed(path: Path) -> None:
    opening._create(path)
    with pytest.raises(Unusable, match="refuses journal_mode=wal"):
        opening.connect_reader(path, patience=1)
