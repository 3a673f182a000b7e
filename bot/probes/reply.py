"""SMTP replies out of hostile bytes.

Promises: total (any bytes give a reply, a cause, or a wish for more, never an exception) and bounded: at most 1,000
bytes of a line are kept, 64 lines and 16 KiB make a reply, more is a flood. Texts are printable ASCII; everything else
became a question mark. Trusts nothing: an enhanced code counts only if its class agrees with the reply's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from knowledge.classify import Cause

LINE_KEPT = 1000
LINES = 64
REPLY_BYTES = 16 * 1024
SHOWN = 200
"""How much of a peer's words is ever shown."""

_LINE = re.compile(rb"([0-9]{3})(?:([ -])(.*))?\Z", re.DOTALL)
_START = re.compile(rb"[0-9]{0,3}\Z|[0-9]{3}[ \r\n-]")
_USUAL = re.compile(rb"(?:[0-9]{3}-[ -~]{0,996}\r\n){0,63}[0-9]{3}(?: [ -~]{0,996})?\r\n\Z")
"""A whole reply in which nothing is odd: what the code below it would read line by line."""
_UNPRINTABLE = re.compile(r"[^ -~]")
_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |\Z)")


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply. `lines` are the texts behind the code, sanitised."""

    code: int
    lines: tuple[str, ...]
    bare_lf: bool = False

    @property
    def positive(self) -> bool:
        """2xx."""
        return 200 <= self.code < 300

    @property
    def refusal(self) -> bool:
        """4xx or 5xx."""
        return 400 <= self.code < 600

    @property
    def text(self) -> str:
        """The whole reply in one bounded line, as it is shown."""
        return f"{self.code} {' '.join(filter(None, self.lines))}".strip()[:SHOWN]

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code of the last line, if its class agrees with the reply's."""
        found = _ENHANCED.match(self.lines[-1])
        return found[0] if found and found[1] == str(self.code)[0] else None


class ReplyParser:
    """Feed it bytes until it returns something other than None; `rest` is then what came behind the reply."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._bytes = 0
        self._bare_lf = False
        self.rest = b""

    @property
    def begun(self) -> bool:
        """Has anything of a reply come?"""
        return self._bytes > 0

    def feed(self, data: bytes) -> Reply | Cause | None:
        """A reply, FLOOD, NOT_SMTP, or None for "more"."""
        if not self._bytes and len(data) <= REPLY_BYTES and _USUAL.match(data):
            return self._usual(data)
        self._bytes += len(data)
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[: end + 1])
            del self._buffer[: end + 1]
            if (result := self._take(line)) is not None:
                self.rest = bytes(self._buffer)
                return Cause.FLOOD if self._bytes - len(self.rest) > REPLY_BYTES else result
        return self._partial()

    def _usual(self, data: bytes) -> Reply:
        """All lines of a well-formed reply at once."""
        self._bytes = len(data)
        lines = data[:-2].decode("ascii").split("\r\n")
        return Reply(int(lines[-1][:3]), tuple(line[4:] for line in lines))

    def _take(self, line: bytes) -> Reply | Cause | None:
        """One whole line, its line feed included."""
        self._bare_lf |= not line.endswith(b"\r\n")
        found = _LINE.match(line.rstrip(b"\r\n")[:LINE_KEPT])
        if not found:
            return Cause.NOT_SMTP
        self._lines.append(sanitise((found[3] or b"").replace(b"\t", b" "), LINE_KEPT))
        if found[2] != b"-":
            return Reply(int(found[1]), tuple(self._lines), self._bare_lf)
        return Cause.FLOOD if len(self._lines) >= LINES else None

    def _partial(self) -> Cause | None:
        """An unfinished line: does it still look like SMTP, and within bounds?"""
        if not _START.match(bytes(self._buffer[:4])):
            return Cause.NOT_SMTP
        return Cause.FLOOD if self._bytes > REPLY_BYTES else None


def sanitise(raw: bytes | str, limit: int = SHOWN) -> str:
    """Printable ASCII only, everything else `?`, at most `limit` characters."""
    text = raw[:limit].decode("latin-1") if isinstance(raw, bytes) else raw[:limit]
    return _UNPRINTABLE.sub("?", text)


def capabilities(lines: Iterable[str]) -> tuple[str, ...]:
    """The extensions of an EHLO reply, keywords in upper case, arguments as sent; the greeting line is left out."""
    words = (line.split(None, 1) for line in list(lines)[1:])
    return tuple(" ".join([w[0].upper(), *w[1:]])[:SHOWN] for w in words if w)
