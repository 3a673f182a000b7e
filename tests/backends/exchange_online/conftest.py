"""A small mail system with stuck mail, a tenant over it on loopback https, and the backend that reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.sandbox.exchange_online import SandboxTenant
from bot.sandbox.mail_system import DomainType, MailSystem, TenantConnector, TenantDomain
from tests.backends.exchange_online.bench import REFUSED, START, TO_ONPREM, TO_PARTNER, Clock, Waits, defer, made

Make = Callable[..., ExchangeOnlineBackend]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waits(clock: Clock) -> Waits:
    return Waits(clock)


@pytest.fixture
async def mail(clock: Clock) -> AsyncIterator[MailSystem]:
    """Two connectors, three accepted domains, four messages that were deferred hours ago."""
    async with MailSystem(clock=clock, tick=None, timeout=1.0) as mail:
        tenant = mail.tenant
        for key, name, kind, domain in (
            (TO_ONPREM, "To on-prem", "on_premises", "onprem.test"),
            (TO_PARTNER, "Partner", "partner", "fabrikam.test"),
        ):
            tenant.add_connector(
                TenantConnector(
                    key=key, name=name, kind=kind, smart_hosts=(f"mail.{domain}",), recipient_domains=(domain,)
                )
            )
        tenant.add_domain(TenantDomain(name="contoso.test", type=DomainType.AUTHORITATIVE))
        tenant.add_domain(TenantDomain(name="onprem.test"))
        tenant.add_domain(TenantDomain(name="plants.test", match_subdomains=True))
        tenant.add_recipients("ann@contoso.test", "bob@onprem.test", "o'hara@onprem.test")
        for number, to in enumerate(["bob@onprem.test", "gone@onprem.test", "o'hara@onprem.test", "eve@fabrikam.test"]):
            at = START - timedelta(hours=number + 1)
            key = tenant.submit("ann@contoso.test", [to], now=START, received_at=at)
            defer(mail, (key, to), clock(), replace(REFUSED, host=f"mail.{to.partition('@')[2]}"))
        yield mail


@pytest.fixture
async def tenant(mail: MailSystem, clock: Clock) -> AsyncIterator[SandboxTenant]:
    async with SandboxTenant(mail, clock=clock) as tenant:
        yield tenant


@pytest.fixture
async def make(tenant: SandboxTenant, clock: Clock, waits: Waits) -> AsyncIterator[Make]:
    """Makes backends for the tenant (options by name), and closes them all."""
    made_ones: list[ExchangeOnlineBackend] = []

    def one(*, certificate: bool = False, fixer: bool = True, **options: str) -> ExchangeOnlineBackend:
        given = tenant.environment("exo", certificate=certificate, fixer=fixer)
        backend = made({k.removeprefix("MFI_EXO_"): v for k, v in given.items()} | options, clock, waits)
        made_ones.append(backend)
        return backend

    yield one
    for backend in made_ones:
        await backend.close()


@pytest.fixture
def backend(make: Make) -> ExchangeOnlineBackend:
    return make()
