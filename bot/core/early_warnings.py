"""Warnings before mail stops: what good probes already show. Pure: facts in, decisions with their reasons out.

A warning is an incident of a code of its own (`warning:certificate`, …), because everything that an incident is
promised holds for it too: one open per (connector, code), kept by the database; a message redrawn in place, a thread,
Acknowledge; told through the outbox, once, across restarts. It is no outage (`Incident.is_warning`): it is never
critical, never escalates with the queue, offers no Fix now, is not counted as failing and does not hurry the probes.
Its severity is always warning. Each threshold is told once: `marks` in its evidence remembers which.

What is seen while a connector fails says nothing about these, so a failing probe changes none of them: except that a
certificate whose time is over has ended its own warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bot.core.changes import capabilities
from bot.core.events import EventKind
from bot.core.foresight import SHOWN, Outlook, Threat, Warned, addresses, endpoints, foreseen, moment, settings
from bot.core.incidents import LINKED_FOR, Decision, Known, Reason, gone, since_end
from storage.records import Incident, IncidentState, ProbeRecord, Severity


def decide_warnings(outlook: Outlook) -> tuple[Decision, ...]:
    """One decision per open warning, then one per threat that has none."""
    ended = gone(outlook.connector)
    if ended is not None:
        return tuple(_resolve(known, ended, outlook) for known in outlook.known)
    threats = {t.code: t for t in foreseen(outlook)}
    followed = [_follow(known, threats.pop(Warned(known.incident.code), None), outlook) for known in outlook.known]
    return (*followed, *(_begin(threat, outlook) for threat in threats.values()))


def _begin(threat: Threat, outlook: Outlook) -> Decision:
    """Open it. What only just was back is restless: it then stays open until it was quiet for the whole window."""
    previous = outlook.past.get(threat.code)
    if previous is not None and since_end(previous, outlook.now) > LINKED_FOR:
        previous = None
    flapping = previous is not None and previous.resolution == RESOLUTIONS[Reason.BACK] and _recent(previous, outlook)
    evidence = {"by": ["probe"], "present": True, "marks": list(threat.marks), **threat.facts}
    linked = {"previous_id": previous.id} if previous else {}
    return Decision(
        reason=Reason.AHEAD,
        code=threat.code,
        kind=EventKind.FLAPPING if flapping else EventKind.OPENED,
        data={"code": threat.code, "by": "probe", "evidence": evidence, **linked, **({"times": 2} if flapping else {})},
        changes={
            "severity": Severity.WARNING,
            "first_failure_at": outlook.now,
            "flapping": flapping,
            "previous_id": previous.id if previous else None,
        },
    )


def _recent(previous: Incident, outlook: Outlook) -> bool:
    return since_end(previous, outlook.now) <= outlook.policy.flap_window


def _follow(known: Known, threat: Threat | None, outlook: Outlook) -> Decision:
    incident = known.incident
    over = _over(known, threat, outlook)
    restless = incident.flapping and abs(outlook.now - incident.updated_at) < outlook.policy.flap_window
    if over is not None and not restless:
        return _resolve(known, over, outlook)
    if threat is None:
        return _absent(known, outlook)
    told = {"by": ["probe"], "present": True, **_taken_over(known, threat)}
    fresh = [mark for mark in threat.marks if mark not in known.names("marks")]
    told["marks"] = [*known.names("marks"), *fresh]
    if fresh and not _renewed_meanwhile(known, threat):
        data = {"mark": fresh[-1], "evidence": told}
        return Decision(
            reason=Reason.MARK_PASSED, code=incident.code, kind=EventKind.WARNED, incident=incident, data=data
        )
    return _redraw(known, told)


def _absent(known: Known, outlook: Outlook) -> Decision:
    """Not to be seen at present. A server that comes and goes is kept restless by that."""
    seen_up = known.incident.code == Warned.TARGET_DOWN and outlook.fine
    return _redraw(known, {**known.told, "present": False} if seen_up else known.told)


def _redraw(known: Known, told: Mapping[str, Any]) -> Decision:
    incident = known.incident
    if told == known.told:
        return Decision(reason=Reason.UNCHANGED, code=incident.code, incident=incident)
    return Decision(
        reason=Reason.CHANGED, code=incident.code, kind=EventKind.EVIDENCE, incident=incident, data={"evidence": told}
    )


def _taken_over(known: Known, threat: Threat) -> dict[str, Any]:
    """The newest facts; what went missing earlier is still missing."""
    if threat.code is not Warned.CAPABILITIES:
        return dict(threat.facts)
    return {**threat.facts, "lost": sorted({*known.names("lost"), *threat.facts["lost"]})[:SHOWN]}


def _renewed_meanwhile(known: Known, threat: Threat) -> bool:
    """A certificate that replaced the one told of, but does not last long either: its marks are not news."""
    told, present = moment(known.told.get("not_after")), moment(threat.facts.get("not_after"))
    return told is not None and present is not None and present > told


def _resolve(known: Known, reason: Reason, outlook: Outlook) -> Decision:
    word = RESOLUTIONS[reason]
    return Decision(
        reason=reason,
        code=known.incident.code,
        kind=EventKind.RESOLVED,
        incident=known.incident,
        data={"reason": word},
        changes={"state": IncidentState.RESOLVED, "resolved_at": outlook.now, "resolution": word},
    )


RESOLUTIONS = {
    Reason.RENEWED: "renewed",
    Reason.EXPIRED: "expired",
    Reason.UNUSED: "unused",
    Reason.BACK: "back",
    Reason.SETTLED: "settled",
    Reason.RETIRED: "retired",
    Reason.REMOVED: "removed",
}


def _over(known: Known, threat: Threat | None, outlook: Outlook) -> Reason | None:
    """Why there is nothing to warn of any more; None: there is."""
    if known.incident.code == Warned.CERTIFICATE:
        return None if threat else _certificate_over(known, outlook)
    seen = outlook.newest_good(outlook.policy.resolve_after)
    back = bool(seen) and all(_BACK[known.incident.code](known, probe) for probe in seen)
    if back or known.incident.code == Warned.TARGET_DOWN:
        return Reason.BACK if back else None
    changed = outlook.fine and settings(outlook.good[0]) != known.told.get("settings")
    lasts = outlook.now - known.incident.opened_at >= outlook.policy.warning_settles
    return Reason.SETTLED if changed or lasts else None


def _certificate_over(known: Known, outlook: Outlook) -> Reason | None:
    """Renewed, too late, or no longer looked at. A server that merely can't be reached now ends nothing."""
    until = moment(known.told.get("not_after")) or outlook.now
    if outlook.fine:
        where = (known.told.get("host"), known.told.get("ip"))
        mine = [e for e in endpoints(outlook.good[0]) if (e.host, e.ip) == where]
        if any(e.ok and e.not_after and e.not_after > until for e in mine):
            return Reason.RENEWED
        if until > outlook.now and all(e.ok and e.not_after is None for e in mine):
            return Reason.UNUSED
    return Reason.EXPIRED if until <= outlook.now else None


_BACK: Mapping[str, Callable[[Known, ProbeRecord], bool]] = {
    Warned.TARGET_DOWN: lambda known, probe: all(e.ok for e in endpoints(probe)),
    Warned.TARGET_GONE: lambda known, probe: len(addresses(probe)) > 1,
    Warned.CAPABILITIES: lambda known, probe: set(known.names("lost")) <= capabilities(probe.fingerprint),
}
"""Does a good probe show that what the warning tells of is back?"""


def split(known: Iterable[Known]) -> tuple[list[Known], list[Known]]:
    """Outages and warnings apart."""
    every = list(known)
    return [k for k in every if not k.incident.is_warning], [k for k in every if k.incident.is_warning]
