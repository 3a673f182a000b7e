"""The script's documents: find the newest in the drop folder, check it, take it apart. Blocking: for a thread.

Trusts nothing: no link is followed, sizes are bounded, every count is compared with the list that it counts. A document
that claims that its script acts has to be signed with our key. One from the future would be the newest until its time
comes, whatever happens meanwhile: it is not used.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.backends.exchange_server.rows import Json, flag, needed, needed_moment, rows, text, texts
from bot.backends.exchange_server.signing import is_signed
from bot.backends.ports import Unreachable

FORMAT, VERSION = "mfi-exchange", 1
MOST_BYTES = 160 * 1024 * 1024
MOST_FILES = 10_000
TRIED = 3
"""So many of the newest documents are tried: a copying tool may still be writing the newest."""
SKEW = timedelta(minutes=2)
"""Two clocks may differ by so much; a document from further ahead means that one of them is wrong."""
FAR = timedelta(minutes=10)
FROM_AHEAD = "from the future by this machine's clock"
SET_CLOCKS = "set both machines' clocks by NTP"

_NAME = re.compile(r"mfi-snapshot-\d{8}T\d{9}Z\.json")


class WrongVersion(Unreachable):
    """The script is of another version than we are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Every SMTP address of these domains, lower case, as of `read_at`."""

    read_at: datetime
    domains: frozenset[str]
    addresses: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document. Rows are the script's own. `faults`: by part ("queues", …), what could not be read, a line each."""

    name: str
    server: str
    script: str
    acts: bool
    signed: bool
    started_at: datetime
    finished_at: datetime
    queues: list[Json]
    messages: list[Json]
    connectors: list[Json]
    domains: list[Json]
    faults: dict[str, list[str]] = field(default_factory=dict)
    directory: Directory | None = None

    @property
    def cut_short(self) -> list[Json]:
        """The queues whose messages were not listed whole."""
        return [queue for queue in self.queues if queue.get("Complete") is not True]


class Ahead(Unreachable):
    """There are only documents from the future."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest document that can be used. `ahead`: newer ones are from the future."""

    document: Document
    ahead: bool = False


def newest(
    drop: Path, key: bytes | None, known: Document | None = None, *, now: datetime, banned: set[str] | None = None
) -> Newest:
    """The newest document that can be used; `known` when it still is that one. Raises Unreachable, WrongVersion.

    `banned`: names that are never used; those that are FAR ahead are added, for when their time comes they are old.
    """
    banned = set() if banned is None else banned
    names = sorted(_names(drop), reverse=True)
    if not names:
        raise Unreachable(f"{drop} holds no document yet: let the scheduled task run mfi-exchange.ps1 with that folder")
    limit = now + SKEW
    banned &= set(names)
    banned |= {name for name in names if name > _named(now + FAR)}
    past = [name for name in names if name <= _named(limit) and name not in banned]
    if not past:
        raise Ahead(f"the documents in {drop} are {FROM_AHEAD}, so they are not used: {SET_CLOCKS}")
    ahead = past[0] != names[0]
    troubles: list[Unreachable] = []
    for name in past[:TRIED]:
        if known is not None and name == known.name:
            return Newest(known, ahead)
        try:
            document = _document(drop / name, key)
            if document.started_at > limit:
                raise Ahead(f"{name} is {FROM_AHEAD}, so it is not used: {SET_CLOCKS}")
            return Newest(document, ahead)
        except WrongVersion:
            raise
        except Unreachable as error:
            troubles.append(error)
    raise troubles[0]


def _named(at: datetime) -> str:
    """The last name that a document of this second may have."""
    return f"mfi-snapshot-{at.astimezone(UTC):%Y%m%dT%H%M%S}999Z.json"


def _names(drop: Path) -> Iterator[str]:
    try:
        with os.scandir(drop) as entries:
            for count, entry in enumerate(entries):
                if count > MOST_FILES:
                    raise Unreachable(f"{drop} holds more than {MOST_FILES} files: give the script a folder of its own")
                if _NAME.fullmatch(entry.name):
                    yield entry.name
    except OSError as error:
        raise Unreachable(
            f"the folder {drop} can't be read ({error.strerror}): is it mounted, and may mfi read it?"
        ) from (None)


def read_bounded(path: Path, most: int) -> bytes:
    """A regular file's content. Raises OSError, also where it is something else or too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise OSError(f"it is no file of at most {most >> 20} MiB")
        return file.read(most)


def _document(path: Path, key: bytes | None) -> Document:
    try:
        content = read_bounded(path, MOST_BYTES)
    except OSError as error:
        raise Unreachable(f"{path.name} can't be read: {error.strerror or error}") from None
    try:
        found = json.loads(content.removeprefix(b"\xef\xbb\xbf"), object_hook=_yielding)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError("it is no document of mfi-exchange.ps1")
        if found.get("version") != VERSION:
            raise WrongVersion(
                f"{path.name} has the format {str(found.get('version'))[:20]}, and this mfi reads {VERSION}: "
                "copy mfi-exchange.ps1 of this release to the server"
            )
        signed = _signed(path, content, key)
        if key is not None and flag(found, "acts") and not signed:
            raise ValueError("its signature is missing or wrong: both sides need the same key file")
        return understood(path.name, found, signed=signed)
    except (ValueError, KeyError, RecursionError) as error:
        why = str(error) if not isinstance(error, json.JSONDecodeError | RecursionError) else "it is no whole JSON"
        raise Unreachable(f"{path.name} can't be used: {why}") from None


def _yielding(row: Json) -> Json:
    """A step in Python for each object, so that other threads get their turn while a long document is parsed."""
    return row


def _signed(path: Path, content: bytes, key: bytes | None) -> bool:
    if key is None:
        return False
    try:
        said = read_bounded(path.with_suffix(".sig"), 200)
    except OSError:
        return False
    return is_signed(key, content, said.decode("ascii", "replace").strip())


def understood(name: str, found: Json, *, signed: bool) -> Document:
    """The document in this JSON object. Raises ValueError."""
    parts = {part: rows(found, part) for part in ("queues", "messages", "connectors", "domains")}
    counts = found.get("counts")
    for part, listed in parts.items():
        if not isinstance(counts, dict) or counts.get(part) != len(listed):
            raise ValueError(f"its number of {part} is not what it says")
    document = Document(
        name=name,
        server=needed(found, "server", 64),
        script=text(found, "script", 40),
        acts=flag(found, "acts"),
        signed=signed,
        started_at=needed_moment(found, "started_at"),
        finished_at=needed_moment(found, "finished_at"),
        faults=_faults(found),
        directory=_directory(found.get("directory")),
        **parts,
    )
    if flag(found, "truncated") != bool(document.cut_short):
        raise ValueError("its queues are not as whole as it says")
    return document


def _faults(found: Json) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    for row in rows(found, "errors"):
        line = ": ".join(filter(None, (text(row, "where", 100), text(row, "text", 300))))
        faults.setdefault(needed(row, "part", 40), []).append(line)
    return faults


def _directory(found: object) -> Directory | None:
    """None where it is not there, or not certainly whole."""
    if not isinstance(found, dict) or found.get("complete") is not True:
        return None
    addresses = frozenset(address.lower() for address in texts(found, "addresses"))
    if not addresses or len(addresses) != found.get("count"):
        return None
    domains = frozenset(domain.lower() for domain in texts(found, "domains"))
    held = {address.rpartition("@")[2] for address in addresses}
    return Directory(read_at=needed_moment(found, "read_at"), domains=domains & held, addresses=addresses)
