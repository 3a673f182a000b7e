"""The operator's list of addresses that exist: the same file that `mfi import recipients` takes.

An address of a domain whose list is claimed complete is invalid when it isn't there. Nothing is invalid otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bot.backends.files.parsed import UnreadableFile
from bot.backends.files.recipients import read_recipients
from bot.backends.ports import RecipientAnswer, Unreachable


@dataclass(frozen=True, slots=True)
class Listed:
    """The file's content. `complete`: the domains whose whole directory it is. `problems`: what could not be used."""

    addresses: frozenset[str]
    complete: frozenset[str]
    problems: tuple[str, ...] = ()

    def answer(self, addresses: Iterable[str]) -> RecipientAnswer:
        """Which of these exist, and which certainly don't."""
        wanted = frozenset(address.lower() for address in addresses)
        valid = wanted & self.addresses
        absent = frozenset(a for a in wanted - valid if a.rpartition("@")[2] in self.complete)
        return RecipientAnswer(valid=valid, invalid=absent)

    def of(self, domain: str) -> list[str]:
        """The addresses of one domain."""
        return sorted(a for a in self.addresses if a.endswith(f"@{domain}"))


class Directory:
    """The file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._listed = Listed(frozenset(), frozenset())

    async def listed(self) -> Listed:
        """Its content now. Raises Unreachable: an unreadable list says nothing about anybody."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Listed:
        try:
            found = self._path.stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            if stamp != self._stamp:
                parsed = read_recipients(self._path)
                problems = tuple(f"line {p.line}: {p.text}" if p.line else p.text for p in parsed.problems)
                self._listed = Listed(frozenset(parsed.rows), frozenset(parsed.complete), problems)
                self._stamp = stamp
        except (OSError, UnreadableFile) as error:
            text = error.strerror if isinstance(error, OSError) else error
            raise Unreachable(f"the recipients list can't be read: {text}") from None
        return self._listed
