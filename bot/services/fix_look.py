"""What Fix now looks at: the whole situation for an offer, and just the plan's own facts right before it acts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.backends.ports import Backend, MessageRef
from bot.core.capabilities import Capability
from bot.core.fix_plan import Plan, Ref, changes, connector_facts
from bot.core.fix_situation import Situation
from bot.services.fix_steps import DisableConnector, MakeAuthoritative, RejectInvalid, RetryQueue, Work, ask
from knowledge.articles import articles
from storage import actions, connectors, domains, fix_facts, incidents, messages, probes, syncs
from storage.connection import Store
from storage.records import (
    Action,
    Connector,
    ConnectorFacts,
    DomainFacts,
    DomainType,
    Incident,
    MessageFacts,
    ProbeRecord,
    QueuedMessage,
    StepKind,
)

HOUR = timedelta(hours=1)
MOST_DOMAINS = 20
MOST_PAST = 100
"""For so many recipients of earlier mail the directory is asked before their domain is changed, the latest first."""
MOST_MESSAGES = 5000
"""So many waiting messages are looked at one by one, the oldest first; the rest is counted, and said to be unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What storage says about an incident. `unseen`: how many more messages wait than are listed."""

    incident: Incident
    connector: Connector
    others: tuple[ConnectorFacts, ...]
    domains: tuple[DomainFacts, ...]
    waiting: tuple[QueuedMessage, ...]
    unseen: int
    mixed: frozenset[str]
    probe: ProbeRecord | None
    begun_lately: int
    queue_read_at: datetime | None
    running: Action | None
    latest: Action | None


MailExchangers = Callable[[str], Awaitable[Sequence[str] | None]]
"""The mail exchangers of a domain by DNS; none where it has none. None: DNS doesn't tell."""


async def no_mail_exchangers(_domain: str) -> Sequence[str]:
    """Where nobody asks DNS."""
    return ()


def known(db: Database, incident_id: int, now: datetime) -> Known | str:
    """Read it in one snapshot; the text says why there is nothing to read."""
    incident = incidents.get(db, incident_id)
    if incident is None:
        return f"There is no incident #{incident_id}."
    connector = connectors.get(db, incident.connector_id) if incident.connector_id is not None else None
    if connector is None:
        return f"#{incident_id} belongs to no connector: there is none to fix."
    every = [c for c in connectors.every(db) if c.backend == connector.backend and c.id != connector.id]
    waiting, unseen = waiting_at(db, connector.id)
    keys = [m.key for m in waiting]
    return Known(
        incident=incident,
        connector=connector,
        others=tuple(every),
        domains=tuple(domains.every(db, connector.backend)),
        waiting=waiting,
        unseen=unseen,
        mixed=fix_facts.waiting_elsewhere(db, connector.backend, connector.id, keys),
        probe=next(iter(probes.recent(db, connector.id, 1)), None),
        begun_lately=actions.begun_since(db, now - HOUR),
        queue_read_at=syncs.last_success(db, connector.backend),
        running=actions.running_at(db, connector.id),
        latest=actions.latest_for_incident(db, incident_id),
    )


def waiting_at(db: Database, connector_id: int) -> tuple[tuple[QueuedMessage, ...], int]:
    """The messages that are looked at one by one, and how many more wait."""
    listed = tuple(messages.waiting(db, connector_id, limit=MOST_MESSAGES))
    return listed, messages.summary(db, connector_id).total - len(listed)


async def situation(
    facts: Known, backend: Backend | None, store: Store, mail_exchangers: MailExchangers = no_mail_exchangers
) -> Situation:
    """Storage's view, made fresh from the mail system as far as that can be read. Raises BackendError."""
    article = articles().get(facts.incident.code)
    base = Situation(
        incident=facts.incident,
        connector=facts.connector,
        seen=facts.connector,
        others=facts.others,
        domains=facts.domains,
        waiting=facts.waiting,
        unseen=facts.unseen,
        mixed=facts.mixed,
        rule=article.fix_now if article else None,
        probe=facts.probe,
        queue_read_at=facts.queue_read_at,
        fix_running=facts.running is not None,
        begun_lately=facts.begun_lately,
    )
    if backend is None:
        return base
    base = replace(base, capabilities=backend.capabilities, place=backend.place)
    base = replace(base, delivered_before=await _reached_before(base, store))
    base = await _as_the_system_has_it(base, facts, backend)
    return replace(base, mail_exchangers=await _mail_exchangers(base, mail_exchangers))


async def _reached_before(base: Situation, store: Store) -> frozenset[str]:
    """Those among the waiting, and lately any in a domain that may be changed."""
    number, waiting = base.connector.id, {m.recipient.lower() for m in base.waiting}
    relays = {d.name for d in base.domains if d.type is DomainType.INTERNAL_RELAY}
    may_change = Capability.SET_DOMAIN_TYPE in base.capabilities
    return await store.read(
        lambda db: (
            fix_facts.delivered_to(db, number, waiting)
            | (fix_facts.reached_lately(db, number, relays, MOST_PAST) if may_change else frozenset())
        )
    )


async def _as_the_system_has_it(base: Situation, facts: Known, backend: Backend) -> Situation:
    can = backend.capabilities
    if Capability.READ_CONNECTORS in can:
        base = replace(base, seen=await ask(backend.connector(facts.connector.key)))
    if Capability.READ_DOMAINS in can:
        base = replace(base, domains=await _fresh_domains(backend, facts))
    if Capability.READ_QUEUE in can:
        refs = [MessageRef(key=m.key, recipient=m.recipient) for m in facts.waiting]
        base = replace(base, waiting=tuple(await ask(backend.messages(refs))) if refs else ())
    addresses = {m.recipient.lower() for m in base.waiting} | base.delivered_before
    if Capability.READ_RECIPIENTS in can and addresses:
        answer = await ask(backend.recipients(addresses))
        base = replace(base, valid=answer.valid, invalid=answer.invalid, directory_at=answer.true_at)
    return base


async def _mail_exchangers(base: Situation, ask_dns: MailExchangers) -> dict[str, Sequence[str] | None]:
    """Of the relay domains that this connector names: where their mail would go without it."""
    if Capability.REJECTS_AT_RETRY not in base.capabilities:
        return {}
    named = {pattern.lower().removeprefix("*.") for pattern in base.connector.recipient_domains}
    relays = [d.name for d in base.domains if d.type is DomainType.INTERNAL_RELAY and d.name in named]
    found = await asyncio.gather(*(ask_dns(name) for name in relays[:MOST_DOMAINS]))
    return dict(zip(relays, found, strict=False))


async def _fresh_domains(backend: Backend, facts: Known) -> tuple[DomainFacts, ...]:
    """All domains as stored; those that the plan may touch as they are now."""
    touched = {name.lower().removeprefix("*.") for name in facts.connector.recipient_domains}
    touched |= {m.recipient.rpartition("@")[2].lower() for m in facts.waiting}
    fresh: list[DomainFacts] = []
    for domain in facts.domains:
        concerned = domain.name in touched or any(domain.name.endswith(f".{name}") for name in touched)
        now = await ask(backend.domain(domain.name)) if concerned else domain
        fresh += [now] if now else []
    return tuple(fresh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The plan still holds: what to do, in order."""

    works: tuple[Work, ...]


Reconsider = Callable[[], Awaitable[frozenset[Ref] | str]]
"""Which (message, recipient) may be rejected by now, or what speaks against the whole by now."""


async def look_again(plan: Plan, chosen: Collection[StepKind], backend: Backend, reconsider: Reconsider) -> Ready | str:
    """Read the connector, its domains, the messages and the directory now; the text says what speaks against it.

    Raises BackendError.
    """
    connector = await ask(backend.connector(plan.connector_key))
    names = [name for step in plan.steps for name in step.domains]
    found = [await ask(backend.domain(name)) for name in names]
    fresh = [domain for domain in found if domain]
    if changed := changes(plan, connector, fresh):
        return f"it changed since the offer: {'; '.join(changed)}"
    assert connector is not None
    still = frozenset[Ref]() if StepKind.RETRY_QUEUE in chosen else await reconsider()
    if isinstance(still, str):
        return still.removesuffix(".")
    works: list[Work] = []
    step = plan.step(StepKind.REJECT_INVALID)
    if step is not None and StepKind.REJECT_INVALID in chosen:
        works.append(RejectInvalid(backend, [ref for ref in step.refs if ref in still]))
    retry = plan.step(StepKind.RETRY_QUEUE)
    if retry is not None and StepKind.RETRY_QUEUE in chosen:
        works.append(RetryQueue(backend, plan.connector_key, retry.refs))
    works += _settings(plan, chosen, backend, connector, fresh)
    return Ready(works=tuple(works))


def _settings(
    plan: Plan, chosen: Collection[StepKind], backend: Backend, connector: ConnectorFacts, fresh: Sequence[DomainFacts]
) -> Iterable[Work]:
    step = plan.step(StepKind.DOMAIN_AUTHORITATIVE)
    if step is not None and StepKind.DOMAIN_AUTHORITATIVE in chosen:
        yield MakeAuthoritative(backend, {d.name: str(d.type) for d in fresh if d.name in step.domains})
    if StepKind.DISABLE_CONNECTOR in chosen:
        yield DisableConnector(backend, plan.connector_key, dict(connector_facts(connector)))


def still_waiting(rows: Iterable[MessageFacts]) -> tuple[MessageFacts, ...]:
    """Those that wait, the first to bounce first."""
    return tuple(sorted((m for m in rows if m.status == "queued"), key=lambda m: (m.expires_at, m.key, m.recipient)))
