"""Which code matters in a text, by codes and words together.

1. One of the six codes, in either form, decides at once; the expired form goes before the waiting one.
2. A wrapper (4.4.0, 4.7.0, 4.4.101, 4.4.395, an expiry, "Primary target IP address responded with") is opened, and the
   reply inside is judged by the same rules; only if that tells nothing does the wrapper's own code stand.
3. A definite code (5.1.1, 4.7.500 …) stands, unless firm words say that the conversation never came that far.
4. Ambiguous codes (Postfix's 4.4.1 is refused, timed out and unreachable) give way to the words beside them.
5. Without any code: the words, else the bare reply (421), else nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from knowledge.codes import family_of, is_family
from knowledge.meanings import Hit, hit
from knowledge.mentions import Mention, bare_reply, mentions

_WRAPPERS = frozenset({"4.4.0", "4.7.0", "4.4.101", "4.4.395", "4.4.397", "4.4.7", "5.4.7", "5.4.300"})
_PURE_WRAPPERS = frozenset({"4.4.0", "4.4.101", "4.4.395", "4.4.397"})
_VAGUE = _WRAPPERS | frozenset(
    {"4.0.0", "5.0.0", "4.3.0", "5.3.0", "4.4.1", "5.4.1", "4.4.2", "5.4.2", "4.4.3", "5.4.3", "4.4.4", "5.4.4"}
    | {"4.1.2", "5.1.2", "4.2.1", "5.4.0", "5.4.310", "5.6.7", "5.7.0", "4.7.3", "5.7.3", "4.7.4", "5.7.4", "4.7.5"}
    | {"5.7.5"}
)
"""Codes that several different errors share: the words decide, where there are any."""

_INNER = re.compile(
    r"responded with(?: error)?\.?:?\s{0,3}|setup failed on frontend with\s{0,3}|-> ?"
    r"|communicating with primary target ip address:\s{0,3}"
)
_EXPIRED = re.compile(
    r"message expired|queue\.expired|status=expired|delivery time expired|retry time(?:out)? exceeded"
    r"|(?:in (?:the )?queue|in line) too long|after multiple retries|within the allowed queue period"
    r"|for a long time \(and|message timed out|expired, returned to sender|could not be delivered for [0-9]{1,3} days"
)
_SAID = re.compile(r"\](?: said)?: ([245][0-9]{2})[ -](?!#?[245]\.[0-9])")
"""A server's answer in Postfix's or Exim's words, without an enhanced code: whatever it says, the session stood."""
_DEEPEST = 4
_INNER_LIMIT = 4096
_WAITED_OUT = re.compile(r"5\.4\.31[2-9]|5\.7\.32[0-9]|5\.4\.300|5\.4\.[78]")
"""Permanent codes that are given only when the time is up."""


class Verdict(NamedTuple):
    """The code that matters and where it stands; `hit` is set if words decided or add a cause."""

    code: str | None
    reported: Mention | None
    hit: Hit | None
    start: int
    end: int
    reply: str | None = None


NOTHING = Verdict(None, None, None, 0, 0)


def judge(text: str, low: str) -> Verdict:
    """The code that matters in this text (`low`: the same in lower case)."""
    found = mentions(text)
    return _by_family(found, low) or _judge_part(text, low, found, 0) or _by_reply(text) or NOTHING


def expired(low: str, verdict: Verdict) -> bool:
    """Did the message wait out its lifetime? A delay notice says that it still waits."""
    if "action: delayed" in low:
        return False
    reported = verdict.reported
    if reported is not None:
        gave_up = reported.code == "4.4.7" and (reported.reply or "").startswith("5")
        policy = reported.code == "5.7.5" and "mta-sts" in low
        if gave_up or policy or _WAITED_OUT.fullmatch(reported.code):
            return True
    return _EXPIRED.search(low) is not None


def _by_family(found: list[Mention], low: str) -> Verdict | None:
    ours = [m for m in found if is_family(m.code)]
    if not ours:
        return None
    chosen = next((m for m in ours if m.code[0] == "5"), ours[0])
    code = family_of(chosen.code)
    after = hit(low[chosen.start :])
    words = after.moved(chosen.start) if after is not None else hit(low)
    fitting = words if words is not None and code in (words.code, "4.4.317") else None
    return Verdict(code, chosen, fitting, chosen.start, chosen.end, chosen.reply)


def _judge_part(text: str, low: str, found: list[Mention], depth: int) -> Verdict | None:
    """Rules 2 to 4 on one part; None if neither codes nor words tell anything."""
    opened = _open(text, low, found, depth)
    if opened is not None:
        return opened
    definite = _definite(found)
    words = hit(low)
    if definite is None and (words is None or not words.firm) and (said := _SAID.search(low)) is not None:
        return Verdict(said[1], None, None, said.start(1), said.end(1), said[1])
    if words is not None and words.cause is None and not is_family(words.code) and not found:
        return _by_reply(text) or _by_words(words, None)
    if words is not None and (definite is None or (words.firm and not _later(definite, words, low))):
        return _by_words(words, definite or _beside(found))
    chosen = definite or next((m for m in found if m.code not in _WRAPPERS), None) or next(iter(found), None)
    if chosen is not None:
        return Verdict(chosen.code, chosen, None, chosen.start, chosen.end, chosen.reply)
    return _by_expiry(low)


def _definite(found: list[Mention]) -> Mention | None:
    """The first definite code; one with detail 0 ("undefined", often a report's summary) only if there is no other."""
    definite = [m for m in found if m.code not in _VAGUE]
    return next((m for m in definite if not m.code.endswith(".0")), None) or next(iter(definite), None)


def _later(definite: Mention, words: Hit, low: str) -> bool:
    """Does the definite code stand on a line of its own, away from the firm words?"""
    first, last = sorted((definite.start, words.start))
    return "\n" in low[first:last]


def _by_words(words: Hit, reported: Mention | None) -> Verdict:
    reply = reported.reply if reported else None
    return Verdict(words.code, reported, words, words.start, words.end, reply)


def _beside(found: list[Mention]) -> Mention | None:
    """The vague code that the words explain: the innermost reply if there is one, else the first."""
    return next((m for m in found if m.code not in _WRAPPERS), None) or next(iter(found), None)


def _open(text: str, low: str, found: list[Mention], depth: int) -> Verdict | None:
    """The verdict on what a wrapper holds; None if nothing is wrapped or it tells nothing."""
    if depth == _DEEPEST or (found and found[0].code not in _VAGUE):
        return None
    wrapper = _INNER.search(low)
    if wrapper is None or (found and found[0].start > wrapper.start()):
        return None
    at = wrapper.end()
    inner = [m.moved(-at) for m in found if at <= m.start < at + _INNER_LIMIT]
    text, low = text[at : at + _INNER_LIMIT], low[at : at + _INNER_LIMIT]
    verdict = _judge_part(text, low, inner, depth + 1) or _by_reply(text)
    empty = verdict is None or (verdict.hit is None and verdict.code in _PURE_WRAPPERS)
    return None if empty or verdict is None else _moved(verdict, at)


def _moved(verdict: Verdict, by: int) -> Verdict:
    """The same verdict, its places counted from the start of the whole text."""
    return verdict._replace(
        reported=verdict.reported and verdict.reported.moved(by),
        hit=verdict.hit and verdict.hit.moved(by),
        start=verdict.start + by,
        end=verdict.end + by,
    )


def _by_expiry(low: str) -> Verdict | None:
    words = _EXPIRED.search(low)
    return words and Verdict("4.4.7", None, None, words.start(), words.end())


def _by_reply(text: str) -> Verdict | None:
    found = bare_reply(text)
    return found and Verdict(found[0], None, None, found[1], found[2], found[0])
