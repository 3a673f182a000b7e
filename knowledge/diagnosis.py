"""What one paste tells about a failed delivery: the result of diagnose(), as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from knowledge.classify import Cause


class Confidence(StrEnum):
    """exact: the code stands in the text. inferred: found by meaning. class: only the code's structure is known."""

    EXACT = "exact"
    INFERRED = "inferred"
    CLASS = "class"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The error in a text. `code`: the family code, else the enhanced code that matters, else the bare reply.

    `reported` and `reply` are what the text itself says; `expired`: the message waited out its life.
    `reason` is short and as the system wrote it ("SubjectMismatch"), `detail` its full words, `cause` what they mean.
    `evidence`: from and to, the part of the text that decided (of the readable text, for a whole .eml).
    """

    code: str | None = None
    reported: str | None = None
    reply: str | None = None
    expired: bool = False
    smart_host: str | None = None
    ip: str | None = None
    recipient: str | None = None
    retry_at: str | None = None
    reason: str | None = None
    detail: str | None = None
    cause: Cause | None = None
    advice: tuple[str, ...] = ()
    evidence: tuple[int, int] = (0, 0)
    others: tuple[str, ...] = ()
    confidence: Confidence = Confidence.CLASS
