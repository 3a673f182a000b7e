"""How given messages stand now: by id where they are few, by listings where they are many."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.backends.exchange_online.http import Throttled
from bot.backends.ports import BackendError, MessageRef
from bot.sandbox.exchange_online import Kind, SandboxTenant, TenantFault
from bot.sandbox.mail_system import MailSystem
from storage.records import MessageStatus
from tests.backends.exchange_online.bench import START, Clock, defer, deliver
from tests.backends.exchange_online.conftest import Make


def all_refs(mail: MailSystem) -> list[MessageRef]:
    return [MessageRef(key=entry.message.key, recipient=entry.recipient) for entry in mail.tenant.entries.values()]


def many(mail: MailSystem, count: int) -> list[MessageRef]:
    refs = []
    for number in range(count):
        to = f"r{number}@onprem.test"
        key = mail.tenant.submit("ann@contoso.test", [to], now=START, received_at=START - timedelta(hours=3))
        defer(mail, (key, to), START)
        refs.append(MessageRef(key=key, recipient=to.upper()))
    return refs


async def test_few_are_asked_for_by_id(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant, clock: Clock
) -> None:
    refs = all_refs(mail)
    deliver(mail, (refs[0].key, refs[0].recipient), clock())
    mail.tenant.reject([(refs[1].key, refs[1].recipient)], "550 5.1.10 RESOLVER.ADR.RecipientNotFound", clock())
    found = {m.recipient: m for m in await backend.messages(refs)}
    assert [found[ref.recipient].status for ref in refs] == [
        MessageStatus.DELIVERED,
        MessageStatus.REJECTED,
        MessageStatus.QUEUED,
        MessageStatus.QUEUED,
    ]
    assert "5.1.10" in (found[refs[1].recipient].reason or "")
    assert tenant.faults.seen[Kind.TRACE] == 4


async def test_an_expired_one_is_told_by_its_details(
    backend: ExchangeOnlineBackend, mail: MailSystem, clock: Clock
) -> None:
    refs = all_refs(mail)
    clock.now = START + timedelta(hours=24)
    mail.tenant.sweep(clock())
    assert {m.status for m in await backend.messages(refs)} == {MessageStatus.EXPIRED}


async def test_many_are_found_by_listings(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant, clock: Clock
) -> None:
    refs = many(mail, 300)
    for ref in refs[:100]:
        deliver(mail, (ref.key, ref.recipient.lower()), clock())
    mail.tenant.reject([(r.key, r.recipient.lower()) for r in refs[100:150]], "550 5.1.10 not found", clock())
    found = await backend.messages(refs)
    assert Counter(m.status for m in found) == {
        MessageStatus.DELIVERED: 100,
        MessageStatus.REJECTED: 50,
        MessageStatus.QUEUED: 150,
    }
    assert tenant.faults.seen[Kind.TRACE] == 3


async def test_of_many_those_whose_status_is_being_looked_up_still_wait(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant
) -> None:
    refs = many(mail, 30)
    for ref in refs[:20]:
        tenant.trace.show_as((ref.key, ref.recipient.lower()), "gettingStatus")
    assert Counter(m.status for m in await backend.messages(refs)) == {MessageStatus.QUEUED: 30}
    assert tenant.faults.seen[Kind.DETAIL] <= 5


async def test_nobody_knows_some_and_they_are_absent(backend: ExchangeOnlineBackend, mail: MailSystem) -> None:
    refs = many(mail, 20)
    strangers = [MessageRef(key="no id", recipient="x@onprem.test"), MessageRef(key="0" * 32, recipient="x@y.test")]
    assert await backend.messages([]) == []
    assert await backend.messages(strangers) == []
    assert len(await backend.messages([*refs, *strangers])) == 20


async def test_what_the_trace_shows_as_something_else_has_ended(
    make: Make, mail: MailSystem, tenant: SandboxTenant
) -> None:
    refs = all_refs(mail)
    for ref, status in zip(refs, ("quarantined", "recalled", "filteredAsSpam", "gettingStatus"), strict=True):
        tenant.trace.show_as((ref.key, ref.recipient), status)
    found = {m.recipient: m.status for m in await make().messages(refs)}
    assert [found[ref.recipient] for ref in refs] == [
        MessageStatus.GONE,
        MessageStatus.GONE,
        MessageStatus.DELIVERED,
        MessageStatus.QUEUED,
    ]


async def test_a_trace_that_cannot_be_read_is_an_error_not_an_ending(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant
) -> None:
    tenant.faults.set(TenantFault.SERVER_ERROR, on=Kind.TRACE)
    with pytest.raises(BackendError):
        await backend.messages(all_refs(mail))


async def test_after_a_read_only_the_time_in_which_they_came_in_is_looked_at(
    backend: ExchangeOnlineBackend, mail: MailSystem
) -> None:
    refs = many(mail, 30)
    await backend.snapshot()
    assert len(await backend.messages(refs)) == 30


async def test_where_one_question_fails_no_other_is_left_behind(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant
) -> None:
    tenant.throttle.limit = 3
    with pytest.raises(Throttled):
        await backend.messages(many(mail, 10))
    assert not [task for task in asyncio.all_tasks() if "GraphTrace.listing" in repr(task.get_coro())]
