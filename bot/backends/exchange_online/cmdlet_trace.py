"""The message trace over the cmdlets `Get-MessageTraceV2` and `…DetailV2`: for clouds where Graph has none.

A truncated answer carries no link, only a warning: the next page begins where the last row was. That row comes again,
and so may others; each pair counts once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bot.backends.exchange_online.budget import Budget
from bot.backends.exchange_online.http import Throttled, Wire
from bot.backends.exchange_online.invoke import Found, Invoker
from bot.backends.exchange_online.rows import utc
from bot.backends.exchange_online.trace_rows import (
    DELIVERED,
    FAILED,
    PENDING,
    UPDATING,
    Event,
    Listing,
    Ref,
    cmdlet_events,
    cmdlet_rows,
)
from bot.backends.ports import Unreachable

PAGE = 5000
MAX_PAGES = 200
LONGEST_SPAN = timedelta(days=10)
_STATUS = {PENDING: "Pending", UPDATING: "GettingStatus", FAILED: "Failed", DELIVERED: "Delivered"}


class CmdletTrace:
    """One tenant's trace, as GraphTrace gives it."""

    def __init__(self, invoker: Invoker, wire: Wire, budget: Budget) -> None:
        self._invoker = invoker
        self._wire = wire
        self._budget = budget

    async def listing(
        self, since: datetime, *, status: str | None = None, key: str | None = None, recipient: str | None = None
    ) -> Listing:
        """Every row that came in since then and has these properties; with `*@a.domain` also other recipients'."""
        until = self._wire.now()
        asked: dict[str, Any] = {
            "StartDate": utc(max(since, until - LONGEST_SPAN + timedelta(minutes=1))),
            "EndDate": utc(until),
            "ResultSize": PAGE,
        }
        asked |= {"Status": [_STATUS[status]]} if status else {}
        asked |= {"MessageTraceId": key} if key else {}
        # Nobody says that the cmdlet takes `*@a.domain`: then it is asked for all of them.
        asked |= {"RecipientAddress": [recipient]} if recipient and "*" not in recipient else {}
        found = Listing()
        cursors: set[tuple[str, str]] = set()
        while True:
            page = await self._spent("Get-MessageTraceV2", asked)
            before = len(found.rows)
            found.take(cmdlet_rows(page.rows))
            # Also one that a link follows may mean what comes after all of these pages.
            warnings = (*page.linked, *page.warnings)
            if not warnings:
                return found.checked()
            if not page.rows:
                # Nothing, and Exchange has something to say about it: that is no empty queue.
                raise Unreachable(f"the message trace can't be read whole: {warnings[0]}")
            cursor = _cursor(page.rows)
            if len(cursors) >= MAX_PAGES:
                raise Unreachable("the message trace's list does not end; it is read again later")
            # Where the cursor stands still there is nothing after it, or more rows of one moment than a page holds.
            if cursor in cursors:
                if len(page.rows) >= PAGE and len(found.rows) == before:
                    raise Unreachable(f"the message trace can't be read whole: {warnings[0]}")
                return found.checked()
            cursors.add(cursor)
            asked = {**asked, "EndDate": cursor[0], "StartingRecipientAddress": cursor[1]}

    async def events(self, ref: Ref, received_at: datetime) -> tuple[Event, ...]:
        """What happened to one message on its way to one recipient, oldest first."""
        now = self._wire.now()
        asked = {
            "MessageTraceId": ref[0],
            "RecipientAddress": ref[1],
            "StartDate": utc(max(received_at - timedelta(hours=1), now - LONGEST_SPAN + timedelta(minutes=1))),
            "EndDate": utc(now),
        }
        return cmdlet_events((await self._spent("Get-MessageTraceDetailV2", asked)).rows)

    async def probe(self, *, patient: bool) -> None:
        """Ask for a single row, to see whether we may."""
        del patient
        await self._invoker.read("Get-MessageTraceV2", {"ResultSize": 1}, spend=self._spend)

    async def _spent(self, cmdlet: str, asked: dict[str, Any]) -> Found:
        """One question, each request of the budget. Where the service wants a pause, none is left until then."""
        try:
            return await self._invoker.read(cmdlet, asked, spend=self._spend)
        except Throttled as error:
            self._budget.hold(error.until)
            raise

    def _spend(self) -> None:
        now = self._wire.now()
        if not self._budget.may_go_on(now):
            until = self._budget.held(now) or now + timedelta(seconds=60)
            raise Throttled(
                f"the tenant's {self._budget.quota} message trace requests per 5 minutes are used up", until
            )
        self._budget.spend(now)


def _cursor(rows: list[dict[str, Any]]) -> tuple[str, str]:
    """The last row's moment, word for word, and recipient. Raises Unreachable where it can't be read."""
    at, to = rows[-1].get("Received"), rows[-1].get("RecipientAddress")
    if not isinstance(at, str) or not isinstance(to, str):
        raise Unreachable("the message trace can't be read on: its last row has no moment or no recipient")
    return at, to
