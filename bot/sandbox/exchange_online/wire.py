"""What the Graph and the Exchange side share on the wire: answers, moments, pages kept behind a link, the throttle."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from aiohttp import web

from bot.sandbox.exchange_online.faults import TenantFault, TenantFaults

Json = dict[str, Any]
T = TypeVar("T")
NULS = bytes(512)
CONCURRENCY = "You have reached the maximum number of concurrent requests per tenant. Please wait and try again"
MAX_KEPT = 64
HTML = "<!DOCTYPE html><html><head><title>Service unavailable</title></head><body>Try again later.</body></html>"


def fine(moment: datetime) -> str:
    """A moment as Exchange writes it: seven digits of a second."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}0Z"


def brief(moment: datetime) -> str:
    """A moment as the Graph writes it: only the digits that say something."""
    digits = f"{moment:%f}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' + digits if digits else ''}Z"


def nuls(status: int) -> web.Response:
    """A body of NUL bytes that claims to be JSON."""
    return web.Response(status=status, body=NULS, content_type="application/json")


def plain(status: int, text: str) -> web.Response:
    """A body that isn't JSON."""
    return web.Response(status=status, text=text, content_type="text/plain")


async def vanish(request: web.Request) -> web.Response:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def broken(request: web.Request, faults: TenantFaults, kind: str) -> web.StreamResponse | None:
    """What answers instead of any side's real answer, if anything does; waits when it has to be slow."""
    if faults.take(TenantFault.SLOW, kind):
        await asyncio.sleep(faults.slowness)
    if faults.take(TenantFault.RESET, kind):
        return await vanish(request)
    if faults.take(TenantFault.HUGE, kind):
        return await _huge(request, faults.huge_size)
    if faults.take(TenantFault.SERVER_ERROR, kind):
        return plain(503, "Service Unavailable")
    if faults.take(TenantFault.NOT_JSON, kind):
        return web.Response(text=HTML, content_type="text/html")
    return None


async def _huge(request: web.Request, size: int) -> web.StreamResponse:
    """JSON that begins well and goes on until the client has enough."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        await response.prepare(request)
        await response.write(b'{"value": [')
        part = b'{"filler": "' + b"x" * 65000 + b'"},'
        for _ in range(size // len(part) + 1):
            await response.write(part)
        await response.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        if request.transport is not None:
            request.transport.abort()
    return response


def request_ids(request: web.Request) -> dict[str, str]:
    """The identifiers that support would ask for."""
    return {
        "request-id": str(uuid.uuid4()),
        "client-request-id": request.headers.get("client-request-id", str(uuid.uuid4())),
    }


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A listing as it was when it was asked for, and how it goes on."""

    rows: list[T]
    size: int
    at: datetime
    anchor: str = ""


class Pages(Generic[T]):
    """Listings behind skip tokens: a token says which listing and where it goes on; old ones are forgotten."""

    def __init__(self, lasts: timedelta) -> None:
        self._lasts = lasts
        self._kept: OrderedDict[str, Kept[T]] = OrderedDict()

    def keep(self, kept: Kept[T]) -> str:
        """Remember a listing; returns its name."""
        name = secrets.token_urlsafe(16)
        self._kept[name] = kept
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return name

    def find(self, token: str, now: datetime) -> tuple[str, Kept[T], int] | None:
        """The listing of a skip token, its name and the offset; None for a wrong or an old token."""
        name, _, offset = token.rpartition(".")
        kept = self._kept.get(name)
        if kept is None or not offset.isdigit() or kept.at + self._lasts < now:
            return None
        return name, kept, int(offset)


class Throttle:
    """So many requests in a running window, then none until the oldest has left it."""

    def __init__(self, limit: int = 100, window: timedelta = timedelta(minutes=5)) -> None:
        self.limit, self.window = limit, window
        self.refused = 0
        self._taken: deque[datetime] = deque()

    def take(self, now: datetime) -> int | None:
        """None: go on (it is counted). Else: after how many seconds to ask again."""
        while self._taken and self._taken[0] + self.window <= now:
            self._taken.popleft()
        if len(self._taken) < self.limit:
            self._taken.append(now)
            return None
        self.refused += 1
        left = self._taken[0] + self.window - now
        return max(1, -int(-left.total_seconds() // 1))

    def used(self, now: datetime) -> int:
        """How many requests the window holds now."""
        return sum(1 for at in self._taken if at + self.window > now)
