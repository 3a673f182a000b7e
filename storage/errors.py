"""What can go wrong with the database, each as one line that says what to do.

StoreError
├── Busy            another process held the write lock for too long: nothing was written, try again
├── Full            no space: the whole transaction was rolled back
├── Unusable        corrupt, foreign, newer, lost or not accessible: nothing was touched (exit 3)
└── AlreadyRunning  another mfi owns this database (exit 4)
"""

from __future__ import annotations

import sqlite3
from pathlib import Path


class StoreError(Exception):
    """The database did not do what was asked; the transaction, if any, left no trace."""


class Busy(StoreError):
    """Nothing was written; the same call may succeed later."""


class Full(StoreError):
    """Nothing was written; free some space."""


class Unusable(StoreError):
    """The file is not one that we may use; it was left exactly as it is."""


class AlreadyRunning(StoreError):
    """Another process holds the process lock."""


def translated(error: sqlite3.Error, path: Path) -> StoreError | None:
    """The StoreError that this SQLite error means, or None for faults of the caller (constraints, bad SQL)."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Busy(f"the database {path} is busy: another process is writing to it; try again")
        case sqlite3.SQLITE_FULL:
            return Full(f"no space left for the database {path}: nothing was written; free some disk space")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Unusable(f"the database {path} is damaged ({error}): restore it from a backup; nothing was deleted")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return Unusable(f"the database {path} can't be opened for writing ({error}): check its owner and rights")
        case sqlite3.SQLITE_IOERR:
            return StoreError(f"reading or writing the database {path} failed ({error}): check the disk")
    return None
