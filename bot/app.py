"""The composition root: the only module that knows everything, and in which order it starts and stops.

Start: lock and database, recovery of what a kill interrupted, then the ticks, delivery and the Slack connection. Slack
may be down: everything else runs, and what is owed is delivered later. Stop: no new work; running work ends or is left
in a state from which the next start recovers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import partial

from bot.backends.ports import Backend
from bot.backends.present import PresentCapabilities, places
from bot.core.permissions import Admins
from bot.jobs import Jobs, Tick, Work
from bot.probes.runner import Prober
from bot.services.delivery import Delivery
from bot.services.departed import let_go
from bot.services.fix import Fix
from bot.services.upkeep import Upkeep
from bot.settings import Settings, SettingsError
from bot.slack.client import SlackPoster, make_client
from bot.slack.deps import SlackDeps
from bot.slack.guard import Guard
from bot.slack.listeners import build_app
from bot.slack.preflight import TokenRefused, check_tokens
from bot.slack.socket import GuardedSocket
from bot.wiring import (
    closing,
    make_address_ranges,
    make_backends,
    make_mail_exchangers,
    make_prober,
    make_probing,
    make_syncing,
    utc_now,
)
from knowledge.articles import articles
from storage.connection import AlreadyRunning, Store, StoreError

LOG = logging.getLogger("mfi")

PROBE_TICK = timedelta(seconds=1)
UPKEEP_TICK = timedelta(seconds=10)
VERIFY_TICK = timedelta(seconds=1)
RANGES_TICK = timedelta(minutes=10)
DRAIN_SECONDS = 4.0
"""What runs at the stop may go on for so long; all parts share it."""
SWITCH_SECONDS = 0.0005
"""So long at most one thread keeps the others waiting. With the usual 5 ms, a loop that does thousands of small things
in a second would crawl while a view of thousands of connectors is made in another thread."""
GARBAGE = (20_000, 20, 10)
"""When to look for garbage: such views are many objects, but no garbage, and looking through all of them stops
everything for a tenth of a second."""
STOP_SECONDS = 8.0
"""The whole stop, also of parts that do not end when told to: service managers kill after ten."""


class StartRefused(Exception):
    """The bot can't start: exit with this code, print these lines."""

    def __init__(self, exit_code: int, *lines: str) -> None:
        super().__init__(*lines)
        self.exit_code, self.lines = exit_code, lines


async def serve(settings: Settings) -> int:
    """Run until SIGTERM or Ctrl-C; returns the exit code. StartRefused when it can't start."""
    _log_to_stderr(settings.log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GARBAGE)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            backends = await stack.enter_async_context(closing(make_backends(settings)))
            prober = make_prober(settings)
        except SettingsError as error:
            raise StartRefused(2, *error.problems) from None
        try:
            store = await Store.open(settings.database, sole=True)
        except AlreadyRunning as error:
            raise StartRefused(4, str(error)) from None
        except StoreError as error:
            raise StartRefused(3, str(error)) from None
        stack.push_async_callback(store.close)
        bot = Bot(settings, store, backends, prober)
        await bot.run(stop)
    LOG.info("stopped")
    return 0


async def _ended(parts: Collection[asyncio.Task[None]], seconds: float) -> None:
    """Wait for these, so long at most; a part that fails or stays is logged and holds nothing up."""
    done, late = await asyncio.wait(parts, timeout=seconds)
    for task in late:
        LOG.warning("stopping: %s did not end in time", task)
        task.cancel()
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("stopping: a part failed", exc_info=error)


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("apscheduler", "slack_sdk", "slack_bolt", "aiohttp", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class Bot:
    """All parts, wired. `run` starts them in order and stops them in reverse."""

    def __init__(self, settings: Settings, store: Store, backends: Mapping[str, Backend], prober: Prober) -> None:
        assert settings.bot_token and settings.app_token and settings.alert_channel
        policy, channel = settings.policy(), settings.alert_channel
        capabilities, where = PresentCapabilities(backends), places(backends)
        self._settings, self._store, self._backends = settings, store, backends
        self._client = make_client(settings.bot_token.reveal(), settings.api_url)
        admins = Admins.of(settings.admins or ())
        self._guard = guard = Guard(client=self._client, store=store, admins=admins, clock=utc_now)
        self._probing = make_probing(settings, store, prober)
        self._fix = Fix(
            store,
            backends,
            self._probing.probe,
            policy,
            utc_now,
            may_fix=guard.may_fix,
            mail_exchangers=make_mail_exchangers(settings),
        )
        self._delivery = Delivery(
            store,
            SlackPoster(self._client, articles(), guard.workspace_url),
            utc_now,
            policy=policy,
            capabilities=capabilities,
            places=where,
            fallback_channel=channel,
        )
        self._syncing = make_syncing(settings, store, backends)
        self._ranges = make_address_ranges(settings, store)
        self._upkeep = Upkeep(store, policy, utc_now, default_channel=channel)
        deps = SlackDeps(
            store=store,
            clock=utc_now,
            policy=policy,
            client=self._client,
            probing=self._probing,
            fix=self._fix,
            capabilities=capabilities,
            places=where,
            nudge=self._delivery.nudge,
            guard=guard,
            socket=lambda: self._socket.state,
        )
        self._tasks = deps.tasks
        self._socket = GuardedSocket(build_app(deps), settings.app_token.reveal(), self._client)
        # One for each mail system: one that is slow or hangs keeps no other waiting.
        reads = [
            Tick(
                name=f"sync {name}",
                every=self._syncing.interval(name),
                work=self._told(partial(self._syncing.tick, name)),
            )
            for name in backends
        ]
        self._jobs = Jobs(
            [
                *reads,
                Tick(name="probe", every=PROBE_TICK, work=self._told(self._probing.tick)),
                Tick(name="upkeep", every=UPKEEP_TICK, work=self._told(self._upkeep.tick)),
                Tick(name="verify", every=VERIFY_TICK, work=self._told(self._fix.verify_due)),
                Tick(name="addresses", every=RANGES_TICK, work=self._ranges.tick),
            ],
            on_jump=[self._delivery.clock_jumped, self._probing.clock_jumped, self._upkeep.clock_jumped],
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Everything, until `stop` is set."""
        await self._guard.recall()
        await self._refuse_bad_tokens()
        await self._probing.recover()
        await self._delivery.recover()
        await let_go(self._store, self._backends, utc_now)
        self._tasks.spawn(self._learn_workspace(), "workspace")
        self._tasks.spawn(self._fix.recover(), "fix-recovery")  # reads mail systems, which may be slow or dead
        pump = asyncio.create_task(self._delivery.run(stop), name="delivery")
        try:
            await self._jobs.start()
            await self._socket.start()
            LOG.info("running; database %s", self._settings.database)
            await stop.wait()
        finally:
            stop.set()
            await self._stop(pump)

    async def _stop(self, pump: asyncio.Task[None]) -> None:
        """No new work, then every part ends beside the others; what is cut off is settled by the next start."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        takers = {pump, loop.create_task(self._socket.close()), loop.create_task(self._jobs.stop())}
        await _ended(takers, DRAIN_SECONDS + 1.0)
        patience = max(0.0, began + DRAIN_SECONDS - loop.time())
        workers = {loop.create_task(self._tasks.close(patience)), loop.create_task(self._probing.close())}
        await _ended(workers, max(0.0, began + STOP_SECONDS - loop.time()))

    async def _learn_workspace(self) -> None:
        """Ask Slack who we are if the check of the tokens got no answer: for links, and to tell strangers apart."""
        await self._guard.learn_home()

    async def _refuse_bad_tokens(self) -> None:
        """Tokens that Slack certainly refuses end the start; a Slack that can't be reached does not."""
        assert self._settings.app_token
        try:
            await self._guard.learn(await check_tokens(self._client, self._settings.app_token.reveal()))
        except TokenRefused as error:
            raise StartRefused(2, str(error)) from None

    def _told(self, work: Work) -> Work:
        """A tick after which delivery looks at the outbox."""

        async def tick() -> None:
            try:
                await work()
            finally:
                self._delivery.nudge()

        return tick
