"""Exchange Online as a Backend: cmdlets for connectors, domains, directory and changes; the trace for the queue.

What it can't do, it doesn't declare: nobody outside Microsoft can reject or retry what waits in Exchange Online.
Without a second app registration (the fixer) it only reads.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bot.backends.exchange_online import acts, checking, connectors, domains, fate, recipients
from bot.backends.exchange_online.budget import WINDOW, Budget
from bot.backends.exchange_online.cmdlet_trace import CmdletTrace
from bot.backends.exchange_online.evidence import Chooser
from bot.backends.exchange_online.graph_trace import GraphTrace
from bot.backends.exchange_online.http import Sleep, Wire
from bot.backends.exchange_online.invoke import Invoker
from bot.backends.exchange_online.options import Options, Registration, read_options
from bot.backends.exchange_online.queue import Queue, QueueRead
from bot.backends.exchange_online.rows import Json
from bot.backends.exchange_online.signin import SignIn
from bot.backends.exchange_online.trace_source import Trace
from bot.backends.ports import MessageRef, RecipientAnswer, Refused, Snapshot, Unreachable
from bot.core.capabilities import Capability, Family, Place
from bot.core.clock import Clock
from bot.core.finding import Finding
from storage.records import ConnectorFacts, DomainFacts, DomainType, MessageFacts

LIFETIME_FOR = timedelta(hours=1)
"""How long the tenant's MessageExpiration counts as known."""
READS = frozenset(
    (
        *(Capability.READ_CONNECTORS, Capability.READ_DOMAINS, Capability.READ_QUEUE),
        *(Capability.READ_REASONS, Capability.READ_RECIPIENTS),
    )
)
ACTS = frozenset((Capability.SET_DOMAIN_TYPE, Capability.SET_CONNECTOR_ENABLED, Capability.REJECTS_AT_RETRY))


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """The part of a snapshot that people set."""

    connectors: Sequence[ConnectorFacts]
    domains: Sequence[DomainFacts]
    notes: tuple[str, ...]


class ExchangeOnlineBackend:
    """One tenant. `pick` chooses at random whose reason is looked at; `sleep` and `monotonic` are for tests.

    `clock`: the moment of the mail; `machine_clock`: what the service's clock is compared with. Tests part the two.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        *,
        clock: Clock,
        machine_clock: Clock = utc_now,
        pick: Chooser | None = None,
        sleep: Sleep = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._options = options
        self._clock = clock
        self._machine_clock = machine_clock
        self._sleep = sleep
        places = options.endpoints
        self._wire = self._wired()
        self._reader = self._signed_in(options.reader)
        self._fixer = self._signed_in(options.fixer) if options.fixer else None
        self._invoker = Invoker(places, self._wire, self._reader, sleep=sleep, monotonic=monotonic)
        self._acting = (
            Invoker(places, self._wire, self._fixer, sleep=sleep, monotonic=monotonic) if self._fixer else None
        )
        self._budget = Budget(options.budget, options.quota)
        self._trace: Trace = (
            GraphTrace(places, self._wire, self._reader, self._budget, sleep=sleep)
            if places.traces
            else CmdletTrace(self._invoker, self._wire, self._budget)
        )
        self._queue = Queue(
            name,
            self._trace,
            self._budget,
            self._wire.now,
            settle=options.settle,
            pick=pick or random.SystemRandom().randrange,
        )
        self._lifetime: tuple[datetime, timedelta, tuple[str, ...]] | None = None
        self._last: tuple[datetime, QueueRead] | None = None
        self._reading = asyncio.Lock()
        self._changes = 0
        """How many changes were asked for so far."""

    @property
    def name(self) -> str:
        """The instance's name in MFI_BACKENDS."""
        return self._name

    @property
    def place(self) -> Place:
        """Exchange Online."""
        return Place(family=Family.EXCHANGE_ONLINE)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Reading, and with a fixer the changes of settings. Never rejecting or retrying what waits."""
        return READS | ACTS if self._fixer else READS

    async def snapshot(self) -> Snapshot:
        """Connectors and domains as they are, and what waits. Where the budget doesn't allow another listing yet: what
        waited at the last one, with the moment at which that was true, for 5 minutes at most.
        """
        async with self._reading:
            now = self._wire.now()
            # Never from memory: they cost no trace request, and old ones would take back what Fix now has changed.
            changes, settings = self._changes, await self._read_settings()
            kept = self._last if self._last is not None and not self._listing_is_due(now) else None
            again = kept is not None and timedelta(0) <= now - kept[0] < WINDOW
            if kept is None or not again:
                kept = self._last = (now, await self._read_queue(settings, now))
            if self._changes != changes:
                # A long listing takes minutes: what was changed meanwhile counts.
                settings = await self._read_settings()
            at, queue = kept
            return Snapshot(
                connectors=settings.connectors,
                domains=settings.domains,
                messages=queue.messages,
                ended=queue.ended,
                vanished=queue.vanished,
                true_at=at if again else None,
                notes=(*settings.notes, *queue.notes, *self._clock_notes()),
            )

    async def recipients(self, addresses: Iterable[str]) -> RecipientAnswer:
        """Ask the directory; what it doesn't surely answer for stays unknown."""
        return await recipients.look_up(self._invoker, addresses, await self._domains())

    async def connector(self, key: str) -> ConnectorFacts | None:
        """One connector as it is now."""
        row = await connectors.read_connector(self._invoker, key)
        return None if row is None else self._facts(row)[0]

    async def domain(self, name: str) -> DomainFacts | None:
        """One accepted domain as it is now."""
        return await domains.read_domain(self._invoker, self._name, name)

    async def messages(self, refs: Iterable[MessageRef]) -> Sequence[MessageFacts]:
        """These messages as the trace has them now; it may lag behind by 5 to 10 minutes."""
        return await fate.follow(refs, self._trace, self._queue, self._wire.now)

    async def check(self) -> Sequence[Finding]:
        """Sign-in, rights and clocks of both app registrations."""
        parts = checking.Parts(
            name=self._name,
            options=self._options,
            reader=self._reader,
            fixer=self._fixer,
            invoker=self._invoker,
            acting=self._acting,
            trace=self._trace,
            wire=self._wire,
        )
        return await checking.examine(parts)

    async def set_domain_type(self, name: str, to: DomainType) -> None:
        """Change an accepted domain's type."""
        async with self._changing() as fixer:
            await acts.set_domain_type(self._invoker, fixer, self._name, name, to)

    async def set_connector_enabled(self, key: str, *, enabled: bool) -> None:
        """Switch a connector."""
        async with self._changing() as fixer:
            await acts.set_connector_enabled(self._invoker, fixer, key, enabled=enabled)

    async def reject(self, refs: Sequence[MessageRef], reason: str) -> None:
        """Not possible, so not declared."""
        del refs, reason
        raise Refused(
            "nobody can reject queued messages in Exchange Online; it rejects invalid recipients at its retry"
        )

    async def retry(self, connector_key: str) -> None:
        """Not possible, so not declared."""
        del connector_key
        raise Refused("nobody can make Exchange Online retry now; it retries by itself within the hour")

    async def close(self) -> None:
        """Release connections."""
        await self._wire.close()
        await self._reader.close()
        if self._fixer is not None:
            await self._fixer.close()

    def _signed_in(self, registration: Registration) -> SignIn:
        """Its own wire: the sign-in's clock is not the mail's."""
        return SignIn(registration, self._options.endpoints, self._wired(), sleep=self._sleep)

    def _wired(self) -> Wire:
        options = self._options
        return Wire(self._clock, self._machine_clock, timeout=options.timeout, ca_file=options.endpoints.ca_file)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[Invoker]:
        """Who may act. Also of a failed act nobody knows for sure that it changed nothing."""
        if self._acting is None:
            raise Refused(f"{self._name} may only read: set MFI_{self._name.upper()}_FIXER_CLIENT_ID to let it act")
        try:
            yield self._acting
        finally:
            self._changes += 1

    def _listing_is_due(self, now: datetime) -> bool:
        """Does our share of the requests allow as many pages as the last read took?"""
        return self._budget.free(now) >= min(self._queue.pages, self._budget.limit)

    async def _read_settings(self) -> _Settings:
        read = [self._facts(row) for row in await connectors.read_connectors(self._invoker)]
        return _Settings(
            connectors=[facts for facts, _ in read],
            domains=await self._domains(),
            notes=tuple(note for _, odd in read for note in odd),
        )

    async def _read_queue(self, settings: _Settings, now: datetime) -> QueueRead:
        lifetime, notes = await self._expires_after(now)
        queue = await self._queue.read(settings.connectors, settings.domains, lifetime)
        return replace(queue, notes=(*notes, *queue.notes))

    def _clock_notes(self) -> tuple[str, ...]:
        """Where our clock is behind, young mail is seen that much later."""
        if self._wire.skew < checking.SKEW:
            return ()
        behind = round(self._wire.skew.total_seconds())
        return (f"this machine's clock is {behind} s behind Microsoft's: mail younger than that is not seen yet",)

    async def _domains(self) -> list[DomainFacts]:
        return await domains.read_domains(self._invoker, self._name, official=self._options.domains_api == "v2")

    async def _expires_after(self, now: datetime) -> tuple[timedelta, tuple[str, ...]]:
        if self._lifetime is None or not timedelta(0) <= now - self._lifetime[0] < LIFETIME_FOR:
            self._lifetime = (now, *await domains.read_lifetime(self._invoker))
        return self._lifetime[1:]

    def _facts(self, row: Json) -> tuple[ConnectorFacts, tuple[str, ...]]:
        try:
            return connectors.connector_facts(self._name, row)
        except ValueError as error:
            raise Unreachable(f"Exchange gave a connector that can't be read: {error}") from None


def make(name: str, settings: Mapping[str, str]) -> ExchangeOnlineBackend:
    """A backend from its settings (without their prefix), not yet connected. Raises BadOptions."""
    return ExchangeOnlineBackend(name, read_options(settings), clock=utc_now)
