"""When mail that belongs to no connector is told: much of it is stuck at once, whoever is to blame. Pure.

A content filter that is down, an Unreachable queue, foreign servers that take nothing: no connector carries such mail,
so no probe and no connector's incident tells of it. It is one incident for all of it. A little always waits for servers
that are gone for good, so it opens at a number, and resolves at half of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from typing import Any

from bot.core.alerts import critical_reason, passed_marks, severity_of, untold_marks
from bot.core.events import EventKind
from bot.core.evidence import joined, own_words
from bot.core.incidents import LINKED_FOR, Decision, Known, Reason, coarse_time_left, since_end
from bot.core.policy import Policy
from storage.queue_records import Homeless
from storage.records import CodeCount, Incident, IncidentState, QueueSummary, Severity

UNASSIGNED = "unassigned"
"""The code of the incident, and the word by which people ask for such mail."""
CLEARED, UNWATCHED = "cleared", "unwatched"
"""Its resolutions: little of it is left; or nobody wants to be told any more."""
REDRAWN_EVERY = timedelta(minutes=1)
"""Figures that merely move are drawn anew no more often than this."""

_NO_ROUTE_CODE = "4.4.4"
# Postfix's own words at the beginning: a foreign server may speak of content filters and addresses, too.
_FILTER = re.compile(
    r"(?:delivery temporarily suspended: )?(?:mail transport unavailable|transport is unavailable"
    r"|(?:connect to|lost connection with|conversation with|host) (?:localhost|127\.\d|\[?::1))",
    re.IGNORECASE,
)
_NO_ROUTE = re.compile(r"no matching connector|matching connector cannot be found|unable to route", re.IGNORECASE)


class Likely(StrEnum):
    """What most of such mail most likely waits for, by its reason."""

    FILTER = "filter"
    """A program on the mail system's own host through which mail passes."""
    NO_ROUTE = "no_route"
    """No send connector carries it (Exchange Server's queue Unreachable)."""


def likely(queue: QueueSummary) -> Likely | None:
    """What the reason of at least half of it says; None: something else, or nothing clear."""
    most = max(queue.by_code, key=lambda group: group.count, default=None)
    if most is None or most.reason is None or 2 * most.count < queue.total:
        return None
    said = own_words(most.reason)
    if _FILTER.match(said):
        return Likely.FILTER
    return Likely.NO_ROUTE if most.code == _NO_ROUTE_CODE or _NO_ROUTE.search(said) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnassignedMail:
    """Everything that the decision depends on.

    `stuck`: what waits for longer than in flight, by mail system, counted up to `enough`. `queue`: all that waits.
    `frozen`: mail systems that were read too long ago. `previous`: the last resolved incident. Not `steady`: the clock
    is suspect.
    """

    stuck: Sequence[Homeless]
    queue: QueueSummary
    policy: Policy
    now: datetime
    frozen: Collection[str] = ()
    known: Known | None = None
    previous: Incident | None = None
    steady: bool = True

    @property
    def systems(self) -> tuple[str, ...]:
        """The mail systems that it concerns: where such mail is stuck, or was when we could still look."""
        told = self.known.names("systems") if self.known else ()
        return tuple(sorted({h.backend for h in self.stuck} | {name for name in told if name in self.frozen}))

    @property
    def stale(self) -> tuple[str, ...]:
        """Those of them that were read too long ago."""
        return tuple(name for name in self.systems if name in self.frozen)

    @property
    def fresh(self) -> tuple[Homeless, ...]:
        """What is stuck by figures that are new enough."""
        return tuple(h for h in self.stuck if h.backend not in self.frozen)

    @property
    def timed(self) -> CodeCount | None:
        """What waits, as far as the time may be told by it."""
        if not self.stale:
            return reduce(joined, self.queue.by_code) if self.queue.by_code else None
        return reduce(joined, map(_counted, self.fresh)) if self.fresh else None


def enough(policy: Policy) -> int:
    """No more of one mail system's messages need to be counted to decide."""
    return max(policy.unassigned_count, policy.critical_count)


def decide_unassigned(mail: UnassignedMail) -> Decision:
    """Open the incident, follow it, resolve it, or leave all as it is.

    Figures of a mail system that was not read lately open nothing, pass no mark and end nothing.
    """
    if mail.known is None:
        return _begin(mail)
    incident, policy = mail.known.incident, mail.policy
    if not policy.unassigned_count:
        return _resolve(incident, Reason.UNWATCHED, UNWATCHED, mail.now)
    if not mail.steady:
        return Decision(reason=Reason.CLOCK_SUSPECT, code=UNASSIGNED, incident=incident)
    if not mail.stale and 2 * sum(h.count for h in mail.stuck) < policy.unassigned_count:
        return _resolve(incident, Reason.CLEARED, CLEARED, mail.now)
    return _follow(mail, mail.known)


def _begin(mail: UnassignedMail) -> Decision:
    policy, now = mail.policy, mail.now
    if not policy.unassigned_count:
        return Decision(reason=Reason.UNWATCHED, code=UNASSIGNED)
    if not mail.steady:
        return Decision(reason=Reason.CLOCK_SUSPECT, code=UNASSIGNED)
    if sum(h.count for h in mail.fresh) < policy.unassigned_count:
        return Decision(reason=Reason.FEW, code=UNASSIGNED)
    marks = [m.name for m in passed_marks(mail.timed, policy, now)]
    previous = mail.previous
    if previous is not None and since_end(previous, now) > LINKED_FOR:
        previous = None
    return Decision(
        reason=Reason.MAIL_STUCK,
        code=UNASSIGNED,
        kind=EventKind.OPENED,
        data={"code": UNASSIGNED, "by": "queue", "evidence": _evidence(mail) | {"marks": marks}},
        changes={
            "severity": severity_of(mail.timed, policy, now),
            "first_failure_at": min(h.oldest_received_at for h in mail.fresh),
            "previous_id": previous.id if previous else None,
        },
    )


def _follow(mail: UnassignedMail, known: Known) -> Decision:
    incident, policy, now, timed = known.incident, mail.policy, mail.now, mail.timed
    told = _evidence(mail)
    worse = critical_reason(timed, policy, now) if incident.severity is Severity.WARNING else None
    changes: dict[str, Any] = {"severity": Severity.CRITICAL} if worse else {}
    marks = untold_marks(timed, known.names("marks"), policy, now)
    if marks and timed is not None:
        told["marks"] = [*known.names("marks"), *(m.name for m in marks)]
        data = {"mark": marks[-1].name, "waiting": timed.count, "first_bounce_at": timed.first_expiry_at}
        changes["escalated"] = incident.escalated + 1
        return _tell(incident, EventKind.ESCALATED, Reason.MARK_PASSED, data | {"evidence": told}, changes)
    if worse:
        data = {"reason": worse, "evidence": told}
        return _tell(incident, EventKind.CRITICAL, Reason.BECAME_CRITICAL, data, changes)
    if told == known.told or abs(now - incident.updated_at) < REDRAWN_EVERY:
        return Decision(reason=Reason.UNCHANGED, code=UNASSIGNED, incident=incident)
    return _tell(incident, EventKind.EVIDENCE, Reason.CHANGED, {"evidence": told}, {})


def _tell(
    incident: Incident, kind: EventKind, reason: Reason, data: Mapping[str, Any], changes: Mapping[str, Any]
) -> Decision:
    return Decision(reason=reason, code=UNASSIGNED, kind=kind, incident=incident, data=data, changes=changes)


def _resolve(incident: Incident, reason: Reason, word: str, now: datetime) -> Decision:
    changes = {"state": IncidentState.RESOLVED, "resolved_at": now, "resolution": word}
    return _tell(incident, EventKind.RESOLVED, reason, {"reason": word}, changes)


def _evidence(mail: UnassignedMail) -> dict[str, Any]:
    """What the message is drawn from, coarsely: it is drawn anew when this differs from what was told."""
    whole = reduce(joined, mail.queue.by_code) if mail.queue.by_code else None
    most = max(mail.queue.by_code, key=lambda group: group.count, default=None)
    return {
        "by": ["queue"],
        "systems": list(mail.systems),
        "stale": list(mail.stale),
        "marks": list(mail.known.names("marks")) if mail.known else [],
        "waiting": _roughly(mail.queue.total),
        "mostly": most.code if most else None,
        "left": coarse_time_left(whole, mail.now),
    }


def _roughly(number: int) -> int:
    """The number to its first two digits."""
    step = int(10 ** max(len(str(number)) - 2, 0))
    return number // step * step


def _counted(held: Homeless) -> CodeCount:
    return CodeCount(
        code=None,
        count=held.count,
        oldest_received_at=held.oldest_received_at,
        first_expiry_at=held.first_expiry_at,
    )
