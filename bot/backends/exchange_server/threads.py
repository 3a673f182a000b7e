"""Threads of one's own, for files on a network share: where the share hangs, nobody else's work waits behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
MOST = 2


class Threads:
    """At most two at a time. What was cancelled before its turn is never begun."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(MOST, thread_name_prefix=f"mfi-{name}")

    async def run(self, work: Callable[[], T]) -> T:
        """Do it in a thread; cancelling stops the waiting, not what was begun."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def begin(self, work: Callable[[], object]) -> None:
        """Do it in a thread, and don't wait."""
        self._pool.submit(work)

    def close(self) -> None:
        """Begin nothing more; what hangs is left alone."""
        self._pool.shutdown(wait=False)
