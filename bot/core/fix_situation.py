"""All that a fix plan is made of, read freshly, and what the article of the incident's code allows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from bot.core.capabilities import Capability, Family, Place
from storage.records import Connector, ConnectorFacts, DomainFacts, Incident, MessageFacts, ProbeRecord, StepKind

NEEDS: Mapping[StepKind, frozenset[Capability]] = {
    StepKind.REJECT_INVALID: frozenset({Capability.REJECT_MESSAGES, Capability.READ_QUEUE, Capability.READ_RECIPIENTS}),
    StepKind.DOMAIN_AUTHORITATIVE: frozenset({Capability.SET_DOMAIN_TYPE, Capability.READ_DOMAINS}),
    StepKind.DISABLE_CONNECTOR: frozenset({Capability.SET_CONNECTOR_ENABLED, Capability.READ_CONNECTORS}),
    StepKind.RETRY_QUEUE: frozenset({Capability.RETRY_QUEUE, Capability.READ_QUEUE}),
}
"""What a mail system must be able to do before a step can be left to it."""


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
    """`seen`: the connector as its mail system shows it now (None: it is gone).

    `unseen`: so many messages wait besides `waiting`, which nobody looked at one by one. `mixed`: keys of messages of
    which another recipient waits at another connector. `delivered_before`: addresses that got mail through this
    connector, whatever the directory says; it was asked for them, too. `directory_at`: of when the directory's answer
    is (None: of now). `mail_exchangers`: of each relay domain (None: DNS does not tell). `begun_lately`: fixes within
    the last hour.
    """

    incident: Incident
    connector: Connector
    seen: ConnectorFacts | None
    others: Sequence[ConnectorFacts] = ()
    domains: Sequence[DomainFacts] = ()
    waiting: Sequence[MessageFacts] = ()
    unseen: int = 0
    mixed: frozenset[str] = frozenset()
    valid: frozenset[str] = frozenset()
    invalid: frozenset[str] = frozenset()
    delivered_before: frozenset[str] = frozenset()
    directory_at: datetime | None = None
    mail_exchangers: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    capabilities: frozenset[Capability] = frozenset()
    place: Place = field(default_factory=Place)
    rule: Rule | None = None
    probe: ProbeRecord | None = None
    queue_read_at: datetime | None = None
    fix_running: bool = False
    begun_lately: int = 0

    @property
    def family(self) -> Family:
        """Which kind of mail system it is."""
        return self.place.family

    def can(self, kind: StepKind) -> bool:
        """Can the mail system do this step?"""
        return NEEDS[kind] <= self.capabilities
