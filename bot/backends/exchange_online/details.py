"""Asking for the details of some messages: whose, how many at once, and what is remembered of them.

Promises: never more requests than the budget leaves, nor longer than DETAILS_DEADLINE; a detail that can't be had costs
evidence, not messages.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from bot.backends.exchange_online.budget import Budget
from bot.backends.exchange_online.evidence import Chooser, Evidence, Memory, Room, chosen, of_deferral
from bot.backends.exchange_online.http import Throttled
from bot.backends.exchange_online.trace_rows import Event, Ref, TraceRow
from bot.backends.exchange_online.trace_source import Trace
from bot.backends.ports import BackendError
from bot.core.assignment import assigner
from bot.core.clock import Clock
from storage.records import Connector, ConnectorFacts, DomainFacts, MessageFacts, MessageStatus

AT_ONCE = 4
DETAILS_DEADLINE = 25.0
_FACTS = tuple(each.name for each in fields(ConnectorFacts))


class Details:
    """The details of one instance's messages. `memory`: the evidence about what waits."""

    def __init__(self, name: str, trace: Trace, budget: Budget, now: Clock, pick: Chooser) -> None:
        self._name = name
        self._trace = trace
        self._budget = budget
        self._now = now
        self._pick = pick
        self.memory = Memory()

    async def sample(
        self,
        waiting: Mapping[Ref, TraceRow],
        connectors: Sequence[ConnectorFacts],
        domains: Sequence[DomainFacts],
        pages: int,
    ) -> list[str]:
        """Ask why some of what waits does so; the next listing takes `pages` requests. Returns what to tell."""
        now = self._now()
        # A first reason is worth a later listing; more of them are not.
        room = Room(free=self._budget.for_details(now, pages), first=self._budget.free(now))
        groups = await asyncio.to_thread(self.grouped, waiting.values(), connectors, domains)
        rows = await asyncio.to_thread(chosen, groups, self.memory, now, room, self._pick)
        answers = await self.of(rows, of_deferral)
        for row, evidence in zip(rows, answers, strict=True):
            if evidence is not None:
                self.memory.put(row.ref, evidence)
        known = sum(1 for ref in waiting if (one := self.memory.get(ref)) is not None and one.reason)
        failures = sum(evidence is None for evidence in answers)
        if known == len(waiting) and not failures:
            return []
        lost = f"; {failures} of {len(answers)} questions got no answer" if failures else ""
        what = "message" if len(waiting) == 1 else "messages"
        if not known:
            return [f"no reasons known yet of {len(waiting):,} waiting {what}{lost}"]
        rest = ", the rest is judged by its connector's sample" if known < len(waiting) else ""
        return [f"reasons known of {known:,} of {len(waiting):,} waiting {what}{rest}{lost}"]

    async def of(
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

    def grouped(
        self, rows: Iterable[TraceRow], connectors: Sequence[ConnectorFacts], domains: Sequence[DomainFacts]
    ) -> dict[int | None, list[TraceRow]]:
        """By the connector that carries them, as far as rows and evidence tell."""
        find = assigner(_numbered(connectors), domains)
        groups: defaultdict[int | None, list[TraceRow]] = defaultdict(list)
        for row in rows:
            facts = message_facts(self._name, row, MessageStatus.QUEUED, timedelta(0), self.memory.get(row.ref))
            groups[find(facts)].append(row)
        return dict(groups)


def message_facts(
    backend: str, row: TraceRow, status: MessageStatus, lifetime: timedelta, known: Evidence | None
) -> MessageFacts:
    """A row in our own terms, with what is known of it."""
    return MessageFacts(
        backend=backend,
        key=row.key,
        recipient=row.recipient,
        sender=row.sender,
        received_at=row.received_at,
        expires_at=row.received_at + lifetime,
        status=status,
        size=row.size,
        code=known.code if known else None,
        reason=known.reason if known else None,
        remote_host=known.remote_host if known else None,
        remote_ip=known.remote_ip if known else None,
        evidence_at=known.at if known else None,
    )


def _numbered(connectors: Sequence[ConnectorFacts]) -> list[Connector]:
    """As the assignment wants them; the numbers mean nothing outside."""
    epoch = datetime.min.replace(tzinfo=UTC)
    return [
        Connector(id=number, next_probe_at=epoch, changed_at=epoch, **{name: getattr(c, name) for name in _FACTS})
        for number, c in enumerate(connectors)
    ]
