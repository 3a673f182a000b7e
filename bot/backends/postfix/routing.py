"""Which next hop carries a recipient's mail, looked up as Postfix itself looks it up. Pure.

Order (transport(5), trivial-rewrite(8)): user+extension@domain, user@domain, domain, .parent domains, `*`, each in all
tables before the next; a table's entry wins over everything; local and virtual domains are delivered here; else the
next hop that relay_transport or default_transport names; else relayhost; else the domain itself by its MX. Not
followed, and said in notes: tables that can't be listed, and next hops that depend on the sender.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bot.backends.postfix.config import Service, members
from bot.backends.postfix.hops import Hop, Route

ANY = "*"


@dataclass(frozen=True, kw_only=True)
class Routing:
    """Everything that decides. `tables`: the transport tables that could be listed, without our own overrides.

    `local`: domains that are delivered on this host. `relay`: domains relayed for, `relay_subdomains` with all below.
    """

    services: Mapping[str, Service]
    tables: Sequence[Mapping[str, str]] = ()
    local: frozenset[str] = frozenset()
    relay: frozenset[str] = frozenset()
    relay_subdomains: bool = False
    parents_match: bool = False
    relayhost: str = ""
    relay_transport: str = "relay"
    default_transport: str = "smtp"
    delimiters: str = ""
    _by_domain: dict[str, str | None] = field(default_factory=dict, compare=False, repr=False)

    def connector_key(self, recipient: str) -> str | None:
        """The key of the next hop for this address; None where it isn't another host."""
        address = recipient.lower()
        user, at, domain = address.rpartition("@")
        if not at or not domain:
            return None
        for form in self._address_forms(user, domain):
            if (found := self._entry(form)) is not None:
                return self._key(self.completed(Route.parse(found), domain))
        if domain not in self._by_domain:
            if len(self._by_domain) >= 100_000:
                self._by_domain.clear()
            self._by_domain[domain] = self._key(self.hop(domain))
        return self._by_domain[domain]

    def hop(self, domain: str) -> Hop | None:
        """The next hop for a domain's mail, of whatever kind; None: it is delivered on this host."""
        found = self.winner(domain)
        return self.completed(Route.parse(found) if found is not None else Route("", ""), domain)

    def winner(self, domain: str) -> str | None:
        """The transport table's entry for a domain."""
        for pattern in (domain, *self._parents(domain), ANY):
            if (found := self._entry(pattern)) is not None:
                return found
        return None

    def is_relayed(self, domain: str) -> bool:
        """Is this domain, which isn't local, one that is relayed for?"""
        if domain in self.local:
            return False
        below = self.relay_subdomains and any(parent in self.relay for parent in _above(domain))
        return domain in self.relay or below

    def patterns(self) -> dict[str, str]:
        """All patterns of the transport tables; the first table that has one counts."""
        found: dict[str, str] = {}
        for table in self.tables:
            for pattern, value in table.items():
                found.setdefault(pattern, value)
        return found

    def default_hop(self) -> Hop | None:
        """Where all other mail goes; None: to each domain's own MX."""
        route = Route.parse(self.default_transport)
        nexthop = route.nexthop or self.relayhost
        return Hop(route.transport, nexthop) if nexthop else None

    @cached_property
    def _has_addresses(self) -> bool:
        return any("@" in pattern for table in self.tables for pattern in table)

    def _address_forms(self, user: str, domain: str) -> Iterable[str]:
        if not self._has_addresses:
            return
        yield f"{user}@{domain}"
        cut = min((at for at in map(user.find, self.delimiters) if at > 0), default=-1)
        if cut > 0:
            yield f"{user[:cut]}@{domain}"

    def _parents(self, domain: str) -> list[str]:
        return [name if self.parents_match else f".{name}" for name in _above(domain)]

    def _entry(self, pattern: str) -> str | None:
        return next((table[pattern] for table in self.tables if pattern in table), None)

    def completed(self, route: Route, domain: str) -> Hop | None:
        """Fill in what the entry leaves open. An entry with a transport alone means the domain itself."""
        if route.transport:
            return Hop(route.transport, route.nexthop or domain)
        if domain in self.local:
            return None
        base = Route.parse(self.relay_transport if self.is_relayed(domain) else self.default_transport)
        return Hop(base.transport, route.nexthop or base.nexthop or self.relayhost or domain)

    def _key(self, hop: Hop | None) -> str | None:
        return hop.key if hop is not None and hop.is_network(self.services) else None


def _above(domain: str) -> list[str]:
    """The domains above this one, nearest first."""
    labels = domain.split(".")
    return [".".join(labels[at:]) for at in range(1, len(labels))]


def plain_domains(entries: Iterable[str], listed: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """The domains of a list setting: its plain names, and the keys of the tables that could be listed (by ref)."""
    found: set[str] = set()
    for member in entries:
        if member in listed:
            found.update(key for key in listed[member] if "@" not in key)
        elif not any(mark in member for mark in ":/!{"):
            found.add(member.lower())
    return frozenset(found)


def unlisted(text: str, listed: Mapping[str, object]) -> list[str]:
    """The members of a list setting that are neither names nor listed tables."""
    return [m for m in members(text) if m not in listed and any(mark in m for mark in ":/!{")]
