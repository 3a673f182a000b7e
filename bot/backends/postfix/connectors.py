"""Next hops as connectors. Pure.

One connector per distinct next hop: each that a transport table names, the relay domains' own, and relayhost for all
the rest. Mail that goes to a foreign domain's own MX belongs to no connector. A next hop that the prober can't talk to
as Postfix does names no servers to dial, and says so in its name: a probe would call a healthy server down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.backends.postfix.config import Service, members
from bot.backends.postfix.hops import Destination, Hop, Route
from bot.backends.postfix.routing import ANY, Routing
from bot.core.targets import HostName, parse_host
from bot.core.undialled import IMPLICIT_TLS, LMTP, undialled_name
from storage.records import ConnectorFacts, ConnectorKind, TlsSetting

_LEVELS: Mapping[str, TlsSetting] = {
    "none": TlsSetting.NONE,
    "may": TlsSetting.OPPORTUNISTIC,
    "dane": TlsSetting.OPPORTUNISTIC,
    "encrypt": TlsSetting.ENCRYPTION,
    "dane-only": TlsSetting.ENCRYPTION,
    "half-dane": TlsSetting.ENCRYPTION,
    "fingerprint": TlsSetting.ENCRYPTION,
    "verify": TlsSetting.DOMAIN,
    "secure": TlsSetting.DOMAIN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """Postfix's own levels: of each delivery agent, and by next hop (`policies`: the policy table, keys lower case)."""

    level: str = ""
    levels: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)

    def setting(self, hop: Hop, first: Destination) -> tuple[TlsSetting, str | None]:
        """What is demanded of this next hop, and the name that its certificate has to carry."""
        words = (self._policy(hop, first) or self.levels.get(hop.transport) or self.level or "none").split()
        found = _LEVELS.get(words[0].lower(), TlsSetting.OPPORTUNISTIC)
        return found, _name(words[1:], first) if found is TlsSetting.DOMAIN else None

    def _policy(self, hop: Hop, first: Destination) -> str | None:
        exact = (members(hop.nexthop) or [""])[0].lower()
        if exact in self.policies or first.exact:
            return self.policies.get(exact)
        labels = first.host.split(".")
        names = [first.host, *("." + ".".join(labels[at:]) for at in range(1, len(labels)))]
        return next((self.policies[name] for name in names if name in self.policies), None)


def _name(attributes: Iterable[str], first: Destination) -> str:
    """The first literal name of `match=`; else the next hop's own."""
    stated = [word.partition("=")[2] for word in attributes if word.startswith("match=")]
    names = [name for text in stated for name in text.split(":") if "." in name]
    return names[0].removeprefix(".") if names else first.host


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialling:
    """How delivery agents, by name, begin: with TLS at once (`wrapped`), without looking for an MX (`without_mx`)."""

    wrapped: frozenset[str] = frozenset()
    without_mx: frozenset[str] = frozenset()

    def by_mx(self, hop: Hop) -> bool:
        """Is the first server a domain whose MX is looked for?"""
        first = hop.destinations()[0]
        return not first.exact and hop.transport not in self.without_mx and isinstance(parse_host(first.host), HostName)

    def not_probed(self, hop: Hop, services: Mapping[str, Service]) -> str | None:
        """Why this next hop can't be probed; None: it can."""
        if services[hop.transport].command == "lmtp":
            return LMTP
        return IMPLICIT_TLS if hop.transport in self.wrapped else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """What the settings say about whose servers these are: next hop keys, hosts or domains, in lower case."""

    on_premises: Collection[str] = ()
    partner: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorTerms:
    """What turns next hops into connectors. `held`: the patterns that our override table keeps in the queue: a
    connector all of whose patterns are held is disabled.
    """

    backend: str
    routing: Routing
    tls: TlsPolicy
    ownership: Ownership
    dialling: Dialling = Dialling()
    held: Collection[str] = ()

    def connectors(self) -> list[ConnectorFacts]:
        """All of them; where two would have the same name, each has its key as its name."""
        found = [self._connector(hop, patterns) for hop, patterns in patterns_by_key(self.routing).values()]
        twice = {label for label, times in Counter(c.name for c in found).items() if times > 1}
        found = [replace(c, name=c.key) if c.name in twice else c for c in found]
        why = not_probed(self.routing, self.dialling)
        return [replace(c, name=undialled_name(c.name, why[c.key])) if c.key in why else c for c in found]

    def _connector(self, hop: Hop, patterns: Sequence[str]) -> ConnectorFacts:
        servers = hop.destinations()
        domains = [p for p in patterns if "@" not in p]
        use_mx = self.dialling.by_mx(hop)
        of_itself = use_mx and len(servers) == 1 and servers[0].host in domains
        if of_itself:
            domains.sort(key=lambda d: d != servers[0].host)
        setting, tls_domain = self.tls.setting(hop, servers[0])
        dialled = self.dialling.not_probed(hop, self.routing.services) is None
        hosts = tuple(dict.fromkeys(server.host for server in servers)) if dialled and not of_itself else ()
        return ConnectorFacts(
            backend=self.backend,
            key=hop.key,
            name=", ".join(_label(server) for server in servers)[:100],
            kind=self._kind(hop, servers, domains),
            enabled=not all(pattern in self.held for pattern in patterns),
            use_mx=use_mx and dialled,
            smart_hosts=hosts,
            port=servers[0].port,
            recipient_domains=tuple(f"*{d}" if d.startswith(".") else d for d in domains),
            tls_setting=setting,
            tls_domain=tls_domain,
        )

    def _kind(self, hop: Hop, servers: Sequence[Destination], domains: Sequence[str]) -> ConnectorKind:
        """The settings decide; else it is ours where Postfix is the way in for one of its domains."""
        names = {hop.key.lower(), *(s.host for s in servers), *domains}
        if names & set(self.ownership.partner):
            return ConnectorKind.PARTNER
        bare = [d.removeprefix(".") for d in domains if d != ANY]
        ours = any(self.routing.is_relayed(d) or d in self.routing.local for d in bare)
        return ConnectorKind.ON_PREMISES if ours or names & set(self.ownership.on_premises) else ConnectorKind.PARTNER


def _label(server: Destination) -> str:
    return f"{server.host}:{server.port}" if server.port else server.host


def patterns_by_key(routing: Routing) -> dict[str, tuple[Hop, list[str]]]:
    """Each next hop on another host by its key, with the patterns of recipients that it carries."""
    found: dict[str, tuple[Hop, list[str]]] = {}

    def add(hop: Hop | None, pattern: str) -> None:
        if hop is not None and hop.is_network(routing.services):
            found.setdefault(hop.key, (hop, []))[1].append(pattern)

    for pattern, value in routing.patterns().items():
        add(_hop_of(routing, pattern, value), pattern)
    for domain in sorted(routing.relay - routing.local):
        if routing.winner(domain) is None:
            add(routing.hop(domain), domain)
    if ANY not in routing.patterns():
        add(routing.default_hop(), ANY)
    return found


def not_probed(routing: Routing, dialling: Dialling) -> dict[str, str]:
    """The next hops that can't be probed, by key, with the reason."""
    whys = {key: dialling.not_probed(hop, routing.services) for key, (hop, _) in patterns_by_key(routing).items()}
    return {key: why for key, why in whys.items() if why}


def _hop_of(routing: Routing, pattern: str, value: str) -> Hop | None:
    """A table entry's next hop. One that leaves it to the recipient's domain has it for plain domains only."""
    domain = pattern.rpartition("@")[2]
    if pattern == ANY:
        route = Route.parse(value)
        base = Route.parse(routing.default_transport)
        nexthop = route.nexthop or ("" if route.transport else base.nexthop or routing.relayhost)
        return Hop(route.transport or base.transport, nexthop) if nexthop else None
    if domain.startswith(".") and not Route.parse(value).nexthop:
        return None
    return routing.completed(Route.parse(value), domain)
