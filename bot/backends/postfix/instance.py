"""One whole read of an instance's configuration: its routing, TLS policy, relay domains and our own tables.

A table that can be listed but isn't readable now makes the whole read fail: half a routing would blame wrong servers.
One that nobody can list (LDAP, SQL, regular expressions…) is left out, and a note says so; our own have to be listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from bot.backends.ports import Unreachable
from bot.backends.postfix.config import (
    FROM_TEXT,
    Service,
    Table,
    as_table,
    inline_entries,
    lifetime,
    listed_entries,
    members,
    own_values,
    read_services,
    read_settings,
)
from bot.backends.postfix.connectors import Dialling, TlsPolicy, not_probed
from bot.backends.postfix.filters import Filters
from bot.backends.postfix.host import NotListable, PostfixHost
from bot.backends.postfix.routing import Routing, plain_domains, unlisted
from bot.core.capabilities import Family, Place
from bot.core.postfix_place import tool
from storage.records import DomainFacts, DomainType

OVERRIDES = "mfi_overrides"
RECIPIENTS = "mfi_recipients"
_FIVE_DAYS = timedelta(days=5)
_MAPS = ("transport_maps", "smtp_tls_policy_maps", "relay_recipient_maps")
_DOMAIN_LISTS = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")
_BY_SENDER = ("sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps")
Entries = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What the configuration says. `overrides`, `listed_recipients`: our own tables' entries; None: not set up."""

    settings: Mapping[str, str]
    routing: Routing
    tls: TlsPolicy
    domains: tuple[DomainFacts, ...]
    overrides: Entries | None
    recipients: Entries | None
    other_recipients: tuple[Entries | None, ...]
    filters: Filters = field(default_factory=Filters)
    dialling: Dialling = field(default_factory=Dialling)
    notes: tuple[str, ...] = field(default=())

    @property
    def host(self) -> str:
        """The instance's own name."""
        return self.settings.get("myhostname", "localhost").lower()

    @property
    def lifetime(self) -> timedelta:
        """How long a message is tried."""
        return lifetime(self.settings.get("maximal_queue_lifetime", ""), _FIVE_DAYS)

    @property
    def bounce_lifetime(self) -> timedelta:
        """How long a bounce is tried."""
        return lifetime(self.settings.get("bounce_queue_lifetime", ""), _FIVE_DAYS)

    @property
    def held(self) -> frozenset[str]:
        """The patterns that our override table keeps in the queue."""
        return frozenset(k for k, v in (self.overrides or {}).items() if v.startswith("retry:"))

    @property
    def rejected(self) -> frozenset[str]:
        """The addresses that our override table rejects: only while a rejection is under way."""
        return frozenset(k for k, v in (self.overrides or {}).items() if v.startswith("error:"))


async def read_instance(host: PostfixHost, config_dir: str, backend: str) -> Instance:
    """Read it now. Raises Unreachable."""
    settings = read_settings(await host.settings())
    if "myhostname" not in settings:
        raise Unreachable(f"postconf tells nothing of {config_dir}: is it a Postfix configuration directory?")
    services, listed = await asyncio.gather(host.services(), _all_entries(host, config_dir, settings))
    filters = own_values(services, "content_filter")
    return interpret(config_dir, backend, settings, read_services(services), listed, filters=filters)


async def _all_entries(host: PostfixHost, config_dir: str, settings: Mapping[str, str]) -> dict[str, Entries]:
    """The entries of every table that can be listed, by its member in the setting."""
    kind = settings.get("default_database_type", "hash")
    wanted = {m: as_table(m, kind) for name in _MAPS for m in members(settings.get(name, ""))}
    for name in _DOMAIN_LISTS:
        named = (m for m in members(settings.get(name, "")) if ":" in m and not m.startswith(("!", "/")))
        wanted.update((member, as_table(member, kind)) for member in named)
    found = {m: inline_entries(t.place) for m, t in wanted.items() if t.kind == "inline"}
    turns = asyncio.Semaphore(4)
    own = (f"{config_dir}/{OVERRIDES}", f"{config_dir}/{RECIPIENTS}")

    async def entries(table: Table) -> Entries | None:
        try:
            async with turns:
                listing = await host.table(table.ref)
        except NotListable:
            # What our own tables hold or reject would be taken for not there, and written over by the next act.
            if table.place in own:
                raise
            return None
        return await asyncio.to_thread(listed_entries, listing)

    files = {member: table for member, table in wanted.items() if table.listable}
    answers = await asyncio.gather(*(entries(table) for table in files.values()))
    return {**found, **{m: answer for m, answer in zip(files, answers, strict=True) if answer is not None}}


def interpret(
    config_dir: str,
    backend: str,
    settings: Mapping[str, str],
    services: Mapping[str, Service],
    listed: Mapping[str, Entries],
    *,
    filters: Iterable[str] = (),
) -> Instance:
    """From what was read to what it means. `filters`: those that services of master.cf have of their own. Pure."""
    contents = [settings.get("content_filter", ""), *filters]
    transport = members(settings.get("transport_maps", ""))
    ours = f"{config_dir}/{OVERRIDES}"
    kind = settings.get("default_database_type", "hash")
    is_first = bool(transport) and as_table(transport[0], kind) == Table(kind, ours)
    local = frozenset().union(*(_domains(settings, name, listed) for name in _DOMAIN_LISTS[:3]))
    parents = members(settings.get("parent_domain_matches_subdomains", ""))
    routing = Routing(
        services=services,
        tables=[listed[m] for m in transport if m in listed and as_table(m, kind).place != ours],
        local=local,
        relay=_domains(settings, "relay_domains", listed) - local,
        relay_subdomains="relay_domains" in parents,
        parents_match="transport_maps" in parents,
        relayhost=settings.get("relayhost", ""),
        relay_transport=settings.get("relay_transport") or "relay",
        default_transport=settings.get("default_transport") or "smtp",
        delimiters=settings.get("recipient_delimiter", ""),
    )
    recipient_maps = members(settings.get("relay_recipient_maps", ""))
    own = [m for m in recipient_maps if as_table(m, kind) == Table(kind, f"{config_dir}/{RECIPIENTS}")]
    dialling = _dialling(settings, services)
    return Instance(
        settings=settings,
        routing=routing,
        tls=_tls(settings, services, listed),
        domains=_domain_facts(backend, routing, recipient_maps, listed),
        overrides=listed.get(transport[0], {}) if is_first else None,
        recipients=listed.get(own[0], {}) if own else None,
        other_recipients=tuple(listed.get(m) for m in recipient_maps if m not in own),
        filters=Filters.of(contents, services),
        dialling=dialling,
        notes=(
            *_notes(settings, listed, Place(family=Family.POSTFIX, config_dir=config_dir)),
            *_filter_notes(contents),
            *_unprobed(routing, dialling),
        ),
    )


def _domains(settings: Mapping[str, str], name: str, listed: Mapping[str, Entries]) -> frozenset[str]:
    return plain_domains(members(settings.get(name, "")), listed)


def _domain_facts(
    backend: str, routing: Routing, recipient_maps: Iterable[str], listed: Mapping[str, Entries]
) -> tuple[DomainFacts, ...]:
    """Without recipient tables, or with `@domain` in one, every address is passed on; else only those listed."""
    maps = list(recipient_maps)

    def type_of(domain: str) -> DomainType:
        open_to_all = not maps or any(f"@{domain}" in listed.get(m, {}) for m in maps)
        return DomainType.INTERNAL_RELAY if open_to_all else DomainType.AUTHORITATIVE

    return tuple(
        DomainFacts(backend=backend, name=d, type=type_of(d), match_subdomains=routing.relay_subdomains)
        for d in sorted(routing.relay)
    )


def _tls(settings: Mapping[str, str], services: Mapping[str, Service], listed: Mapping[str, Entries]) -> TlsPolicy:
    policies: dict[str, str] = {}
    for member in members(settings.get("smtp_tls_policy_maps", "")):
        policies = {**listed.get(member, {}), **policies}
    levels = {name: _level_of(service, settings) for name, service in services.items()}
    return TlsPolicy(level=_level(settings), levels=levels, policies=policies)


def _dialling(settings: Mapping[str, str], services: Mapping[str, Service]) -> Dialling:
    wrapped, without_mx = set(), set()
    for name, service in services.items():
        own = {**settings, **service.options}
        if own.get("smtp_tls_wrappermode") == "yes":
            wrapped.add(name)
        if (own.get("smtp_dns_support_level") or "enabled") == "disabled" or own.get("disable_dns_lookups") == "yes":
            without_mx.add(name)
    return Dialling(wrapped=frozenset(wrapped), without_mx=frozenset(without_mx))


def _level_of(service: Service, settings: Mapping[str, str]) -> str:
    if service.command == "lmtp":
        return service.options.get("lmtp_tls_security_level") or settings.get("lmtp_tls_security_level", "")
    return service.options.get("smtp_tls_security_level", "")


def _level(settings: Mapping[str, str]) -> str:
    """The level for all; the older switches count only where it isn't set."""
    if level := settings.get("smtp_tls_security_level"):
        return level
    if settings.get("smtp_enforce_tls") == "yes":
        return "encrypt"
    return "may" if settings.get("smtp_use_tls") == "yes" else "none"


def _notes(settings: Mapping[str, str], listed: Mapping[str, Entries], place: Place) -> Iterable[str]:
    kind = settings.get("default_database_type", "hash")
    for name in _MAPS:
        for member in members(settings.get(name, "")):
            table = as_table(member, kind)
            if member not in listed:
                yield f"{name}: {table.ref[:100]} can't be listed, so its entries are not seen"
            elif table.kind in FROM_TEXT:
                again = f"after a change of that, run {tool(place, 'postmap')}"
                yield f"{name}: {table.ref[:100]} is read from its text: {again}"
    for name in _DOMAIN_LISTS:
        for member in unlisted(settings.get(name, ""), listed):
            yield f"{name}: {member[:100]} can't be listed, so its domains are not seen"
    for name in _BY_SENDER:
        if settings.get(name):
            yield f"{name} is set: next hops that depend on the sender are not followed"


def _filter_notes(contents: Iterable[str]) -> Iterable[str]:
    for value in dict.fromkeys(filter(None, contents)):
        if "$" in value:
            yield f"content_filter: {value[:100]} is not followed: mail that waits for it counts at its next hop"
        else:
            yield f"content_filter: mail that waits for {value[:100]} is counted at no next hop"


def _unprobed(routing: Routing, dialling: Dialling) -> Iterable[str]:
    for key, why in not_probed(routing, dialling).items():
        yield f"not probed: {key[:100]}, as it speaks {why}: only its queue tells of trouble"
