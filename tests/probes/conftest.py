"""The sandbox's servers and name server, and a prober that asks them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from bot.core.probe_result import ProbeResult
from bot.probes.runner import Prober, ProbeRequest
from bot.sandbox.dns_server import DnsServer
from bot.sandbox.smtp_servers import BrokenServers, ServerSpec
from storage.records import TlsSetting


@dataclass(frozen=True, slots=True)
class Lab:
    """Everything that a probe test needs."""

    servers: BrokenServers
    dns: DnsServer
    prober: Prober

    async def probe_host(self, name: str, **changes: Any) -> ProbeResult:
        """Probe `name`.mail.test on the sandbox's port."""
        return await self.prober.probe(self.request(hosts=(f"{name}.mail.test",), **changes))

    def request(self, *, tls_setting: str = "opportunistic", timeout: float = 5.0, **changes: Any) -> ProbeRequest:
        """A short request to the sandbox's port."""
        setting = TlsSetting(tls_setting)
        return ProbeRequest(port=self.servers.port, timeout=timeout, tls_setting=setting, **changes)

    def request_for(self, spec: ServerSpec, timeout: float) -> ProbeRequest:
        """How a connector to this server would be probed."""
        return ProbeRequest(
            hosts=() if spec.use_mx else (spec.host,),
            mx_domain=spec.host if spec.use_mx else None,
            port=spec.port,
            tls_setting=spec.tls_setting,
            tls_domain=spec.tls_domain,
            timeout=timeout,
            rcpt=f"postmaster@{spec.host}" if spec.expected_rcpt else None,
        )


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """The whole cast."""
    async with BrokenServers() as servers, DnsServer(servers.zone()) as dns:
        yield Lab(servers, dns, Prober(nameservers=[dns.address], ca_file=servers.ca_file, crl_file=servers.crl_file))
