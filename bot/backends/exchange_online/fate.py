"""How given messages stand now: the trace is asked by id where they are few, by listings where they are many.

A message that none of the listings holds is absent from the answer: it waits no more, and nobody says how it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from bot.backends.exchange_online.graph_trace import LONGEST_SPAN
from bot.backends.exchange_online.queue import MARGIN, Queue, with_agreed_codes
from bot.backends.exchange_online.rows import trace_id
from bot.backends.exchange_online.trace_rows import DELIVERED, FAILED, PENDING, UPDATING, Listing, Ref, TraceRow
from bot.backends.exchange_online.trace_source import Trace
from bot.backends.ports import MessageRef, Unreachable
from bot.core.clock import Clock
from storage.records import MessageFacts, MessageStatus

BY_ID = 10
"""So many messages are asked for one by one; each takes a request."""
FEW_DOMAINS = 2
DETAILS = 5


async def follow(refs: Iterable[MessageRef], trace: Trace, queue: Queue, now: Clock) -> Sequence[MessageFacts]:
    """These messages as they are now. Raises BackendError where the trace can't be read whole."""
    wanted = {ref: one for one in refs if (ref := _ref(one)) is not None}
    if not wanted:
        return []
    if len({key for key, _ in wanted}) <= BY_ID:
        found = await _by_id(wanted, trace, now)
    else:
        found = await _by_listing(wanted, trace, queue, now)
    answers: list[MessageFacts] = []
    asked = 0
    for row in found.values():
        if row.ending is MessageStatus.REJECTED:
            evidence = await queue.explained(row) if asked < DETAILS else None
            asked += 1
            facts = queue.failure_of(row, now(), evidence)
        else:
            facts = queue.facts_of(row, row.ending)
        answers.append(facts)
    return with_agreed_codes(answers)


async def _by_id(wanted: Iterable[Ref], trace: Trace, now: Clock) -> dict[Ref, TraceRow]:
    mine = set(wanted)
    keys = sorted({key for key, _ in mine})
    asking = [asyncio.create_task(trace.listing(now() - LONGEST_SPAN, key=key)) for key in keys]
    try:
        listings = await asyncio.gather(*asking)
    finally:
        # Where one fails, the answers of the others are worth nothing, and each would cost a request.
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return {ref: row for listing in listings for ref, row in _whole(listing).items() if ref in mine}


def _whole(listing: Listing) -> dict[Ref, TraceRow]:
    """Its rows; one that can't be read could be the very message that is looked for."""
    if not listing.whole:
        raise Unreachable("the message trace gave rows that can't be read; it is read again later")
    return listing.rows


async def _by_listing(wanted: Iterable[Ref], trace: Trace, queue: Queue, now: Clock) -> dict[Ref, TraceRow]:
    """Pending, then failed, then delivered ones, of the recipients' domains where these are few; then the rest."""
    left = set(wanted)
    domains = [f"*@{domain}" for domain in sorted({recipient.rpartition("@")[2] for _, recipient in left})]
    narrow: list[str | None] = [*domains] if len(domains) <= FEW_DOMAINS else [None]
    since = _since(left, queue, now())
    found: dict[Ref, TraceRow] = {}

    async def look(status: str, recipient: str | None = None) -> None:
        rows = _whole(await trace.listing(since, status=status, recipient=recipient))
        found.update({ref: rows[ref] for ref in left & rows.keys()})
        left.difference_update(found)

    for status in (PENDING, FAILED):
        for recipients in narrow:
            if left:
                await look(status, recipients)
    for recipients in domains:
        if len({key for key, _ in left}) > BY_ID:
            await look(DELIVERED, recipients)
    for recipients in narrow:
        # Of those whose status is being looked up at this moment, nobody may conclude that they wait no more.
        if len({key for key, _ in left}) > BY_ID:
            await look(UPDATING, recipients)
    if left and len({key for key, _ in left}) <= BY_ID:
        found |= await _by_id(left, trace, now)
    return found


def _since(wanted: Iterable[Ref], queue: Queue, now: datetime) -> datetime:
    """When the oldest of them came in, if that is known; else as long ago as mail lives."""
    known = [queue.received_at(ref) for ref in wanted]
    moments = [at for at in known if at is not None]
    if len(moments) == len(known):
        return min(moments) - timedelta(minutes=1)
    return min([now - 2 * queue.lifetime - MARGIN, *moments])


def _ref(one: MessageRef) -> Ref | None:
    try:
        return trace_id(one.key), one.recipient.lower()
    except ValueError:
        return None
