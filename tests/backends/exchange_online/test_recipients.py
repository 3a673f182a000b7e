"""The directory's answer: invalid is only what a whole answer about an accepted domain lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.backends.exchange_online.invoke import Found, Invoker, NotAllowed
from bot.backends.exchange_online.recipients import accepted, look_up
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
    # Six chunks, and three of them lack somebody who might be reached otherwise.
    assert tenant.faults.seen["Get-Recipient"] == 9


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


@pytest.mark.parametrize(
    ("address", "invalid"),
    [
        ("bob+invoices@onprem.test", False),
        ("bob+2026+q4@onprem.test", False),
        ("gone+invoices@onprem.test", True),
        ("+bob@onprem.test", True),
    ],
)
async def test_who_is_reached_without_the_tag_behind_the_plus_sign_is_not_called_invalid(
    address: str, invalid: bool, backend: ExchangeOnlineBackend
) -> None:
    assert await backend.recipients([address]) == RecipientAnswer(invalid=frozenset({address} if invalid else ()))


async def test_the_external_address_of_a_mail_user_is_not_called_invalid(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.settings.mail_users["target@onprem.test"] = "ann@contoso.test"
    answer = await backend.recipients(["target@onprem.test", "gone@onprem.test", "ann@contoso.test"])
    assert answer == RecipientAnswer(valid=frozenset({"ann@contoso.test"}), invalid=frozenset({"gone@onprem.test"}))


@pytest.mark.parametrize(
    "local",
    [
        "IMCEAEX-_o=ExchangeLabs_ou=group_cn=Recipients_cn=0123-bob",
        "bounces+SRS=AbCdE=FG",
        "SRS0=aBcD=FG=fabrikam.test=eve",
        "SystemMailbox{1f05a927-89c0-4725-adca-4527114196a1}",
        "MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e",
    ],
)
async def test_what_exchange_resolves_in_its_own_way_stays_unknown(local: str, backend: ExchangeOnlineBackend) -> None:
    assert await backend.recipients([f"{local}@onprem.test"]) == RecipientAnswer()


@pytest.mark.parametrize("fault", [TenantFault.NOT_JSON, TenantFault.SERVER_ERROR])
async def test_nobody_is_called_invalid_where_the_second_question_gets_no_answer(
    fault: TenantFault, backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(fault, on="Get-Recipient", skip=1)
    answer = await backend.recipients(ASK)
    assert answer == RecipientAnswer(valid=frozenset({"bob@onprem.test", "o'hara@onprem.test"}))


async def test_an_external_address_that_can_not_be_read_makes_nobody_invalid() -> None:
    class Odd:
        async def read(self, _cmdlet: str, parameters: Mapping[str, Any]) -> Found:
            row = {"PrimarySmtpAddress": "ann@onprem.test", "ExternalEmailAddress": 5}
            return Found(rows=[row] if "External" in parameters["Filter"] else [])

    domains = [DomainFacts(backend="exo", name="onprem.test", type=DomainType.INTERNAL_RELAY)]
    assert await look_up(cast(Invoker, Odd()), ["gone@onprem.test"], domains) == RecipientAnswer()
