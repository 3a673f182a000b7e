"""The directory's answer: invalid is only what a whole answer about an accepted domain lacks."""

from __future__ import annotations

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.backends.exchange_online.invoke import NotAllowed
from bot.backends.exchange_online.recipients import accepted
from bot.backends.ports import BackendError, RecipientAnswer
from bot.sandbox.exchange_online import SandboxTenant, TenantFault
from bot.sandbox.mail_system import MailSystem
from storage.records import DomainFacts, DomainType

ASK = ("Bob@onprem.test", "gone@onprem.test", "o'hara@onprem.test", "eve@fabrikam.test")


async def test_accepted_domains_are_answered_for_and_nothing_else(backend: ExchangeOnlineBackend) -> None:
    assert await backend.recipients(ASK) == RecipientAnswer(
        valid=frozenset({"bob@onprem.test", "o'hara@onprem.test"}), invalid=frozenset({"gone@onprem.test"})
    )


async def test_many_are_asked_in_chunks(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant
) -> None:
    mail.tenant.add_recipients(*(f"v{number}@onprem.test" for number in range(55)))
    answer = await backend.recipients(f"{kind}{number}@onprem.test" for number in range(55) for kind in "vi")
    assert (len(answer.valid), len(answer.invalid)) == (55, 55)
    assert tenant.faults.seen["Get-Recipient"] == 6


@pytest.mark.parametrize(
    "fault", [TenantFault.PARTIAL_DIRECTORY, TenantFault.NOT_JSON, TenantFault.SERVER_ERROR, TenantFault.NUL_BODY]
)
async def test_a_partial_or_failed_answer_makes_nobody_invalid(
    fault: TenantFault, backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(fault, on="Get-Recipient")
    answer = await backend.recipients(ASK)
    assert answer.invalid == frozenset()
    assert answer.valid <= {"bob@onprem.test", "o'hara@onprem.test"}


async def test_after_three_chunks_without_an_answer_nobody_waits_for_the_rest(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(TenantFault.NUL_BODY, on="Get-Recipient")
    await backend.recipients(f"r{number}@onprem.test" for number in range(400))
    assert tenant.faults.seen["Get-Recipient"] == 3


async def test_without_the_role_nothing_is_said(backend: ExchangeOnlineBackend, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.NUL_403, on="Get-Recipient")
    with pytest.raises(NotAllowed):
        await backend.recipients(ASK)
    tenant.faults.clear()
    tenant.faults.set(TenantFault.SERVER_ERROR, on="Get-AcceptedDomain")
    with pytest.raises(BackendError):
        await backend.recipients(ASK)


async def test_an_address_that_no_filter_can_hold_stays_unknown(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    answer = await backend.recipients(["*@onprem.test", "a\nb@onprem.test", "no-at", "x" * 260 + "@onprem.test"])
    assert answer == RecipientAnswer()
    assert tenant.faults.seen["Get-Recipient"] == 0


def test_sub_domains_are_accepted_where_the_domain_says_so() -> None:
    domains = [
        DomainFacts(backend="exo", name="a.test", type=DomainType.INTERNAL_RELAY, match_subdomains=True),
        DomainFacts(backend="exo", name="b.test", type=DomainType.INTERNAL_RELAY),
    ]
    assert accepted("x@sub.a.test", domains)
    assert not accepted("x@sub.b.test", domains)
    assert not accepted("x@nota.test", domains)
