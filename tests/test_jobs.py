"""The clockwork: errors, jumps and stops do not stall it."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from bot.jobs import Jobs, Tick


class Counted:
    """Work that counts its runs and can be awaited."""

    def __init__(self, error: Exception | None = None) -> None:
        self.runs = 0
        self.error = error
        self._ran = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        self._ran.set()
        if self.error is not None:
            raise self.error

    async def reached(self, runs: int) -> None:
        async with asyncio.timeout(5):
            while self.runs < runs:
                self._ran.clear()
                await self._ran.wait()


def tick(work: Counted, every: float = 3600, name: str = "work", *, at_once: bool = True) -> Tick:
    return Tick(name=name, every=timedelta(seconds=every), work=work, at_once=at_once)


class Wall:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


async def test_a_tick_runs_at_once_and_again_and_again() -> None:
    work = Counted()
    jobs = Jobs([tick(work, every=0.02)])
    await jobs.start()
    await work.reached(3)
    await jobs.stop()
    runs = work.runs
    await asyncio.sleep(0.05)
    assert work.runs == runs
    assert "work" in jobs.finished


async def test_a_tick_may_wait_for_its_first_time_and_be_called_early() -> None:
    work, other = Counted(), Counted()
    jobs = Jobs([tick(work, at_once=False), tick(other, name="other", at_once=False)])
    await jobs.start()
    jobs.run_now("work")
    await work.reached(1)
    assert other.runs == 0
    jobs.run_now()
    await other.reached(1)
    await jobs.stop()


async def test_an_error_is_kept_until_a_run_succeeds_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    work, other = Counted(ValueError("no")), Counted()
    jobs = Jobs([tick(work, every=0.02), tick(other, name="other", every=0.02)])
    await jobs.start()
    await work.reached(2)
    await other.reached(2)
    assert jobs.errors == {"work": "ValueError: no"}
    work.error = None
    await work.reached(work.runs + 2)
    assert jobs.errors == {}
    assert "tick work failed" in caplog.text
    await jobs.stop()


async def test_a_tick_never_runs_twice_at_once() -> None:
    gate, started = asyncio.Event(), []

    async def slow() -> None:
        started.append(1)
        await gate.wait()

    jobs = Jobs([Tick(name="slow", every=timedelta(seconds=0.01), work=slow)])
    await jobs.start()
    await asyncio.sleep(0.1)
    assert started == [1]
    gate.set()
    await jobs.stop()


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 10 * 365 * 86400.0, -10 * 365 * 86400.0])
async def test_after_a_clock_jump_everything_runs_once_and_goes_on(jump: float) -> None:
    wall, work, mended = Wall(), Counted(), Counted()
    jobs = Jobs([tick(work)], on_jump=[Counted(ValueError("one part fails")), mended], wall=wall, guard_every=0.01)
    await jobs.start()
    await work.reached(1)
    wall.offset = jump
    await mended.reached(1)
    jobs.run_now()
    await asyncio.sleep(0.05)
    assert mended.runs == 1
    await jobs.stop()


async def test_small_drifts_are_no_jumps() -> None:
    wall, work, mended = Wall(), Counted(), Counted()
    jobs = Jobs([tick(work)], on_jump=[mended], wall=wall, guard_every=0.01)
    await jobs.start()
    wall.offset = 3.0
    await asyncio.sleep(0.05)
    await jobs.stop()
    assert mended.runs == 0


async def test_stopping_lets_a_running_tick_end() -> None:
    ended = []

    async def slow() -> None:
        await asyncio.sleep(0.05)
        ended.append(1)

    jobs = Jobs([Tick(name="slow", every=timedelta(hours=1), work=slow)])
    await jobs.start()
    await asyncio.sleep(0.02)
    await jobs.stop()
    assert ended == [1]


async def test_stopping_gives_up_a_tick_that_hangs() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    jobs = Jobs([Tick(name="hang", every=timedelta(hours=1), work=hang)], drain=0.05)
    await jobs.start()
    await asyncio.sleep(0.02)
    await asyncio.wait_for(jobs.stop(), 5)
    await jobs.stop()
    assert jobs.finished == {}
