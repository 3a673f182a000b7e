"""Which of our connectors carries a message. Pure.

A mail system's export rarely says so. In this order: what it does say (a connector's key or name); the server that it
tried last, if that is a smart host of ours; the most specific recipient domain of an enabled connector (exact, then the
longest `*.suffix`, then `*`); for an internal relay domain, the only on-premises connector that names no domains.
Where two connectors fit equally well the message stays unassigned: a guess would blame the wrong server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address, ip_network

from storage.records import Connector, ConnectorKind, DomainFacts, DomainType, MessageFacts

Assigner = Callable[[MessageFacts], int | None]
_Index = defaultdict[tuple[str, str], list[Connector]]


def assign(message: MessageFacts, connectors: Iterable[Connector], domains: Iterable[DomainFacts] = ()) -> int | None:
    """The id of the connector that carries this message, or None where nothing tells."""
    return assigner(connectors, domains)(message)


def assigner(connectors: Iterable[Connector], domains: Iterable[DomainFacts] = ()) -> Assigner:
    """`assign` for many messages: the connectors are looked through once."""
    listed = [c for c in connectors if c.missing_since is None]
    named, hosts, patterns = _named(listed), _hosts(listed), _patterns(listed)
    networks = [(network, c) for c in listed for network in _networks(c)]
    relayed = _relayed(listed, domains)

    def find(message: MessageFacts) -> int | None:
        backend = message.backend
        domain = _name(message.recipient.rpartition("@")[2])
        stated = named[backend, message.connector_key.casefold()] if message.connector_key else []
        tried = list(hosts[backend, _name(message.remote_host)]) if message.remote_host else []
        tried += [c for network, c in networks if c.backend == backend and _inside(message.remote_ip, network)]
        for candidates in (stated, _nearest(tried, domain)):
            if only := _only(candidates):
                return only.id
        for pattern in _widening(domain):
            if candidates := patterns[backend, pattern]:
                return c.id if (c := _only(candidates)) else None
        return c.id if (c := _only(relayed(backend, domain))) else None

    return find


def _only(connectors: Sequence[Connector]) -> Connector | None:
    """The single one of these, or the single enabled one."""
    distinct = {c.id: c for c in connectors}
    if len(distinct) > 1:
        distinct = {c.id: c for c in connectors if c.enabled}
    return next(iter(distinct.values())) if len(distinct) == 1 else None


def _named(connectors: Iterable[Connector]) -> _Index:
    index: _Index = defaultdict(list)
    for c in connectors:
        index[c.backend, c.key.casefold()].append(c)
        index[c.backend, c.name.casefold()].append(c)
    return index


def _hosts(connectors: Iterable[Connector]) -> _Index:
    index: _Index = defaultdict(list)
    for c in connectors:
        for host in c.smart_hosts:
            index[c.backend, _name(host)].append(c)
    return index


def _patterns(connectors: Iterable[Connector]) -> _Index:
    index: _Index = defaultdict(list)
    for c in connectors:
        for pattern in c.recipient_domains if c.enabled else ():
            index[c.backend, _name(pattern)].append(c)
    return index


def _networks(connector: Connector) -> list[str]:
    """The smart hosts that are addresses or address ranges."""
    return [host for host in map(_name, connector.smart_hosts) if _is_network(host)]


def _is_network(host: str) -> bool:
    try:
        ip_network(host, strict=False)
    except ValueError:
        return False
    return True


def _inside(ip: str | None, network: str) -> bool:
    try:
        return ip is not None and ip_address(_name(ip)) in ip_network(network, strict=False)
    except ValueError:
        return False


def _nearest(connectors: Sequence[Connector], domain: str) -> Sequence[Connector]:
    """Of connectors that share a smart host, those whose recipient domains fit best; all of them if none fits."""
    for pattern in _widening(domain):
        if fitting := [c for c in connectors if pattern in map(_name, c.recipient_domains)]:
            return fitting
    return connectors


def _widening(domain: str) -> list[str]:
    """The patterns that this domain fits, most specific first."""
    labels = domain.split(".")
    return [domain, *("*." + ".".join(labels[i:]) for i in range(1, len(labels))), "*"]


def _relayed(
    connectors: Sequence[Connector], domains: Iterable[DomainFacts]
) -> Callable[[str, str], Sequence[Connector]]:
    relays = {(d.backend, _name(d.name)): d for d in domains if d.type is DomainType.INTERNAL_RELAY}
    catch_all = [c for c in connectors if c.enabled and c.kind is ConnectorKind.ON_PREMISES and not c.recipient_domains]

    def carriers(backend: str, domain: str) -> Sequence[Connector]:
        parents = (relays.get((backend, p.removeprefix("*."))) for p in _widening(domain)[1:])
        relay = relays.get((backend, domain)) or next((d for d in parents if d and d.match_subdomains), None)
        return [c for c in catch_all if c.backend == backend] if relay else []

    return carriers


def _name(text: str) -> str:
    """A host, address or domain in the form in which they are compared."""
    return text.strip().strip("[]").rstrip(".").casefold()
