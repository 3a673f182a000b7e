"""What Fix now offers: a plan in numbers, as it is shown, stored and later compared with the facts again.

Pure. `changes` tells at execution what of a plan no longer holds. Plans are made in fix_planning.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from storage.records import ConnectorFacts, DomainFacts, StepKind

Ref = tuple[str, str]
"""(message key, recipient)."""
REJECT_REASON = "the address isn't in the directory; rejected by an administrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderCount:
    """How many bounces one sender gets."""

    sender: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One thing to do. `count`: messages to reject, domains to change, or messages that a disabled connector holds.

    `senders`: the few who get the most bounces; `more_senders`: how many others get one.
    """

    kind: StepKind
    title: str
    effect: str
    count: int
    irreversible: str | None = None
    refs: tuple[Ref, ...] = ()
    domains: tuple[str, ...] = ()
    senders: tuple[SenderCount, ...] = ()
    more_senders: int = 0
    proof: str = ""
    """How it will be verified."""
    needs: tuple[StepKind, ...] = ()
    """Steps without which this one must not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedStep:
    """A step that was considered and isn't offered: why, and what to do about that."""

    kind: StepKind
    title: str
    why: str
    way_out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What Fix now offers for one incident. `watched`: the facts it rests on, named; `digest`: of exactly those.

    `waiting`: all that waits; `unseen`: how many of these were only counted, because there are too many.
    `by_hand`: how a person does what the bot can't or may not do. `notes`: what is deliberately left alone.
    `refused`: steps that something speaks against.
    """

    incident_id: int
    backend: str
    connector_key: str
    connector_name: str
    code: str
    dry_run: bool
    waiting: int
    valid_waiting: int
    unknown_waiting: int
    invalid_recipients: int
    steps: tuple[PlanStep, ...]
    by_hand: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    watched: tuple[tuple[str, str], ...] = ()
    unseen: int = 0
    refused: tuple[RefusedStep, ...] = ()
    slow: bool = False
    """Does a changed setting take half an hour or more until mail obeys it?"""

    @property
    def invalid_waiting(self) -> int:
        """Messages for addresses that the directory does not have."""
        return max(0, self.waiting - self.valid_waiting - self.unknown_waiting - self.unseen)

    @property
    def digest(self) -> str:
        """Changes exactly when a fact changes that the plan rests on."""
        return hashlib.sha256(json.dumps(self.watched).encode()).hexdigest()[:16]

    def step(self, kind: StepKind) -> PlanStep | None:
        """The step of this kind, if it is offered."""
        return next((step for step in self.steps if step.kind is kind), None)

    def accepts_name(self, typed: str) -> bool:
        """Is this the connector's name, as a person types it?"""
        return typed.strip().casefold() == self.connector_name.strip().casefold()

    def pick(self, kinds: Iterable[StepKind]) -> tuple[StepKind, ...] | None:
        """The chosen steps in the order in which they run; None if nothing, or something that isn't offered, was."""
        wanted = set(kinds)
        offered = tuple(step.kind for step in self.steps)
        return tuple(kind for kind in offered if kind in wanted) if wanted and wanted <= set(offered) else None

    def lacking(self, kinds: Iterable[StepKind]) -> PlanStep | None:
        """A step that a chosen one needs, and that isn't chosen."""
        wanted = set(kinds)
        needed = {need for step in self.steps if step.kind in wanted for need in step.needs}
        return next((step for step in self.steps if step.kind in needed - wanted), None)

    def to_json(self) -> str:
        """As it is stored with its action."""
        return json.dumps(_plain(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
        found: dict[str, Any] = json.loads(text)
        found["steps"] = tuple(_step(row) for row in found["steps"])
        found["watched"] = tuple((name, value) for name, value in found["watched"])
        found["by_hand"], found["notes"] = tuple(found["by_hand"]), tuple(found["notes"])
        found["refused"] = tuple(
            RefusedStep(**{**row, "kind": StepKind(row["kind"])}) for row in found.get("refused", ())
        )
        return cls(**found)


@dataclass(frozen=True, slots=True)
class NoPlan:
    """Why there is nothing to offer, in one sentence for the person who asked."""

    reason: str


def changes(plan: Plan, connector: ConnectorFacts | None, domains: Iterable[DomainFacts]) -> tuple[str, ...]:
    """Which facts the plan rests on are no longer so, in words; newly arrived mail is not a change."""
    if connector is None:
        return (f"the mail system no longer has the connector “{plan.connector_name}”",)
    planned = [name for step in plan.steps for name in step.domains]
    now = dict((*connector_facts(connector), *domain_facts(domains, planned)))
    return tuple(
        f"{name} was {then or 'empty'} and is {now.get(name, 'gone') or 'empty'} now"
        for name, then in plan.watched
        if now.get(name) != then
    )


def would_do(plan: Plan, chosen: Collection[StepKind]) -> tuple[str, ...]:
    """The chosen steps in words: title, effect, and who gets a bounce."""
    return tuple(f"{step.title}: {step.effect}{_bounces(step)}" for step in plan.steps if step.kind in chosen)


def _bounces(step: PlanStep) -> str:
    if not step.senders:
        return ""
    more = f" and {step.more_senders} more" if step.more_senders else ""
    return f" Bounces go to {', '.join(f'{one.sender} ({one.count})' for one in step.senders)}{more}."


def connector_facts(connector: ConnectorFacts) -> tuple[tuple[str, str], ...]:
    """What a plan watches about a connector, named for people."""
    return (
        ("name", connector.name),
        ("kind", connector.kind),
        ("enabled", "yes" if connector.enabled else "no"),
        ("MX routing", "yes" if connector.use_mx else "no"),
        ("smart hosts", ", ".join(connector.smart_hosts)),
        ("port", str(connector.port or "")),
        ("recipient domains", ", ".join(connector.recipient_domains)),
        ("TLS setting", connector.tls_setting),
        ("TLS domain", connector.tls_domain or ""),
    )


def domain_facts(domains: Iterable[DomainFacts], names: Collection[str]) -> tuple[tuple[str, str], ...]:
    """What a plan watches about the domains of these names."""
    return tuple(
        (f"domain {d.name}", f"{d.type}{' with sub-domains' if d.match_subdomains else ''}")
        for d in sorted(domains, key=lambda d: d.name)
        if d.name in names
    )


def _plain(plan: Plan) -> dict[str, Any]:
    shallow = {name: getattr(plan, name) for name in Plan.__slots__}
    refused = [{name: getattr(one, name) for name in RefusedStep.__slots__} for one in plan.refused]
    return {**shallow, "steps": [_plain_step(step) for step in plan.steps], "refused": refused}


def _plain_step(step: PlanStep) -> dict[str, Any]:
    shallow = {name: getattr(step, name) for name in PlanStep.__slots__}
    return {**shallow, "senders": [[one.sender, one.count] for one in step.senders]}


def _step(row: dict[str, Any]) -> PlanStep:
    row["kind"], row["domains"] = StepKind(row["kind"]), tuple(row["domains"])
    row["refs"] = tuple((key, recipient) for key, recipient in row["refs"])
    row["needs"] = tuple(StepKind(kind) for kind in row.get("needs", ()))
    row["senders"] = tuple(SenderCount(sender=sender, count=count) for sender, count in row["senders"])
    return PlanStep(**row)
