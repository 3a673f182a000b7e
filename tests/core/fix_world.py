"""The situation that the tests of fix plans start from: one dead on-premises connector with four waiting messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.core.capabilities import Capability
from bot.core.fix_plan import Plan
from bot.core.fix_planning import make_plan
from bot.core.fix_situation import Situation
from bot.core.policy import Policy
from storage.records import (
    Connector,
    ConnectorFacts,
    ConnectorKind,
    DomainFacts,
    DomainType,
    Incident,
    IncidentState,
    MessageFacts,
    MessageStatus,
    Severity,
    StepKind,
)

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
ON = Policy(actions_on=True)
REJECT, DOMAIN, CONNECTOR = StepKind.REJECT_INVALID, StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR
RETRY = StepKind.RETRY_QUEUE
ALL = frozenset(Capability) - {Capability.REJECTS_AT_RETRY}


@dataclass(frozen=True)
class Rule:
    steps: tuple[str, ...] = ("reject_invalid", "domain_authoritative", "disable_connector")
    kinds: tuple[str, ...] = ("on_premises",)


INCIDENT = Incident(
    id=12,
    connector_id=1,
    code="4.4.316",
    state=IncidentState.FIRING,
    severity=Severity.WARNING,
    opened_at=NOW,
    updated_at=NOW,
    first_failure_at=NOW,
    channel="C1",
)
SITE = Connector(
    id=1,
    backend="lab",
    key="k1",
    name="To on-prem",
    kind=ConnectorKind.ON_PREMISES,
    smart_hosts=("mail.onprem.test",),
    recipient_domains=("onprem.test",),
    next_probe_at=NOW,
    changed_at=NOW,
)
RELAY = DomainFacts(backend="lab", name="onprem.test", type=DomainType.INTERNAL_RELAY)


def mail(key: str, recipient: str, sender: str = "one@contoso.test", **more: Any) -> MessageFacts:
    return MessageFacts(
        backend="lab",
        key=key,
        recipient=recipient,
        sender=sender,
        received_at=NOW - timedelta(hours=5),
        expires_at=NOW + timedelta(hours=19),
        **more,
    )


WAITING = (
    mail("m1", "valid@onprem.test"),
    mail("m1", "Gone@onprem.test"),
    mail("m2", "gone@onprem.test"),
    mail("m3", "left@onprem.test", "two@contoso.test"),
    mail("m4", "out@onprem.test", status=MessageStatus.DELIVERED),
)
BASE = Situation(
    incident=INCIDENT,
    connector=SITE,
    seen=SITE,
    domains=(RELAY,),
    waiting=WAITING,
    valid=frozenset({"valid@onprem.test"}),
    invalid=frozenset({"gone@onprem.test", "left@onprem.test"}),
    capabilities=ALL,
    rule=Rule(),
    queue_read_at=NOW - timedelta(minutes=1),
)


def plan(situation: Situation = BASE, policy: Policy = ON) -> Plan:
    made = make_plan(situation, policy, NOW)
    assert isinstance(made, Plan), made
    return made


def kinds(found: Plan) -> list[StepKind]:
    return [step.kind for step in found.steps]


def connector(**more: Any) -> Any:
    return replace(SITE, **more)


def facts(**more: Any) -> ConnectorFacts:
    values = {name: getattr(SITE, name) for name in ConnectorFacts.__slots__}
    return ConnectorFacts(**{**values, **more})
