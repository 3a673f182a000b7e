"""From evidence to incidents, for one connector at a time, inside the transaction that brought the evidence.

So the fact, the incident's transition, its event and what Slack is owed are all there, or none of them is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache, partial

from sqlite_utils import Database

from bot.backends.files import BACKEND as IMPORTED
from bot.core.early_warnings import decide_warnings, split
from bot.core.events import EventKind
from bot.core.evidence import NAMELESS, ProbeRun, run_of, troubles
from bot.core.foresight import Outlook, foreseen
from bot.core.incidents import UNDONE, Decision, Known, Situation, decide
from bot.core.policy import Policy
from bot.services.monitor import probes_say_nothing
from bot.services.timeline import record_event
from storage import connectors, incidents, messages, probes, syncs
from storage.connection import Store
from storage.records import Connector, Incident, ProbeRecord

LOG = logging.getLogger(__name__)

SLICE = 250
"""So many connectors at most are triaged in one transaction: a click must not wait for thousands."""
FLOWS_FOR = 3
"""For so many probe intervals a delivery proves that mail flows."""
RUN_LENGTH = 60
"""So many probes are read to find the beginning of a run of failures."""


def triage_connector(
    db: Database,
    connector_id: int,
    policy: Policy,
    now: datetime,
    *,
    default_channel: str,
    blind: bool = False,
    steady: bool = True,
    frozen: Callable[[str], bool] | None = None,
) -> list[Incident]:
    """Look at everything known about one connector and do what it calls for; returns the incidents that changed.

    1. Read its last probes, its queue and its open incidents.
    2. Decide on outages (bot/core/incidents.py) and on what is to come (bot/core/early_warnings.py), with reasons.
    3. Write each change with its event and outbox rows. Doing it twice changes nothing the second time.
    `blind`: our own network is suspect, so probes open nothing. Not `steady`: the clock is suspect, so nothing is told
    because of the time alone. `frozen`: `is_frozen` by the mail system's name, where somebody remembers the answers.
    """
    connector = connectors.get(db, connector_id)
    if connector is None:
        return []
    known = [Known(incident=i, told=incidents.last_evidence(db, i.id)) for i in incidents.open_at(db, connector.id)]
    outages, warnings = split(known)
    few = probes.recent(db, connector.id, max(policy.open_after + 1, policy.resolve_after))
    frozen = frozen or partial(is_frozen, db, policy, now)
    situation = _situation(
        db, connector, policy, now, few=few, known=outages, blind=blind, steady=steady, frozen=frozen
    )
    decisions = (
        *decide(situation),
        *(decide_warnings(_outlook(db, connector, policy, now, few=few, known=warnings)) if steady else ()),
    )
    return [_carry_out(db, connector, made, now, default_channel) for made in decisions if made.kind is not None]


def triage_some(
    db: Database, connector_ids: Iterable[int], policy: Policy, now: datetime, *, default_channel: str, steady: bool
) -> None:
    """Triage several, in one transaction; `steady`: see `triage_connector`."""
    blind, frozen = probes_say_nothing(db, policy, now), cache(partial(is_frozen, db, policy, now))
    for each in connector_ids:
        triage_connector(
            db, each, policy, now, default_channel=default_channel, blind=blind, steady=steady, frozen=frozen
        )


async def triage_many(
    store: Store, connector_ids: Sequence[int], policy: Policy, now: datetime, *, default_channel: str, steady: bool
) -> None:
    """The same for any number: in slices, between which whoever waits to write has his turn."""
    for start in range(0, len(connector_ids), SLICE):
        some = partial(
            triage_some, connector_ids=connector_ids[start : start + SLICE], policy=policy, now=now,
            default_channel=default_channel, steady=steady,
        )  # fmt: skip
        await store.write(some)


def due_for_triage(db: Database, policy: Policy, now: datetime) -> list[int]:
    """Connectors that time alone may have changed: mail that is stuck by now, and nobody opened an incident for it."""
    return incidents.stuck(db, now - policy.queue_settle, NAMELESS)


def is_frozen(db: Database, policy: Policy, now: datetime, backend: str) -> bool:
    """Was this mail system's queue read too long ago to tell the time by it? Imported figures are no reads: never."""
    if backend == IMPORTED:
        return False
    read_at = syncs.last_success(db, backend)
    return read_at is not None and now - read_at > policy.stale_after


def mail_flows(db: Database, connector_id: int, run: ProbeRun, policy: Policy, now: datetime) -> bool:
    """Does mail leave through a connector although its probe fails?

    Proof is only what came in after the first failure and left lately: what is noted as delivered may have left before
    it was noted, and what left hours ago says nothing of now.
    """
    if run.first_failure_at is None:
        return False
    lately = now - FLOWS_FOR * policy.probe_interval
    return messages.passed_since(db, connector_id, received=run.first_failure_at, left=lately, now=now) > 0


def _situation(
    db: Database,
    connector: Connector,
    policy: Policy,
    now: datetime,
    *,
    few: Sequence[ProbeRecord],
    known: Sequence[Known],
    blind: bool,
    steady: bool,
    frozen: Callable[[str], bool],
) -> Situation:
    # Steady good probes are told from a few rows: that is the case for nearly everything.
    run = run_of(few if any(p.ok for p in few[:1]) else probes.recent(db, connector.id, RUN_LENGTH))
    found = troubles(messages.summary(db, connector.id), run, policy, now)
    return Situation(
        connector=connector,
        troubles=found,
        run=run,
        policy=policy,
        now=now,
        known=known,
        past=_past(db, connector.id, [t.code for t in found]),
        flows=mail_flows(db, connector.id, run, policy, now),
        blind=blind,
        steady=steady,
        frozen=any(t.waiting for t in found) and frozen(connector.backend),
    )


def _outlook(
    db: Database,
    connector: Connector,
    policy: Policy,
    now: datetime,
    *,
    few: Sequence[ProbeRecord],
    known: Sequence[Known],
) -> Outlook:
    """What good probes say of the time ahead; the rows at hand are enough unless some of them failed."""
    few = [p for p in few if not p.nothing_probed]
    good = few if all(p.ok for p in few) else probes.recent_good(db, connector.id, len(few)) if few[0].ok else ()
    outlook = Outlook(
        connector=connector, newest=few[0] if few else None, good=good, policy=policy, now=now, known=known
    )
    told = {k.incident.code for k in known}
    return replace(outlook, past=_past(db, connector.id, [t.code for t in foreseen(outlook) if t.code not in told]))


def _past(db: Database, connector_id: int, codes: Iterable[str]) -> dict[str, Incident]:
    """The last resolved incident of each code."""
    found = {code: incidents.last_resolved(db, connector_id, code) for code in codes}
    return {code: incident for code, incident in found.items() if incident is not None}


def _carry_out(db: Database, connector: Connector, decision: Decision, now: datetime, default_channel: str) -> Incident:
    assert decision.kind is not None
    if decision.incident is not None:
        after = record_event(db, decision.incident.id, decision.kind, now=now, data=decision.data, **decision.changes)
    else:
        channel = connector.alert_channel or default_channel
        new = incidents.insert(
            db, connector_id=connector.id, code=decision.code, now=now, channel=channel, **decision.changes
        )
        after = record_event(db, new.id, decision.kind, now=now, data=decision.data)
        _point_here(db, after, now)
    LOG.info("incident #%d of connector %d: %s, because %s", after.id, connector.id, decision.kind, decision.reason)
    return after


def _point_here(db: Database, new: Incident, now: datetime) -> None:
    """The card of an incident whose fix was undone is drawn again: it names the one that goes on."""
    previous = incidents.get(db, new.previous_id) if new.previous_id else None
    if previous is not None and previous.resolution == UNDONE:
        record_event(db, previous.id, EventKind.EVIDENCE, now=now)
