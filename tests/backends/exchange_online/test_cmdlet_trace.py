"""The message trace over cmdlets, for clouds without Graph's: the same queue, read in another way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.backends.ports import BackendError, MessageRef, Unreachable
from bot.sandbox.exchange_online import Kind, SandboxTenant, TenantFault
from bot.sandbox.mail_system import MailSystem
from storage.records import MessageStatus
from tests.backends.exchange_online.bench import START, Clock, defer, deliver
from tests.backends.exchange_online.conftest import Make


@pytest.fixture
def sovereign(make: Make, tenant: SandboxTenant) -> ExchangeOnlineBackend:
    """A client that takes the tenant for one of GCC High."""
    tenant._sign_in.resources["https://outlook.office365.us"] = "https://outlook.office365.com"
    return make(CLOUD="gcc_high")


async def test_the_queue_is_read_with_reasons_and_graph_is_not_asked(
    sovereign: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    snapshot = await sovereign.snapshot()
    assert len(snapshot.messages or ()) == 4
    assert {m.code for m in snapshot.messages or ()} == {"4.4.316"}
    assert tenant.faults.seen[Kind.TRACE] == tenant.faults.seen[Kind.DETAIL] == 0
    assert tenant.faults.seen["Get-MessageTraceV2"] == 2


async def test_truncated_answers_are_read_on_and_every_pair_counts_once(
    sovereign: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant
) -> None:
    for number in range(6000):
        at = START - timedelta(hours=1, seconds=number // 3)
        key = mail.tenant.submit("ann@contoso.test", [f"r{number}@onprem.test"], now=START, received_at=at)
        defer(mail, (key, f"r{number}@onprem.test"), START)
    tenant.faults.set(TenantFault.SHORT_PAGE, on="Get-MessageTraceV2", times=1)
    tenant.faults.set(TenantFault.DUPLICATE_ROWS, on="Get-MessageTraceV2", times=1)
    found = [(m.key, m.recipient) for m in (await sovereign.snapshot()).messages or ()]
    assert len(found) == len(set(found)) == 6004


async def test_an_answer_in_pages_is_read_on_after_the_last_one_where_an_earlier_one_says_that_there_is_more(
    sovereign: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(TenantFault.WARNED_PAGE, on="Get-MessageTraceV2", times=1)
    assert len((await sovereign.snapshot()).messages or ()) == 4
    # Pending mail in two questions, and failed mail.
    assert tenant.faults.seen["Get-MessageTraceV2"] == 3


async def test_how_mail_left_is_found(sovereign: ExchangeOnlineBackend, mail: MailSystem, clock: Clock) -> None:
    await sovereign.snapshot()
    refs = {entry.recipient: entry.ref for entry in mail.tenant.queued()}
    clock.forward(minutes=6)
    deliver(mail, refs["bob@onprem.test"], clock())
    mail.tenant.reject([refs["gone@onprem.test"]], "550 5.1.10 RESOLVER.ADR.RecipientNotFound", clock())
    snapshot = await sovereign.snapshot()
    assert snapshot.vanished is MessageStatus.DELIVERED
    assert [(m.recipient, m.status) for m in snapshot.ended] == [("gone@onprem.test", MessageStatus.REJECTED)]
    asked = [MessageRef(key=key, recipient=to) for key, to in refs.values()]
    assert len(await sovereign.messages(asked)) == 4


async def test_trouble_is_an_error(sovereign: ExchangeOnlineBackend, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.NUL_BODY, on="Get-MessageTraceV2")
    with pytest.raises(Unreachable):
        await sovereign.snapshot()
    tenant.faults.clear()
    tenant.faults.set(TenantFault.NUL_403, on="Get-MessageTraceV2")
    with pytest.raises(BackendError, match="Get-MessageTraceV2"):
        await sovereign.snapshot()


async def test_a_long_pause_is_respected(sovereign: ExchangeOnlineBackend, tenant: SandboxTenant, clock: Clock) -> None:
    first = await sovereign.snapshot()
    clock.forward(minutes=6)
    tenant.faults.retry_after = 240
    tenant.faults.set(TenantFault.THROTTLED, on="Get-MessageTraceV2", times=1)
    with pytest.raises(Unreachable, match="pause of 240 s"):
        await sovereign.snapshot()
    asked = tenant.faults.seen["Get-MessageTraceV2"]
    with pytest.raises(Unreachable, match="used up"):
        await sovereign.snapshot()
    assert tenant.faults.seen["Get-MessageTraceV2"] == asked
    clock.forward(seconds=241)
    assert len((await sovereign.snapshot()).messages or ()) == len(first.messages or ())


async def test_the_doctor_names_the_missing_role(sovereign: ExchangeOnlineBackend, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.NUL_403, on="Get-MessageTraceV2")
    found = [f for f in await sovereign.check() if f.level == "fault"]
    assert any("View-Only Recipients" in finding.fix for finding in found)
    tenant.faults.clear()
    assert not [f for f in await sovereign.check() if f.level == "fault"]


async def test_what_is_asked_again_costs_the_budget_too(make: Make, tenant: SandboxTenant) -> None:
    tenant._sign_in.resources["https://outlook.office365.us"] = "https://outlook.office365.com"
    small = make(CLOUD="gcc_high", QUOTA="10", BUDGET="10")
    tenant.faults.set(TenantFault.SERVER_ERROR, on="Get-MessageTraceV2")
    for _ in range(5):
        with pytest.raises(Unreachable):
            await small.snapshot()
    assert tenant.faults.seen["Get-MessageTraceV2"] == 10
