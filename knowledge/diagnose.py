"""From any pasted text to a diagnosis: total, bounded, never raising, whatever the bytes.

What decides is in verdict (codes and words), meanings (words), mentions (codes) and destinations (who it is about).
`explain` joins the diagnosis with the article that helps; diagnosing alone reads no article.
"""

from __future__ import annotations

import re
from dataclasses import replace

from knowledge.classify import CERTIFICATE_CAUSES
from knowledge.codes import family_of, is_family
from knowledge.conflicts import conflict
from knowledge.destinations import destination
from knowledge.diagnosis import Confidence, Diagnosis
from knowledge.errors import rows
from knowledge.explanation import Explanation, explanation_of
from knowledge.meanings import lowered
from knowledge.mentions import mentions
from knowledge.paste import readable
from knowledge.verdict import Verdict, expired, judge

__all__ = ["Confidence", "Diagnosis", "Explanation", "diagnose", "explain"]

_BRACKET = re.compile(r"\[\s{0,3}message\s{0,3}=\s{0,3}([^\]\n]{1,600})", re.I)
_MSG = re.compile(r"\{\s{0,3}msg\s{0,3}=\s{0,3}([^}\n]{1,600})", re.I)
_TOKEN = re.compile(
    r"(?:[0-9]{3} [0-9]\.[0-9]{1,3}\.[0-9]{1,3} )?"
    r"((?i:socket error code) [0-9]{4,5}|[A-Z][a-z]+(?:[A-Z][a-z]+)+(?=[ .\]]|$)|[^.\n]{1,160})"
)
"""The telling start of a message: CertificateExpired, Socket error code 10061, or its first sentence."""


def diagnose(text: str | bytes) -> Diagnosis:
    """What this text tells about a failed delivery. Reads at most 64 KiB; never raises."""
    return _diagnosed(text, readable(text))


def _diagnosed(text: str | bytes, shown: str) -> Diagnosis:
    low = lowered(shown)
    verdict = judge(shown, low)
    if verdict.code is None:
        return Diagnosis()
    reason, detail = _reason(shown, verdict)
    where = destination(shown, low)
    return Diagnosis(
        code=verdict.code,
        reported=verdict.reported.code if verdict.reported else None,
        reply=verdict.reply,
        expired=expired(low, verdict),
        smart_host=where.server,
        ip=where.ip,
        recipient=where.recipient,
        retry_at=where.retry_at,
        reason=reason,
        detail=detail,
        cause=verdict.hit.cause if verdict.hit else None,
        advice=_advice(verdict),
        evidence=_evidence(text, shown, verdict),
        others=_others(shown, verdict),
        confidence=_confidence(verdict),
    )


def explain(text: str | bytes) -> Explanation:
    """The diagnosis of this text together with what to do about it."""
    shown = readable(text)
    said = explanation_of(_diagnosed(text, shown), shown)
    if not said.found or said.matches:
        return said
    every = rows(shown, said.diagnosis, lambda part: _diagnosed(part, part), lambda one: explanation_of(one, "").title)
    main = _placed(said.diagnosis, every[0].diagnosis) if every else said.diagnosis
    return replace(said, diagnosis=main, errors=every, conflict=conflict(main, every))


def _placed(main: Diagnosis, own: Diagnosis) -> Diagnosis:
    """The main error with the destination that its own part of the text names, rather than another error's."""
    if own.smart_host is None and own.ip is None:
        return main
    return replace(main, smart_host=own.smart_host, ip=own.ip, recipient=own.recipient or main.recipient)


def _confidence(verdict: Verdict) -> Confidence:
    """A bare reply has no structure beyond its class."""
    if verdict.reported is not None and family_of(verdict.reported.code) == verdict.code:
        return Confidence.EXACT
    return Confidence.CLASS if verdict.hit is None and verdict.reply == verdict.code else Confidence.INFERRED


def _advice(verdict: Verdict) -> tuple[str, ...]:
    """Certificate trouble reported as "cannot connect" needs the certificate's fixes."""
    certificate = verdict.hit is not None and verdict.hit.cause in CERTIFICATE_CAUSES
    return ("4.7.320",) if verdict.code == "4.4.317" and certificate else ()


def _others(shown: str, verdict: Verdict) -> tuple[str, ...]:
    """The other codes in the text, each once, folded like the main one."""
    every = dict.fromkeys(family_of(m.code) or m.code for m in mentions(shown))
    own = {verdict.code, verdict.reported.code if verdict.reported else None}
    return tuple(code for code in every if code not in own)


def _evidence(pasted: str | bytes, shown: str, verdict: Verdict) -> tuple[int, int]:
    """Where the deciding words stand in what was pasted; in the readable text if that is another."""
    words = shown[verdict.start : verdict.end]
    if isinstance(pasted, str) and pasted[verdict.start : verdict.end] != words:
        at = pasted.find(words)
        if at >= 0:
            return at, at + len(words)
    return verdict.start, verdict.end


def _reason(shown: str, verdict: Verdict) -> tuple[str | None, str | None]:
    """The short reason and its full words, as the mail system wrote them."""
    detail = _stated(shown) if is_family(verdict.reported and verdict.reported.code) else None
    if detail is not None and (token := _TOKEN.match(detail)) is not None:
        return token[1].strip(), detail
    if verdict.hit is None:
        return None, _line(shown, verdict.start, verdict.end)
    return shown[verdict.hit.start : verdict.hit.end], _line(shown, verdict.hit.start, verdict.hit.end)


def _stated(shown: str) -> str | None:
    """What Exchange adds to its own codes: [Message=…], {MSG=…}, or the last parentheses."""
    found = _BRACKET.search(shown) or _MSG.search(shown)
    if found is not None:
        return found[1].strip() or None
    end = shown.rstrip("'\"] \n")[-300:]
    return end[end.rfind("(") + 1 : -1].strip() or None if end.endswith(")") and "(" in end else None


def _line(shown: str, start: int, end: int) -> str:
    """The line around these words, at most 300 characters of it."""
    first = max(shown.rfind("\n", 0, start) + 1, start - 150)
    last = shown.find("\n", end)
    return shown[first : min(last if last >= 0 else len(shown), end + 150)].strip()
