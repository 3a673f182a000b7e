"""The read side of one instance: its configuration, its queue and its log, brought together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

from bot.backends.ports import Unreachable
from bot.backends.postfix.connectors import ConnectorTerms, Ownership
from bot.backends.postfix.host import LogPosition, PostfixHost
from bot.backends.postfix.instance import Instance, read_instance
from bot.backends.postfix.mail_log import LogTerms, outcomes
from bot.backends.postfix.options import Options
from bot.backends.postfix.queue import Listing, QueueTerms
from bot.backends.postfix.recall import recalled
from bot.backends.postfix.tracking import Tracker
from storage.records import ConnectorFacts

MOST_PARTS = 16
"""Portions of the log for one read; what is left then is read the next time."""


class Reader:
    """Reads one instance. One read of the queue at a time: each is compared with the one before."""

    def __init__(self, name: str, options: Options, host: PostfixHost, now: Callable[[], datetime]) -> None:
        self._name = name
        self._options = options
        self._host = host
        self._now = now
        self._position = LogPosition()
        self._turn = asyncio.Lock()
        self.tracker = Tracker()
        self.last: Instance | None = None
        self.log_trouble: str | None = None

    async def instance(self) -> Instance:
        """The configuration now; `last` keeps it. Raises Unreachable."""
        self.last = await read_instance(self._host, self._options.config_dir, self._name)
        return self.last

    def connectors(self, instance: Instance) -> list[ConnectorFacts]:
        """The next hops of this configuration."""
        ownership = Ownership(on_premises=self._options.on_premises, partner=self._options.partner)
        terms = ConnectorTerms(
            backend=self._name,
            routing=instance.routing,
            tls=instance.tls,
            ownership=ownership,
            dialling=instance.dialling,
            held=instance.held,
        )
        return terms.connectors()

    async def listing(self, instance: Instance) -> Listing:
        """What waits now. Raises Unreachable.

        1. List the queue. 2. Read what the log gained: who isn't listed any more is mostly in it by now. 3. Where
        somebody left and nobody says how, list once more (a message that moves between queues can be missed), then read
        the log once more (its lines take a moment from Postfix to the file).
        """
        async with self._turn:
            found = await self._list(instance)
            await self._read_log(instance, found)
            if missing := await asyncio.to_thread(self.tracker.unexplained, found.messages):
                again = await self._list(instance)
                found.messages.update((ref, again.messages[ref]) for ref in missing if ref in again.messages)
                if missing - found.messages.keys() and self._reads_log and self.log_trouble is None:
                    await asyncio.sleep(self._host.log_lag)
                    await self._read_log(instance, found)
            await asyncio.to_thread(self.tracker.settle, found.messages)
            return found

    @property
    def _reads_log(self) -> bool:
        return self._options.log != "off"

    async def _list(self, instance: Instance) -> Listing:
        terms = QueueTerms(
            backend=self._name,
            host=instance.host,
            lifetime=instance.lifetime,
            bounce_lifetime=instance.bounce_lifetime,
            connector_key=instance.routing.connector_key,
            waits_for=instance.filters.waits_for,
        )
        found = Listing(terms, self.tracker.waiting)
        async with contextlib.aclosing(self._host.queue()) as portions:
            async for lines in portions:
                await asyncio.to_thread(found.add, lines)
        if found.unreadable and not found.messages:
            raise Unreachable("the queue's listing can't be read: is this `postqueue -j` of Postfix 3.1 or later?")
        return found

    async def _read_log(self, instance: Instance, found: Listing) -> None:
        """Take in the log. Without it mail just is gone; why is in `log_trouble`."""
        if not self._reads_log:
            return
        name = instance.settings.get("syslog_name") or "postfix"
        setting = instance.settings.get("maillog_file", "")
        try:
            for _ in range(MOST_PARTS):
                part = await self._host.log_since(self._position, setting)
                terms = LogTerms(syslog_name=name, zone=part.zone, now=self._now())
                if self._position == LogPosition():
                    known = await asyncio.to_thread(lambda *how: list(recalled(*how)), part.lines, terms, found.terms)
                    self.tracker.recall(known, found.messages)
                told = await asyncio.to_thread(lambda lines, how: list(outcomes(lines, how)), part.lines, terms)
                await asyncio.to_thread(self.tracker.learn, told, found.messages)
                self._position = part.position
                if not part.more:
                    break
            self.log_trouble = None
        except Unreachable as error:
            self.log_trouble = str(error)
