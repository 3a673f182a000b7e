"""A mail system of the sandbox whose time stands still until told otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.sandbox.mail_system import DomainType, MailSystem, TenantDomain
from tests.sandbox.mail_world import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def system(clock: Clock) -> AsyncIterator[MailSystem]:
    system = MailSystem(clock=clock, tick=None, timeout=1.0)
    system.tenant.add_domain(TenantDomain(name="onprem.test"))
    system.tenant.add_domain(TenantDomain(name="contoso.test", type=DomainType.AUTHORITATIVE))
    system.tenant.add_recipients("valid@onprem.test", "one@contoso.test")
    async with system:
        yield system
