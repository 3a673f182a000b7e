"""What a server says to one recipient, by name: known, unknown, later, not here, or anybody is welcome.

Promises: total over replies; only what can stand in an SMTP command as it is gets through `parse_recipient`. Servers
are asked about few recipients (`asking`), so that nobody takes us for somebody who harvests addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from bot.core.targets import HostName, parse_host

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}\Z")
RCPT_LIMIT = 5
RCPT_WINDOW = timedelta(minutes=1)
"""A server is asked about so many recipients within this time at most (each also costs it one that is made up)."""

_RELAY = re.compile(
    r"(?i)\brelay(ing)?\b|\bATTR36\b|\b[45]\.7\.64\b|\brcpthosts\b|\bnot (a )?local (domain|host)\b"
    r"|\bnot a gateway\b|\bauthentication (is )?required\b|\bmust authenticate\b"
)
_NO_RELAY_WORD = re.compile(r"(?i)\brelay[ _]recipient[ _](table|maps)")
_MAILBOX = re.compile(r"[45]\.(1\.\d{1,3}|2\.[12])\Z")


class RcptCause(StrEnum):
    """What became of a recipient."""

    OK = "rcpt_ok"
    REJECTED = "rcpt_rejected"
    GREYLISTED = "rcpt_greylisted"
    RELAY_DENIED = "rcpt_relay_denied"
    CATCH_ALL = "rcpt_catch_all"


@dataclass(frozen=True, slots=True, kw_only=True)
class RcptFacts:
    """The answer of one server about one address. `cause`: a RcptCause, or the cause that ended the session there.

    `status`: the server's own words, sanitised; `code`: its enhanced status code, else its three digits.
    """

    address: str
    cause: str
    code: str | None = None
    status: str | None = None
    host: str | None = None
    ip: str | None = None

    @property
    def ok(self) -> bool:
        """Would it be accepted now?"""
        return self.cause in (RcptCause.OK, RcptCause.CATCH_ALL)

    def document(self) -> dict[str, Any]:
        """The `rcpt` object of the JSON."""
        return {
            "address": self.address,
            "ok": self.ok,
            "cause": self.cause,
            "code": self.code,
            "status": self.status,
            "host": self.host,
            "ip": self.ip,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> RcptFacts:
        """Back from `document`."""
        return cls(**{key: value for key, value in document.items() if key != "ok"})


def parse_recipient(text: str) -> str | None:
    """The address as it is said in RCPT TO; None if it is none (quoted and non-ASCII local parts are not supported)."""
    local, _, domain = text.strip().rpartition("@")
    host = parse_host(domain)
    if not _LOCAL.match(local) or not isinstance(host, HostName):
        return None
    return f"{local}@{host.name}"


def cause_of_reply(code: int, enhanced: str | None, text: str) -> RcptCause:
    """Sort a reply to RCPT TO. Not for 421, which ends a session."""
    if 200 <= code < 300:
        return RcptCause.OK
    if _RELAY.search(text) and not _NO_RELAY_WORD.search(text):
        return RcptCause.RELAY_DENIED
    if 400 <= code < 500 and not (enhanced and _MAILBOX.match(enhanced)) and code != 452:
        return RcptCause.GREYLISTED
    return RcptCause.REJECTED


def asking(
    asked: Mapping[str, Sequence[datetime]], hosts: Iterable[str], now: datetime
) -> tuple[timedelta, dict[str, tuple[datetime, ...]]]:
    """May these hosts be asked about a recipient now? How long to wait (zero: ask), and what to remember instead.

    `asked`: when each host was asked. What is remembered holds the last `RCPT_WINDOW` only, so it never grows; a
    question from the future (the clock was set back) counts for nothing.
    """
    recent = {host: tuple(t for t in times if now - RCPT_WINDOW < t <= now) for host, times in asked.items()}
    kept = {host: times for host, times in recent.items() if times}
    wanted = tuple(dict.fromkeys(hosts))
    full = [kept[host][-RCPT_LIMIT] for host in wanted if len(kept.get(host, ())) >= RCPT_LIMIT]
    if full:
        return max(full) + RCPT_WINDOW - now, kept
    return timedelta(0), {**kept, **{host: (*kept.get(host, ()), now) for host in wanted}}
