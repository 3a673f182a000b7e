"""Answers of name servers kept for their time to live, so that a sweep over many connectors asks for a name once.

Promises: bounded; nothing is kept longer than its TTL or `LONGEST`, and failures other than "there is none" never.
"""

from __future__ import annotations

from dataclasses import dataclass

import dns.rdata

from knowledge.classify import Cause

LONGEST = 30.0
"""Seconds that an answer is kept at most, so that a repaired name is seen by the next probe."""
ENTRIES = 4096

Question = tuple[str, str]
"""Name and type."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Records of one type behind a name. `secure`: the name server vouches for all of it by DNSSEC (AD)."""

    records: tuple[dns.rdata.Rdata, ...]
    secure: bool = False
    ttl: float = 0.0


@dataclass(frozen=True, slots=True)
class Absence:
    """There is no such name (NXDOMAIN) or no such record (NODATA), in these words."""

    cause: Cause
    detail: str
    secure: bool = False
    ttl: float = 0.0


class AnswerCache:
    """Answers by question. Time is the caller's, in seconds, and only ever grows."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._kept: dict[Question, tuple[float, Answer | Absence]] = {}

    def get(self, question: Question, now: float) -> Answer | Absence | None:
        """What is known and still fresh."""
        until, found = self._kept.get(question, (0.0, None))
        return found if now < until else None

    def put(self, question: Question, answer: Answer | Absence, now: float) -> None:
        """Keep it for its TTL; the oldest goes when there is no room."""
        self._kept.pop(question, None)
        if answer.ttl <= 0:
            return
        if len(self._kept) >= self._entries:
            del self._kept[next(iter(self._kept))]
        self._kept[question] = (now + min(answer.ttl, LONGEST), answer)
