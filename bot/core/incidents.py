"""When an incident opens, is told again, and resolves. Pure: facts in, decisions with their reasons out.

One incident per trouble of a connector. It opens when the probe fails often enough, when queue and probe agree, or when
deferred mail waits for longer than in flight. It resolves when the connector delivers again and nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from typing import Any

from bot.core.alerts import critical_reason, passed_marks, severity_of, untold_marks
from bot.core.events import EventKind
from bot.core.evidence import NETWORK_CODES, ProbeRun, Trouble, joined
from bot.core.policy import Policy
from storage.records import CodeCount, Connector, Incident, IncidentState, Severity

LINKED_FOR = timedelta(days=7)
"""An incident that opens again within this time of its last end refers to the one before."""
UNDONE = "undone"
"""The resolution of an incident whose connector a fix had switched off, after that fix was undone."""


class Reason(StrEnum):
    """Why something was decided; the words go to the log. The second half are reasons to do nothing."""

    PROBE_FAILS = "the probe failed often enough"
    BOTH_AGREE = "the probe fails and the queue agrees"
    MAIL_STUCK = "deferred mail waits for longer than in flight"
    AGAIN_SO_SOON = "it failed again soon after it was resolved"
    MARK_PASSED = "the oldest message passed an escalation mark"
    BECAME_CRITICAL = "it became critical"
    CHANGED = "the evidence changed"
    DELIVERING = "the probe is fine and nothing waits"
    DRAINED = "nothing waits any more"
    RETIRED = "the connector was disabled"
    REMOVED = "the connector is no longer listed"
    AHEAD = "good probes show what will stop mail"
    RENEWED = "the certificate was renewed"
    EXPIRED = "the certificate's time is over"
    UNUSED = "that certificate is no longer used"
    BACK = "what was missing is back"
    SETTLED = "it is meant to be so by now"
    CLEARED = "little of the mail that belongs to no connector still waits"
    UNWATCHED = "mail that belongs to no connector is not watched"

    NOT_OFTEN_ENOUGH = "the probe has not failed often enough"
    BLIND = "we are blind, so our probes say nothing"
    BOT_IS_BLOCKED = "mail flows: only we are blocked"
    IN_FLIGHT = "the mail is too young to be stuck"
    UNCHANGED = "the evidence is the same"
    FEW = "too little of the mail that belongs to no connector waits"
    CLOCK_SUSPECT = "the clock is suspect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An open incident and the evidence that was told of it last (`Evidence.document`)."""

    incident: Incident
    told: Mapping[str, Any] = field(default_factory=dict)

    def names(self, key: str) -> tuple[str, ...]:
        """A remembered list."""
        return tuple(self.told.get(key, ()))

    def is_of(self, trouble: Trouble) -> bool:
        """Is this the incident of that trouble?"""
        mine = (self.incident.code, *self.names("covers"))
        return trouble.code in mine or trouble.former in mine


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that the decisions about one connector depend on.

    `past`: the last resolved incident per code. `flows`: mail leaves all the same. `blind`: our own network is suspect.
    Not `steady`: the clock is suspect, so nothing is told, and no mark is used up, because of the time alone.
    `frozen`: the queue was read too long ago to tell the time by it, unless a failing probe bears it out.
    """

    connector: Connector
    troubles: Sequence[Trouble]
    run: ProbeRun
    policy: Policy
    now: datetime
    known: Sequence[Known] = ()
    past: Mapping[str, Incident] = field(default_factory=dict)
    flows: bool = False
    blind: bool = False
    steady: bool = True
    frozen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to happen, and why. `kind` None: nothing. `incident` None: a new one is made from `changes`."""

    reason: Reason
    code: str
    kind: EventKind | None = None
    incident: Incident | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)


def decide(situation: Situation) -> tuple[Decision, ...]:
    """One decision per open incident, then one per trouble that has none."""
    if (ended := gone(situation.connector)) is not None:
        return tuple(_resolve(known, ended, situation) for known in situation.known if not _being_fixed(known))
    followed = [_follow(known, situation) for known in situation.known]
    fresh = [t for t in situation.troubles if not any(known.is_of(t) for known in situation.known)]
    return (*followed, *(_begin(trouble, situation) for trouble in fresh))


def gone(connector: Connector) -> Reason | None:
    """Why a connector is no longer watched; None: it is."""
    if connector.missing_since is not None:
        return Reason.REMOVED
    return None if connector.enabled else Reason.RETIRED


def _being_fixed(known: Known) -> bool:
    """Fix now is at work or has yet to verify: it tells first, then triage may resolve."""
    return known.incident.state in (IncidentState.FIXING, IncidentState.VERIFYING)


def _begin(trouble: Trouble, situation: Situation) -> Decision:
    """Open an incident, or say why not yet."""
    reason = _may_open(trouble, situation)
    if reason not in (Reason.PROBE_FAILS, Reason.BOTH_AGREE, Reason.MAIL_STUCK):
        return Decision(reason=reason, code=trouble.code)
    previous = situation.past.get(trouble.code)
    if previous is not None and since_end(previous, situation.now) > LINKED_FOR:
        previous = None
    flapping = previous is not None and _flaps(previous, situation)
    told = _evidence(None, trouble, situation)
    timed = _timed(trouble.waiting, situation)
    marks = [m.name for m in passed_marks(timed, situation.policy, situation.now)]
    by = "both" if len(told["by"]) > 1 else told["by"][0]
    data = {"code": trouble.code, "by": by, "evidence": told | {"marks": marks}}
    return Decision(
        reason=Reason.AGAIN_SO_SOON if flapping else reason,
        code=trouble.code,
        kind=EventKind.FLAPPING if flapping else EventKind.OPENED,
        data=data | ({"previous_id": previous.id} if previous else {}) | ({"times": 2} if flapping else {}),
        changes={
            "severity": severity_of(timed, situation.policy, situation.now),
            "first_failure_at": _first_failure(trouble, situation),
            "flapping": flapping,
            "previous_id": previous.id if previous else None,
        },
    )


def _may_open(trouble: Trouble, situation: Situation) -> Reason:
    if trouble.waiting is not None:
        if trouble.probed and not situation.blind:
            return Reason.BOTH_AGREE
        return Reason.MAIL_STUCK if trouble.settled and situation.steady else Reason.IN_FLIGHT
    if situation.blind and trouble.code in NETWORK_CODES:  # what answers otherwise was reached
        return Reason.BLIND
    if situation.flows:
        return Reason.BOT_IS_BLOCKED
    # With an incident of the probe's open already, a second code must show itself steadily: mixed ones are one outage.
    probed = any("probe" in known.names("by") for known in situation.known)
    failures = situation.run.steady if probed else situation.run.failures
    return Reason.PROBE_FAILS if failures >= situation.policy.open_after else Reason.NOT_OFTEN_ENOUGH


def _flaps(previous: Incident, situation: Situation) -> bool:
    """Did it end by itself, a moment ago? What a person switched off and on again does not flap."""
    by_itself = previous.resolution not in (_RESOLUTIONS[Reason.RETIRED], _RESOLUTIONS[Reason.REMOVED], UNDONE)
    return by_itself and since_end(previous, situation.now) <= situation.policy.flap_window


def since_end(previous: Incident, now: datetime) -> timedelta:
    """How long ago a resolved incident ended. A moment ahead of us is as far away: the clock was set since."""
    return abs(now - (previous.resolved_at or previous.updated_at))


def _first_failure(trouble: Trouble, situation: Situation) -> datetime:
    seen = [situation.run.first_failure_at if trouble.probed else None]
    seen.append(trouble.waiting.oldest_received_at if trouble.waiting else None)
    return min(moment for moment in seen if moment is not None)


def _follow(known: Known, situation: Situation) -> Decision:
    """Resolve an open incident, tell it louder, redraw it, or leave it."""
    trouble = _one([t for t in situation.troubles if known.is_of(t)])
    ended = _may_resolve(known, trouble, situation)
    if ended is not None:
        return _resolve(known, ended, situation)
    waiting = trouble.waiting if trouble else None
    told = _evidence(known, trouble, situation)
    incident, policy, now = known.incident, situation.policy, situation.now
    timed = _timed(waiting, situation)
    worse = critical_reason(timed, policy, now) if incident.severity is Severity.WARNING else None
    changes = {**_renamed(known, trouble, situation), **({"severity": Severity.CRITICAL} if worse else {})}
    marks = untold_marks(timed, known.names("marks"), policy, now)
    if marks and waiting is not None:
        told["marks"] = [*known.names("marks"), *(m.name for m in marks)]
        data = {"mark": marks[-1].name, "waiting": waiting.count, "first_bounce_at": waiting.first_expiry_at}
        changes["escalated"] = incident.escalated + 1
        return _tell(known, EventKind.ESCALATED, Reason.MARK_PASSED, data | {"evidence": told}, changes)
    if worse:
        data = {"reason": worse, "evidence": told}
        return _tell(known, EventKind.CRITICAL, Reason.BECAME_CRITICAL, data, changes)
    if told == known.told:
        return Decision(reason=Reason.UNCHANGED, code=incident.code, incident=incident)
    return _tell(known, EventKind.EVIDENCE, Reason.CHANGED, {"evidence": told}, changes)


def _timed(waiting: CodeCount | None, situation: Situation) -> CodeCount | None:
    """What waits, as far as the time may be told by it."""
    borne_out = situation.run.failing and not situation.blind and not situation.flows
    return waiting if situation.steady and (borne_out or not situation.frozen) else None


def _one(mine: Sequence[Trouble]) -> Trouble | None:
    """All troubles that one incident stands for, with everything that waits for any of them."""
    if not mine:
        return None
    groups = [t.waiting for t in mine if t.waiting is not None]
    return replace(mine[0], probed=any(t.probed for t in mine), waiting=reduce(joined, groups) if groups else None)


def _tell(
    known: Known, kind: EventKind, reason: Reason, data: Mapping[str, Any], changes: Mapping[str, Any]
) -> Decision:
    return Decision(
        reason=reason, code=known.incident.code, kind=kind, incident=known.incident, data=data, changes=changes
    )


def _renamed(known: Known, trouble: Trouble | None, situation: Situation) -> dict[str, Any]:
    """The queue's code wins over the probe's for the same trouble, unless an open incident has it already."""
    taken = {k.incident.code for k in situation.known}
    if trouble is None or trouble.former != known.incident.code or trouble.code in taken:
        return {}
    return {"code": trouble.code}


def _may_resolve(known: Known, trouble: Trouble | None, situation: Situation) -> Reason | None:
    """Why it is over; None: it is not.

    Its mail still waits, or its probe still fails: no. Seen by the probe: enough good probes are needed, or as many
    that have nothing to dial any more. Seen by the queue alone: it is over when drained. A flapping one must have been
    quiet for the whole window. While Fix now is at work nothing is over; while it waits to verify, only proven delivery
    ends it.
    """
    incident, policy = known.incident, situation.policy
    if trouble is not None or incident.state is IncidentState.FIXING:
        return None
    fine = situation.run.successes >= policy.resolve_after
    silent = situation.run.empty >= policy.resolve_after
    if "probe" in known.names("by") and not fine and not silent:
        return None
    if incident.flapping and abs(situation.now - incident.updated_at) < policy.flap_window:
        return None
    if fine:
        return Reason.DELIVERING
    return None if incident.state is IncidentState.VERIFYING else Reason.DRAINED


def _resolve(known: Known, reason: Reason, situation: Situation) -> Decision:
    word = _RESOLUTIONS[reason]
    return Decision(
        reason=reason,
        code=known.incident.code,
        kind=EventKind.RESOLVED,
        incident=known.incident,
        data={"reason": word},
        changes={"state": IncidentState.RESOLVED, "resolved_at": situation.now, "resolution": word},
    )


_RESOLUTIONS = {
    Reason.DELIVERING: "delivering",
    Reason.DRAINED: "drained",
    Reason.RETIRED: "retired",
    Reason.REMOVED: "removed",
}


def _evidence(known: Known | None, trouble: Trouble | None, situation: Situation) -> dict[str, Any]:
    """What the incident's message is drawn from, coarsely: it is redrawn when this differs from what was told.

    `by`, `covers` and `marks` are the incident's memory: who ever saw it, the codes that it stands for, what was told.
    """
    waiting, probed = (trouble.waiting, trouble.probed) if trouble else (None, False)
    seen = {"queue": waiting is not None, "probe": probed}
    by = dict.fromkeys([*(known.names("by") if known else ()), *(who for who, saw in seen.items() if saw)])
    covers = dict.fromkeys([*(known.names("covers") if known else ()), *_covered(trouble)])
    return {
        "by": sorted(by),
        "covers": sorted(covers),
        "marks": list(known.names("marks")) if known else [],
        "waiting": waiting.count if waiting else 0,
        "left": coarse_time_left(waiting, situation.now),
        "probe": situation.run.code or ("ok" if situation.run.successes else None),
    }


def _covered(trouble: Trouble | None) -> tuple[str, ...]:
    return (trouble.code, trouble.former) if trouble and trouble.former else ()


def coarse_time_left(waiting: CodeCount | None, now: datetime) -> int | None:
    """The time to the first bounce in steps that are worth a redraw: hours, near the end ten minutes."""
    if waiting is None:
        return None
    minutes = max(int((waiting.first_expiry_at - now).total_seconds()) // 60, 0)
    return minutes - minutes % (60 if minutes >= 120 else 10)
