"""A diagnosis joined with the article that helps: what to tell a person, and design's JSON of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from knowledge.articles import Article, articles
from knowledge.codes import OTHER, is_family, parse
from knowledge.diagnosis import Confidence, Diagnosis
from knowledge.errors import ErrorRow
from knowledge.registry import describe, next_step, owners_of, title_of
from knowledge.search import covers
from knowledge.signals import phrase, told

EXAMPLE = "450 4.4.316 Connection refused [Message=Socket error code 10061] [LastAttemptedServerName=mail.contoso.com]"
"""What a useful paste looks like."""

PASTE_INSTEAD = (
    "No delivery error was recognised in this text. Paste the whole error: the status code with the words after it, "
    "from the bounce message, the message trace (the text that starts with {LED=), the queue viewer's last error or the"
    f" mail log. For example: {EXAMPLE}"
)

OTHER_MEANING = (
    "“other” is no code of a mail system: alerts say so of queued messages whose reason has no code that mfi knows "
    "(lists say “no code”). Its own words tell what is wrong."
)
OTHER_STEP = (
    "See the words: `/mfi queue <connector>` (typed in a terminal: `mfi queue`) shows them; paste the whole text after "
    "`/mfi explain`."
)
_OTHER_TYPED = re.compile(r"\W*(?:code\s+)?other\W*", re.I)

_WORDS_LIMIT = 80
"""A text this short without any code may be a search by words."""

_MATCHES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that a surface needs to explain one error."""

    diagnosis: Diagnosis
    article: Article
    advised: tuple[Article, ...] = ()
    """Articles whose causes and fixes apply instead, because the details point there."""
    errors: tuple[ErrorRow, ...] = ()
    """Several errors in one paste, the main one first; empty if there is one only."""
    conflict: str | None = None
    """One sentence if two things in the text contradict each other."""
    matches: tuple[Article, ...] = ()
    """What a search by words found, best first; empty if the text held an error."""

    @property
    def found(self) -> bool:
        """Was any error recognised? If not, `meaning` says what to paste instead."""
        return self.diagnosis.code is not None

    @property
    def known(self) -> bool:
        """Is there an article that covers this code?"""
        return self.article.code != OTHER

    @property
    def delivered(self) -> bool:
        """Is this no error at all, but a report of success (2.x.x)?"""
        status = parse(self.diagnosis.reported or self.diagnosis.code or "")
        return status is not None and status.success

    @property
    def title(self) -> str:
        """A headline: the article's, or what the code's structure says."""
        if not self.found:
            return "No error recognised"
        if self.delivered:
            return "Delivered"
        return self.article.title if self.known else title_of(self.diagnosis.code) or self.article.title

    @property
    def meaning(self) -> str:
        """What happened, in words."""
        if not self.found:
            return PASTE_INSTEAD
        if self.delivered:
            return (
                "This is no error: the next server took the message. What became of it there, only that server knows."
            )
        if self.known:
            return self.article.meaning
        if self.diagnosis.code == OTHER:
            return f"{OTHER_MEANING} {self.article.meaning}"
        return f"{describe(self.diagnosis.code)} {self.article.meaning}"

    @property
    def owner(self) -> tuple[str, ...]:
        """Who can act, likeliest first."""
        if not self.found or self.delivered:
            return ()
        return self.article.owner if self.known else owners_of(self.diagnosis.code) or self.article.owner

    @property
    def causes(self) -> tuple[str, ...]:
        """Possible causes, likeliest first given the details; of the articles that those point to, else the own."""
        if not self.found or self.delivered:
            return ()
        signs = told(self.diagnosis)
        every = [pair for one in self._answering for pair in zip(one.causes, one.cause_tags, strict=False)]
        return tuple(cause for cause, _ in sorted(every, key=lambda pair: _rank(pair[1], signs)))

    @property
    def fixes(self) -> tuple[str, ...]:
        """What to do, in order: what the details point to, else the article's own."""
        if not self.found or self.delivered:
            return ()
        first = None if self.known else self._first_step
        return (*((first,) if first else ()), *(fix for one in self._answering for fix in one.fixes))

    @property
    def because(self) -> str | None:
        """The cause that the text itself names, in plain words."""
        signs = () if self.delivered else told(self.diagnosis)
        return phrase(signs[0]) if signs else None

    @property
    def bounced(self) -> str:
        """Has the sender got it back already? One sentence."""
        if self.diagnosis.expired:
            return (
                "Yes: it waited out its time and went back to its sender, who must send it again after the fix. "
                "Fix the cause all the same: whatever is sent there now waits and expires likewise."
            )
        if self.already_bounced:
            return "Yes: it was refused for good, so the sender has it back and must send it again after the fix."
        if self.delivered:
            return "No: it was delivered to the next server."
        return f"Not yet: it waits in the queue and is tried again. {self._lifetime}"

    @property
    def _lifetime(self) -> str:
        """When a mail system gives up; a code of the family that stands in the text is Exchange Online's own."""
        if self.diagnosis.confidence is Confidence.EXACT and is_family(self.diagnosis.code):
            return "Exchange Online gives up 24 hours after it came in."
        return "How long depends on the mail system: Exchange Online 24 hours, Exchange Server 2 days, Postfix 5 days."

    @property
    def already_bounced(self) -> bool:
        """Has the sender got it back: expired, or refused for good?"""
        status = parse(self.diagnosis.reported or "")
        final = status is not None and status.permanent
        return self.diagnosis.expired or final or (self.diagnosis.reply or "").startswith("5")

    @property
    def fix_now(self) -> bool:
        """Does the article offer Fix now for this code?"""
        return self.known and self.article.fix_now is not None

    def document(self) -> dict[str, Any]:
        """The JSON document of `mfi explain --json`."""
        d = self.diagnosis
        return {
            "code": d.code,
            "reported": d.reported,
            "reply": d.reply or self._usual_reply(),
            "expired": d.expired,
            "title": self.title,
            "meaning": self.meaning,
            "owner": list(self.owner),
            "causes": list(self.causes),
            "fixes": list(self.fixes),
            "fix_now": self.fix_now,
            "smart_host": d.smart_host,
            "ip": d.ip,
            "recipient": d.recipient,
            "retry_at": d.retry_at,
            "reason": d.reason,
            "detail": d.detail,
            "advice": list(d.advice),
            "evidence": list(d.evidence),
            "others": list(d.others),
            "confidence": d.confidence.value,
            "source": self.article.source_url if self.found else None,
        }

    def _usual_reply(self) -> str | None:
        if not self.known or self.article.status != self.diagnosis.code:
            return None
        return "550" if self.already_bounced else self.article.reply

    @property
    def _first_step(self) -> str | None:
        return OTHER_STEP if self.diagnosis.code == OTHER else next_step(self.diagnosis.code)

    @property
    def _answering(self) -> tuple[Article, ...]:
        return self.advised or (self.article,)


def _rank(tags: frozenset[str], signs: tuple[str, ...]) -> tuple[int, int]:
    """Where a cause belongs: by the most certain detail that points to it, the more special cause first."""
    fitting = [place for place, sign in enumerate(signs) if sign in tags]
    return (fitting[0], len(tags)) if fitting else (len(signs), 0)


def explanation_of(diagnosis: Diagnosis, text: str) -> Explanation:
    """Join a diagnosis with its article. A short text without any error is taken as a search by words."""
    if diagnosis.code is None and _OTHER_TYPED.fullmatch(text[:_WORDS_LIMIT]):
        diagnosis = Diagnosis(code=OTHER, evidence=(0, len(text)))
    if diagnosis.code is None and len(text) <= _WORDS_LIMIT and (matches := _matches(text)):
        best = matches[0]
        code = best.status if best.code != OTHER else None
        found = Diagnosis(code=code, evidence=(0, len(text)), confidence=Confidence.INFERRED)
        return replace(_joined(found, best), matches=matches)
    return _joined(diagnosis, articles().for_code(diagnosis.code, text))


def _joined(diagnosis: Diagnosis, article: Article) -> Explanation:
    if article.code == OTHER:
        diagnosis = replace(diagnosis, confidence=Confidence.CLASS)
    advice = dict.fromkeys((*diagnosis.advice, *(article.advice if diagnosis.code else ())))
    known = articles()
    return Explanation(diagnosis=diagnosis, article=article, advised=tuple(known.for_code(code) for code in advice))


def _matches(text: str) -> tuple[Article, ...]:
    """What a search finds; nothing unless the best title or alias holds nearly all of the words."""
    found = articles().search(text)
    return tuple(found[:_MATCHES]) if found and covers(found[0], text) else ()
