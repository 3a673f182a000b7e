"""Work that goes on after a request was acknowledged. Every task is held, counted, and its failure is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

LOG = logging.getLogger(__name__)


class Tasks:
    """A bounded set of running tasks."""

    def __init__(self, limit: int = 100) -> None:
        self._limit = limit
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, None], name: str, *, urgent: bool = False) -> bool:
        """Run it in the background. False, and nothing runs, when too much is running already.

        urgent: may use as much room again, for telling people that there is no room.
        """
        if len(self._running) >= self._limit * (2 if urgent else 1):
            work.close()
            LOG.error("too much at once: %s was dropped", name)
            return False
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return True

    async def close(self, patience: float) -> None:
        """Let what runs finish for so many seconds, then cancel the rest."""
        await self.settled(patience)
        late = [task for task in self._running if task is not asyncio.current_task()]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def settled(self, patience: float | None = None) -> None:
        """Wait until nothing runs any more, at most so many seconds."""
        running = {task for task in self._running if task is not asyncio.current_task()}
        if running:
            await asyncio.wait(running, timeout=patience)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("%s failed", task.get_name(), exc_info=error)
