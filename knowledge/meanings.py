"""Errors told in words: finds which row of the table (words) a text fits, whichever system wrote it."""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from knowledge.classify import Cause
from knowledge.words import GENERIC, ROWS, Row

C = Cause


class Hit(NamedTuple):
    """Words that tell the error: the code they mean, the cause if they name it, and where they stand.

    `firm`: they outweigh even a definite status code, because they tell how far the conversation came.
    """

    code: str
    cause: Cause | None
    firm: bool
    start: int
    end: int

    def moved(self, by: int) -> Hit:
        """The same words, found in a text that begins so much earlier."""
        return self._replace(start=self.start + by, end=self.end + by)


_OPPOSITE = re.compile(
    r"establish appropriate tls channel|tlscertificatename|mta-sts|\bdane\b|tlsa|dnssec"
    r"|certificate-expired|certificate-host"
)
"""Certificates that *we* present, and policies with codes of their own: never the family's certificate failure."""

_POLICY = re.compile(
    r"block(?:ed|ing)? ?(?:list)?|black ?list|reputation|spam|\b(?:rbl|dnsbl|rdns|ptr)\b|policy|abuse|unauthori[sz]ed"
    r"|reverse dns|too many|not allowed|denied|name lookup failed"
)
_SOCKET = re.compile(r"10061|\(111\)|errno|socket|econnrefused|connect to |connect error|actively")
_ANSWER = re.compile(r"(?:^|[^0-9.])(?:421|5[0-9]{2})[ -](?![45]\.[24]\.)[^\n]{0,60}$")

_TLS_CAUSES = frozenset({C.NO_STARTTLS, C.TLS_FAILED, C.TLS_VERSION})


def lowered(text: str) -> str:
    """Lower case of the same length, so that places found in it hold in the text (one letter would grow)."""
    return text.replace("\u0130", "i").lower()


def hit(low: str) -> Hit | None:
    """What the words of this lower-case text tell, or None.

    1. Each row may hit once. Rows that say only "it failed" count only if no other does.
    2. The hit that stands first wins, but a row of higher precedence on the same line takes over.
    """
    found = [h for row in ROWS[:-GENERIC] if (h := _find(row, low)) is not None]
    if not found:
        return next((h for row in ROWS[-GENERIC:] if (h := _find(row, low)) is not None), None)
    first = min(found, key=lambda h: h.start)
    end = _line_end(low, first.end)
    return next(h for h in found if h.start <= end)


def _find(row: Row, low: str) -> Hit | None:
    if not any(trigger in low for trigger in row.triggers):
        return None
    for match in islice(row.pattern.finditer(low), 8):
        if not _vetoed(row, low, match):
            return Hit(row.code, row.cause, row.firm, match.start(), match.end())
    return None


def _vetoed(row: Row, low: str, match: re.Match[str]) -> bool:
    """Words that mean something else in their surroundings."""
    around = low[max(0, match.start() - 160) : match.end() + 160]
    if row.code == "4.7.320" or row.cause in _TLS_CAUSES:
        return _OPPOSITE.search(around) is not None
    if row.cause is not C.REFUSED or _SOCKET.search(around):
        return False
    before = low[max(0, match.start() - 90) : match.start()]
    return _POLICY.search(around) is not None or _ANSWER.search(before) is not None


def _line_end(low: str, start: int) -> int:
    """The end of this line, folded lines counted as one, at most 400 characters on."""
    while True:
        end = low.find("\n", start)
        if end < 0 or end > start + 400:
            return start + 400
        if low[end + 1 : end + 2] not in (" ", "\t"):
            return end
        start = end + 1
