"""Asking one Postfix instance, on this machine or over ssh. The same requests as the wrapper `mfi-postfix` has.

Here, reads run Postfix's own programs with the bot's own rights. Over ssh, everything goes through the wrapper, which
is the forced command of the key. Acts always go through the wrapper.
Errors: a program that can't be started or doesn't answer is Unreachable for a read; for an act that was begun,
OutcomeUnknown; one that says no is Refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

from bot.backends.ports import BackendError, OutcomeUnknown, Refused, Unreachable
from bot.backends.postfix import command
from bot.backends.postfix.command import CommandError, CutOff, NotRun, Output
from bot.backends.postfix.config import FROM_TEXT, PARAMETERS
from bot.backends.postfix.log_rights import rights_of
from bot.backends.postfix.options import Options

MOST_LISTING = 4 << 30
MOST_LOG = 32 << 20
SSH = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=10")
WRAPPER = "mfi-postfix"
STANDARD_LOGS = ("/var/log/mail.log", "/var/log/maillog")
_SSH_FAILED = 255
_NO_LISTING = "sequence operation is not supported"
_HEADER = re.compile(rb"(\d{1,20}) (\d{1,20}) ([+-])(\d\d)(\d\d) (more|end)")


@dataclass(frozen=True, slots=True)
class LogPart:
    """What the log gained: whole lines; `position` is where to go on; `more`: there is more to read right away."""

    lines: list[bytes]
    position: LogPosition
    zone: tzinfo
    more: bool = False


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place in the log: the file by its inode (a rotated log is another file), and the offset in it."""

    inode: int = 0
    offset: int = 0


class NotListable(Unreachable):
    """Nobody can list this table's entries, though Postfix can look them up."""


class PostfixHost:
    """One instance. `ssh`: the program that reaches it, before target and request. `complaint`: what Postfix warned of
    while it listed its queue the last time. `log_lag`: seconds that a busy machine's log is behind its queue.
    """

    log_lag = 0.2

    def __init__(self, options: Options, *, ssh: Sequence[str] = SSH) -> None:
        self._options = options
        self._remote: tuple[str, ...] = ()
        self.complaint = ""
        if options.ssh is not None:
            key = ("-i", options.ssh_key, "-o", "IdentitiesOnly=yes") if options.ssh_key else ()
            self._remote = (*ssh, *key, options.ssh, WRAPPER)

    @property
    def is_remote(self) -> bool:
        """Is it asked over ssh?"""
        return bool(self._remote)

    async def settings(self) -> str:
        """The settings of PARAMETERS, as `postconf` prints them."""
        return await self._text("config", ("postconf", "-c", self._options.config_dir, "-x", *PARAMETERS))

    async def services(self) -> str:
        """master.cf, as `postconf -M` prints it."""
        return await self._text("services", ("postconf", "-c", self._options.config_dir, "-M"))

    async def table(self, ref: str) -> str:
        """The entries of a table, as `postmap -s` prints them, or of the text that it was built from. Raises
        NotListable where there is no way to see them, else Unreachable.
        """
        kind, _, place = ref.partition(":")
        listed = f"texthash:{place}" if kind in FROM_TEXT else ref
        try:
            return await self._text(f"map {ref}", ("postmap", "-c", self._options.config_dir, "-s", listed))
        except Unreachable as error:
            if _NO_LISTING in str(error) or (kind in FROM_TEXT and "No such file" in str(error)):
                raise NotListable(str(error)) from None
            raise

    async def queue(self) -> AsyncGenerator[list[bytes], None]:
        """The lines of `postqueue -j` in portions, as they come. Raises Unreachable, perhaps after the last one."""
        argv = self._argv("queue", ("postqueue", "-c", self._options.config_dir, "-j"))
        timeout = max(self._options.timeout, 100.0)
        rest = b""
        try:
            async with command.running(argv, timeout=timeout, limit=MOST_LISTING) as program:
                async with contextlib.aclosing(program.chunks()) as chunks:
                    async for chunk in chunks:
                        *lines, rest = (rest + chunk).split(b"\n")
                        if lines:
                            yield lines
                        if len(rest) > command.CHUNK * 32:
                            raise CutOff("postqueue wrote a line without an end")
                yield [rest]
                self._check(Output(program.status, b"", program.errors), "the queue")
                self.complaint = _line(program.errors)
        except CommandError as error:
            raise Unreachable(f"the queue can't be read: {error}") from None

    async def log_since(self, position: LogPosition, setting: str) -> LogPart:
        """What the mail log gained. `setting`: maillog_file of the instance. Raises Unreachable."""
        if not self._remote:
            path = Path(self._log_path(setting))
            try:
                return await asyncio.to_thread(_local_part, path, position)
            except OSError as error:
                rights = rights_of(path)
                raise Unreachable(f"the mail log {path}{rights} can't be read: {error.strerror}") from None
        words = f"log-since {position.inode} {position.offset}"
        return _remote_part((await self._read(words, ())).output)

    async def act(self, verb: str, stdin: bytes = b"") -> Output:
        """Let the wrapper act. Raises Refused (nothing happened), Unreachable (nothing was begun), OutcomeUnknown."""
        if not self._options.act:
            raise Refused("this Postfix is read only: set its ACT setting to let Fix now act")
        argv = [*(self._remote or self._options.act), "-c", self._options.config_dir, verb]
        try:
            done = await command.run(argv, timeout=self._options.timeout, limit=1 << 20, stdin=stdin)
        except NotRun as error:
            raise Unreachable(str(error)) from None
        except CommandError as error:
            raise OutcomeUnknown(f"{verb}: {error}") from None
        if done.status:
            raise self._failure(verb, done)
        return done

    def _failure(self, verb: str, done: Output) -> BackendError:
        """The wrapper's own no, sudo's and ssh's mean that nothing happened."""
        said = _line(done.errors) or f"status {done.status}"
        if self._remote and done.status == _SSH_FAILED:
            return OutcomeUnknown(f"{verb} over ssh: {said}")
        if done.status == 64 or "sudo:" in done.errors or done.status in (126, 127):
            return Refused(f"{verb} was refused: {said}")
        return OutcomeUnknown(f"{verb} went wrong: {said}")

    async def _text(self, words: str, local: Sequence[str]) -> str:
        return (await self._read(words, local)).output.decode("utf-8", "replace")

    async def _read(self, words: str, local: Sequence[str]) -> Output:
        what = words.partition(" ")[0]
        try:
            done = await command.run(self._argv(words, local), timeout=self._options.timeout)
        except CommandError as error:
            raise Unreachable(f"{what} can't be read: {error}") from None
        self._check(done, what)
        return done

    def _check(self, done: Output, what: str) -> None:
        if done.status:
            raise Unreachable(f"{what} can't be read: {_line(done.errors) or f'status {done.status}'}")

    def _argv(self, words: str, local: Sequence[str]) -> Sequence[str]:
        if not self._remote:
            return local
        return (*self._remote, "-c", self._options.config_dir, *words.split(" "))

    def _log_path(self, setting: str) -> str:
        if self._options.log != "auto":
            return self._options.log
        candidates = [setting] if setting else [path for path in STANDARD_LOGS if Path(path).exists()]
        return next(iter(candidates), STANDARD_LOGS[0])


def _local_part(path: Path, position: LogPosition) -> LogPart:
    """From the position on; the end of a rotated log first."""
    zone = datetime.now(UTC).astimezone().tzinfo or UTC
    with path.open("rb") as log:
        inode, size = _identity(log.fileno())
        if position.inode not in (0, inode) and (rest := _rotated(path, position)):
            return LogPart(rest, LogPosition(inode, 0), zone, more=True)
        start = position.offset if position.inode == inode and position.offset <= size else 0
        if position.inode == 0:
            start = max(0, size - MOST_LOG)
        log.seek(start)
        content = log.read(MOST_LOG)
    lines, used = _whole_lines(content)
    return LogPart(lines, LogPosition(inode, start + used), zone, more=len(content) >= MOST_LOG)


def _rotated(path: Path, position: LogPosition) -> list[bytes]:
    try:
        with path.with_name(path.name + ".1").open("rb") as old:
            if _identity(old.fileno())[0] != position.inode:
                return []
            old.seek(position.offset)
            return old.read(MOST_LOG).splitlines()
    except OSError:
        return []


def _identity(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_ino, found.st_size


def _whole_lines(content: bytes) -> tuple[list[bytes], int]:
    """The complete lines, and how many bytes they take. One that fills everything is passed over."""
    end = content.rfind(b"\n") + 1
    if end == 0 and len(content) >= MOST_LOG:
        return [], len(content)
    return content[:end].splitlines(), end


def _remote_part(answer: bytes) -> LogPart:
    header, _, content = answer.partition(b"\n")
    match = _HEADER.fullmatch(header)
    if not match:
        raise Unreachable("the mail log's answer can't be read: install the current mfi-postfix on that host")
    inode, start = int(match[1]), int(match[2])
    offset = timedelta(hours=int(match[4]), minutes=int(match[5])) * (-1 if match[3] == b"-" else 1)
    lines, used = _whole_lines(content)
    more = used > 0 and match[6] == b"more"
    return LogPart(lines, LogPosition(inode, start + used), timezone(offset), more)


def _line(errors: str) -> str:
    """What a program complained of, in one line: that Postfix doesn't run, else what was fatal, else the last."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    telling = [line for mark in ("ail system is down", "fatal:") for line in lines if mark in line]
    return next(iter(telling + lines[::-1]), "")[:300]
