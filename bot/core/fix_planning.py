"""Works out what Fix now would do before anything is touched: a plan in numbers, or one sentence why not.

Pure. `make_plan` looks at one Situation, read freshly. Never in a plan: a valid or unknown recipient, a partner's
connector, a domain that matches sub-domains or that another enabled connector carries, anything that rests on a
partial directory answer or on stale facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.core.by_hand import instructions
from bot.core.capabilities import Capability
from bot.core.fix_mail import Mail, domain_of, mail_notes, messages_of, plural, recipients_of, sort_mail
from bot.core.fix_plan import NoPlan, Plan, PlanStep, SenderCount, connector_facts, domain_facts
from bot.core.policy import Policy
from storage.records import (
    Connector,
    ConnectorFacts,
    DomainFacts,
    DomainType,
    Incident,
    IncidentState,
    MessageFacts,
    StepKind,
)

SENDERS_SHOWN = 5


class Rule(Protocol):
    """What the article of the incident's code allows."""

    @property
    def steps(self) -> Collection[str]:
        """Names of StepKind."""
        ...

    @property
    def kinds(self) -> Collection[str]:
        """Names of ConnectorKind."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a plan is made of. `seen`: the connector as its mail system shows it now (None: it is gone).

    `unseen`: so many messages wait besides `waiting`, which nobody looked at one by one.
    """

    incident: Incident
    connector: Connector
    seen: ConnectorFacts | None
    others: Sequence[ConnectorFacts] = ()
    domains: Sequence[DomainFacts] = ()
    waiting: Sequence[MessageFacts] = ()
    unseen: int = 0
    valid: frozenset[str] = frozenset()
    invalid: frozenset[str] = frozenset()
    capabilities: frozenset[Capability] = frozenset()
    rule: Rule | None = None
    queue_read_at: datetime | None = None
    fix_running: bool = False


def make_plan(situation: Situation, policy: Policy, now: datetime) -> Plan | NoPlan:
    """1. The guards: each may refuse. 2. Sort the waiting mail. 3. Steps that the rule allows and that still matter.

    4. What the backend can't do, or may not do, is put into words for a person's hands.
    """
    for guard in _GUARDS:
        if refusal := guard(situation, policy, now):
            return NoPlan(refusal)
    mail = sort_mail(
        situation.waiting,
        situation.domains,
        valid=situation.valid,
        invalid=situation.invalid,
        unseen=situation.unseen,
    )
    domains, notes = _domains_to_change(situation)
    wanted = _steps(situation, mail, domains)
    if not wanted:
        name = situation.connector.name
        return NoPlan(f"Nothing is left to do at “{name}”: it is off, and no mail to invalid recipients waits there.")
    possible = tuple(step for step in wanted if _is_possible(step, situation, mail))
    dry_run = not policy.actions_on
    by_hand = [step for step in wanted if dry_run or step not in possible]
    return Plan(
        incident_id=situation.incident.id,
        backend=situation.connector.backend,
        connector_key=situation.connector.key,
        connector_name=situation.connector.name,
        code=situation.incident.code,
        dry_run=dry_run,
        waiting=mail.total,
        valid_waiting=len(mail.valid),
        unknown_waiting=len(mail.unknown),
        invalid_recipients=len({m.recipient.lower() for m in mail.invalid}),
        steps=possible,
        by_hand=instructions(situation.connector.name, {s.kind: s.domains for s in by_hand}),
        notes=(*mail_notes(mail), *notes),
        watched=(
            *connector_facts(situation.seen or situation.connector),
            *domain_facts(situation.domains, [name for step in possible for name in step.domains]),
        ),
        unseen=mail.unseen,
    )


# Guards

Guard = Callable[[Situation, Policy, datetime], str | None]


def _open(situation: Situation, _policy: Policy, _now: datetime) -> str | None:
    incident = situation.incident
    if incident.state is IncidentState.RESOLVED:
        return f"#{incident.id} is resolved already: there is nothing to fix."
    if incident.state is IncidentState.VERIFYING:
        return f"A fix of #{incident.id} was done and is being verified; its thread will tell."
    if situation.fix_running or incident.state is IncidentState.FIXING:
        return f"A fix of “{situation.connector.name}” is running right now."
    return None


def _allowed(situation: Situation, _policy: Policy, _now: datetime) -> str | None:
    code, rule = situation.incident.code, situation.rule
    if rule is None:
        return f"Fix now is no cure for {code}: “/mfi explain {code}” says what is."
    if situation.connector.kind not in rule.kinds:
        return f"“{situation.connector.name}” leads to a partner: its servers are theirs to repair, so contact them."
    return None


def _current(situation: Situation, policy: Policy, now: datetime) -> str | None:
    name, seen = situation.connector.name, situation.seen
    if seen is None:
        return f"The mail system no longer has the connector “{name}”: there is nothing to fix."
    stored, fresh = dict(connector_facts(situation.connector)), dict(connector_facts(seen))
    if changed := [fact for fact in stored if stored[fact] != fresh[fact]]:
        return (
            f"“{name}” was changed in the mail system ({', '.join(changed)}): wait for the next sync, then look again."
        )
    if _can_act(situation) and (situation.queue_read_at is None or now - situation.queue_read_at > policy.stale_after):
        return f"What waits at “{name}” was last read too long ago to act on it: sync first."
    return None


_GUARDS: tuple[Guard, ...] = (_open, _allowed, _current)
_NEEDS: Mapping[StepKind, frozenset[Capability]] = {
    StepKind.REJECT_INVALID: frozenset({Capability.REJECT_MESSAGES, Capability.READ_QUEUE, Capability.READ_RECIPIENTS}),
    StepKind.DOMAIN_AUTHORITATIVE: frozenset({Capability.SET_DOMAIN_TYPE, Capability.READ_DOMAINS}),
    StepKind.DISABLE_CONNECTOR: frozenset({Capability.SET_CONNECTOR_ENABLED, Capability.READ_CONNECTORS}),
}


def _is_possible(step: PlanStep, situation: Situation, mail: Mail) -> bool:
    if (mail.partial or mail.unseen) and step.kind is StepKind.DOMAIN_AUTHORITATIVE:
        return False
    return _NEEDS[step.kind] <= situation.capabilities


def _can_act(situation: Situation) -> bool:
    return any(needs <= situation.capabilities for needs in _NEEDS.values())


# Domains


def _domains_to_change(situation: Situation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names of the internal relay domains that only this connector carries, notes on those left alone)."""
    chosen: list[str] = []
    notes: list[str] = []
    patterns = situation.connector.recipient_domains
    waiting = {domain_of(m.recipient) for m in situation.waiting}
    for domain in situation.domains:
        if domain.type is not DomainType.INTERNAL_RELAY or not _carries(patterns, domain.name, waiting):
            continue
        rivals = (o for o in situation.others if o.enabled and _carries(o.recipient_domains, domain.name, ()))
        rival = next(rivals, None)
        if domain.match_subdomains:
            notes.append(f"{domain.name} matches sub-domains, which needs Internal Relay: left alone.")
        elif rival is not None:
            notes.append(f"{domain.name} is also carried by the connector “{rival.name}”: left alone.")
        else:
            chosen.append(domain.name)
    return tuple(chosen), tuple(notes)


def _carries(patterns: Sequence[str], name: str, waiting: Collection[str]) -> bool:
    """Is this domain named by the connector; or, where it names none or all, does mail for it wait there?"""
    wanted = _lower(patterns)
    if name in wanted or any(p.startswith("*.") and name.endswith(p[1:]) for p in wanted):
        return True
    return (not wanted or "*" in wanted) and name in waiting


def _lower(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}


# Steps


def _steps(situation: Situation, mail: Mail, domains: tuple[str, ...]) -> tuple[PlanStep, ...]:
    """In the order in which they run: reject, then the domain, then the connector."""
    assert situation.rule is not None
    made: list[PlanStep] = []
    if mail.invalid and not mail.partial:
        made.append(_reject_step(mail))
    if domains:
        made.append(_domain_step(domains, mail, Capability.REJECT_MESSAGES in situation.capabilities))
    if situation.connector.enabled:
        made.append(_connector_step(situation.connector, mail))
    return tuple(step for step in made if step.kind in situation.rule.steps)


def _reject_step(mail: Mail) -> PlanStep:
    counts = Counter(m.sender for m in mail.invalid)
    top = tuple(
        SenderCount(sender=sender, count=n) for sender, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    )
    shown, more = top[:SENDERS_SHOWN], len(top) - SENDERS_SHOWN
    who = "1 sender gets" if len(top) == 1 else f"{len(top)} senders get"
    rest = f"{mail.total - len(mail.invalid)} of {mail.total} stay queued."
    return PlanStep(
        kind=StepKind.REJECT_INVALID,
        title=f"Reject {messages_of(mail.invalid)} to {recipients_of(mail.invalid, 'invalid recipient')}",
        effect=f"{who} a bounce (5.1.10). {rest}",
        count=len(mail.invalid),
        irreversible="A rejected message doesn't come back: its sender has to send it again.",
        refs=tuple((m.key, m.recipient) for m in mail.invalid),
        senders=shown,
        more_senders=max(more, 0),
    )


def _domain_step(domains: tuple[str, ...], mail: Mail, rejects: bool) -> PlanStep:
    hit = [m for m in mail.invalid if domain_of(m.recipient) in domains]
    now = (
        f" At its next retry it rejects {messages_of(hit)} to {recipients_of(hit, 'invalid recipient')}."
        if hit and not rejects
        else ""
    )
    return PlanStep(
        kind=StepKind.DOMAIN_AUTHORITATIVE,
        title=f"Make {', '.join(domains)} Authoritative",
        effect=f"Internal Relay until now. Mail to addresses that the directory doesn't have is rejected then.{now}",
        count=len(domains),
        irreversible="Mail that is rejected meanwhile doesn't come back; the type itself can be set back.",
        domains=domains,
    )


def _connector_step(connector: Connector, mail: Mail) -> PlanStep:
    kept = (*mail.valid, *mail.unknown)
    first = min((m.expires_at for m in kept), default=None)
    due = f"; the first bounce is due at {first:%Y-%m-%d %H:%M} UTC" if first else ""
    where = ", ".join(connector.smart_hosts) or "its servers"
    count = len(kept) + mail.unseen
    return PlanStep(
        kind=StepKind.DISABLE_CONNECTOR,
        title=f"Disable the connector “{connector.name}”",
        effect=f"No more attempts to reach {where}. Still queued then: {plural(count, 'message')}{due}.",
        count=count,
    )
