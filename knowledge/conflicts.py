"""When two things in one text contradict each other: one sentence that says which, and which to trust."""

from __future__ import annotations

from collections.abc import Sequence

from knowledge.codes import FAMILY, is_family
from knowledge.diagnosis import Diagnosis
from knowledge.errors import ErrorRow, final
from knowledge.meanings import hit, lowered

_MIXED = frozenset({"5.7.3", "5.2.121", "5.2.122"})
"""Codes that Exchange itself gives with a temporary reply (451 5.7.3)."""


_WHENCE = "They come from different attempts or servers"


def conflict(main: Diagnosis, rows: Sequence[ErrorRow]) -> str | None:
    """The contradiction that matters most in this text, or None."""
    return _classes(main) or _code_and_words(main) or _two_answers(rows)


def _classes(main: Diagnosis) -> str | None:
    """450 with 5.x, or 550 with 4.x (an expiry is given both ways, so that one is none)."""
    reply, reported = main.reply or "", main.reported or ""
    if main.expired or {reply[:1], reported[:1]} != {"4", "5"} or reported in _MIXED:
        return None
    says, but = ("try again later", "refused for good") if reply[0] == "4" else ("refused for good", "try again later")
    return (
        f"{reply} says {says}, but {reported} says {but}. Mail servers go by the first number, so take it as {says}; "
        "the second tells the reason."
    )


def _code_and_words(main: Diagnosis) -> str | None:
    """A family code whose own details tell another fault. 4.4.317 is a collective code, so it fits every detail."""
    if not is_family(main.code) or main.code in (None, "4.4.317") or main.detail is None or main.reported is None:
        return None
    words = hit(lowered(main.detail))
    if words is None or words.code in (main.code, "4.4.317") or words.code not in FAMILY:
        return None
    told = main.reason or main.detail[words.start : words.end]
    return (
        f"The code {main.code} says {FAMILY[main.code].lower()}, but the words beside it ({told!r}) mean "
        f"{FAMILY[words.code].lower()} ({words.code}). Check that first: the words come from the attempt itself."
    )


def _two_answers(rows: Sequence[ErrorRow]) -> str | None:
    """A final refusal and a waiting error for the same recipient (or where nobody is named)."""
    over = [row for row in rows if final(row.diagnosis)]
    waiting = [row for row in rows if row not in over and not row.diagnosis.expired]
    pairs = ((one, other) for one in over for other in waiting if _shared(one, other))
    one, other = next(pairs, (None, None))
    if one is None or other is None:
        return None
    both = f"{one.code} is final, but {other.code} is still tried again"
    if one.diagnosis.recipient:
        return f"{both}, both for the same recipient. {_WHENCE}; the final one counts, because that copy has gone back."
    return f"{both}, and nothing here says for whom. {_WHENCE}; for one recipient, the final one counts."


def _shared(one: ErrorRow, other: ErrorRow) -> bool:
    servers = {one.server, other.server} - {None}
    alone = one.recipients < 2 and other.recipients < 2 and len(servers) < 2
    return alone and one.diagnosis.recipient == other.diagnosis.recipient
