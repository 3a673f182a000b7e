"""The database as the program uses it: one writer, a few read-only readers, nothing on the event loop.

Promises: a write is one whole transaction (`BEGIN IMMEDIATE` … `COMMIT`) or leaves no trace, also when the awaiting
task is cancelled, the disk is full or the process dies; what was committed is on the disk. A read sees one consistent
snapshot.
Trusts: that `work` neither commits nor keeps the connection, and that it returns values, not cursors.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlite_utils import Database

from storage import opening
from storage.errors import AlreadyRunning, Busy, Full, StoreError, Unusable, translated
from storage.process_lock import ProcessLock

__all__ = ["AlreadyRunning", "Busy", "Full", "Store", "StoreError", "Unusable", "immediate", "snapshot"]

T = TypeVar("T")

READERS = 3
PATIENCE = 5.0
"""Seconds for which a transaction waits for another process's one."""
START_PATIENCE = 2.0
"""Seconds for which an owner waits for a short-lived set-up by a command."""


def immediate(db: Database, work: Callable[[Database], T]) -> T:
    """Run `work` in one write transaction that holds the write lock from its first statement."""
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
        return result
    finally:
        db.rollback()


def snapshot(db: Database, work: Callable[[Database], T]) -> T:
    """Run `work` in one read transaction: everything it reads is of one moment."""
    db.execute("BEGIN")
    try:
        return work(db)
    finally:
        db.rollback()


def _without_stop_iteration(work: Callable[[], T]) -> T:
    """A future can't carry StopIteration: raised as it is, it would leave the caller waiting for ever."""
    try:
        return work()
    except StopIteration as error:
        raise RuntimeError("the work ended in a stray StopIteration") from error


class Store:
    """An open database. Make it with `open`, end it with `close`."""

    def __init__(self, path: Path, *, sole: bool, patience: float) -> None:
        self._path = path
        self._sole = sole
        self._patience = patience
        self._lock = ProcessLock(path)
        self._closed = False
        self._db: Database | None = None
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="mfi-write")
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="mfi-read")
        self._local = threading.local()
        self._readers: list[Database] = []

    @classmethod
    async def open(cls, path: Path, *, sole: bool = False, patience: float = PATIENCE) -> Store:
        """Open the database, made or upgraded where needed.

        sole: own it (AlreadyRunning if somebody does), check it, and be the one who checkpoints.
        Not sole: work beside an owner. An upgrade that an owner stands in the way of raises AlreadyRunning.
        """
        store = cls(path, sole=sole, patience=patience)
        try:
            await asyncio.get_running_loop().run_in_executor(store._write_thread, store._start)
        except BaseException:
            store._closed = True
            store._write_thread.submit(store._stop)
            store._write_thread.shutdown(wait=False)
            raise
        return store

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    async def write(self, work: Callable[[Database], T]) -> T:
        """Run `work` in one transaction and return what it returns; its exceptions roll everything back.

        If the caller is cancelled meanwhile, the transaction still ends as a whole, in whichever way.
        """
        return await self._run(self._write_thread, lambda: immediate(self._writer(), work))

    async def read(self, work: Callable[[Database], T]) -> T:
        """Run `work` on a read-only connection in one consistent snapshot and return what it returns."""
        return await self._run(self._read_threads, lambda: snapshot(self._reader(), work))

    async def close(self) -> None:
        """Finish what was begun, then close. Harmless when closed already."""
        if not self._closed:
            self._closed = True
            await asyncio.shield(asyncio.to_thread(self._finish))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError("the database was closed already")
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, _without_stop_iteration, work)
        except sqlite3.Error as error:
            meaning = translated(error, self._path)
            if meaning is None:
                raise
            raise meaning from error

    def _writer(self) -> Database:
        assert self._db is not None
        return self._db

    def _reader(self) -> Database:
        db: Database | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = opening.connect_reader(self._path, patience=self._patience)
            self._readers.append(db)
        return db

    def _start(self) -> None:
        try:
            if self._sole:
                self._lock.take_or_refuse(START_PATIENCE)
                self._set_up()
            else:
                self._set_up_if_needed()
            self._db = opening.connect_writer(self._path, patience=self._patience, checkpoints=self._sole)
            if self._sole:
                self._checkpoint(self._db)
        except (OSError, sqlite3.Error) as error:
            self._stop()
            raise opening.unusable(error, self._path) from error
        except BaseException:
            self._stop()
            raise

    def _set_up(self) -> None:
        opening.refuse_lost(self._path, self._lock)
        opening.set_up(self._path, patience=self._patience, thorough=self._sole)
        self._lock.mark_installed()

    def _set_up_if_needed(self) -> None:
        """Under the lock for a moment; if another process has it, it is probably just doing the same: wait for that."""
        opening.refuse_lost(self._path, self._lock)
        deadline = time.monotonic() + self._patience
        while opening.needs_setup(self._path, patience=self._patience):
            if self._lock.take():
                self._set_up()
                self._lock.release()
            elif time.monotonic() >= deadline:
                raise AlreadyRunning(f"the mfi that runs on {self._path} is of another version: restart it first")
            else:
                time.sleep(0.02)

    def _finish(self) -> None:
        self._read_threads.shutdown(wait=True)
        self._write_thread.submit(self._stop)
        self._write_thread.shutdown(wait=True)

    def _stop(self) -> None:
        """Close every connection and let the lock go. Runs in the write thread, after the readers' threads ended."""
        try:
            for reader in self._readers:
                reader.close()
            if self._db is not None:
                self._close_writer(self._db)
        finally:
            self._db = None
            self._lock.release()

    def _close_writer(self, db: Database) -> None:
        try:
            if self._sole:
                self._checkpoint(db)
        finally:
            db.close()

    @staticmethod
    def _checkpoint(db: Database) -> None:
        db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
