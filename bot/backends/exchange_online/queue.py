"""The queue of a tenant, built from its message trace: what waits, why (of a sample), and how mail left.

Promises: what waits is a whole listing or it raises. A message that waits no more is looked for among the failed ones;
when that listing is whole, one that isn't there was delivered. Mail younger than `settle` is in flight and left out,
until it was listed once. Details are asked for with what the budget leaves after the next listing; too little means
less evidence, never a shorter list.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bot.backends.exchange_online.budget import Budget
from bot.backends.exchange_online.evidence import (
    Chooser,
    Evidence,
    Memory,
    Room,
    chosen,
    is_expiry,
    of_deferral,
    of_failure,
    shared_code,
)
from bot.backends.exchange_online.http import Throttled
from bot.backends.exchange_online.trace_rows import ENDS, FAILED, PENDING, Event, Listing, Ref, TraceRow, oldest
from bot.backends.ports import BackendError
from bot.core.assignment import assigner
from bot.core.clock import Clock
from storage.records import Connector, ConnectorFacts, DomainFacts, MessageFacts, MessageStatus

MARGIN = timedelta(hours=1)
"""The window reaches so much further back than mail lives: nothing that still waits is older."""
NEARLY = timedelta(minutes=15)
TOLD_AGAIN_FOR = timedelta(hours=1)
"""An ending is told with every read for so long: whoever lost one read still learns of it."""
FAILURES_ASKED = 10
AT_ONCE = 4
DETAILS_DEADLINE = 25.0


class Trace(Protocol):
    """Where rows and events come from: Graph, or the cmdlets."""

    async def listing(
        self, since: datetime, *, status: str | None = None, key: str | None = None, recipient: str | None = None
    ) -> Listing:
        """Every row that came in since then and has these properties."""
        ...

    async def events(self, ref: Ref, received_at: datetime) -> tuple[Event, ...]:
        """What happened to one message on its way to one recipient, oldest first."""
        ...

    async def probe(self, *, patient: bool) -> None:
        """Ask for a single row, to see whether we may."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRead:
    """One read of the queue, in the terms of Snapshot."""

    messages: Sequence[MessageFacts]
    ended: Sequence[MessageFacts]
    vanished: MessageStatus
    notes: tuple[str, ...]


class Queue:
    """What one instance remembers between reads: what waited, the evidence, how mail ended."""

    def __init__(
        self, name: str, trace: Trace, budget: Budget, now: Clock, *, settle: timedelta, pick: Chooser
    ) -> None:
        self._name = name
        self._trace = trace
        self._budget = budget
        self._now = now
        self._settle = settle
        self._pick = pick
        self._waited: dict[Ref, TraceRow] | None = None
        self._memory = Memory()
        self._endings: dict[Ref, tuple[datetime, MessageFacts]] = {}
        self.lifetime = timedelta(hours=24)
        self.pages = 1
        """How many requests the listings of the last read took."""

    async def read(
        self, connectors: Sequence[ConnectorFacts], domains: Sequence[DomainFacts], lifetime: timedelta
    ) -> QueueRead:
        """Everything that waits now. Raises BackendError when the listing isn't whole."""
        self.lifetime = lifetime
        now = self._now()
        listing = await self._trace.listing(now - lifetime - MARGIN, status=PENDING)
        waiting, odd = await asyncio.to_thread(self._sorted, listing, now)
        known = self._waited
        vanished = {ref: row for ref, row in (known or {}).items() if ref not in waiting and ref not in odd}
        failed, notes = await self._failed(known is None, vanished, now)
        self.pages = listing.pages + (failed.pages if failed else 0)
        self._memory_of_ended(odd, vanished, failed, now)
        if failed is not None:
            await self._explain_failures(vanished, failed, now)
        asked = await self._sample(waiting, connectors, domains)
        messages = await asyncio.to_thread(self._facts, waiting, connectors, domains)
        self._waited = waiting
        self._memory.keep_only(waiting)
        told = [*_notes(listing, waiting, odd), *notes, *asked]
        sure = failed is not None and failed.whole and listing.whole and known is not None
        return QueueRead(
            messages=messages,
            ended=[facts for _, facts in self._endings.values()],
            # Before the first read of this process others may have waited, of which nobody knows when they left.
            vanished=MessageStatus.DELIVERED if sure else MessageStatus.GONE,
            notes=tuple(told),
        )

    def received_at(self, ref: Ref) -> datetime | None:
        """When a message that waited at the last read came in."""
        row = (self._waited or {}).get(ref)
        return row.received_at if row else None

    def facts_of(self, row: TraceRow, status: MessageStatus, evidence: Evidence | None = None) -> MessageFacts:
        """A row in our own terms, with the given evidence or what is remembered."""
        known = evidence if evidence is not None and evidence.reason else self._memory.get(row.ref)
        return MessageFacts(
            backend=self._name,
            key=row.key,
            recipient=row.recipient,
            sender=row.sender,
            received_at=row.received_at,
            expires_at=row.received_at + self.lifetime,
            status=status,
            size=row.size,
            code=known.code if known else None,
            reason=known.reason if known else None,
            remote_host=known.remote_host if known else None,
            remote_ip=known.remote_ip if known else None,
            evidence_at=known.at if known else None,
        )

    def failure_of(self, row: TraceRow, now: datetime, evidence: Evidence | None) -> MessageFacts:
        """A failed message: expired if its details say so; without details, if its time was about over."""
        if evidence is not None and evidence.reason:
            over = is_expiry(evidence)
        else:
            over = now >= row.received_at + self.lifetime - NEARLY
        return self.facts_of(row, MessageStatus.EXPIRED if over else MessageStatus.REJECTED, evidence)

    async def explained(self, row: TraceRow) -> Evidence | None:
        """What the details of a failed message say; None where they can't be had."""
        try:
            return of_failure(await self._trace.events(row.ref, row.received_at), self._now())
        except BackendError:
            return None

    def _sorted(self, listing: Listing, now: datetime) -> tuple[dict[Ref, TraceRow], dict[Ref, TraceRow]]:
        """(what waits, rows of a listing of waiting mail that say something else)."""
        waiting: dict[Ref, TraceRow] = {}
        odd: dict[Ref, TraceRow] = {}
        known = self._waited or {}
        for ref, row in listing.rows.items():
            if row.ending is not MessageStatus.QUEUED:
                odd[ref] = row
            elif ref in known or now - row.received_at >= self._settle:
                waiting[ref] = row
        return waiting, odd

    async def _failed(
        self, first: bool, vanished: Mapping[Ref, TraceRow], now: datetime
    ) -> tuple[Listing | None, list[str]]:
        """The failed ones among which to look: none where nothing vanished, None where they can't be had."""
        if not first and not vanished:
            return Listing(), []
        since = now - self.lifetime - MARGIN if first else oldest(vanished.values())
        try:
            return await self._trace.listing(since - timedelta(minutes=1), status=FAILED), []
        except BackendError as error:
            who = "mail left before the start" if first else f"{len(vanished)} messages left"
            return None, [f"how {who} is not known: {error}"]

    def _memory_of_ended(
        self, odd: Mapping[Ref, TraceRow], vanished: Mapping[Ref, TraceRow], failed: Listing | None, now: datetime
    ) -> None:
        """Remember how mail ended, as far as it is told: later news of the same message counts."""
        self._endings = {
            ref: one for ref, one in self._endings.items() if timedelta(0) <= now - one[0] < TOLD_AGAIN_FOR
        }
        for row in odd.values():
            if self._waited is None or row.ref in self._waited:
                self._endings[row.ref] = (now, self.facts_of(row, row.ending))
        for row in (failed or Listing()).rows.values():
            if self._waited is None or row.ref in vanished:
                self._endings[row.ref] = (now, self.failure_of(row, now, None))

    async def _explain_failures(self, vanished: Mapping[Ref, TraceRow], failed: Listing, now: datetime) -> None:
        """Ask for the reason of some of those that failed just now."""
        free = min(FAILURES_ASKED, self._budget.for_details(self._now(), self.pages))
        rows = [row for ref, row in failed.rows.items() if ref in vanished][:free]
        for row, evidence in zip(rows, await self._asked(rows, of_failure), strict=True):
            if evidence is not None:
                self._endings[row.ref] = (now, self.failure_of(row, now, evidence))

    async def _sample(
        self, waiting: Mapping[Ref, TraceRow], connectors: Sequence[ConnectorFacts], domains: Sequence[DomainFacts]
    ) -> list[str]:
        """Ask why some of what waits does so. Returns what to tell about it."""
        now = self._now()
        # A first reason is worth a later listing; more of them are not.
        room = Room(free=self._budget.for_details(now, self.pages), first=self._budget.free(now))
        groups = await asyncio.to_thread(self._grouped, waiting.values(), connectors, domains)
        rows = await asyncio.to_thread(chosen, groups, self._memory, now, room, self._pick)
        answers = await self._asked(rows, of_deferral)
        for row, evidence in zip(rows, answers, strict=True):
            if evidence is not None:
                self._memory.put(row.ref, evidence)
        if not waiting:
            return []
        failures = sum(evidence is None for evidence in answers)
        lost = f", {failures} of them without an answer" if failures else ""
        return [f"reasons: {len(rows)} of {len(waiting)} waiting messages were looked at{lost}"]

    async def _asked(
        self, rows: Sequence[TraceRow], read: Callable[[Sequence[Event], datetime], Evidence]
    ) -> list[Evidence | None]:
        """The evidence of each of these; None where it could not be had. Stops when the service wants a pause."""
        turn = asyncio.Semaphore(AT_ONCE)
        found: list[Evidence | None] = [None] * len(rows)
        stop = False

        async def ask(number: int) -> None:
            nonlocal stop
            async with turn:
                if stop:
                    return
                try:
                    events = await self._trace.events(rows[number].ref, rows[number].received_at)
                    found[number] = await asyncio.to_thread(read, events, self._now())
                except Throttled:
                    stop = True
                except BackendError:
                    return

        try:
            async with asyncio.timeout(DETAILS_DEADLINE):
                await asyncio.gather(*(ask(number) for number in range(len(rows))))
        except TimeoutError:
            pass
        return found

    def _grouped(
        self, rows: Iterable[TraceRow], connectors: Sequence[ConnectorFacts], domains: Sequence[DomainFacts]
    ) -> dict[int | None, list[TraceRow]]:
        """By the connector that carries them, as far as rows and evidence tell."""
        find = assigner(_numbered(connectors), domains)
        groups: defaultdict[int | None, list[TraceRow]] = defaultdict(list)
        for row in rows:
            groups[find(self.facts_of(row, MessageStatus.QUEUED))].append(row)
        return dict(groups)

    def _facts(
        self, waiting: Mapping[Ref, TraceRow], connectors: Sequence[ConnectorFacts], domains: Sequence[DomainFacts]
    ) -> list[MessageFacts]:
        facts: list[MessageFacts] = []
        for number, rows in self._grouped(waiting.values(), connectors, domains).items():
            # Of mail without a connector nothing follows from a few.
            code = shared_code(rows, self._memory) if number is not None else None
            for row in rows:
                one = self.facts_of(row, MessageStatus.QUEUED)
                facts.append(one if one.reason or code is None else replace(one, code=code))
        return facts


def _numbered(connectors: Sequence[ConnectorFacts]) -> list[Connector]:
    """As the assignment wants them; the numbers mean nothing outside."""
    epoch = datetime.min.replace(tzinfo=UTC)
    return [
        Connector(
            id=number, next_probe_at=epoch, changed_at=epoch, backend=c.backend, key=c.key, name=c.name, kind=c.kind,
            enabled=c.enabled, use_mx=c.use_mx, smart_hosts=c.smart_hosts, recipient_domains=c.recipient_domains,
        )
        for number, c in enumerate(connectors)
    ]  # fmt: skip


def _notes(listing: Listing, waiting: Mapping[Ref, TraceRow], odd: Mapping[Ref, TraceRow]) -> Iterable[str]:
    if listing.skipped:
        yield f"{listing.skipped} rows of the message trace can't be read and were left out"
    for status in sorted({row.status for row in odd.values()}):
        count = sum(row.status == status for row in odd.values())
        unknown = "" if status in ENDS else ", which mfi does not know"
        yield f"{count} messages have the status {status[:40]!r}{unknown}"
    young = len(listing.rows) - len(waiting) - len(odd)
    if young:
        yield f"{young} pending messages are in flight and were left out"
