"""The transport of Exchange's PowerShell module: InvokeCommand, and the v2.0 API's AcceptedDomain.

It answers as Exchange does: rows with their types beside the fields, warnings as a list, pages behind links that only
hold together with the same anchor, errors whose real text is deep inside, and a 403 that is no JSON.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from bot.sandbox.exchange_online.apps import Permission
from bot.sandbox.exchange_online.cmdlets import MORE, Answer, Cmdlet
from bot.sandbox.exchange_online.faults import Kind, TenantFault, TenantFaults
from bot.sandbox.exchange_online.parameters import CmdletError, check_names, wrong
from bot.sandbox.exchange_online.sign_in import EXCHANGE, BadToken, SignIn
from bot.sandbox.exchange_online.trace_cmdlets import DETAIL, LIST, Throttled
from bot.sandbox.exchange_online.wire import (
    CONCURRENCY,
    Json,
    Kept,
    Pages,
    broken,
    fine,
    nuls,
    plain,
    request_ids,
    vanish,
)
from bot.sandbox.mail_system.model import BadRequest

LINK_LASTS = timedelta(minutes=30)
EXPIRED = "Expired or Invalid pagination request. Default Expiry time is 00:30:00"
PAGE = 1000
WHOLE = (LIST, DETAIL)
"""Cmdlets whose answers never continue behind a link."""
_PAGE_SIZE = re.compile(r"odata\.maxpagesize\s*=\s*(\d{1,6})")
_ODATA = "Microsoft.Exchange.Admin.OData.Core.ODataServiceException"


class Invoke:
    """The cmdlets of one tenant over HTTP. `base`: where clients reach it; `elsewhere`: where none may follow to."""

    def __init__(
        self, tenant_id: str, domain: str, cmdlets: Mapping[str, Cmdlet], sign_in: SignIn, faults: TenantFaults
    ) -> None:
        self._names = {tenant_id.lower(), domain.lower()}
        self._tenant_id, self._cmdlets, self._sign_in, self._faults = tenant_id, cmdlets, sign_in, faults
        self._pages: Pages[Json] = Pages(LINK_LASTS)
        self.base = ""
        self.elsewhere = ""

    async def invoke(self, request: web.Request, now: datetime) -> web.StreamResponse:
        """POST …/InvokeCommand"""
        return await self._serve(request, now, None)

    async def domains_v2(self, request: web.Request, now: datetime) -> web.StreamResponse:
        """POST /adminapi/v2.0/…/AcceptedDomain"""
        return await self._serve(request, now, "Get-AcceptedDomain")

    async def _serve(self, request: web.Request, now: datetime, only: str | None) -> web.StreamResponse:
        try:
            name, parameters = _input(await request.read())
        except CmdletError as error:
            return self._problem(request, error)
        kind = self._kind(request, name, only)
        self._faults.seen[kind] += 1
        refused = await self._refused(request, kind, only)
        if refused is not None:
            return refused
        if name == "Get-MessageTrace":
            return self._problem(request, wrong("Get-MessageTrace is retired. Use Get-MessageTraceV2."))
        cmdlet = self._cmdlets.get(name)
        if cmdlet is None or not self._allowed(request, cmdlet) or only not in (None, name):
            return nuls(403)
        if "$skiptoken" in request.query:
            return self._later_page(request, now)
        try:
            check_names(parameters, cmdlet.takes)
            answer = await cmdlet.run(parameters)
        except CmdletError as error:
            return self._problem(request, error)
        except BadRequest as error:
            return self._problem(request, wrong(str(error)))
        except Throttled as error:
            return self._too_many(request, error.wait)
        return await self._answered(request, name, answer, now)

    def _kind(self, request: web.Request, name: str, only: str | None) -> str:
        if "$skiptoken" in request.query:
            return Kind.CMDLET_PAGE
        return Kind.DOMAINS_V2 if only else name[:80]

    async def _answered(self, request: web.Request, name: str, answer: Answer, now: datetime) -> web.StreamResponse:
        if name.startswith("Set-"):
            if self._faults.take(TenantFault.ANSWER_LOST, name):
                await self._faults.hang()
                return await vanish(request)
            if not answer.warnings:
                return web.Response()
        rows = [_typed(row, _selection(request)) for row in answer.rows]
        if self._faults.take(TenantFault.CUT_LIST, name):
            rows, answer.warnings = rows[: len(rows) // 2], [*answer.warnings, MORE]
        size = len(rows) if name in WHOLE else _page_size(request)
        if self._faults.take(TenantFault.WARNED_PAGE, name):
            size = 1
        kept = Kept(rows, size, now, request.headers.get("X-AnchorMailbox", ""))
        return self._page(request, kept, "", 0, answer.warnings)

    # Pages

    def _later_page(self, request: web.Request, now: datetime) -> web.Response:
        """Only with the anchor that the first page was asked with: without one, another server answers."""
        found = self._pages.find(request.query["$skiptoken"], now)
        anchor = request.headers.get("X-AnchorMailbox", "")
        lost = found is None or not anchor or found[1].anchor != anchor
        if found is None or lost or self._faults.take(TenantFault.LINK_EXPIRED, Kind.CMDLET_PAGE):
            return self._problem(
                request, CmdletError("Microsoft.Exchange.Admin.OData.Core.ODataPagingException", EXPIRED)
            )
        name, kept, offset = found
        return self._page(request, kept, name, offset, [])

    def _page(
        self, request: web.Request, kept: Kept[Json], name: str, offset: int, warnings: list[str]
    ) -> web.Response:
        end = offset + kept.size
        answer = self._envelope(warnings)
        if end < len(kept.rows):
            name = name or self._pages.keep(kept)
            elsewhere = self._faults.take(TenantFault.LINK_ELSEWHERE, Kind.CMDLET_PAGE)
            if offset and self._faults.take(TenantFault.LINK_ENDLESS, Kind.CMDLET_PAGE):
                end = offset
            base = self.elsewhere if elsewhere else self.base
            if kept.size == 1:
                answer["@adminapi.warnings"] = [*warnings, MORE]
            answer["@odata.nextLink"] = f"{base}{request.path}?%24skiptoken={name}.{end}"
        return web.json_response({**answer, "value": kept.rows[offset : offset + kept.size]})

    def _envelope(self, warnings: list[str]) -> Json:
        context = f"{self.base}/adminapi/beta/{self._tenant_id}/$metadata#Collection(Exchange.GenericHashTable)"
        return {
            "@odata.context": context,
            "adminapi.warnings@odata.type": "#Collection(String)",
            "@adminapi.warnings": warnings,
        }

    # Refusals

    async def _refused(self, request: web.Request, kind: str, only: str | None) -> web.StreamResponse | None:
        """The answer of a request that gets nothing; None if it goes on."""
        faults = self._faults
        instead = await broken(request, faults, kind)
        if instead is not None:
            return instead
        permission = Permission.MANAGE_V2 if only else Permission.MANAGE
        try:
            who = self._sign_in.bearer(request.headers.get("Authorization", ""), EXCHANGE)
        except BadToken as error:
            return self._unauthorized(request, str(error))
        if permission not in who.permissions or faults.take(TenantFault.NO_APP_ROLE, kind):
            return self._unauthorized(request, "The role assigned to application isn't supported in this scenario.")
        if request.match_info["tenant"].lower() not in self._names or faults.take(TenantFault.NUL_403, kind):
            return nuls(403)
        if faults.take(TenantFault.NUL_BODY, kind):
            return nuls(200)
        if faults.take(TenantFault.TOO_MANY_AT_ONCE, kind):
            return plain(faults.too_many_status, CONCURRENCY)
        if faults.take(TenantFault.THROTTLED, kind):
            return self._too_many(request, faults.retry_after)
        return None

    def _allowed(self, request: web.Request, cmdlet: Cmdlet) -> bool:
        who = self._sign_in.bearer(request.headers.get("Authorization", ""), EXCHANGE)
        return bool(who.app.roles & cmdlet.roles)

    def _unauthorized(self, request: web.Request, why: str) -> web.Response:
        headers = {
            "WWW-Authenticate": f'Bearer client_id="{EXCHANGE}", error="invalid_token"',
            "x-ms-diagnostics": f'2000008;reason="{why}";error_category="invalid_grant"',
            **request_ids(request),
        }
        return web.Response(status=401, headers=headers)

    def _too_many(self, request: web.Request, wait: int) -> web.Response:
        answer = self._problem(
            request, CmdletError("Microsoft.Exchange.Data.Directory.OverBudgetException", "Too many.")
        )
        answer.set_status(429)
        answer.headers["Retry-After"] = str(wait)
        return answer

    def _problem(self, request: web.Request, error: CmdletError) -> web.Response:
        head = f"Ex{uuid.uuid4().hex[:6].upper()}"
        inner = {"message": str(error), "type": error.type, "stacktrace": ""}
        body = {
            "error": {
                "code": "BadRequest",
                "message": "Error executing cmdlet",
                "details": [{"code": "Client", "target": "", "message": f"{head}|{error.type}|{error}"}],
                "innererror": {
                    "message": "Error executing cmdlet",
                    "type": _ODATA,
                    "stacktrace": "",
                    "internalexception": inner,
                },
            },
            "adminapi.warnings@odata.type": "#Collection(String)",
            "@adminapi.warnings": [],
        }
        headers = {"X-ExceptionType": error.type.rpartition(".")[2], **request_ids(request)}
        return web.json_response(body, status=400, headers=headers)


def _input(body: bytes) -> tuple[str, Mapping[str, Any]]:
    """The cmdlet's name and its parameters, which have to be an object."""
    try:
        given = json.loads(body)["CmdletInput"]
        name, parameters = given["CmdletName"], given["Parameters"]
    except (ValueError, KeyError, TypeError):
        name = parameters = None
    if not isinstance(name, str) or not isinstance(parameters, dict):
        raise CmdletError(
            _ODATA, "The request body is not valid: CmdletInput with CmdletName and Parameters is needed."
        )
    return name, parameters


def _page_size(request: web.Request) -> int:
    """What the client prefers, within what there is."""
    found = _PAGE_SIZE.search(request.headers.get("Prefer", ""))
    return min(int(found[1]), PAGE) or PAGE if found else PAGE


def _selection(request: web.Request) -> frozenset[str] | None:
    found = request.query.get("$select")
    return frozenset(found.split(",")) if found else None


def _typed(row: Mapping[str, Any], wanted: frozenset[str] | None) -> Json:
    """A row as it goes out: each moment, number and list with its type beside it."""
    found: Json = {}
    for name, held in row.items():
        if wanted is not None and name not in wanted:
            continue
        value = fine(held) if isinstance(held, datetime) else held
        if isinstance(held, datetime):
            found[f"{name}@data.type"] = "System.DateTime"
        elif isinstance(value, int) and not isinstance(value, bool):
            found[f"{name}@data.type"] = "System.Int32"
        elif isinstance(value, list):
            found[f"{name}@odata.type"] = "#Collection(String)"
        found[name] = value
    return found
