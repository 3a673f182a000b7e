"""One Postfix instance behind the ports: the read side, and the act side as far as it is set up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from bot.backends.ports import MessageRef, RecipientAnswer, Snapshot
from bot.backends.postfix.acting import Acts
from bot.backends.postfix.checking import check
from bot.backends.postfix.directory import Directory, Listed
from bot.backends.postfix.host import PostfixHost
from bot.backends.postfix.instance import OVERRIDES, Instance
from bot.backends.postfix.options import Options
from bot.backends.postfix.queue import ON_HOLD, Listing
from bot.backends.postfix.reading import Reader
from bot.core.capabilities import Capability, Place
from bot.core.finding import Finding
from bot.core.fix_mail import plural
from storage.records import ConnectorFacts, DomainFacts, DomainType, MessageFacts

_READS = frozenset(
    {Capability.READ_CONNECTORS, Capability.READ_DOMAINS, Capability.READ_QUEUE, Capability.READ_REASONS}
)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PostfixBackend:
    """One instance. What it can do beyond reading is known once its configuration was read: by any read, or check()."""

    def __init__(
        self, name: str, options: Options, *, host: PostfixHost | None = None, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._name = name
        self._options = options
        self._host = host or PostfixHost(options)
        self._reader = Reader(name, options, self._host, now)
        self._directory = Directory(options.recipients) if options.recipients else None
        self._acts = Acts(self._host, self._reader, self._directory, options.config_dir)

    @property
    def name(self) -> str:
        """The instance's name in MFI_BACKENDS."""
        return self._name

    @property
    def place(self) -> Place:
        """Postfix, with its own configuration directory."""
        return self._options.place

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Reads always; acts with the setting ACT, as far as our tables are set up in Postfix."""
        found = set(_READS)
        if self._directory:
            found.add(Capability.READ_RECIPIENTS)
        seen = self._reader.last
        if self._options.act and seen:
            found |= {Capability.REJECT_MESSAGES, Capability.RETRY_QUEUE}
            if seen.overrides is not None:
                found |= {Capability.REJECT_SINGLE_RECIPIENTS, Capability.SET_CONNECTOR_ENABLED}
            if seen.recipients is not None and self._directory:
                found.add(Capability.SET_DOMAIN_TYPE)
        return frozenset(found)

    async def snapshot(self) -> Snapshot:
        """Next hops, relay domains and queue."""
        instance = await self._reader.instance()
        listing = await self._reader.listing(instance)
        listed = await self._directory.listed() if self._directory else None
        return Snapshot(
            connectors=self._reader.connectors(instance),
            domains=instance.domains,
            messages=list(listing.messages.values()),
            ended=self._reader.tracker.news(),
            routed=True,
            notes=(*instance.notes, *self._notes(instance, listing, listed)),
        )

    async def recipients(self, addresses: Iterable[str]) -> RecipientAnswer:
        """What the operator's list says; without one, nothing."""
        if self._directory is None:
            return RecipientAnswer()
        return (await self._directory.listed()).answer(addresses)

    async def connector(self, key: str) -> ConnectorFacts | None:
        """One next hop as it is now."""
        instance = await self._reader.instance()
        return next((c for c in self._reader.connectors(instance) if c.key == key), None)

    async def domain(self, name: str) -> DomainFacts | None:
        """One relay domain as it is now."""
        instance = await self._reader.instance()
        return next((d for d in instance.domains if d.name == name.lower()), None)

    async def messages(self, refs: Iterable[MessageRef]) -> Sequence[MessageFacts]:
        """These as they are now: waiting, or as the log says that they left."""
        instance = await self._reader.instance()
        waiting = (await self._reader.listing(instance)).messages
        wanted = ((ref.key, ref.recipient.lower()) for ref in refs)
        found = (waiting.get(ref) or self._reader.tracker.ended(ref) for ref in wanted)
        return [message for message in found if message]

    async def check(self) -> Sequence[Finding]:
        """What it can and can't do, each fault with its fix."""
        return await check(self._name, self._options, self._host, self._reader, self._directory)

    async def reject(self, refs: Sequence[MessageRef], reason: str) -> None:
        """Return these to their senders: single recipients where our override table is set up."""
        await self._acts.reject(refs, reason)

    async def set_domain_type(self, name: str, to: DomainType) -> None:
        """Accept only the directory's addresses of a relay domain, or all."""
        await self._acts.set_domain_type(name, to)

    async def set_connector_enabled(self, key: str, *, enabled: bool) -> None:
        """Keep a next hop's mail in the queue, or let it go again."""
        await self._acts.set_connector_enabled(key, enabled=enabled)

    async def retry(self, connector_key: str) -> None:
        """Have what waits for a next hop tried again now."""
        await self._acts.retry(connector_key)

    async def close(self) -> None:
        """Nothing is kept open between two requests."""

    def _notes(self, instance: Instance, listing: Listing, listed: Listed | None) -> Iterable[str]:
        if self._host.complaint:
            yield f"listing the queue: {self._host.complaint}"
        if listing.unreadable:
            yield f"{listing.unreadable} lines of the queue's listing could not be read"
        if held := listing.by_queue[ON_HOLD]:
            yield f"not counted: {plural(held, 'message')} on hold, which Postfix neither tries nor bounces"
        yield from _behind_filters(instance, listing)
        if self._reader.log_trouble:
            yield f"how mail left is not known: {self._reader.log_trouble}"
        if instance.rejected:
            yield f"{OVERRIDES} still rejects {len(instance.rejected)} addresses: the next act clears that"
        yield from _open_lists(instance, listed)


def _behind_filters(instance: Instance, listing: Listing) -> Iterable[str]:
    """How much waits for content filters, and why: no incident tells that."""
    filters = {hop.key for hop in instance.filters.hops}
    waiting = [m for m in listing.messages.values() if m.connector_key in filters] if filters else []
    for key in sorted({m.connector_key or "" for m in waiting}):
        told = [m.reason or "" for m in waiting if m.connector_key == key]
        count = plural(len(told), "message")
        yield f"{count} waiting for the content filter {key[:100]}, which is no next hop: {told[-1][:200]}"


def _open_lists(instance: Instance, listed: Listed | None) -> Iterable[str]:
    """Domains whose accepted addresses are behind the directory: new addresses would be turned away."""
    if listed is None or instance.recipients is None:
        return
    for domain in sorted(listed.complete & instance.routing.relay):
        accepted = {a for a in instance.recipients if a.endswith(f"@{domain}")}
        behind = len(set(listed.of(domain)) - accepted)
        if behind and accepted and f"@{domain}" not in accepted:
            yield f"{domain} is authoritative, but Postfix doesn't accept {behind} addresses of its directory yet"
