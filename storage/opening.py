"""Opening the database file: what is refused, how it is set up, how a connection is configured.

Nothing is ever deleted or overwritten. A file is ours if it says so (application_id) or if it is new and empty.
Set-up (WAL mode, application_id and all migrations, the latter in one transaction) happens only under the process lock.
The live file is never opened except by SQLite: closing any other descriptor would drop SQLite's own locks.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

from sqlite_utils import Database

from storage.errors import Unusable, translated
from storage.migrations import APPLICATION_ID, migrations
from storage.process_lock import ProcessLock

AUTOCHECKPOINT_PAGES = 1000
WRITER_CACHE_KIB = 32 * 1024
"""A long queue's indexes are written all over: with too small a cache each page goes to the disk again and again."""


def connect(path: Path, *, patience: float) -> Database:
    """A bare connection to the existing file: waits `patience` seconds for locks, starts no transaction by itself.

    It may be closed by another thread than the one that uses it, never used by two.
    """
    conn = sqlite3.connect(
        path.absolute().as_uri() + "?mode=rw",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
    )
    return Database(conn, execute_plugins=False)


def connect_writer(path: Path, *, patience: float, checkpoints: bool) -> Database:
    """A connection that writes. Only the process that owns the database may let it checkpoint."""
    return _configured(
        path,
        patience,
        {"wal_autocheckpoint": AUTOCHECKPOINT_PAGES if checkpoints else 0, "cache_size": -WRITER_CACHE_KIB},
    )


def connect_reader(path: Path, *, patience: float) -> Database:
    """A connection that can't write."""
    return _configured(path, patience, {"wal_autocheckpoint": 0, "query_only": 1})


def _configured(path: Path, patience: float, extra: dict[str, int]) -> Database:
    db = connect(path, patience=patience)
    wanted = {"synchronous": 2, "foreign_keys": 1, "trusted_schema": 0, "cell_size_check": 1, **extra}
    try:
        for name, value in wanted.items():
            db.conn.execute(f"PRAGMA {name}={value:d}").fetchall()
        _insist(db, {"journal_mode": "wal", "busy_timeout": round(patience * 1000), **wanted}, path)
    except BaseException:
        db.close()
        raise
    return db


def _insist(db: Database, wanted: dict[str, int | str], path: Path) -> None:
    for name, value in wanted.items():
        found = pragma(db, name)
        if found != value:
            raise Unusable(f"SQLite refuses {name}={value} (it says {found}) for {path}: use a local disk")


def pragma(db: Database, name: str) -> int | str:
    """The present value of a PRAGMA."""
    value: int | str = db.conn.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def refuse_lost(path: Path, lock: ProcessLock) -> None:
    """Raise Unusable where a database was set up before and is missing or empty now."""
    if _size(path) == 0 and lock.installed():
        state = "empty" if path.exists() else "missing"
        raise Unusable(
            f"the database {path} is {state}, but was set up before: restore it from a backup, "
            f"or delete {lock.path} to start anew"
        )


def needs_setup(path: Path, *, patience: float) -> bool:
    """Is the file new, or older than this program? Raises Unusable for files that we must not touch."""
    if _size(path) == 0:
        return True
    db = connect(path, patience=patience)
    try:
        return _inspect(db, path)
    finally:
        db.close()


def set_up(path: Path, *, patience: float, thorough: bool) -> None:
    """Create or upgrade the file; call it only while holding the process lock. thorough: check its pages first."""
    _create(path)
    db = connect(path, patience=patience)
    try:
        if _inspect(db, path):
            db.conn.execute("PRAGMA journal_mode=WAL").fetchall()
            _migrate(db)
        if thorough:
            _check_pages(db, path)
    finally:
        db.close()


def _migrate(db: Database) -> None:
    db.execute("PRAGMA synchronous=FULL")
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(f"PRAGMA application_id={APPLICATION_ID:d}")
        migrations.apply(db)
        db.execute("COMMIT")
    finally:
        db.rollback()


def _inspect(db: Database, path: Path) -> bool:
    """Needs set-up? Reads in one transaction, so that a set-up under way elsewhere is seen whole or not at all."""
    db.execute("BEGIN")
    try:
        tables = db.table_names()
        if pragma(db, "application_id") != APPLICATION_ID and (tables or pragma(db, "application_id") != 0):
            raise Unusable(f"{path} is not a database of mfi: name another file in MFI_DATABASE")
        known = {m.name for m in migrations.pending(db)} | {m.name for m in migrations.applied(db)}
        ours = _declared()
        if known - ours:
            raise Unusable(f"the database {path} was written by a newer mfi: upgrade this one")
        pending = bool(migrations.pending(db))
    finally:
        db.rollback()
    return pending or pragma(db, "journal_mode") != "wal"


def _declared() -> set[str]:
    fresh = Database(memory=True, execute_plugins=False)
    try:
        return {m.name for m in migrations.pending(fresh)}
    finally:
        fresh.close()


def _check_pages(db: Database, path: Path) -> None:
    verdict = " ".join(db.conn.execute("PRAGMA quick_check(1)").fetchone()[0].split())
    if verdict != "ok":
        raise Unusable(f"the database {path} is damaged ({verdict}): restore it from a backup; nothing was deleted")


def _create(path: Path) -> None:
    """Make an empty file that only its owner reads, or tighten the one that is there."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(found.st_mode):
        raise Unusable(f"{path} is not a file: name a file in MFI_DATABASE")
    return found.st_size


def unusable(error: OSError | sqlite3.Error, path: Path) -> Exception:
    """What a failed opening means to the person who started us."""
    if isinstance(error, sqlite3.Error):
        return translated(error, path) or Unusable(f"the database {path} can't be opened: {error}")
    return Unusable(f"the database {path} can't be opened: {error.strerror}")
