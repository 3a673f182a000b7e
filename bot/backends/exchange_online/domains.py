"""Accepted domains, and how long Exchange keeps trying. Turning rows into facts is pure."""

from __future__ import annotations

from datetime import timedelta

from bot.backends.exchange_online.connectors import NOT_FOUND
from bot.backends.exchange_online.invoke import CmdletError, Invoker, NotAllowed
from bot.backends.exchange_online.rows import Json, flag, span, text
from bot.backends.ports import Unreachable
from storage.records import DEFAULT_EXPIRY, DomainFacts, DomainType

GET = "Get-AcceptedDomain"
_TYPES = {
    "authoritative": DomainType.AUTHORITATIVE,
    "internalrelay": DomainType.INTERNAL_RELAY,
    "externalrelay": DomainType.EXTERNAL_RELAY,
}
WORDS = {
    DomainType.AUTHORITATIVE: "Authoritative",
    DomainType.INTERNAL_RELAY: "InternalRelay",
    DomainType.EXTERNAL_RELAY: "ExternalRelay",
}


async def read_domains(invoker: Invoker, backend: str, *, official: bool) -> list[DomainFacts]:
    """All accepted domains. `official`: over Microsoft's documented preview API."""
    parameters = {"ResultSize": "Unlimited"}
    found = await invoker.read(GET, parameters, api="AcceptedDomain" if official else "")
    try:
        return [domain_facts(backend, row) for row in found.every("accepted domains")]
    except ValueError as error:
        raise Unreachable(f"Exchange gave an accepted domain that can't be read: {error}") from None


async def read_domain(invoker: Invoker, backend: str, name: str) -> DomainFacts | None:
    """One accepted domain as it is now; Exchange may give more than was asked for."""
    try:
        rows = (await invoker.read(GET, {"Identity": name})).rows
    except CmdletError as error:
        if error.type == NOT_FOUND:
            return None
        raise
    try:
        found = [domain_facts(backend, row) for row in rows]
    except ValueError as error:
        raise Unreachable(f"Exchange gave an accepted domain that can't be read: {error}") from None
    return next((domain for domain in found if domain.name == name.lower()), None)


async def read_lifetime(invoker: Invoker) -> tuple[timedelta, tuple[str, ...]]:
    """(how long Exchange retries before it bounces, notes)."""
    try:
        rows = (await invoker.read("Get-TransportConfig")).rows
    except (NotAllowed, CmdletError):
        rows = []
    found = span(rows[0].get("MessageExpiration")) if rows else None
    if found is None or not timedelta(hours=1) <= found <= timedelta(days=7):
        return DEFAULT_EXPIRY, ("the tenant's MessageExpiration can't be read; 24 hours are assumed",)
    return found, ()


def domain_facts(backend: str, row: Json) -> DomainFacts:
    """What a row says. Raises ValueError."""
    name = text(row, "DomainName", 255)
    kind = _TYPES.get((text(row, "DomainType", 60) or "").lower())
    if name is None or kind is None:
        raise ValueError("DomainName is empty" if name is None else "DomainType is not known to mfi")
    # Where it isn't told, the answer that protects: an authoritative domain can't match sub-domains.
    matches = flag(row, "MatchSubDomains")
    if matches is None:
        matches = kind is not DomainType.AUTHORITATIVE
    return DomainFacts(backend=backend, name=name.lower(), type=kind, match_subdomains=matches)
