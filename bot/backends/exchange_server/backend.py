"""One Exchange Server organisation behind the ports, known through the script's documents and moved by signed orders.

What it reads was so when the newest document was begun: a Snapshot says when that is. A queue that was not listed
whole is not reported at all. After an order, reads wait for a document that was begun after it was carried out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from bot.backends.exchange_server.acts import Acts
from bot.backends.exchange_server.checking import check
from bot.backends.exchange_server.document import FROM_AHEAD, SET_CLOCKS, SKEW, Document, newest
from bot.backends.exchange_server.options import Options
from bot.backends.exchange_server.orders import GRACE, REJECTED, Orders, Result
from bot.backends.exchange_server.queue_facts import Listing, read_queues
from bot.backends.exchange_server.rows import Json, needed_moment, text, texts
from bot.backends.exchange_server.settings_facts import Ownership, Settings, read_settings
from bot.backends.exchange_server.threads import Threads
from bot.backends.ports import MessageRef, RecipientAnswer, Refused, Snapshot, Unreachable
from bot.core.capabilities import Capability, Family, Place
from bot.core.clock import Clock
from bot.core.finding import Finding
from storage.records import ConnectorFacts, DomainFacts, DomainType, MessageFacts, MessageStatus

READS = frozenset({Capability.READ_CONNECTORS, Capability.READ_DOMAINS, Capability.READ_QUEUE, Capability.READ_REASONS})
ACTS = frozenset(
    {
        Capability.REJECT_MESSAGES,
        Capability.SET_CONNECTOR_ENABLED,
        Capability.SET_DOMAIN_TYPE,
        Capability.RETRY_QUEUE,
    }
)
NEWER_WITHIN = 25.0
"""Seconds that a read waits for a document that is newer than our last order."""
REMEMBERED = timedelta(days=1)
_PAUSE = 0.25


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _View:
    """A document and what it means. `ahead`: newer ones are from the future."""

    document: Document
    settings: Settings
    listing: Listing
    ahead: bool = False


class ExchangeServerBackend:
    """One drop folder. `clock` dates orders; `newer_within`: seconds that a read after an order may wait; `grace`:
    seconds more than the option WAIT for the answer to an order that was taken.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        *,
        clock: Clock = utc_now,
        newer_within: float = NEWER_WITHIN,
        grace: float = GRACE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._options = options
        self._clock = clock
        self._newer_within = newer_within
        self._monotonic = monotonic
        self._threads = Threads(name)
        self._orders = Orders(
            options.drop, options.key_file, clock, self._threads, wait=options.wait, grace=grace, monotonic=monotonic
        )
        self._acts = Acts(self._orders)
        self._ownership = Ownership(on_premises=options.on_premises, partner=options.partner)
        self._view: _View | None = None
        self._banned: set[str] = set()
        self._asked_for: dict[tuple[str, str], MessageFacts] = {}
        self._reading = asyncio.Lock()
        self._acting = asyncio.Lock()

    @property
    def name(self) -> str:
        """The instance's name in MFI_BACKENDS."""
        return self._name

    @property
    def place(self) -> Place:
        """Exchange Server."""
        return Place(family=Family.EXCHANGE_SERVER)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Reads always; acts with a key on both sides; the directory while the newest document holds a whole one."""
        found = set(READS)
        seen = self._view.document if self._view else None
        if self._options.key_file and (seen is None or seen.acts):
            found |= ACTS
        if seen is not None and seen.directory is not None:
            found.add(Capability.READ_RECIPIENTS)
        return frozenset(found)

    async def snapshot(self) -> Snapshot:
        """What the newest document holds. Raises Unreachable where its queue is not whole."""
        view = await self._read()
        _insist_on_whole_queue(view.document)
        rejected = await self._rejected()
        waiting = view.listing.messages
        ended = [m for ref, (m, at) in rejected.items() if ref not in waiting or at > view.document.started_at]
        gone = {(m.key, m.recipient) for m in ended}
        faults = view.document.faults
        return Snapshot(
            connectors=None if "connectors" in faults else view.settings.connectors,
            domains=None if "domains" in faults else view.settings.domains,
            messages=[m for ref, m in waiting.items() if ref not in gone],
            ended=ended,
            true_at=view.document.started_at,
            overdue=self._overdue(view),
            routed="connectors" not in faults,  # a queue names its send connector
            notes=tuple(self._notes(view)),
        )

    async def recipients(self, addresses: Iterable[str]) -> RecipientAnswer:
        """What the directory in the newest document says; nothing where there is no whole one."""
        directory = (await self._read()).document.directory
        if directory is None:
            return RecipientAnswer()
        wanted = {address.lower() for address in addresses}
        told = {address for address in wanted if address.rpartition("@")[2] in directory.domains}
        return RecipientAnswer(
            valid=frozenset(wanted & directory.addresses),
            invalid=frozenset(told - directory.addresses),
            true_at=directory.read_at,
        )

    async def connector(self, key: str) -> ConnectorFacts | None:
        """One send connector as it was at the newest document."""
        view = await self._current("connectors")
        return next((c for c in view.settings.connectors if c.key == key), None)

    async def domain(self, name: str) -> DomainFacts | None:
        """One accepted domain as it was at the newest document."""
        view = await self._current("domains")
        return next((d for d in view.settings.domains if d.name == name.lower()), None)

    async def messages(self, refs: Iterable[MessageRef]) -> Sequence[MessageFacts]:
        """These as they were at the newest document; ended ones where an order of ours rejected them."""
        view = await self._current("queues", "messages")
        _insist_on_whole_queue(view.document)
        rejected = await self._rejected()
        found: list[MessageFacts] = []
        for ref in ((r.key, r.recipient.lower()) for r in refs):
            if ref in view.listing.messages:
                found.append(view.listing.messages[ref])
            elif ref in rejected:
                found.append(rejected[ref][0])
        return found

    async def check(self) -> Sequence[Finding]:
        """Folder, documents, key and versions, each fault with its fix."""
        return await check(self._name, self._options, self._clock)

    async def reject(self, refs: Sequence[MessageRef], reason: str) -> None:
        """Have these removed with an NDR. Exchange words the NDR itself, so `reason` is not used."""
        del reason
        async with self._acting:
            view = await self._ready()
            _insist_on_whole_queue(view.document)
            named = ((ref.key, ref.recipient.lower()) for ref in refs)
            self._asked_for.update({ref: view.listing.messages[ref] for ref in named if ref in view.listing.messages})
            await self._acts.reject(view.listing, refs)

    async def set_domain_type(self, name: str, to: DomainType) -> None:
        """Change an accepted domain's type."""
        async with self._acting:
            view = await self._ready()
            await self._acts.set_domain_type(view.settings.domains, name, to)

    async def set_connector_enabled(self, key: str, *, enabled: bool) -> None:
        """Switch a send connector."""
        async with self._acting:
            view = await self._ready()
            await self._acts.set_connector_enabled(view.settings.connectors, key, enabled=enabled)

    async def retry(self, connector_key: str) -> None:
        """Have a send connector's queues tried again now."""
        async with self._acting:
            view = await self._ready()
            await self._acts.retry(view.listing, connector_key)

    async def close(self) -> None:
        """End the threads."""
        self._threads.close()

    async def _read(self) -> _View:
        """The newest document."""
        async with self._reading:
            self._view = await self._threads.run(partial(self._look, self._view))
            return self._view

    def _look(self, known: _View | None) -> _View:
        key = self._orders.key() if self._options.key_file else None
        held = known.document if known else None
        found = newest(self._options.drop, key, held, now=self._clock(), banned=self._banned)
        document = found.document
        if known is not None and document is known.document:
            return replace(known, ahead=found.ahead)
        try:
            settings = read_settings(self._name, document.connectors, document.domains, self._ownership)
            keys = {connector.key for connector in settings.connectors}
            listing = read_queues(self._name, document.queues, document.messages, keys)
        except ValueError as error:
            raise Unreachable(f"{document.name} can't be used: {error}") from None
        document.messages.clear()
        return _View(document, settings, listing, found.ahead)

    async def _current(self, *parts: str) -> _View:
        """The newest document, not from before our last order, in which these parts are whole."""
        until = self._monotonic() + self._newer_within
        view = await self._read()
        while await self._threads.run(partial(self._orders.overtake, view.document.started_at)):
            if self._monotonic() > until:
                raise Unreachable(
                    f"no document came within {self._newer_within:g} s after our last order: does the task run?"
                )
            await asyncio.sleep(_PAUSE)
            view = await self._read()
        for part in parts:
            if part in view.document.faults:
                raise Unreachable(f"the script could not read the {part}: {view.document.faults[part][0]}")
        return view

    async def _ready(self) -> _View:
        """What an order is based on: a fresh document of a script that acts."""
        if self._options.key_file is None:
            raise Refused(f"{self._name} may only read: set MFI_{self._name.upper()}_KEY_FILE to let it act")
        view = await self._current("connectors", "domains", "queues")
        age = self._clock() - view.document.started_at
        if age < -SKEW:
            raise Unreachable(f"the newest document is {FROM_AHEAD}: {SET_CLOCKS}")
        if age > self._options.max_age:
            raise Unreachable(f"the newest document is {_minutes(age)} old: the scheduled task doesn't run")
        if not view.document.acts:
            raise Refused("the script only reads: let its scheduled task run with -KeyFile")
        return view

    async def _rejected(self) -> dict[tuple[str, str], tuple[MessageFacts, datetime]]:
        """What orders of the last day rejected, and when, by (key, recipient)."""
        if self._options.key_file is None:
            return {}
        since = self._clock() - REMEMBERED
        results = await self._threads.run(lambda: self._orders.results(self._orders.key(), since))
        return {(m.key, m.recipient): (m, r.finished_at) for r in results for m in self._ended(r)}

    def _ended(self, result: Result) -> Iterator[MessageFacts]:
        for row in result.messages:
            if row.get("outcome") != REJECTED:
                continue
            key = text(row, "identity", 600)
            for recipient in map(str.lower, texts(row, "recipients")):
                known = self._asked_for.get((key, recipient))
                yield replace(known, status=MessageStatus.REJECTED) if known else _rejected(self._name, row, recipient)

    def _overdue(self, view: _View) -> str | None:
        """Without its age: it is told once, not anew with each minute."""
        document = view.document
        if self._clock() - document.started_at <= self._options.max_age:
            return None
        clocks = f" but for some {FROM_AHEAD}: {SET_CLOCKS}, then" if view.ahead else ":"
        return (
            f"no newer document than of {document.started_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC{clocks} "
            f"look at the scheduled task on {document.server} (schtasks /Query /V /TN mfi-exchange); "
            f"if its runs take so long, raise MFI_{self._name.upper()}_MAX_AGE"
        )

    def _notes(self, view: _View) -> Iterator[str]:
        yield from view.settings.notes
        yield from view.listing.notes
        if view.ahead:
            yield f"newer documents are {FROM_AHEAD}, so they are not used: {SET_CLOCKS}"
        for part in ("connectors", "domains", "directory"):
            for fault in view.document.faults.get(part, ()):
                yield f"the script could not read the {part}: {fault}"


def _rejected(backend: str, row: Json, recipient: str) -> MessageFacts:
    """What an answer says of a message that this process didn't see waiting."""
    sender = text(row, "sender", 320)
    return MessageFacts(
        backend=backend,
        key=text(row, "identity", 600),
        recipient=recipient,
        sender="" if sender == "<>" else sender,
        received_at=needed_moment(row, "received_at"),
        expires_at=needed_moment(row, "expires_at"),
        status=MessageStatus.REJECTED,
    )


def _insist_on_whole_queue(document: Document) -> None:
    for part in ("servers", "queues", "messages"):
        if part in document.faults:
            raise Unreachable(f"the script could not read all {part}: {document.faults[part][0]}")
    if document.cut_short:
        first = document.cut_short[0]
        raise Unreachable(
            f"queue {text(first, 'Identity', 200)} holds {first.get('MessageCount')} messages, not all of them listed: "
            "give the script a larger -MaxMessages"
        )


def _minutes(age: timedelta) -> str:
    return f"{age.total_seconds() / 60:.0f} min"
