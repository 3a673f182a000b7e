"""A small organisation behind a stand-in for the script, and the backend that reads and moves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.backends.exchange_server import ExchangeServerBackend, Options
from bot.sandbox.exchange_server import SandboxExchangeServer
from bot.sandbox.mail_system.led import Failure, Trouble
from bot.sandbox.mail_system.model import DomainType, TenantConnector, TenantDomain
from bot.sandbox.mail_system.tenant import Tenant

KEY = bytes(range(32))
REFUSED = Failure(trouble=Trouble.REFUSED, host="mail.contoso.test", ip="10.1.1.5", port=25)
VALID, INVALID = "valid@onprem.contoso.test", "invalid@onprem.contoso.test"
SENDER = "app@contoso.test"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Site:
    """The organisation, its script and its drop folder."""

    tenant: Tenant
    server: SandboxExchangeServer
    drop: Path
    key_file: Path

    def waiting(self, *recipients: str, ago: timedelta = timedelta(hours=1), sender: str = SENDER) -> str:
        """Put one message into the queue whose last attempt was refused; returns its network id."""
        at = now() - ago
        key = self.tenant.submit(sender, recipients, now=at, received_at=at)
        for recipient in recipients:
            self.tenant.deferred((key, recipient), now() - timedelta(minutes=5), REFUSED, until=now())
        return key

    def key_of(self, message: str, connector: str | None = "onprem") -> str:
        """Its identity in the connector's queue."""
        return self.server.names.identity(message, connector)

    def backend(
        self, *, acts: bool = False, clock: Callable[[], datetime] = now, wait: float = 5.0
    ) -> ExchangeServerBackend:
        """A backend on the drop folder."""
        options = Options(drop=self.drop, key_file=self.key_file if acts else None, wait=wait)
        return ExchangeServerBackend("hub", options, clock=clock, newer_within=2.0, grace=0.5)


def a_tenant() -> Tenant:
    tenant = Tenant(lifetime=timedelta(days=2))
    tenant.add_connector(
        TenantConnector(
            key="onprem",
            name="To on-prem",
            smart_hosts=("mail.contoso.test",),
            recipient_domains=("onprem.contoso.test",),
            tls_setting="certificate",
        )
    )
    tenant.add_connector(
        TenantConnector(key="web", name="To Internet", use_mx=True, recipient_domains=("*",), tls_setting="none")
    )
    tenant.add_domain(TenantDomain(name="contoso.test", type=DomainType.AUTHORITATIVE))
    tenant.add_domain(TenantDomain(name="onprem.contoso.test"))
    tenant.add_recipients(VALID, SENDER)
    return tenant


def a_site(root: Path, *, key: bytes | None, directory: bool = True) -> Site:
    drop, key_file = root / "drop", root / "key"
    drop.mkdir()
    key_file.write_text(KEY.hex())
    key_file.chmod(0o600)
    tenant = a_tenant()
    server = SandboxExchangeServer(tenant, drop, clock=now, key=key, directory=directory)
    return Site(tenant, server, drop, key_file)


def write_ahead(site: Site, by: timedelta, key: bytes | None = None) -> None:
    """The server's clock is ahead for one run."""
    SandboxExchangeServer(site.tenant, site.drop, clock=lambda: now() + by, key=key, directory=True).run_once()


@pytest.fixture
def reading(tmp_path: Path) -> Site:
    """The script runs without a key."""
    return a_site(tmp_path, key=None)


@pytest.fixture
def acting(tmp_path: Path) -> Site:
    """The script obeys orders."""
    return a_site(tmp_path, key=KEY)
