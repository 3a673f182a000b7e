"""What the queue and our probes each say about one connector, kept apart, and how they fit together. Pure.

The queue is the authority on what the mail system sees; a probe is what we saw from where we stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import takewhile

from bot.core.policy import Policy
from storage.records import CodeCount, ProbeRecord, QueueSummary

NAMELESS = "other"
"""The code of an incident whose messages give a reason in which no code can be found."""
DNS_FAILED, TIMED_OUT, REFUSED = "4.4.312", "4.4.315", "4.4.316"
CANNOT_CONNECT, CERTIFICATE = "4.4.317", "4.7.320"
NETWORK_CODES = frozenset({DNS_FAILED, TIMED_OUT})
"""What every target shows at once when our own network or resolver is down."""

OUTAGE = 2
"""So many failed probes in a row are an outage; one may be chance."""
AGREEING = 3
"""So many known reasons that say the same stand for all: a mail system may tell the reason only for a sample."""

_NULL_MX = re.compile(r"null[\s_-]?mx|does not accept (?:e-?)?mail", re.IGNORECASE)
_CERTIFICATE = re.compile(r"certificat|\bx\.?509\b|\bcert[_ ]|self[- ]signed|trust ?chain|untrusted", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """The newest probes of one connector as one statement.

    `failures` or `successes` in a row (one of them is 0); `steady`: failures in a row with the newest one's code.
    `empty`: so many of the newest had nothing to dial; what was seen before that says nothing of now.
    `fine_since`: when good ones followed an outage; None where there was none lately.
    """

    failures: int = 0
    steady: int = 0
    successes: int = 0
    empty: int = 0
    code: str | None = None
    cause: str | None = None
    first_failure_at: datetime | None = None
    fine_since: datetime | None = None

    @property
    def failing(self) -> bool:
        """Does the newest probe fail?"""
        return self.failures > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One reason why mail can't leave, under the code that its incident has, and who saw it.

    `waiting`: the deferred messages that the queue holds for it; `settled`: they wait for longer than in flight.
    `former`: the probe's own code, where the queue's word for the same trouble replaced it.
    """

    code: str
    probed: bool = False
    waiting: CodeCount | None = None
    settled: bool = False
    former: str | None = None


class SampleKind(StrEnum):
    """How far the reasons that are known speak for the messages whose reason is not."""

    AGREES = "agrees"
    """All of several say the same: the rest most likely waits for it, too."""
    MIXED = "mixed"
    """They differ: of the rest nothing is known."""
    FEW = "few"
    """Too few are known so far to speak for the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A queue of which some reasons are known and some are not. `known` of `waiting` messages were looked at.

    `code`: what all that are known say; None where they differ.
    """

    kind: SampleKind
    code: str | None
    known: int
    waiting: int


def run_of(newest_first: Sequence[ProbeRecord]) -> ProbeRun:
    """The run that the newest probe belongs to. One that had nothing to dial ends it."""
    empty = _leading(p.nothing_probed for p in newest_first)
    telling = list(takewhile(lambda p: not p.nothing_probed, newest_first))
    if not telling:
        return ProbeRun(empty=empty)
    newest = telling[0]
    length = _leading(p.ok == newest.ok for p in telling)
    if newest.ok:
        repaired = _leading(not p.ok for p in telling[length:]) >= OUTAGE
        return ProbeRun(successes=length, fine_since=telling[length - 1].at if repaired else None)
    return ProbeRun(
        failures=length,
        steady=_leading(not p.ok and p.code == newest.code for p in telling),
        code=newest.code or NAMELESS,
        cause=newest.cause,
        first_failure_at=telling[length - 1].at,
    )


def folded(queue: QueueSummary) -> QueueSummary:
    """The queue with one group per trouble: a null MX is a DNS failure whichever code it was given."""
    groups: dict[str | None, CodeCount] = {}
    for group in queue.by_code:
        code = trouble_code(group)
        known = groups.get(code)
        groups[code] = joined(known, group) if known else replace(group, code=code)
    return QueueSummary(by_code=tuple(groups.values()))


def trouble_code(group: CodeCount) -> str | None:
    """The code of the incident to which these messages belong; None: they only wait, nobody said why."""
    if group.reason and _NULL_MX.search(group.reason):
        return DNS_FAILED
    return group.code or (NAMELESS if group.reason else None)


def is_certificate_trouble(group: CodeCount) -> bool:
    """The mail system's "cannot connect" that is really about the certificate."""
    return group.code == CANNOT_CONNECT and bool(_CERTIFICATE.search(group.reason or ""))


def troubles(queue: QueueSummary, run: ProbeRun, policy: Policy, now: datetime) -> tuple[Trouble, ...]:
    """Every trouble of one connector, the queue's first: each is one incident, however many saw it."""
    found = [_queued(group, run, policy, now) for group in attributed(queue, policy, now).by_code if group.code]
    if run.code and not any(t.probed for t in found):
        found.append(Trouble(code=run.code, probed=True))
    return tuple(found)


def sample_of(queue: QueueSummary, policy: Policy, now: datetime) -> Sample | None:
    """What the known reasons say of the unknown ones.

    None where all are known, or none is, or where what has none is too young to be stuck: that is mail in flight.
    """
    groups = folded(queue).by_code
    told = [group for group in groups if group.code]
    rest = next((group for group in groups if not group.code), None)
    if not told or rest is None or now - rest.oldest_received_at <= policy.queue_settle:
        return None
    known = sum(group.count for group in told)
    if len(told) > 1:
        return Sample(kind=SampleKind.MIXED, code=None, known=known, waiting=queue.total)
    kind = SampleKind.AGREES if known >= AGREEING else SampleKind.FEW
    return Sample(kind=kind, code=told[0].code, known=known, waiting=queue.total)


def attributed(queue: QueueSummary, policy: Policy, now: datetime) -> QueueSummary:
    """The folded queue, in which a sample that agrees speaks for all that waits."""
    found, sample = folded(queue), sample_of(queue, policy, now)
    if sample is None or sample.kind is not SampleKind.AGREES:
        return found
    told = next(group for group in found.by_code if group.code)
    rest = next(group for group in found.by_code if not group.code)
    return QueueSummary(by_code=(joined(told, rest),))


def _leading(matches: Iterable[bool]) -> int:
    return sum(takewhile(bool, matches))


def joined(one: CodeCount, other: CodeCount) -> CodeCount:
    """Two groups of messages as one, under the first one's code."""
    return replace(
        one,
        count=one.count + other.count,
        oldest_received_at=min(one.oldest_received_at, other.oldest_received_at),
        first_expiry_at=min(one.first_expiry_at, other.first_expiry_at),
        reason=one.reason or other.reason,
    )


def _queued(group: CodeCount, run: ProbeRun, policy: Policy, now: datetime) -> Trouble:
    assert group.code is not None
    same_certificate = run.code == CERTIFICATE and is_certificate_trouble(group)
    return Trouble(
        code=group.code,
        probed=group.code == run.code or same_certificate,
        waiting=group,
        settled=now - group.oldest_received_at > policy.queue_settle,
        former=CERTIFICATE if same_certificate else None,
    )


def code_words(code: str | None) -> str:
    """The code in a list; words where a reason has none, or no reason is known."""
    return "no code" if code == NAMELESS else code or "no reason yet"


def own_words(reason: str) -> str:
    """What the server or the mail system said, without the frame that a message trace puts around it."""
    told = reason[:2000]
    framed = re.search(r"\{LED=(.{1,1500}?)\}(?:;\{|\]|$)", told, re.DOTALL)
    return re.sub(r"\s*\[LastAttempted\w{1,20}=[^\]]{0,300}\]", "", framed[1] if framed else told).strip() or reason
