"""A mail system with stuck mail, a tenant over it, and a client."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest

from bot.sandbox.exchange_online import SandboxTenant
from bot.sandbox.mail_system import DomainType, MailSystem, TenantConnector, TenantDomain
from tests.sandbox.exchange_online.plain_client import START, TO_ONPREM, TO_PARTNER, Client, Clock, closed_port


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def mail(clock: Clock) -> AsyncIterator[MailSystem]:
    """Two connectors to a closed port, three accepted domains, four stuck (message, recipient) pairs."""
    async with MailSystem(clock=clock, tick=None, timeout=1.0) as mail:
        tenant, port = mail.tenant, closed_port()
        for key, name, kind, domain in (
            (TO_ONPREM, "To on-prem", "on_premises", "onprem.test"),
            (TO_PARTNER, "Partner", "partner", "fabrikam.test"),
        ):
            connector = TenantConnector(
                key=key,
                name=name,
                kind=kind,
                smart_hosts=("127.0.0.1",),
                port=port,
                recipient_domains=(domain,),
                tls_setting="certificate",
            )
            tenant.add_connector(connector)
        tenant.add_domain(TenantDomain(name="contoso.test", type=DomainType.AUTHORITATIVE))
        tenant.add_domain(TenantDomain(name="onprem.test"))
        tenant.add_domain(TenantDomain(name="plants.test", match_subdomains=True))
        tenant.add_recipients("ann@contoso.test", "bob@onprem.test", "o'hara@onprem.test")
        for number, to in enumerate(["bob@onprem.test", "gone@onprem.test", "o'hara@onprem.test", "eve@fabrikam.test"]):
            at = START - timedelta(hours=number + 1)
            tenant.submit("ann@contoso.test", [to], now=START, subject=f"Report {number}", received_at=at)
        await mail.retry()
        yield mail


@pytest.fixture
async def tenant(mail: MailSystem, clock: Clock) -> AsyncIterator[SandboxTenant]:
    async with SandboxTenant(mail, clock=clock) as tenant:
        yield tenant


@pytest.fixture
async def client(tenant: SandboxTenant) -> AsyncIterator[Client]:
    trust = ssl.create_default_context(cafile=str(tenant.ca_file))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        yield Client(session, tenant)
