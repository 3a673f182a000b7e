"""From which addresses Microsoft 365 sends mail: its published list, kept for the advice on firewalls.

Promises: asked for at most once a day (once an hour while it can't be had), one request bounded in time and size, only
where a mail system of that kind is read; nobody waits for it: advice takes what is stored, with its date, or does
without. Trusts the list's certificate and nothing in it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
from sqlite_utils import Database

from bot.core.address_ranges import smtp_ranges
from bot.core.clock import Clock
from bot.core.views import AllowedFrom
from storage import meta
from storage.connection import Store

LOG = logging.getLogger(__name__)

KIND = "exchange_online"
"""The kind of mail system (MFI_BACKENDS) whose operator publishes such a list."""
SYSTEM = "Microsoft 365"
ABOUT = "https://learn.microsoft.com/microsoft-365/enterprise/microsoft-365-ip-web-service"
REFRESH = timedelta(days=1)
RETRY = timedelta(hours=1)
DEADLINE = 20.0
"""Seconds for the whole request."""
MOST_BYTES = 4 * 1024 * 1024

_KEY = "address_ranges:"


class ListUnavailable(Exception):
    """The list could not be had. The text is one line."""


def allowed_from(db: Database, backend: str) -> AllowedFrom | None:
    """What is known of a mail system's addresses; None: it is not of a kind that publishes any."""
    text = meta.get(db, _KEY + backend)
    if text is None:
        return None
    kept = json.loads(text)
    read_at = kept["read_at"]
    return AllowedFrom(
        system=SYSTEM,
        ranges=tuple(kept["ranges"]),
        read_at=datetime.fromisoformat(read_at) if read_at else None,
    )


class AddressRanges:
    """Keeps the list. `backends`: the mail systems that it is about; `url` None: it is never asked for.

    `elsewhere`: mail systems of that kind that connect from other addresses than the list's; they get none.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        backends: Collection[str],
        url: str | None,
        elsewhere: Collection[str] = (),
        ca_file: Path | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._backends = sorted(backends)
        self._elsewhere = sorted(elsewhere)
        self._url = url
        self._ca_file = ca_file
        self._deadline = deadline
        self._next_at: datetime | None = None

    async def tick(self) -> None:
        """Fetch the list if that is due; a failure is logged and tried again later.

        1. Is it due? After a start only what is stored says so. 2. Ask. 3. Keep what came, or what there was.
        """
        now = self._clock()
        if self._elsewhere:
            # Also what an earlier setting had put there.
            await self._store.write(lambda db: _keep(db, self._elsewhere, AllowedFrom(system=SYSTEM)))
            self._elsewhere = []
        # A moment further away than that was set while the clock was wrong.
        if not self._backends or (self._next_at is not None and now < self._next_at <= now + REFRESH):
            return
        known = await self._store.read(lambda db: [allowed_from(db, name) for name in self._backends])
        fresh = [one.read_at for one in known if one and one.read_at and timedelta(0) <= now - one.read_at < REFRESH]
        if len(fresh) == len(known):
            self._next_at = min(fresh) + REFRESH
            return
        self._next_at = now + RETRY
        old = next((one for one in known if one and one.read_at), AllowedFrom(system=SYSTEM))
        if self._url is None:
            await self._store.write(lambda db: _keep(db, self._backends, AllowedFrom(system=SYSTEM)))
            self._next_at = now + REFRESH
            return
        try:
            ranges = await self._fetched(self._url)
        except ListUnavailable as error:
            LOG.warning("the list of %s's addresses can't be had: %s", SYSTEM, error)
            await self._store.write(lambda db: _keep(db, self._backends, old))
            return
        await self._store.write(
            lambda db: _keep(db, self._backends, AllowedFrom(system=SYSTEM, ranges=ranges, read_at=now))
        )
        self._next_at = now + REFRESH

    async def _fetched(self, url: str) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(self._deadline):
                body = await self._body(url)
            ranges = await asyncio.to_thread(lambda: smtp_ranges(json.loads(body)))
        except TimeoutError:
            raise ListUnavailable(f"no answer within {self._deadline:.0f} s") from None
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            raise ListUnavailable(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from None
        if not ranges:
            raise ListUnavailable("it names no network that sends mail")
        return ranges

    async def _body(self, url: str) -> bytes:
        context = await asyncio.to_thread(_trusting, self._ca_file)
        connector = aiohttp.TCPConnector(ssl=context, force_close=True)
        asked = {"clientrequestid": str(uuid.uuid4())}
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as web,
            web.get(url, params=asked, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ListUnavailable(f"the answer is {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(64 * 1024):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ListUnavailable(f"it is longer than {MOST_BYTES} bytes")
            return bytes(body)


def _keep(db: Database, backends: Collection[str], found: AllowedFrom) -> None:
    read_at = found.read_at.isoformat() if found.read_at else None
    text = json.dumps({"ranges": found.ranges, "read_at": read_at})
    for name in backends:
        meta.put(db, _KEY + name, text)


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    return context
