"""Works out what Fix now would do before anything is touched: a plan in numbers, or one sentence why not.

Pure. `make_plan` looks at one Situation, read freshly. Never in a plan: a valid or unknown recipient, a partner's
connector, a domain that matches sub-domains or that another enabled connector carries, anything that rests on a
partial directory answer or on stale facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bot.core.by_hand import instructions
from bot.core.capabilities import Capability
from bot.core.fix_guards import OF_A_CLAIM, OF_A_FIX, OF_A_RETRY, Case, looping_domains, refusal_of, why_not
from bot.core.fix_mail import Mail, domain_of, mail_notes, messages_of, plural, recipients_of, sort_mail
from bot.core.fix_plan import NoPlan, Plan, PlanStep, Ref, RefusedStep, SenderCount, connector_facts, domain_facts
from bot.core.fix_situation import Situation
from bot.core.fix_words import connector_words, domain_words, subdomains_note
from bot.core.forecast import plain_span
from bot.core.policy import Policy
from storage.records import DomainType, MessageFacts, StepKind

SENDERS_SHOWN = 5


def make_plan(situation: Situation, policy: Policy, now: datetime) -> Plan | NoPlan:
    """1. The guards: each may refuse. 2. Sort the waiting mail. 3. Steps that the rule allows and that still matter;
    each may be refused by a guard of its own. 4. What the backend can't or may not do is put into words for people.
    """
    if refusal := why_not(situation, policy, now, guards=OF_A_FIX):
        return NoPlan(refusal)
    mail, wanted, found, notes = _considered(situation, policy, now)
    refused = tuple(found.values())
    sound = [step for step in wanted if step.kind not in found]
    if not sound and not refused:
        name = situation.connector.name
        return NoPlan(f"Nothing is left to do at “{name}”: it is off, and no mail to invalid recipients waits there.")
    possible = tuple(step for step in sound if situation.can(step.kind))
    by_hand = [step for step in sound if not policy.actions_on or not _is_done(step, possible)]
    return _plan(
        situation,
        mail,
        steps=possible,
        dry_run=not policy.actions_on,
        refused=refused,
        by_hand=instructions(situation.place, situation.seen or situation.connector, by_hand),
        notes=(*mail_notes(mail), *notes),
    )


def reconsider(
    situation: Situation, chosen: Collection[StepKind], policy: Policy, now: datetime
) -> frozenset[Ref] | str:
    """Asked right before steps are done that were offered a while ago: which (message, recipient) may still be
    rejected, or what by now speaks against one of the steps.
    """
    if refusal := why_not(situation, policy, now, guards=OF_A_CLAIM):
        return refusal
    mail, _, found, _ = _considered(situation, policy, now)
    refused = next((found[kind] for kind in chosen if kind in found), None)
    if refused is not None:
        return f"“{refused.title}” is refused by now. {refused.why} {refused.way_out}"
    return frozenset((m.key, m.recipient) for m in mail.invalid)


def _considered(
    situation: Situation, policy: Policy, now: datetime
) -> tuple[Mail, list[PlanStep], dict[StepKind, RefusedStep], tuple[str, ...]]:
    """(the mail as it is sorted, the steps that matter, those of them that are refused, notes)."""
    assert situation.rule is not None, "the guards of a fix saw to that"
    whole = Capability.REJECT_SINGLE_RECIPIENTS not in situation.capabilities
    mail = sort_mail(
        situation.waiting,
        situation.domains,
        valid=situation.valid,
        invalid=situation.invalid,
        delivered_before=situation.delivered_before,
        mixed=situation.mixed,
        whole_messages=whole and situation.can(StepKind.REJECT_INVALID),
        unseen=situation.unseen,
    )
    domains, notes = _domains_to_change(situation)
    wanted = [s for s in _steps(situation, mail, domains, policy) if s.kind in situation.rule.steps]
    case = Case(situation=situation, mail=mail, policy=policy, now=now, domains=domains)
    found: dict[StepKind, RefusedStep] = {}
    for step in wanted:
        if refused := refusal_of(step.kind, step.title, case) or _in_vain(step, found):
            found[step.kind] = refused
    return mail, wanted, found, notes


def _in_vain(step: PlanStep, found: Mapping[StepKind, RefusedStep]) -> RefusedStep | None:
    """A step that needs a refused one is refused with it."""
    lacking = next((found[kind] for kind in step.needs if kind in found), None)
    if lacking is None:
        return None
    why = f"It needs “{lacking.title}” first, or mail could loop, and that is not offered."
    return RefusedStep(kind=step.kind, title=step.title, why=why, way_out=lacking.way_out)


def _is_done(step: PlanStep, possible: Collection[PlanStep]) -> bool:
    """Is this step offered, or does another one bring it about?"""
    comes_later = any(other.kind is StepKind.DOMAIN_AUTHORITATIVE and other.refs for other in possible)
    return step in possible or (step.kind is StepKind.REJECT_INVALID and comes_later)


def make_retry(situation: Situation, policy: Policy, now: datetime) -> Plan | NoPlan:
    """Try what waits again now: safe wherever the cause is gone, whatever the code was."""
    if refusal := why_not(situation, policy, now, guards=OF_A_RETRY):
        return NoPlan(refusal)
    name = situation.connector.name
    if not situation.can(StepKind.RETRY_QUEUE):
        return NoPlan(f"The mail system of “{name}” retries by itself only: nobody can make it try earlier.")
    mail = sort_mail(situation.waiting, situation.domains, valid=frozenset(), invalid=frozenset())
    waiting = len(mail.every) + situation.unseen
    if not waiting:
        return NoPlan(f"Nothing waits at “{name}”.")
    if not situation.connector.enabled:
        return NoPlan(f"“{name}” is disabled: enable it first.")
    if situation.probe is None or not situation.probe.ok or situation.probe.nothing_probed:
        return NoPlan(f"Our last probe of “{name}” failed, so a retry would fail, too: re-probe when it is repaired.")
    step = PlanStep(
        kind=StepKind.RETRY_QUEUE,
        title=f"Try {plural(waiting, 'waiting message')} again now",
        effect=f"The mail system connects to {', '.join(situation.connector.smart_hosts) or 'the next hop'} at once.",
        count=waiting,
        refs=tuple((m.key, m.recipient) for m in mail.every),
        proof=f"Looked at again after {plain_span(policy.retry_verify_after)}: how much of it has left.",
    )
    return _plan(situation, replace(mail, unseen=situation.unseen), steps=(step,), dry_run=not policy.actions_on)


def _plan(
    situation: Situation,
    mail: Mail,
    *,
    steps: tuple[PlanStep, ...],
    dry_run: bool,
    refused: tuple[RefusedStep, ...] = (),
    by_hand: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Plan:
    names = [name for step in steps for name in step.domains]
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
        invalid_recipients=len({m.recipient.lower() for m in (*mail.invalid, *mail.shared)}),
        steps=steps,
        by_hand=by_hand,
        notes=notes,
        watched=(
            *connector_facts(situation.seen or situation.connector),
            *domain_facts(situation.domains, names),
        ),
        unseen=mail.unseen,
        refused=refused,
        slow=Capability.REJECTS_AT_RETRY in situation.capabilities,
    )


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
            notes.append(subdomains_note(situation.family, domain.name))
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


def _steps(situation: Situation, mail: Mail, domains: tuple[str, ...], policy: Policy) -> Iterable[PlanStep]:
    """In the order in which they run: reject, then the domain, then the connector."""
    if mail.invalid or mail.unanswered:
        yield _reject_step(mail)
    if domains:
        yield _domain_step(domains, mail, situation, policy)
    if situation.connector.enabled:
        yield _connector_step(situation, mail, domains)


def _reject_step(mail: Mail) -> PlanStep:
    shown, more = _top_senders(mail.invalid)
    number = len(shown) + more
    who = "1 sender gets" if number == 1 else f"{number} senders get"
    rest = f"{mail.total - len(mail.invalid)} of {mail.total} stay queued."
    return PlanStep(
        kind=StepKind.REJECT_INVALID,
        title=f"Reject {messages_of(mail.invalid)} to {recipients_of(mail.invalid, 'invalid recipient')}"
        if mail.invalid
        else "Reject messages to invalid recipients",
        effect=f"{who} a bounce. {rest}",
        count=len(mail.invalid),
        irreversible="A rejected message doesn't come back: its sender has to send it again.",
        refs=tuple((m.key, m.recipient) for m in mail.invalid),
        senders=shown,
        more_senders=more,
        proof="Each of these messages is looked up: it has to have ended with a bounce.",
    )


def _domain_step(domains: tuple[str, ...], mail: Mail, situation: Situation, policy: Policy) -> PlanStep:
    """Where nobody can reject what waits, it is the mail system that does, later: these messages are followed."""
    later = not situation.can(StepKind.REJECT_INVALID) and Capability.REJECTS_AT_RETRY in situation.capabilities
    hit = [m for m in mail.invalid if domain_of(m.recipient) in domains] if later else []
    now = f" At its next retry it rejects {messages_of(hit)} to {recipients_of(hit, 'invalid recipient')}."
    senders, more = _top_senders(hit)
    words = domain_words(situation.family, ", ".join(domains))
    return PlanStep(
        kind=StepKind.DOMAIN_AUTHORITATIVE,
        title=words.title,
        effect=words.effect + (now if hit else ""),
        count=len(domains),
        irreversible=words.irreversible,
        refs=tuple((m.key, m.recipient) for m in hit),
        domains=domains,
        senders=senders,
        more_senders=more,
        proof=f"Read back after {plain_span(policy.verify_after)}"
        + (", and each of these messages is followed until it has ended." if hit else "."),
    )


def _connector_step(situation: Situation, mail: Mail, domains: tuple[str, ...]) -> PlanStep:
    connector = situation.connector
    loops = set(looping_domains(situation)) & set(domains)
    kept = (*mail.valid, *mail.unknown)
    first = min((m.expires_at for m in kept), default=None)
    due = f"; the first bounce is due at {first:%Y-%m-%d %H:%M} UTC" if first else ""
    where = ", ".join(connector.smart_hosts) or "its servers"
    count = len(kept) + mail.unseen
    words = connector_words(situation.family, connector.name, where, f"{plural(count, 'message')}{due}")
    return PlanStep(
        kind=StepKind.DISABLE_CONNECTOR,
        title=words.title,
        effect=words.effect,
        count=count,
        proof="Read back; the connector is no longer probed, and the incident ends as retired.",
        needs=(StepKind.DOMAIN_AUTHORITATIVE,) if loops else (),
    )


def _top_senders(mail: Sequence[MessageFacts]) -> tuple[tuple[SenderCount, ...], int]:
    """Who gets the most bounces, and how many more get some."""
    counts = sorted(Counter(m.sender for m in mail).items(), key=lambda c: (-c[1], c[0]))
    shown = tuple(SenderCount(sender=sender, count=n) for sender, n in counts[:SENDERS_SHOWN])
    return shown, len(counts) - len(shown)
