"""Enhanced status codes (RFC 3463): parse, print, order, and fold what expired back to what it waited for.

The bot's six codes are Microsoft's private details (4.4.312 …): no registry lists them. A message that waits with
`450 4.4.316` bounces as `550 5.4.316`; both are one thing here, named by the 4.x form: the *family*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FAMILY = {
    "4.4.312": "DNS query failed",
    "4.4.315": "Connection timed out",
    "4.4.316": "Connection refused",
    "4.4.317": "Cannot connect to remote server",
    "4.4.318": "Connection was closed abruptly",
    "4.7.320": "Certificate validation failed",
}
"""The codes that the bot alerts on, with Microsoft's names."""

OTHER = "other"
"""The name of the article for every code that has none of its own."""

_FORM = re.compile(r"([245])\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})")


@dataclass(frozen=True, slots=True, order=True)
class EnhancedStatus:
    """class.subject.detail; ordered as numbers, so that 4.4.7 comes before 4.4.312."""

    kind: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.kind}.{self.subject}.{self.detail}"

    @property
    def success(self) -> bool:
        """Class 2: nothing is wrong."""
        return self.kind == 2

    @property
    def permanent(self) -> bool:
        """Class 5: the mail system has given up on the message."""
        return self.kind == 5

    @property
    def transient(self) -> bool:
        """Class 4: the mail system will try again."""
        return self.kind == 4


def parse(text: str) -> EnhancedStatus | None:
    """The status that this text *is*, or None. No leading zeros, nothing around it."""
    found = _FORM.fullmatch(text)
    return EnhancedStatus(*map(int, found.groups())) if found else None


def family_of(code: str | None) -> str | None:
    """The code under which this one is treated: 5.4.316 → 4.4.316; a code of no family is its own."""
    if code is None:
        return None
    waiting = "4" + code[1:]
    return waiting if waiting in FAMILY else code


def is_family(code: str | None) -> bool:
    """Is it one of the six, waiting or expired?"""
    return family_of(code) in FAMILY
