"""The world around the bot, on loopback: a Slack workspace, mail servers, their DNS, an Exchange Online tenant whose
mail is stuck, and a Postfix relay, where one can be run.

One connector for each of the six codes, and a good one. `environment()` is all that the unchanged bot needs to know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from bot.core.clock import Clock
from bot.sandbox import relay
from bot.sandbox.dns_server import DnsServer
from bot.sandbox.exchange_online import SandboxTenant
from bot.sandbox.mail_system import MailSystem, TenantConnector, TenantDomain
from bot.sandbox.postfix import SandboxPostfix
from bot.sandbox.slack import AppConfig, SandboxSlack
from bot.sandbox.slack.seed import ADMIN_ONE, ADMINS, ALERTS
from bot.sandbox.smtp_cast import CAST
from bot.sandbox.smtp_servers import BrokenServers


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One connector of the demo: its name, the mail server (or broken name) behind it, and what waits there.

    `waiting`: how many messages; the oldest is `oldest` old. `ghosts`: how many more are for recipients that the
    directory does not know. `code`: what it fails with, None if it works.
    """

    name: str
    server: str
    domain: str
    code: str | None
    waiting: int = 0
    ghosts: int = 0
    oldest: timedelta = timedelta(minutes=40)
    kind: str = "on_premises"
    contact: str | None = None


ROUTES = (
    Route(
        name="Contoso on-premises",
        server="refused",
        domain="onprem.contoso.test",
        code="4.4.316",
        waiting=24,
        ghosts=16,
        oldest=timedelta(hours=5, minutes=10),
    ),
    Route(
        name="Branch office",
        server="nxdomain",
        domain="branch.contoso.test",
        code="4.4.312",
        waiting=6,
        oldest=timedelta(hours=1, minutes=5),
    ),
    Route(
        name="Data center west",
        server="black-hole",
        domain="west.contoso.test",
        code="4.4.315",
        waiting=9,
        oldest=timedelta(hours=22, minutes=20),
    ),
    Route(name="Plant gateway", server="no-starttls", domain="plant.contoso.test", code="4.4.317", waiting=5),
    Route(name="Archive appliance", server="closes", domain="archive.contoso.test", code="4.4.318", waiting=3),
    Route(
        name="Partner Fabrikam",
        server="cert-expired",
        domain="fabrikam.test",
        code="4.7.320",
        waiting=7,
        oldest=timedelta(hours=2),
        kind="partner",
        contact="postmaster@fabrikam.test",
    ),
    Route(name="Head office", server="good-domain", domain="office.contoso.test", code=None),
)

SENDERS = ("billing@contoso.test", "orders@contoso.test", "alerts@contoso.test", "news@contoso.test")

PACE = {
    "MFI_PROBE_INTERVAL": "20",
    "MFI_PROBE_INTERVAL_FAILING": "10",
    "MFI_PROBE_TIMEOUT": "8",
    "MFI_SYNC_INTERVAL": "3",
    "MFI_VERIFY_AFTER": "20",
}
"""What takes minutes and hours in life takes seconds here."""

BUSY = 1000
"""Requests in five minutes that the tenant takes; a real one takes 100, and isn't read every three seconds."""


class World:
    """Async context manager. `manifest`: the app to install in the workspace. `clock`: for ages and expiry.

    `postfix_wrapper`: the shipped command mfi-postfix; with it the world has a real Postfix, too (see postfix.missing).
    """

    def __init__(
        self,
        *,
        manifest: Mapping[str, Any],
        page_port: int = 0,
        clock: Clock = lambda: datetime.now(UTC),
        postfix_wrapper: Path | None = None,
    ) -> None:
        self.slack = SandboxSlack(app=AppConfig.from_manifest(manifest))
        self.servers = BrokenServers(rows=(*CAST, relay.NEXT_HOP))
        self.postfix: SandboxPostfix | None = None
        self._wrapper = postfix_wrapper
        self._page_port, self._clock = page_port, clock
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opening:
            await opening.enter_async_context(self.servers)
            self.dns = await opening.enter_async_context(DnsServer(self.servers.zone()))
            self.mail = self._mail_system()
            self._furnish()
            await opening.enter_async_context(self.mail)
            self.tenant = await opening.enter_async_context(SandboxTenant(self.mail, clock=self._clock))
            self.tenant.throttle.limit = BUSY
            if self._wrapper is not None:
                self.postfix = await self._relay(opening, self._wrapper)
            await self.slack.start(port=self._page_port)
            opening.push_async_callback(self.slack.stop)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def environment(self) -> dict[str, str]:
        """The settings of a bot that lives in this world."""
        host, port = self.dns.address
        return {
            "SLACK_API_URL": self.slack.api_url,
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_APP_TOKEN": self.slack.app_token,
            "MFI_ALERT_CHANNEL": ALERTS,
            "MFI_ADMINS": f"{ADMIN_ONE},{ADMINS}",
            "MFI_ACTIONS": "on",
            "MFI_BACKENDS": "contoso=exchange_online" + (",relay=postfix" if self.postfix else ""),
            **(relay.environment(self.postfix) if self.postfix else {}),
            **self.tenant.environment("contoso"),
            "MFI_CONTOSO_BUDGET": str(BUSY // 2),
            "MFI_CONTOSO_QUOTA": str(BUSY),
            "MFI_ADDRESS_RANGES": self.tenant.address_list_url,
            "MFI_NAMESERVERS": f"{host}:{port}",
            "MFI_CA_FILE": str(self.servers.ca_file),
            "MFI_SMTP_PORT": str(self.servers.port),
            "MFI_PROBE_ALLOW": "127.0.0.0/8",
            **PACE,
        }

    async def _relay(self, opening: contextlib.AsyncExitStack, wrapper: Path) -> SandboxPostfix:
        """Start it, and hand it the mail that gets stuck."""
        home = Path(opening.enter_context(TemporaryDirectory(prefix="mfi-postfix-")))
        next_hop = f"[{self.servers.servers[relay.NEXT_HOP.name].ip}]:{self.servers.port}"
        postfix = await opening.enter_async_context(relay.relay(home, next_hop, wrapper))
        await postfix.send_all(relay.mails())
        return postfix

    def _mail_system(self) -> MailSystem:
        return MailSystem(
            clock=self._clock,
            nameservers=[self.dns.address],
            smtp_port=self.servers.port,
            ca_file=self.servers.ca_file,
            retry_interval=timedelta(seconds=15),
            timeout=4.0,
        )

    def _furnish(self) -> None:
        """Give the tenant its connectors, domains, directory, and a backlog with real ages."""
        tenant = self.mail.tenant
        for number, route in enumerate(ROUTES, start=1):
            server = self.servers.servers[route.server]
            tenant.add_connector(
                TenantConnector(
                    key=f"00000000-0000-4000-8000-{number:012d}",
                    name=route.name,
                    kind=route.kind,
                    smart_hosts=(server.host,),
                    recipient_domains=(route.domain,),
                    tls_setting=server.tls_setting,
                    tls_domain=server.tls_domain,
                    partner_contact=route.contact,
                )
            )
            if route.kind == "on_premises":
                tenant.add_domain(TenantDomain(name=route.domain))
                tenant.add_recipients(*(f"user{n}@{route.domain}" for n in range(1, 13)))
            self._queue(route)

    def _queue(self, route: Route) -> None:
        now, count = self._clock(), route.waiting + route.ghosts
        for n in range(count):
            local = f"left{n % 8 + 1}" if n >= route.waiting else f"user{n % 12 + 1}"
            self.mail.tenant.submit(
                SENDERS[n % len(SENDERS)],
                [f"{local}@{route.domain}"],
                now=now,
                subject=f"Message {n + 1}",
                received_at=now - route.oldest * (1 - n / (count * 1.2)),
            )
