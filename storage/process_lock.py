"""The lock file beside the database: at most one process owns the database, and a lost database is noticed.

`<database>.lock` is locked with flock, so that the lock ends with its process however that ends. The file is never
deleted. Once the database was set up it holds the install marker: with the marker there, a missing or empty database is
a lost one, and is not silently made anew.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from storage.errors import AlreadyRunning, Unusable

_MARKER = b"mfi database set up here"
_POLL = 0.02


class ProcessLock:
    """One process's handle on the lock file. Not held until `take` says so."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    @property
    def path(self) -> Path:
        """The lock file."""
        return self._path

    def take(self, patience: float = 0.0) -> bool:
        """Try to own the database, for `patience` seconds at most. False: somebody else does."""
        deadline = time.monotonic() + patience
        descriptor = self._open()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return False
                time.sleep(_POLL)
            else:
                self._descriptor = descriptor
                return True

    def take_or_refuse(self, patience: float) -> None:
        """Own the database or raise AlreadyRunning."""
        if not self.take(patience):
            owner = self._owner()
            raise AlreadyRunning(f"another mfi{owner} is running on {self._database}: stop it first")

    def mark_installed(self) -> None:
        """Remember, while holding the lock, that the database exists, and who owns it now."""
        assert self._descriptor is not None, "only the holder of the lock marks"
        text = b"%s, don't delete this file\npid %d\n" % (_MARKER, os.getpid())
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))
        os.fsync(self._descriptor)

    def installed(self) -> bool:
        """Was a database ever set up here?"""
        return self._text().startswith(_MARKER)

    def release(self) -> None:
        """Let others own the database; harmless when not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError as error:
            raise Unusable(f"there is no folder {self._path.parent}: make it, or name another file") from error
        except OSError as error:
            raise Unusable(f"the lock file {self._path} can't be opened: {error.strerror}") from error

    def _text(self) -> bytes:
        try:
            return self._path.read_bytes()[:500]
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise Unusable(f"the lock file {self._path} can't be read: {error.strerror}") from error

    def _owner(self) -> str:
        _, _, number = self._text().partition(b"\npid ")
        return f" (process {int(number)})" if number.strip().isdigit() else ""
