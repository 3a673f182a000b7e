"""100,000 waiting messages over 40 connectors, with the service at its worst: whole, once each, within the budget."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.sandbox.exchange_online import Kind, SandboxTenant, TenantFault
from bot.sandbox.mail_system import MailSystem, TenantConnector, TenantDomain
from storage.records import MessageStatus
from tests.backends.exchange_online.bench import START, Clock, defer

MESSAGES = 100_000
CONNECTORS = 40


@pytest.fixture
async def mail(clock: Clock) -> AsyncIterator[MailSystem]:
    async with MailSystem(clock=clock, tick=None, timeout=1.0) as mail:
        for number in range(CONNECTORS):
            mail.tenant.add_connector(
                TenantConnector(
                    key=str(uuid.UUID(int=number + 1)),
                    name=f"Site {number}",
                    smart_hosts=(f"mx.site{number}.test",),
                    recipient_domains=(f"site{number}.test",),
                )
            )
            mail.tenant.add_domain(TenantDomain(name=f"site{number}.test"))
        for number in range(MESSAGES // 2):
            to = [f"r{number}{side}@site{number % CONNECTORS}.test" for side in "ab"]
            at = START - timedelta(hours=1, seconds=number % 36_000)
            key = mail.tenant.submit("ann@contoso.test", to, now=START, received_at=at)
            for one in to:
                defer(mail, (key, one), START)
        yield mail


async def test_a_huge_queue_is_read_whole_and_once_within_the_budget_while_the_service_misbehaves(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant, mail: MailSystem, clock: Clock
) -> None:
    expected = Counter((entry.message.key, entry.recipient) for entry in mail.tenant.queued())
    faults = tenant.faults
    faults.set(TenantFault.THROTTLED, on=Kind.TRACE_PAGE, times=1, skip=3)
    faults.set(TenantFault.SERVER_ERROR, on=Kind.TRACE_PAGE, times=1, skip=5)
    faults.set(TenantFault.NUL_BODY, on=Kind.TRACE_PAGE, times=1, skip=7)
    faults.set(TenantFault.DUPLICATE_ROWS, on=Kind.TRACE_PAGE, times=3, skip=2)
    faults.set(TenantFault.MOVED_ROW, on=Kind.TRACE_PAGE, times=2, skip=4)
    faults.set(TenantFault.SHORT_PAGE, on=Kind.TRACE_PAGE, times=1, skip=9)
    faults.set(TenantFault.TOO_MANY_AT_ONCE, on="Get-OutboundConnector", times=1)

    snapshot = await backend.snapshot()

    found = Counter((m.key.replace("-", ""), m.recipient) for m in snapshot.messages or ())
    assert found == expected
    assert max(found.values()) == 1
    assert all(m.status is MessageStatus.QUEUED for m in snapshot.messages or ())
    assert len(snapshot.connectors or ()) == CONNECTORS
    requests = sum(faults.seen[kind] for kind in (Kind.TRACE, Kind.TRACE_PAGE, Kind.DETAIL))
    assert requests <= 60
    assert any(m.code == "4.4.316" and m.reason for m in snapshot.messages or ())

    sent = [requests]
    for _ in range(7):
        clock.forward(seconds=60)
        last = await backend.snapshot()
        sent.append(sum(faults.seen[kind] for kind in (Kind.TRACE, Kind.TRACE_PAGE, Kind.DETAIL)))
        assert len(last.messages or ()) == MESSAGES
    assert all(later - sooner <= 60 for sooner, later in zip(sent, sent[5:], strict=False))
    assert last.true_at is None or last.true_at > START + timedelta(minutes=5)
    assert {m.code for m in last.messages or ()} == {"4.4.316"}
