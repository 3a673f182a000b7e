"""Whether an error is about one of our connectors, and how that one is doing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.services.destination import Fit, our_connector
from knowledge.diagnosis import Diagnosis
from storage import connectors, domains, incidents, messages, probes
from storage.connection import Store
from storage.records import (
    ConnectorFacts,
    ConnectorKind,
    DomainFacts,
    DomainType,
    MessageFacts,
    ProbeRecord,
    Severity,
)


def facts(name: str, **changes: Any) -> ConnectorFacts:
    made = ConnectorFacts(backend="files", key=name.casefold(), name=name, kind=ConnectorKind.ON_PREMISES)
    return replace(made, **changes)


async def known(store: Store, clock: Any, *every: ConnectorFacts) -> None:
    def work(db: Any) -> None:
        for one in every:
            connectors.sync(db, one.backend, [one], clock(), complete=False)

    await store.write(work)


async def found(store: Store, clock: Any, **error: Any) -> tuple[str, Fit] | None:
    ours = await store.read(lambda db: our_connector(db, Diagnosis(code="4.4.316", **error), clock()))
    return (ours.connector.name, ours.fit) if ours else None


WEST = facts("West", smart_hosts=("mail.west.test", "192.0.2.0/28"), recipient_domains=("west.test",))
EAST = facts("East", smart_hosts=("mail.east.test",), recipient_domains=("*.east.test",))
REST = facts("Rest", smart_hosts=("relay.test",), recipient_domains=("*",))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"smart_host": "MAIL.west.test."}, ("West", Fit.SERVER)),
        ({"ip": "192.0.2.7"}, ("West", Fit.SERVER)),
        ({"smart_host": "mail.west.test", "recipient": "a@shop.east.test"}, ("West", Fit.SERVER)),
        ({"smart_host": "elsewhere.test", "recipient": "a@shop.east.test"}, ("East", Fit.DOMAIN)),
        ({"recipient": "a@west.test"}, ("West", Fit.DOMAIN)),
        ({"recipient": "a@anything.test"}, ("Rest", Fit.DOMAIN)),
        ({"smart_host": "elsewhere.test"}, None),
        ({}, None),
    ],
)
async def test_the_server_decides_then_the_most_specific_domain(
    store: Store, clock: Any, error: dict[str, str], expected: tuple[str, Fit] | None
) -> None:
    await known(store, clock, WEST, EAST, REST)
    assert await found(store, clock, **error) == expected


async def test_connectors_that_share_a_server_are_told_apart_by_the_domain_or_not_at_all(
    store: Store, clock: Any
) -> None:
    await known(store, clock, WEST, facts("Twin", smart_hosts=("mail.west.test",), recipient_domains=("twin.test",)))
    assert await found(store, clock, smart_host="mail.west.test") is None
    assert await found(store, clock, smart_host="mail.west.test", recipient="a@twin.test") == ("Twin", Fit.SERVER)


async def test_two_mail_systems_that_fit_equally_give_no_answer(store: Store, clock: Any) -> None:
    await known(store, clock, WEST, replace(WEST, backend="other", name="West again"))
    assert await found(store, clock, smart_host="mail.west.test") is None
    assert await found(store, clock, recipient="a@west.test") is None


async def test_an_internal_relay_domain_belongs_to_the_connector_without_domains(store: Store, clock: Any) -> None:
    await known(store, clock, facts("Head office", smart_hosts=("hub.test",)))
    relay = DomainFacts(backend="files", name="contoso.test", type=DomainType.INTERNAL_RELAY)
    await store.write(lambda db: domains.sync(db, "files", [relay], clock(), complete=True))
    assert await found(store, clock, recipient="a@contoso.test") == ("Head office", Fit.DOMAIN)


async def test_the_connector_comes_with_its_live_state(store: Store, clock: Any, contoso: Any) -> None:
    waiting = MessageFacts(
        backend="files", key="m1", recipient="a@contoso.test", sender="s@x.test", received_at=clock(),
        expires_at=clock() + timedelta(hours=24), code="4.4.316",
    )  # fmt: skip
    probe = ProbeRecord(
        connector_id=contoso.id, at=clock(), ok=False, code="4.4.316", cause="refused", status=None, stage="connect",
        degraded=False, elapsed_ms=1, document="{}",
    )  # fmt: skip

    def work(db: Any) -> None:
        messages.sync(db, "files", [(waiting, contoso.id)], clock(), complete=False)
        probes.record(db, probe)
        for code in ("4.4.316", "warning:certificate"):
            incidents.insert(
                db, connector_id=contoso.id, code=code, severity=Severity.WARNING, now=clock(),
                first_failure_at=clock(), channel="C1",
            )  # fmt: skip

    await store.write(work)
    error = Diagnosis(code="4.4.316", smart_host="mail.contoso.test")
    ours = await store.read(lambda db: our_connector(db, error, clock()))
    assert ours is not None
    assert ours.view.queue.total == 1
    assert [i.code for i in ours.view.incidents] == ["4.4.316"]
    assert [w.code for w in ours.view.warnings] == ["warning:certificate"]
    assert ours.view.probe is not None
    assert ours.view.probe.code == "4.4.316"
