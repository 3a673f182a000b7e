"""What the mail system says of a failed attempt, in the words of Exchange Online's "last error detail".

Pure. One row per kind of failure: (code, name, what stands behind Message=). `expired` turns a queued code into the
text of the bounce after the lifetime (class 4 becomes 5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

GIVEN_UP = "550 4.4.7 QUEUE.Expired; message expired"


class Trouble(StrEnum):
    """How an attempt failed before the server took a message."""

    DNS = "dns"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    UNUSABLE = "unusable"
    CLOSED = "closed"
    CERTIFICATE = "certificate"
    ANSWERED = "answered"


_WORDS: dict[Trouble, tuple[str, str]] = {
    Trouble.DNS: ("450 4.4.312 DNS query failed", "ErrorRetry"),
    Trouble.TIMED_OUT: ("450 4.4.315 Connection timed out", "Socket error code 10060"),
    Trouble.UNREACHABLE: ("450 4.4.315 Connection timed out", "Socket error code 10065"),
    Trouble.REFUSED: ("450 4.4.316 Connection refused", "Socket error code 10061"),
    Trouble.UNUSABLE: ("450 4.4.317 Cannot connect to remote server", "421 4.3.2 Service not available"),
    Trouble.CLOSED: ("450 4.4.318 Connection was closed abruptly", "SuspiciousRemoteServerError"),
    Trouble.CERTIFICATE: ("450 4.7.320 Certificate validation failed", "UntrustedRoot"),
}

_QUEUED_FORM = re.compile(r"^4\d\d 4\.(\d{1,3}\.\d{1,4}) ([^\[]*?) *(?:\[Message=([^\]]*)\].*)?$", re.DOTALL)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed attempt: what went wrong with whom. `detail` may hold the server's own words."""

    trouble: Trouble
    detail: str = ""
    host: str = ""
    ip: str = ""
    port: int | None = None

    def text(self) -> str:
        """The last error detail of the messages that wait because of it."""
        if self.trouble is Trouble.ANSWERED:
            return " ".join([clean(self.detail), *self._where()])
        head, usual = _WORDS[self.trouble]
        return " ".join([head, f"[Message={clean(self.detail) or usual}]", *self._where()])

    def _where(self) -> list[str]:
        parts = [f"[LastAttemptedServerName={clean(self.host)}]"] if self.host else []
        return [*parts, f"[LastAttemptedIP={self.ip}:{self.port}]"] if self.ip else parts


def clean(text: str) -> str:
    """One printable line without brackets, as long as a reply line may be."""
    return _UNPRINTABLE.sub("?", text).replace("[", "(").replace("]", ")")[:500]


def expired(reason: str | None) -> str:
    """The text of the bounce that follows `reason` when the lifetime is over."""
    match = _QUEUED_FORM.match(reason or "")
    if match is None:
        return GIVEN_UP
    rest, name, message = match.groups()
    return f"550 5.{rest} Message expired, {_lowered(name)}({message or ''})"


def _lowered(name: str) -> str:
    """As it stands inside a sentence; abbreviations stay as they are."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]
