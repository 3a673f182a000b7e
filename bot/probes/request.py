"""What to probe: as values, and from a stored connector."""

from __future__ import annotations

from dataclasses import dataclass

from bot.core.recipient import parse_recipient
from bot.core.targets import HostName, parse_host
from storage.records import Connector, TlsSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """What to probe and by which demands. `mx_domain` comes after `hosts` in the order of preference.

    `checks`: also look at DANE and MTA-STS. `rcpt`: also ask every server about this recipient. Raises ValueError if
    that is no address that can be asked for.
    """

    hosts: tuple[str, ...] = ()
    mx_domain: str | None = None
    port: int = 25
    tls_setting: TlsSetting = TlsSetting.OPPORTUNISTIC
    tls_domain: str | None = None
    timeout: float = 30.0
    rcpt: str | None = None
    checks: bool = False

    def __post_init__(self) -> None:
        """Nothing but a plain address may get into a command."""
        if self.rcpt is not None and parse_recipient(self.rcpt) != self.rcpt:
            raise ValueError("not an address that can be asked for")

    @property
    def empty(self) -> bool:
        """Is there nothing to probe? (A connector that uses MX for all domains names none.)"""
        return not self.hosts and not self.mx_domain


def request_for(connector: Connector, default_port: int, timeout: float = 30.0) -> ProbeRequest:
    """The probe of a stored connector. With MX, the first plain name of its smart hosts is the domain that is looked
    up; where it has none, that of its recipient domains stands for all.
    """
    domains = (d.removeprefix("*.") for d in connector.smart_hosts or connector.recipient_domains)
    first = next((d for d in domains if isinstance(parse_host(d), HostName)), None)
    return ProbeRequest(
        hosts=tuple(h for h in connector.smart_hosts if not connector.use_mx or h != first),
        mx_domain=first if connector.use_mx else None,
        port=connector.port or default_port,
        tls_setting=connector.tls_setting,
        tls_domain=connector.tls_domain,
        timeout=timeout,
        checks=connector.use_mx and first is not None,
    )
