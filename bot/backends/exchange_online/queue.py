"""The queue of a tenant, built from its message trace: what waits, why (of a sample), and how mail left.

Promises: what waits is a whole listing or it raises. A message that is listed no more still waits while its status is
being looked up; else it is looked for among the failed ones, for a while, because a status may come late; when that
listing is whole, one that isn't there was delivered, as far as is known: if it is listed as waiting again, it waits
again. Nothing is concluded about mail outside of a listing's window, nor about a message that may be one of the rows
that can't be read: it keeps waiting. Mail younger than `settle` is in flight and left out, until it was listed once.
Details are asked for with what the budget leaves after the next listing; too little means less evidence, never a
shorter list.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from bot.backends.exchange_online.budget import Budget
from bot.backends.exchange_online.details import Details, message_facts
from bot.backends.exchange_online.evidence import (
    Chooser,
    Evidence,
    is_expiry,
    of_failure,
    shared_code,
)
from bot.backends.exchange_online.trace_rows import ENDS, FAILED, PENDING, UPDATING, Listing, Ref, TraceRow, oldest
from bot.backends.exchange_online.trace_source import Trace
from bot.backends.ports import BackendError
from bot.core.clock import Clock
from storage.records import DEFAULT_EXPIRY, ConnectorFacts, DomainFacts, MessageFacts, MessageStatus

MARGIN = timedelta(hours=1)
"""The window reaches so much further back than mail lives, and as far as anything that waited at the last read."""
LAG = timedelta(minutes=15)
"""For so long after a message left it is still looked for among the failed ones: a status may be 10 minutes late."""
NEARLY = timedelta(minutes=15)
TOLD_AGAIN_FOR = timedelta(hours=1)
"""An ending is told with every read for so long: whoever lost one read still learns of it."""
FAILURES_ASKED = 10


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
        self._waited: dict[Ref, TraceRow] | None = None
        self._details = Details(name, trace, budget, now, pick)
        self._endings: dict[Ref, tuple[datetime, MessageFacts]] = {}
        self._before: dict[Ref, MessageFacts] = {}
        """How mail ended of which only the first read of this process told."""
        self._departed: dict[Ref, tuple[datetime, TraceRow]] = {}
        self.lifetime = timedelta(hours=24)
        self.pages = 1
        """How many requests the listings of the last read took."""

    async def read(
        self, connectors: Sequence[ConnectorFacts], domains: Sequence[DomainFacts], lifetime: timedelta
    ) -> QueueRead:
        """Everything that waits now. Raises BackendError when the listing isn't whole."""
        self.lifetime = lifetime
        now = self._now()
        known = self._waited
        listing = await self._trace.listing(await asyncio.to_thread(self._since, now), status=PENDING)
        unsure = await self._add_updating(listing)
        waiting, odd, hidden = await asyncio.to_thread(self._sorted, listing, now)
        left = await asyncio.to_thread(self._left, waiting, odd, now)
        failed, notes = await self._failed(known is None, left, now)
        self.pages = listing.pages + (failed.pages if failed else 0)
        if known is None:
            before = await asyncio.to_thread(self._ended_before, odd, failed, now)
        else:
            before = {ref: facts for ref, facts in self._before.items() if ref not in waiting}
            self._endings = await asyncio.to_thread(self._ended, waiting, odd, left, failed, now)
            await self._explain_failures(left, failed, now)
        self._departed = {ref: one for ref, one in left.items() if ref not in self._endings}
        asked = await self._details.sample(waiting, connectors, domains, self.pages)
        messages = await asyncio.to_thread(self._facts, waiting, connectors, domains)
        ended = [*before.values(), *(facts for _, facts in self._endings.values())]
        ended = await asyncio.to_thread(with_agreed_codes, ended)
        self._waited = waiting
        # The first read tells of all mail of a day or more. Once more in case that it was lost; then it is known.
        self._before = before if known is None else {}
        self._details.memory.keep_only(waiting)
        told = [*_notes(listing, waiting, odd, hidden), *unsure, *notes, *asked]
        sure = not unsure and failed is not None and failed.whole and listing.whole and known is not None
        return QueueRead(
            messages=messages,
            ended=ended,
            # Before the first read of this process others may have waited, of which nobody knows when they left.
            vanished=MessageStatus.DELIVERED if sure else MessageStatus.GONE,
            notes=tuple(told),
        )

    def received_at(self, ref: Ref) -> datetime | None:
        """When a message that waited at the last read came in."""
        row = (self._waited or {}).get(ref)
        return row.received_at if row else None

    def facts_of(self, row: TraceRow, status: MessageStatus, evidence: Evidence | None = None) -> MessageFacts:
        """A row in our own terms, with the given evidence or what is remembered.

        What is remembered says why it waited: for a rejected message that is no answer, so it is not told as one.
        """
        own = evidence if evidence is not None and evidence.reason else None
        known = own if own or status is MessageStatus.REJECTED else self._details.memory.get(row.ref)
        return message_facts(self._name, row, status, self.lifetime, known)

    def failure_of(self, row: TraceRow, now: datetime, evidence: Evidence | None) -> MessageFacts:
        """A message that failed just now: expired if its details say so; without details, if its time is about over."""
        over = is_expiry(evidence) if evidence is not None and evidence.reason else self._nearly_over(row, now)
        return self.facts_of(row, MessageStatus.EXPIRED if over else MessageStatus.REJECTED, evidence)

    def _nearly_over(self, row: TraceRow, now: datetime) -> bool:
        return now >= row.received_at + self.lifetime - NEARLY

    async def explained(self, row: TraceRow) -> Evidence | None:
        """What the details of a failed message say; None where they can't be had."""
        return (await self._details.of([row], of_failure))[0]

    def _since(self, now: datetime) -> datetime:
        """Where the window begins."""
        return min(now - self._longest(), oldest((self._waited or {}).values()) - timedelta(minutes=1))

    def _left(
        self, waiting: Mapping[Ref, TraceRow], odd: Mapping[Ref, TraceRow], now: datetime
    ) -> dict[Ref, tuple[datetime, TraceRow]]:
        """Who waits no more and may be told as failed now, with when that was noticed."""
        left = {ref: one for ref, one in self._departed.items() if timedelta(0) <= now - one[0] < LAG}
        left |= {ref: (now, row) for ref, row in (self._waited or {}).items()}
        return {ref: one for ref, one in left.items() if ref not in waiting and ref not in odd}

    def _sorted(self, listing: Listing, now: datetime) -> tuple[dict[Ref, TraceRow], dict[Ref, TraceRow], int]:
        """(what waits, rows of a listing of waiting mail that say something else, how many wait only as far as one
        knows, because a row that can't be read may be theirs).
        """
        waiting: dict[Ref, TraceRow] = {}
        odd: dict[Ref, TraceRow] = {}
        known = self._waited or {}
        for ref, row in listing.rows.items():
            if row.ending is not MessageStatus.QUEUED:
                odd[ref] = row
            elif ref in known or now - row.received_at >= self._settle:
                waiting[ref] = row
        missing = {ref: row for ref, row in known.items() if ref not in listing.rows}
        # Our clock was set back: what came in later than "now" is in no listing, and waits for all we know.
        waiting |= {ref: row for ref, row in missing.items() if row.received_at > now}
        # Nobody waits behind an unreadable row for longer than mail lives.
        since = now - self._longest()
        hidden = {r: row for r, row in missing.items() if listing.may_hide(r) and since <= row.received_at <= now}
        return waiting | hidden, odd, len(hidden)

    async def _add_updating(self, listing: Listing) -> list[str]:
        """Add those that waited and whose status is being looked up now. What is told: that this can't be known."""
        missing = {ref: row for ref, row in (self._waited or {}).items() if ref not in listing.rows}
        if not missing:
            return []
        try:
            updating = await self._trace.listing(oldest(missing.values()) - timedelta(minutes=1), status=UPDATING)
        except BackendError as error:
            return [f"whether {_some(len(missing), 'message')} left is not known: {error}"]
        listing.add(updating, missing)
        return []

    def _longest(self) -> timedelta:
        """How old what waits can be. A lifetime that was just made shorter doesn't end what waits already."""
        return max(self.lifetime, DEFAULT_EXPIRY) + MARGIN

    async def _failed(
        self, first: bool, left: Mapping[Ref, tuple[datetime, TraceRow]], now: datetime
    ) -> tuple[Listing | None, list[str]]:
        """The failed ones among which to look: none where nobody left, None where they can't be had."""
        if not first and not left:
            return Listing(), []
        since = now - self.lifetime - MARGIN if first else oldest(row for _, row in left.values())
        try:
            return await self._trace.listing(since - timedelta(minutes=1), status=FAILED), []
        except BackendError as error:
            who = "mail left before the start" if first else f"{_some(len(left), 'message')} left"
            return None, [f"how {who} is not known: {error}"]

    def _ended_before(
        self, odd: Mapping[Ref, TraceRow], failed: Listing | None, now: datetime
    ) -> dict[Ref, MessageFacts]:
        """How mail ended, as the first read finds it. Nothing of what failed at some time and whose time is over by
        now: whether it expired or was rejected long before isn't known, and what is stored may know better.
        """
        rows = (failed or Listing()).rows.values()
        found = {row.ref: self.facts_of(row, row.ending) for row in odd.values()}
        return found | {row.ref: self.failure_of(row, now, None) for row in rows if not self._nearly_over(row, now)}

    def _ended(
        self,
        waiting: Mapping[Ref, TraceRow],
        odd: Mapping[Ref, TraceRow],
        left: Mapping[Ref, tuple[datetime, TraceRow]],
        failed: Listing | None,
        now: datetime,
    ) -> dict[Ref, tuple[datetime, MessageFacts]]:
        """How mail ended that this process saw waiting, as far as it is told: later news of the same message counts."""
        endings = {
            ref: one
            for ref, one in self._endings.items()
            if ref not in waiting and timedelta(0) <= now - one[0] < TOLD_AGAIN_FOR
        }
        known = self._waited or {}
        endings |= {ref: (now, self.facts_of(row, row.ending)) for ref, row in odd.items() if ref in known}
        failures = (failed or Listing()).rows
        return endings | {ref: (now, self.failure_of(failures[ref], now, None)) for ref in left if ref in failures}

    async def _explain_failures(self, left: Mapping[Ref, object], failed: Listing | None, now: datetime) -> None:
        """Ask for the reason of some of those that failed just now."""
        free = min(FAILURES_ASKED, self._budget.for_details(self._now(), self.pages))
        failures = (failed or Listing()).rows
        rows = list(islice((failures[ref] for ref in left if ref in failures), free))
        for row, evidence in zip(rows, await self._details.of(rows, of_failure), strict=True):
            if evidence is not None:
                self._endings[row.ref] = (now, self.failure_of(row, now, evidence))

    def _facts(
        self, waiting: Mapping[Ref, TraceRow], connectors: Sequence[ConnectorFacts], domains: Sequence[DomainFacts]
    ) -> list[MessageFacts]:
        facts: list[MessageFacts] = []
        for number, rows in self._details.grouped(waiting.values(), connectors, domains).items():
            # Of mail without a connector nothing follows from a few.
            code = shared_code(rows, self._details.memory) if number is not None else None
            for row in rows:
                one = self.facts_of(row, MessageStatus.QUEUED)
                facts.append(one if one.reason or code is None else replace(one, code=code))
        return facts


def with_agreed_codes(ended: Sequence[MessageFacts]) -> list[MessageFacts]:
    """An unexplained rejection gets the code, not the words, that all explained ones of its recipient domain give."""
    codes: defaultdict[str, set[str | None]] = defaultdict(set)
    for one in ended:
        if one.status is MessageStatus.REJECTED and one.reason:
            codes[_domain(one)].add(one.code)
    agreed = {domain: next(iter(found)) for domain, found in codes.items() if len(found) == 1}
    return [
        replace(one, code=agreed.get(_domain(one))) if one.status is MessageStatus.REJECTED and not one.reason else one
        for one in ended
    ]


def _domain(one: MessageFacts) -> str:
    return one.recipient.rpartition("@")[2].lower()


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _notes(
    listing: Listing, waiting: Mapping[Ref, TraceRow], odd: Mapping[Ref, TraceRow], hidden: int
) -> Iterable[str]:
    if listing.skipped:
        rows, were = ("row", "was") if listing.skipped == 1 else ("rows", "were")
        who = f"{hidden:,} messages that may be among them still count"
        who = "1 message that may be among them still counts" if hidden == 1 else who
        kept = f"; {who} as waiting" if hidden else ""
        yield f"{listing.skipped} {rows} of the message trace can't be read and {were} left out{kept}"
    for status in sorted({row.status for row in odd.values()}):
        count = sum(row.status == status for row in odd.values())
        unknown = "" if status in ENDS else ", which mfi does not know"
        yield f"{count} {'message has' if count == 1 else 'messages have'} the status {status[:40]!r}{unknown}"
    young = sum(ref not in waiting and ref not in odd for ref in listing.rows)
    if young:
        were = "was" if young == 1 else "were"
        yield f"{_some(young, 'pending message')} {'is' if young == 1 else 'are'} in flight and {were} left out"
