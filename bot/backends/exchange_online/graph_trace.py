"""The message trace over Microsoft Graph: the official way to see what waits. Global cloud only.

Promises: a listing is whole or it raises; every request counts against the budget; a link to the next page is followed
only on the same host. One value per property and query: the service ignores `or` without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import quote

from bot.backends.exchange_online.budget import Budget
from bot.backends.exchange_online.clouds import Endpoints, origin
from bot.backends.exchange_online.http import ATTEMPTS, Answer, Sleep, Throttled, Wire, patiently
from bot.backends.exchange_online.rows import Json, document, listed, utc
from bot.backends.exchange_online.signin import SignIn
from bot.backends.exchange_online.trace_rows import Event, Listing, Ref, TraceRow, Whose, graph_events, graph_rows
from bot.backends.ports import BackendError, Refused, Unreachable

PAGE = 5000
MAX_PAGES = 200
LONGEST_SPAN = timedelta(days=10)
SERVICE_PRINCIPAL = "8bd644d1-64a1-4d4b-ae52-2e0cbf64e373"
READ_RIGHT = "ExchangeMessageTrace.Read.All"
_UNREADABLE_TRIES = 2
T = TypeVar("T")


class NoServicePrincipal(Refused):
    """The tenant lacks Microsoft's own application behind the trace."""


class NoTraceRight(Refused):
    """The reader lacks the application permission."""


class GraphTrace:
    """One tenant's trace. `now` of the wire is the service's own."""

    def __init__(
        self, places: Endpoints, wire: Wire, signin: SignIn, budget: Budget, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._url = f"{places.graph_url}/admin/exchange/tracing/messageTraces"
        self._places = places
        self._wire = wire
        self._signin = signin
        self._budget = budget
        self._sleep = sleep

    async def listing(
        self, since: datetime, *, status: str | None = None, key: str | None = None, recipient: str | None = None
    ) -> Listing:
        """Every row that came in since then and has these properties. `recipient` may be `*@a.domain`."""
        wanted = [
            (name, value) for name, value in (("status", status), ("id", key), ("recipientAddress", recipient)) if value
        ]
        found = Listing()
        url: str | None = self._first(since, wanted)
        asked: set[str] = set()
        while url is not None:
            if url in asked or len(asked) >= MAX_PAGES:
                raise Unreachable("the message trace's list does not end; it is read again later")
            asked.add(url)
            try:
                page = await self._readable(url, _page)
            except _BehindOurClock:
                if found.pages:
                    raise
                url = self._first(since, wanted)
                if url in asked:
                    raise
                continue
            found.take(page[0])
            url = self._following(page[1])
        return found.checked()

    async def events(self, ref: Ref, received_at: datetime) -> tuple[Event, ...]:
        """What happened to one message on its way to one recipient, oldest first; nothing where nobody knows it."""
        del received_at  # the cmdlets want it; Graph doesn't
        recipient = quote(ref[1].replace("'", "''"), safe="@.-_+")
        url = f"{self._url}/{ref[0]}/getDetailsByRecipient(recipientAddress='{recipient}')"
        # Once: it only costs evidence, and each try costs a request.
        return await self._readable(url, lambda body: graph_events(listed(document(body))), tries=1)

    async def probe(self, *, patient: bool) -> None:
        """Ask for a single row, to see whether we may. Raises what stands in the way."""
        await self._ask(f"{self._url}?$top=1", tries=ATTEMPTS if patient else 1, patient=patient)

    def _first(self, since: datetime, wanted: list[tuple[str, str]]) -> str:
        """The address of the first page, whose window ends now."""
        until = self._wire.now()
        since = max(since, until - LONGEST_SPAN + timedelta(minutes=1))
        parts = [f"{name} eq '{_quoted(value)}'" for name, value in wanted]
        parts += [f"receivedDateTime ge {utc(min(since, until))}", f"receivedDateTime le {utc(until)}"]
        return f"{self._url}?$filter={quote(' and '.join(parts), safe='')}&$top={PAGE}"

    def _following(self, link: object) -> str | None:
        if link is None:
            return None
        if not isinstance(link, str) or origin(link) != origin(self._places.graph_url):
            raise Unreachable("the message trace's list goes on at another host, where our token must not go")
        return link.replace(" ", "%20")

    async def _readable(self, url: str, read: Callable[[bytes], T], *, tries: int = ATTEMPTS) -> T:
        """What `read` makes of the answer; an answer that was cut off is asked for again."""
        problem = ""
        for _ in range(min(tries, _UNREADABLE_TRIES)):
            answer = await self._ask(url, tries=tries)
            try:
                return await asyncio.to_thread(read, answer.body)
            except ValueError as error:
                problem = str(error)
        raise Unreachable(f"the message trace's answer can't be read: {problem}")

    async def _ask(self, url: str, *, tries: int, patient: bool = True) -> Answer:
        answer = await self._signed(url, tries=tries, patient=patient)
        if answer.status == 401 and not _lacks_principal(_words_of(answer.body)):
            # A token that was taken back, or lacks what was granted since, is exchanged once.
            await self._signin.forget()
            answer = await self._signed(url, tries=tries, patient=patient)
        if answer.status == 200:
            return answer
        if answer.status == 403:
            await self._signin.forget()
        raise self._failure(answer)

    async def _signed(self, url: str, *, tries: int, patient: bool) -> Answer:
        token = await self._signin.token(self._places.graph_scope, patient=patient)
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            "Prefer": "include-unknown-enum-members",
        }

        async def once() -> Answer:
            now = self._wire.now()
            if not self._budget.may_go_on(now):
                until = self._budget.held(now) or now + timedelta(seconds=60)
                raise Throttled(
                    f"the tenant's {self._budget.quota} message trace requests per 5 minutes are used up", until
                )
            self._budget.spend(now)
            return await self._wire.send("GET", url, headers=headers)

        try:
            return await patiently(once, repeatable=True, clock=self._wire.now, sleep=self._sleep, attempts=tries)
        except Throttled as error:
            self._budget.hold(error.until)
            raise

    def _failure(self, answer: Answer) -> BackendError:
        words = _words_of(answer.body)
        if _lacks_principal(words):
            return NoServicePrincipal(
                f"the tenant lacks Microsoft's service principal of the message trace; "
                f"once: New-MgServicePrincipal -AppId {SERVICE_PRINCIPAL} (then wait up to some hours)"
            )
        if answer.status in (401, 403):
            return NoTraceRight(
                f"Graph does not let the reader see the message trace ({answer.status}): it lacks {READ_RIGHT}"
            )
        if answer.status == 400 and "future" in words.lower():
            return _BehindOurClock("the message trace says that our clock is ahead; set this machine's clock")
        text = f"the message trace answered HTTP {answer.status}: {words or 'no reason given'}"
        return Refused(text) if 400 <= answer.status < 500 else Unreachable(text)


class _BehindOurClock(Refused):
    """The service's clock is behind ours: what is now for us is the future there."""


def _lacks_principal(words: str) -> bool:
    return SERVICE_PRINCIPAL in words or "service principal-less" in words.lower()


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def _page(body: bytes) -> tuple[list[TraceRow | Whose], object]:
    answer: Json = document(body)
    return graph_rows(listed(answer)), answer.get("@odata.nextLink")


def _words_of(body: bytes) -> str:
    """What the service says."""
    try:
        error = document(body).get("error")
    except ValueError:
        return ""
    return " ".join(str(error.get("message") or "").split())[:300] if isinstance(error, dict) else ""
