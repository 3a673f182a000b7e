"""The whole small mail system: a tenant, a courier that retries, a control API on loopback. Start, seed, act, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from bot.core.clock import Clock
from bot.sandbox.mail_system.api import ControlApi
from bot.sandbox.mail_system.courier import Courier, deliver_all
from bot.sandbox.mail_system.faults import Faults
from bot.sandbox.mail_system.led import Failure
from bot.sandbox.mail_system.model import TenantConnector
from bot.sandbox.mail_system.names import Names
from bot.sandbox.mail_system.smtp_sender import Manner
from bot.sandbox.mail_system.tenant import Tenant

log = logging.getLogger(__name__)


class MailSystem:
    """Seed it through `tenant`, break its API through `faults`.

    `smtp_port` is used for connectors without a port of their own. `tick`: how often (seconds) it looks whether
    something is due; None: never by itself, `retry()` does one round (for tests with a clock of their own).
    """

    def __init__(
        self,
        *,
        clock: Clock,
        nameservers: Sequence[tuple[str, int]] = (),
        smtp_port: int = 25,
        ca_file: Path | None = None,
        retry_interval: timedelta = timedelta(minutes=15),
        lifetime: timedelta = timedelta(hours=24),
        timeout: float = 10.0,
        tick: float | None = 1.0,
        name: str = "mail.sandbox.test",
    ) -> None:
        self._clock = clock
        self._tick = tick
        self.tenant = Tenant(lifetime=lifetime, name=name)
        self.faults = Faults()
        names = Names(nameservers, lifetime=min(timeout, 5.0))
        manner = Manner(helo_name=name, ca_file=ca_file, connect_timeout=timeout, reply_timeout=timeout)
        self._courier = Courier(self.tenant, names, clock, manner, smtp_port=smtp_port, retry_interval=retry_interval)
        self._runner: web.AppRunner | None = None
        self._address = ("127.0.0.1", 0)
        self._loop_task: asyncio.Task[None] | None = None
        self._attempts: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def api_url(self) -> str:
        """The base address of the control API."""
        return f"http://{self._address[0]}:{self._address[1]}"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Serve the API and begin to retry."""
        self._address = (host, port)
        await self.api_up()
        if self._tick is not None:
            self._loop_task = asyncio.create_task(self._keep_trying(self._tick))

    async def stop(self) -> None:
        """Stop everything; what waits is forgotten."""
        for task in [t for t in (self._loop_task, *self._attempts) if t]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._loop_task = None
        await self.api_down()

    async def __aenter__(self) -> MailSystem:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def api_up(self) -> None:
        """Listen (again, on the same port)."""
        api = ControlApi(self.tenant, self.faults, self._clock, self._changed.set)
        self._runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, *self._address)
        await site.start()
        self._address = (self._address[0], int(self._runner.addresses[0][1]))

    async def api_down(self) -> None:
        """Refuse connections to the API; mail goes on."""
        self.faults.clear()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def look_again(self) -> None:
        """Something was changed: look now whether mail is due."""
        self._changed.set()

    async def try_out(self, connector: TenantConnector, recipients: Sequence[str]) -> list[tuple[str, Failure | None]]:
        """Send test messages over a connector, past the queue: what was tried, and how it failed (None: it worked)."""
        return await self._courier.try_out(connector, recipients)

    async def retry(self) -> None:
        """One round now: expire, reject, deliver everything that is due; returns when all attempts are over."""
        self.tenant.sweep(self._clock())
        await deliver_all(self._courier)

    async def _keep_trying(self, tick: float) -> None:
        while True:
            self._changed.clear()
            self._begin_due()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), tick)

    def _begin_due(self) -> None:
        self.tenant.sweep(self._clock())
        for connector, entries in self._courier.ready():
            task = asyncio.create_task(self._courier.deliver(connector, entries))
            self._attempts.add(task)
            task.add_done_callback(self._attempt_over)

    def _attempt_over(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("an attempt broke; its mail is tried again", exc_info=task.exception())
