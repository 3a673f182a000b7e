"""One bounded https exchange, and how often it is tried again.

Promises: every request has a deadline and a bounded answer; nothing follows a redirect; only https. How far a request
came decides what its failure means: never connected is Unreachable, sent without an answer is OutcomeUnknown.
Whoever may not repeat a request (a change) says so: then only a plain "too many requests" is tried again, because
it was certainly not carried out.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from bot.backends.exchange_online.clouds import origin
from bot.backends.ports import OutcomeUnknown, Refused, Unreachable
from bot.core.clock import Clock

MAX_ANSWER = 32 * 1024 * 1024
LONGEST_WAIT = 30.0
"""Seconds. Whoever is told to wait for longer gives up for now and says until when."""
ATTEMPTS = 3
BUSY_TEXT = b"You have reached the maximum number of concurrent requests"
"""Exchange says so in plain text, whatever the status."""

Sleep = Callable[[float], Awaitable[None]]


class Throttled(Unreachable):
    """The service wants to be left alone until `until` (429, or trouble with a long Retry-After); nothing happened."""

    def __init__(self, text: str, until: datetime) -> None:
        super().__init__(text)
        self.until = until


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` ignore case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def busy(self) -> bool:
        """Too many requests: it was not carried out."""
        return self.status == 429 or self.body[:200].lstrip().startswith(BUSY_TEXT)

    @property
    def passing(self) -> bool:
        """Trouble that may be over at the next try."""
        return self.busy or self.status in (408, 500, 502, 503, 504)


class Wire:
    """A connection pool, and how the service's clock differs from ours, as its answers tell.

    `clock`: the moment of the mail; `machine_clock`: this machine's. They differ only where mail is simulated.
    `timeout`: seconds that one exchange may take. `ca_file`: authorities to trust besides the system's.
    """

    def __init__(
        self, clock: Clock, machine_clock: Clock, *, timeout: float = 30.0, ca_file: Path | None = None
    ) -> None:
        self._clock = clock
        self._machine_clock = machine_clock
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=timeout)
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._opening = asyncio.Lock()
        self.skew = timedelta(0)
        """How far the service's clock is ahead of ours, as the last answer had it."""

    def now(self) -> datetime:
        """The present moment: by our clock, or by the service's where that is behind ours.

        So it is never in the service's future; where our clock is the slower one, only the youngest mail is missed.
        """
        return self._clock() + min(self.skew, timedelta(0))

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """One exchange. `url` is sent as it stands: it has to be encoded."""
        if origin(url) is None:
            raise Refused("an address that is not https was not asked")
        try:
            session = await self._opened()
            async with session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                json=json,
                data=form,
                proxy=_proxy(url),
                allow_redirects=False,
            ) as response:
                answer = Answer(response.status, response.headers.copy(), await _bounded(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise Unreachable(f"{_host(url)} can't be reached ({_kind(error)})") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise OutcomeUnknown(f"{_host(url)} gave no clear answer ({_kind(error)})") from None
        self._compare_clocks(_http_date(answer.headers.get("Date", "")))
        return answer

    async def close(self) -> None:
        """Release connections, for good: a sign-in that is still under way in its thread opens none any more."""
        self._closed = True
        async with self._opening:
            session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _opened(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._closed:
                raise Unreachable("it was asked after its connections were closed")
            if self._session is None:
                context = await asyncio.to_thread(_tls, self._ca_file)
                connector = aiohttp.TCPConnector(ssl=context, limit=8)
                self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
            return self._session

    def _compare_clocks(self, theirs: datetime | None) -> None:
        if theirs is not None:
            ahead = theirs - self._machine_clock()
            # Mostly in whole seconds, and the answer was under way.
            self.skew = ahead if abs(ahead) > timedelta(seconds=5) else timedelta(0)


async def patiently(
    send: Callable[[], Awaitable[Answer]], *, repeatable: bool, clock: Clock, sleep: Sleep, attempts: int = ATTEMPTS
) -> Answer:
    """Send until an answer is worth having: at most `attempts` times, with the wait that the service asks for.

    Raises Throttled where it wants a longer wait than LONGEST_WAIT, or the last failure. A change that is not
    `repeatable` is repeated only where the service says that it was not carried out.
    """
    for attempt in range(1, attempts + 1):
        try:
            answer = await send()
        except (OutcomeUnknown, Unreachable) as error:
            if isinstance(error, Throttled) or not repeatable:
                raise
            if attempt == attempts:
                # Of a read nothing is unknown but its answer.
                raise Unreachable(str(error)) from None
            await sleep(_usual(attempt))
            continue
        if not (answer.passing if repeatable else answer.busy):
            return answer
        wait = retry_after(answer, clock())
        if (answer.busy and attempt == attempts) or (wait or 0) > LONGEST_WAIT:
            pause = _usual(attempt) if wait is None else wait
            why = "too many requests" if answer.busy else f"it answered HTTP {answer.status}"
            raise Throttled(f"{why}; it wants a pause of {pause:.0f} s", clock() + timedelta(seconds=pause))
        if attempt == attempts:
            return answer
        await sleep(min(_usual(attempt) if wait is None else wait, LONGEST_WAIT))
    raise AssertionError("unreachable")


def retry_after(answer: Answer, now: datetime) -> float | None:
    """Seconds that the answer asks us to wait, from 0 to an hour; it may give seconds or a date."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), 3600))
    moment = _http_date(text)
    if moment is None:
        return None
    seconds = (moment - (_http_date(answer.headers.get("Date", "")) or now)).total_seconds()
    return min(max(seconds, 0.0), 3600.0)


def _usual(attempt: int) -> float:
    return 3.0 * attempt


def _proxy(url: str) -> str | None:
    """The proxy that the environment names (HTTPS_PROXY, NO_PROXY) for this address.

    Found here, because aiohttp would send the passwords of ~/.netrc along, or stumble over them beside our token.
    """
    return None if proxy_bypass(_host(url)) else getproxies().get("https")


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ValueError):
            raise Refused("the file that CA_FILE names holds no certificates in PEM form, or can't be read") from None
    return context


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for part in response.content.iter_chunked(65536):
        content += part
        if len(content) > MAX_ANSWER:
            raise ValueError("answer too long")
    return bytes(content)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _host(url: str) -> str:
    found = origin(url)
    return found[0] if found else "the service"


def _kind(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its certificate is not trusted: behind a proxy that opens TLS, name its authority in CA_FILE"
    return type(error).__name__
