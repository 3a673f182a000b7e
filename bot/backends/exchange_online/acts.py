"""The two changes that Exchange Online offers: an accepted domain's type, a connector switched on or off.

Promises: each is a wish for a state: what already holds is not sent. The object is looked up first and has to be
exactly one, because Exchange may take an identity that it doesn't know for "all". After a lost answer it raises
OutcomeUnknown, and the caller reads the state.
"""

from __future__ import annotations

from bot.backends.exchange_online.connectors import read_connector
from bot.backends.exchange_online.domains import WORDS, read_domain
from bot.backends.exchange_online.invoke import Invoker
from bot.backends.exchange_online.rows import flag
from bot.backends.ports import Refused, Unreachable
from storage.records import DomainType


async def set_domain_type(reader: Invoker, fixer: Invoker, backend: str, name: str, to: DomainType) -> None:
    """Make an accepted domain authoritative, or take that back."""
    domain = await read_domain(reader, backend, name)
    if domain is None:
        raise Refused(f"{name} is no accepted domain of the tenant")
    if domain.type is to:
        return
    if to is DomainType.AUTHORITATIVE and domain.match_subdomains:
        raise Refused(f"{name} matches sub-domains, which needs an internal relay domain")
    await fixer.change("Set-AcceptedDomain", {"Identity": domain.name, "DomainType": WORDS[to]})


async def set_connector_enabled(reader: Invoker, fixer: Invoker, key: str, *, enabled: bool) -> None:
    """Switch an outbound connector on or off."""
    row = await read_connector(reader, key)
    if row is None:
        raise Refused("the tenant has no outbound connector with that Guid")
    try:
        already = flag(row, "Enabled") is enabled
    except ValueError as error:
        raise Unreachable(f"Exchange gave a connector that can't be read: {error}") from None
    if already:
        return
    await fixer.change("Set-OutboundConnector", {"Identity": key, "Enabled": enabled})
