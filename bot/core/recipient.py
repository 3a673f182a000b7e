"""What a server says to one recipient, by name: known, unknown, later, not here, or anybody is welcome.

Promises: total over replies; only what can stand in an SMTP command as it is gets through `parse_recipient`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bot.core.targets import HostName, parse_host

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}\Z")
_RELAY = re.compile(r"(?i)\brelay(ing)?\b|\bATTR36\b|\b[45]\.7\.64\b")
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
