"""Send connectors and accepted domains of a document, as facts. Raises ValueError for a row that can't be used."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from uuid import UUID

from bot.backends.exchange_server.rows import Json, flag, needed, text, texts, whole
from storage.records import Caution, ConnectorFacts, ConnectorKind, DomainFacts, DomainType, TlsSetting

WORDS = {
    DomainType.AUTHORITATIVE: "Authoritative",
    DomainType.INTERNAL_RELAY: "InternalRelay",
    DomainType.EXTERNAL_RELAY: "ExternalRelay",
}
"""How Exchange writes a domain's type."""
_TYPES = {word.lower(): kind for kind, word in WORDS.items()}
_LEVELS = {
    "encryptiononly": TlsSetting.ENCRYPTION,
    "certificatevalidation": TlsSetting.CERTIFICATE,
    "domainvalidation": TlsSetting.DOMAIN,
}
_SPACE = re.compile(r"(?:(?P<type>[A-Za-z0-9]+):)?(?P<domain>[^:;\s]{1,253})(?:;\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """What the settings say about whose servers stand behind a connector: names or address spaces, lower case."""

    on_premises: Collection[str] = ()
    partner: Collection[str] = ()


@dataclass(slots=True)
class Settings:
    """Connectors and domains, and what was odd about them."""

    connectors: list[ConnectorFacts] = field(default_factory=list)
    domains: list[DomainFacts] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_settings(backend: str, connectors: Iterable[Json], domains: Iterable[Json], ownership: Ownership) -> Settings:
    """All of them. Raises ValueError."""
    found = Settings()
    found.domains = _domains(backend, domains, found.notes)
    accepted = {domain.name for domain in found.domains}
    keys: set[str] = set()
    for row in connectors:
        facts = _connector(backend, row, found.notes)
        if facts.key in keys:
            raise ValueError(f"the send connector {facts.name} stands in it twice")
        keys.add(facts.key)
        found.connectors.append(replace(facts, kind=_kind(facts, accepted, ownership)))
    return found


def guid(found: str, name: str) -> str:
    """A GUID in its usual form. Raises ValueError."""
    try:
        return str(UUID(found))
    except ValueError:
        raise ValueError(f"{name} is no GUID") from None


def _connector(backend: str, row: Json, notes: list[str]) -> ConnectorFacts:
    name = needed(row, "Name", 200)
    spaces = _spaces(texts(row, "AddressSpaces"), name, notes)
    hosts = tuple(dict.fromkeys(_host(host, name) for host in texts(row, "SmartHosts")))
    return ConnectorFacts(
        backend=backend,
        key=guid(needed(row, "Guid", 60), f"Guid of {name}"),
        name=name,
        kind=ConnectorKind.PARTNER,
        enabled=flag(row, "Enabled"),
        use_mx=flag(row, "DNSRoutingEnabled") and not hosts,
        smart_hosts=hosts,
        port=whole(row, "Port"),
        recipient_domains=spaces,
        tls_setting=_tls(row),
        tls_domain=text(row, "TlsDomain", 255) or None,
        cautions=frozenset({Caution.ROUTES_ALL_MAIL} if "*" in spaces else ()),
    )


def _spaces(found: Sequence[str], name: str, notes: list[str]) -> tuple[str, ...]:
    """`SMTP:contoso.com;1` → contoso.com. Address spaces of other kinds than SMTP carry no mail that we watch."""
    domains: dict[str, None] = {}
    for space in found:
        parts = _SPACE.fullmatch(space)
        if parts is None or (parts["type"] or "smtp").lower() != "smtp":
            notes.append(f"send connector {name}: its address space {space[:60]!r} is not watched")
        else:
            domains[parts["domain"].lower()] = None
    return tuple(domains)


def _host(found: str, name: str) -> str:
    host = found.strip("[]").rstrip(".").lower()
    if not host or len(host) > 253 or not re.fullmatch(r"[a-z0-9_.:/-]+", host):
        raise ValueError(f"a smart host of {name} can't be read")
    return host


def _tls(row: Json) -> TlsSetting:
    if flag(row, "RequireTLS"):
        return _LEVELS.get(text(row, "TlsAuthLevel", 40).lower(), TlsSetting.ENCRYPTION)
    return TlsSetting.NONE if row.get("IgnoreSTARTTLS") is True else TlsSetting.OPPORTUNISTIC


def _kind(connector: ConnectorFacts, accepted: Collection[str], ownership: Ownership) -> ConnectorKind:
    """Exchange doesn't say. The settings decide; else it is ours where it carries an accepted domain, or where all its
    smart hosts are private addresses.
    """
    names = {connector.name.lower(), *connector.recipient_domains}
    if names & set(ownership.partner):
        return ConnectorKind.PARTNER
    ours = names & set(ownership.on_premises) or any(_is_under(d, accepted) for d in connector.recipient_domains)
    private = connector.smart_hosts and all(map(_is_private, connector.smart_hosts))
    return ConnectorKind.ON_PREMISES if ours or private else ConnectorKind.PARTNER


def _is_under(pattern: str, accepted: Collection[str]) -> bool:
    labels = pattern.removeprefix("*").removeprefix(".").split(".")
    return any(".".join(labels[at:]) in accepted for at in range(len(labels)))


def _is_private(host: str) -> bool:
    try:
        return ip_network(host, strict=False).is_private if "/" in host else ip_address(host).is_private
    except ValueError:
        return False


def _domains(backend: str, listed: Iterable[Json], notes: list[str]) -> list[DomainFacts]:
    """`*.contoso.com` is contoso.com with all its sub-domains; where both are there, the plain one tells the type."""
    found: dict[str, DomainFacts] = {}
    for row in sorted(listed, key=lambda row: str(row.get("DomainName")).startswith("*")):
        stated = needed(row, "DomainName", 255).lower()
        if stated == "*":
            notes.append("an accepted domain * takes mail for everybody: it is not watched")
            continue
        word = needed(row, "DomainType", 40)
        if word.lower() not in _TYPES:
            raise ValueError(f"the type {word!r} of the accepted domain {stated} is not known")
        name = stated.removeprefix("*.")
        below = stated != name or flag(row, "MatchSubDomains")
        if name in found:
            found[name] = replace(found[name], match_subdomains=found[name].match_subdomains or below)
        else:
            kind = _TYPES[word.lower()]
            found[name] = DomainFacts(backend=backend, name=name, type=kind, match_subdomains=below)
    return list(found.values())
