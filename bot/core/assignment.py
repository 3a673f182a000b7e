"""Which of our connectors carries a message. Pure.

A mail system's export rarely says so. In this order: what it does say (a connector's key or name); the server that it
tried last, if that is a smart host of ours; the most specific recipient domain of an enabled connector (exact, then the
longest `*.suffix`, then `*`); for an internal relay domain, the only on-premises connector that names no domains.
Where two connectors fit equally well the message stays unassigned: a guess would blame the wrong server.

Every way in is an index, made once, so that a message costs the same whether there are ten connectors or thousands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from itertools import chain
from typing import TypeVar

from storage.records import Caution, Connector, ConnectorKind, DomainFacts, DomainType, MessageFacts

Assigner = Callable[[MessageFacts], int | None]
Basis = tuple[Hashable, ...]
K = TypeVar("K", bound=Hashable)


def assign(message: MessageFacts, connectors: Iterable[Connector], domains: Iterable[DomainFacts] = ()) -> int | None:
    """The id of the connector that carries this message, or None where nothing tells."""
    return assigner(connectors, domains)(message)


def basis(connectors: Iterable[Connector], domains: Iterable[DomainFacts]) -> Basis:
    """All that an assignment rests on, to compare: as long as it is equal, so is every answer."""
    looked_at = (
        (
            c.id,
            c.backend,
            c.key,
            c.name,
            c.kind,
            c.enabled,
            c.smart_hosts,
            c.recipient_domains,
            c.cautions,
            c.missing_since is None,
        )
        for c in connectors
    )
    return (frozenset(looked_at), frozenset(domains))


def assigner(connectors: Iterable[Connector], domains: Iterable[DomainFacts] = ()) -> Assigner:
    """`assign` for many messages: the connectors are looked through once."""
    listed = [c for c in connectors if c.missing_since is None]
    named, patterns = _named(listed), _patterns(listed)
    hosts, addresses = _hosts(listed), _addresses(listed)
    relayed = _relayed(listed, domains)
    nearest, only_at = lru_cache(maxsize=4096)(_nearest), lru_cache(maxsize=4096)(_only_at)

    def find(message: MessageFacts) -> int | None:
        backend = message.backend
        domain = _name(message.recipient.rpartition("@")[2])
        if message.connector_key and (stated := named.get((backend, message.connector_key.casefold()))):
            return stated.id
        tried = (*hosts(backend, message.remote_host), *addresses(backend, message.remote_ip))
        fits, closest = nearest(tried, domain)
        if carrier := closest if fits else only_at(tried):
            return carrier.id
        for pattern in _widening(domain):
            if (backend, pattern) in patterns:
                return _id(patterns[backend, pattern])
        return _id(relayed(backend, domain))

    return find


def _id(connector: Connector | None) -> int | None:
    return connector.id if connector else None


def _only(connectors: Iterable[Connector]) -> Connector | None:
    """The single one of these, or the single enabled one."""
    distinct = {c.id: c for c in connectors}
    if len(distinct) > 1:
        distinct = {number: c for number, c in distinct.items() if c.enabled}
    return next(iter(distinct.values())) if len(distinct) == 1 else None


def _gathered(pairs: Iterable[tuple[K, Connector]]) -> Mapping[K, list[Connector]]:
    index: defaultdict[K, list[Connector]] = defaultdict(list)
    for key, connector in pairs:
        index[key].append(connector)
    return index


def _only_of(pairs: Iterable[tuple[K, Connector]]) -> dict[K, Connector | None]:
    return {key: _only(found) for key, found in _gathered(pairs).items()}


def _named(connectors: Iterable[Connector]) -> Mapping[tuple[str, str], Connector | None]:
    return _only_of(((c.backend, text.casefold()), c) for c in connectors for text in (c.key, c.name))


def _patterns(connectors: Iterable[Connector]) -> Mapping[tuple[str, str], Connector | None]:
    return _only_of(((c.backend, _name(p)), c) for c in connectors if c.enabled for p in c.recipient_domains)


@dataclass(frozen=True, slots=True, eq=False)
class _Server:
    """The connectors that share a smart host; `fitting`: of these, by recipient domain."""

    all: Sequence[Connector]
    fitting: Mapping[str, Sequence[Connector]]

    @classmethod
    def of(cls, connectors: Sequence[Connector]) -> _Server:
        return cls(connectors, _gathered((_name(p), c) for c in connectors for p in c.recipient_domains))


_Lookup = Callable[[str, str | None], Sequence[_Server]]


def _hosts(connectors: Iterable[Connector]) -> _Lookup:
    """Servers by the name that was tried."""
    found = _gathered(((c.backend, _name(host)), c) for c in connectors for host in c.smart_hosts)
    index = {key: (_Server.of(sharing),) for key, sharing in found.items()}

    def lookup(backend: str, host: str | None) -> Sequence[_Server]:
        return index.get((backend, _name(host)), ()) if host else ()

    return lookup


def _addresses(connectors: Iterable[Connector]) -> _Lookup:
    """Servers by the address that was tried: one look for each size of network that occurs."""
    listed = [(network, c) for c in connectors for network in map(_network, c.smart_hosts) if network]
    found = _gathered(((c.backend, *network), c) for network, c in listed)
    index = {key: _Server.of(sharing) for key, sharing in found.items()}
    shifts = sorted({(version, shift) for (version, shift, _), _ in listed})

    @lru_cache(maxsize=4096)
    def lookup(backend: str, ip: str | None) -> Sequence[_Server]:
        try:
            address = ip_address(_name(ip or ""))
        except ValueError:
            return ()
        keys = ((backend, version, s, int(address) >> s) for version, s in shifts if version == address.version)
        return tuple(index[key] for key in keys if key in index)

    return lookup


def _network(host: str) -> tuple[int, int, int] | None:
    """(IP version, bits of the host part, the bits before) of a smart host that is an address or an address range."""
    try:
        network = ip_network(_name(host), strict=False)
    except ValueError:
        return None
    shift = network.max_prefixlen - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift


def _nearest(servers: Sequence[_Server], domain: str) -> tuple[bool, Connector | None]:
    """Of the connectors of these servers: does any fit this recipient domain, and which one fits best?"""
    for pattern in _widening(domain):
        if fitting := [c for server in servers for c in server.fitting.get(pattern, ())]:
            return True, _only(fitting)
    return False, None


def _only_at(servers: Sequence[_Server]) -> Connector | None:
    return _only(chain.from_iterable(server.all for server in servers))


def _widening(domain: str) -> list[str]:
    """The patterns that this domain fits, most specific first."""
    labels = domain.split(".")
    return [domain, *("*." + ".".join(labels[i:]) for i in range(1, len(labels))), "*"]


def _relayed(connectors: Iterable[Connector], domains: Iterable[DomainFacts]) -> Callable[[str, str], Connector | None]:
    relays = {(d.backend, p) for d in domains if d.type is DomainType.INTERNAL_RELAY for p in _covered(d)}
    on_premises = (c for c in connectors if c.enabled and c.kind is ConnectorKind.ON_PREMISES)
    # Mail takes neither of these by itself.
    aside = frozenset({Caution.RULE_SCOPED, Caution.TEST_MODE})
    catch_all = _only_of(
        (c.backend, c) for c in on_premises if not c.recipient_domains and aside.isdisjoint(c.cautions)
    )

    def carrier(backend: str, domain: str) -> Connector | None:
        relayed = any((backend, pattern) in relays for pattern in _widening(domain))
        return catch_all.get(backend) if relayed else None

    return carrier


def _covered(domain: DomainFacts) -> list[str]:
    """The patterns of an accepted domain; Exchange Server also writes sub-domains as `*.contoso.com`."""
    name = _name(domain.name)
    return [name, f"*.{name}"] if domain.match_subdomains else [name]


def _name(text: str) -> str:
    """A host, address or domain in the form in which they are compared."""
    return text.strip().strip("[]").rstrip(".").casefold()
