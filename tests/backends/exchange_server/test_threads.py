"""A share that hangs holds up its own mail system, and nothing else."""

from __future__ import annotations

import asyncio
import threading

import pytest

from bot.backends.exchange_server.threads import MOST, Threads


async def test_hanging_work_holds_up_no_other_threads_and_what_waited_is_never_begun() -> None:
    hang, begun, threads = threading.Event(), threading.Event(), Threads("hub")
    try:
        stuck = [asyncio.ensure_future(threads.run(hang.wait)) for _ in range(MOST)]
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await threads.run(begun.set)
        assert await asyncio.to_thread(lambda: "free") == "free"
    finally:
        hang.set()
    assert await asyncio.gather(*stuck) == [True] * MOST
    assert await threads.run(lambda: "again") == "again"
    assert not begun.is_set()
    threads.close()
