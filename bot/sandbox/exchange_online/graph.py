"""Microsoft Graph's message trace: listings in pages, details per recipient, and how it says no."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from datetime import datetime, timedelta

from aiohttp import web

from bot.sandbox.exchange_online.apps import Permission
from bot.sandbox.exchange_online.faults import Kind, TenantFault, TenantFaults
from bot.sandbox.exchange_online.listing_query import BadQuery, parse
from bot.sandbox.exchange_online.sign_in import GRAPH, BadToken, SignIn
from bot.sandbox.exchange_online.trace import Trace, row
from bot.sandbox.exchange_online.wire import Json, Kept, Pages, Throttle, brief, broken, nuls, request_ids
from bot.sandbox.mail_system.model import Entry

PATH = "/v1.0/admin/exchange/tracing/messageTraces"
TRANSPORT_PLATFORM = "8bd644d1-64a1-4d4b-ae52-2e0cbf64e373"
LINK_LASTS = timedelta(minutes=10)
UNKNOWN_MEMBERS = "include-unknown-enum-members"


class Graph:
    """The trace of one tenant. `base` is where clients reach it, `elsewhere` where none may follow a link to."""

    def __init__(self, trace: Trace, sign_in: SignIn, faults: TenantFaults, throttle: Throttle) -> None:
        self._trace, self._sign_in, self._faults, self._throttle = trace, sign_in, faults, throttle
        self._pages: Pages[Entry] = Pages(LINK_LASTS)
        self.base = ""
        self.elsewhere = ""

    async def listing(self, request: web.Request, now: datetime) -> web.StreamResponse:
        """GET messageTraces, first and later pages."""
        token = request.query.get("$skiptoken")
        kind = Kind.TRACE if token is None else Kind.TRACE_PAGE
        refused = await self._refused(request, kind, now)
        if refused is not None:
            return refused
        if token is not None:
            return self._later_page(request, token, now)
        try:
            query = parse(request.query, now)
        except BadQuery as error:
            return _problem(request, now, 400, "BadRequest", str(error))
        trace, found = self._trace, []
        for entry in trace.window(query.since, query.until, now):
            if query.matches(row(trace, entry, now)):
                found.append(entry)
        kept = Kept(found, query.top, now)
        name = self._pages.keep(kept) if len(found) > 1 else ""
        return self._page(request, name, kept, 0, now)

    async def details(self, request: web.Request, now: datetime) -> web.StreamResponse:
        """GET messageTraces/{id}/getDetailsByRecipient(recipientAddress='…'); no events for what is unknown."""
        refused = await self._refused(request, Kind.DETAIL, now)
        if refused is not None:
            return refused
        quoted = request.match_info["call"].removeprefix("getDetailsByRecipient(recipientAddress=").removesuffix(")")
        inner = quoted[1:-1]
        if len(quoted) < 2 or quoted[0] != "'" or quoted[-1] != "'" or "'" in inner.replace("''", ""):
            return _problem(request, now, 400, "BadRequest", "Syntax error in the function's parameter.")
        entry = self._trace.find(request.match_info["id"], inner.replace("''", "'"))
        rows = self._events(entry, now) if entry is not None else []
        return web.json_response({"@odata.context": f"{self.base}/$metadata#Collection(detail)", "value": rows})

    def _events(self, entry: Entry, now: datetime) -> list[Json]:
        about = row(self._trace, entry, now)
        return [
            {
                "id": about["id"],
                "messageId": about["messageId"],
                "dateTime": brief(event.at),
                "event": event.name,
                "action": "",
                "description": event.description,
                "data": event.xml(),
            }
            for event in self._trace.events(entry, now)
        ]

    def _later_page(self, request: web.Request, token: str, now: datetime) -> web.Response:
        found = self._pages.find(token, now)
        if found is None or self._faults.take(TenantFault.LINK_EXPIRED, Kind.TRACE_PAGE):
            return _problem(request, now, 400, "BadRequest", "The skip token is invalid or has expired.")
        name, kept, offset = found
        return self._page(request, name, kept, offset, now)

    def _page(self, request: web.Request, name: str, kept: Kept[Entry], offset: int, now: datetime) -> web.Response:
        kind = Kind.TRACE_PAGE if offset else Kind.TRACE
        end = min(offset + kept.size, len(kept.rows))
        if end - offset > 1 and self._faults.take(TenantFault.SHORT_PAGE, kind):
            end = offset + (end - offset) // 2
        entries = self._moved(kept, offset, end)
        if offset and self._faults.take(TenantFault.DUPLICATE_ROWS, kind):
            entries = [*kept.rows[max(0, offset - 3) : offset], *entries]
        known = UNKNOWN_MEMBERS in request.headers.get("Prefer", "")
        rows = [self._row(entry, now, known) for entry in entries]
        if rows and self._faults.take(TenantFault.UNKNOWN_STATUS, kind):
            rows[0]["status"] = "heldForReview"
        answer: Json = {"@odata.context": f"{self.base}/$metadata#admin/exchange/tracing/messageTraces"}
        if end < len(kept.rows):
            answer["@odata.nextLink"] = self._link(name, offset, end, kind)
        return web.json_response({**answer, "value": rows})

    def _moved(self, kept: Kept[Entry], start: int, end: int) -> Sequence[Entry]:
        """The rows of a page; with the fault, the one that would be its last stands at the end of the next page."""
        kind = Kind.TRACE_PAGE if start else Kind.TRACE
        if start < end < len(kept.rows) and self._faults.take(TenantFault.MOVED_ROW, kind):
            moving = kept.rows.pop(end - 1)
            kept.rows.insert(min(end - 1 + kept.size, len(kept.rows)), moving)
        return kept.rows[start:end]

    def _link(self, name: str, offset: int, end: int, kind: Kind) -> str:
        base = self.elsewhere if self._faults.take(TenantFault.LINK_ELSEWHERE, kind) else self.base
        if offset and self._faults.take(TenantFault.LINK_ENDLESS, kind):
            end = offset
        return f"{base}{PATH.removeprefix('/v1.0')}?$skiptoken={urllib.parse.quote(f'{name}.{end}')}"

    def _row(self, entry: Entry, now: datetime, known: bool) -> Json:
        found = row(self._trace, entry, now)
        found["receivedDateTime"] = brief(found["receivedDateTime"])
        if found["status"] == "recalled" and not known:
            found["status"] = "unknownFutureValue"
        return found

    async def _refused(self, request: web.Request, kind: Kind, now: datetime) -> web.StreamResponse | None:
        """The answer of a request that gets nothing; None if it goes on."""
        self._faults.seen[kind] += 1
        instead = await broken(request, self._faults, kind)
        if instead is not None:
            return instead
        try:
            who = self._sign_in.bearer(request.headers.get("Authorization", ""), GRAPH)
        except BadToken as error:
            return _problem(request, now, 401, "InvalidAuthenticationToken", str(error))
        if self._faults.take(TenantFault.NO_SERVICE_PRINCIPAL, kind):
            text = (
                "Service principal-less Authentication failed: the service principal for App ID "
                f"{TRANSPORT_PLATFORM} was not found. Please create a service principal for this app in your tenant."
            )
            return _problem(request, now, 401, "Unauthorized", text)
        if Permission.TRACE not in who.permissions or self._faults.take(TenantFault.NO_PERMISSION, kind):
            return _problem(request, now, 403, "Forbidden", "Insufficient privileges to complete the operation.")
        if self._faults.take(TenantFault.NUL_BODY, kind):
            return nuls(200)
        return self._throttled(request, kind, now)

    def _throttled(self, request: web.Request, kind: Kind, now: datetime) -> web.Response | None:
        wait = self._faults.retry_after if self._faults.take(TenantFault.THROTTLED, kind) else self._throttle.take(now)
        if wait is None:
            return None
        text = "Your recent queries have surpassed the permitted limit. Please try again later."
        answer = _problem(request, now, 429, "TooManyRequests", text)
        answer.headers["Retry-After"] = str(wait)
        return answer


def _problem(request: web.Request, now: datetime, status: int, code: str, text: str) -> web.Response:
    inner = {"date": f"{now:%Y-%m-%dT%H:%M:%S}", **request_ids(request)}
    return web.json_response({"error": {"code": code, "message": text, "innerError": inner}}, status=status)
