"""Programs are run without a shell, within bounds, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from bot.backends.postfix.command import CutOff, NotRun, run


async def test_output_errors_and_status_come_back() -> None:
    done = await run(["/bin/sh", "-c", "cat; echo oh >&2; exit 3"], timeout=5, stdin=b"words\n")
    assert (done.status, done.output, done.errors) == (3, b"words\n", "oh\n")


async def test_no_shell_reads_the_arguments() -> None:
    done = await run(["printf", "%s", "$(id); `id` > x"], timeout=5)
    assert done.output == b"$(id); `id` > x"


async def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(NotRun, match="nothing-here can't be started"):
        await run(["/nowhere/nothing-here"], timeout=5)


async def test_a_slow_program_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    started = time.monotonic()
    with pytest.raises(CutOff, match="did not end within"):
        await run(["/bin/sh", "-c", f"sleep 60 & echo $! >{pid}; wait"], timeout=0.5)
    assert time.monotonic() - started < 5
    child = int(pid.read_text())
    for _ in range(50):
        if not _alive(child):
            break
        await asyncio.sleep(0.05)
    assert not _alive(child)


@pytest.mark.parametrize("pipe", ["", ">/dev/null"])
async def test_who_keeps_its_pipes_open_after_its_end_is_not_waited_for_and_killed(tmp_path: Path, pipe: str) -> None:
    pid = tmp_path / "pid"
    script = f"sleep 60 {pipe} </dev/null & echo $! >{pid}; echo list; echo oh >&2; exit 3"
    started = time.monotonic()
    if pipe:
        done = await run(["/bin/sh", "-c", script], timeout=20)
        assert (done.status, done.output, done.errors) == (3, b"list\n", "oh\n")
    else:
        with pytest.raises(CutOff, match="did not end within"):
            await run(["/bin/sh", "-c", script], timeout=1)
    assert time.monotonic() - started < 5
    for _ in range(50):
        if not _alive(int(pid.read_text())):
            break
        await asyncio.sleep(0.05)
    assert not _alive(int(pid.read_text()))


async def test_a_connection_that_is_left_for_others_is_left(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"setsid sleep 60 >/dev/null </dev/null & echo $! >{pid}; sleep 0.2; echo list"
    for _ in range(2):
        started = time.monotonic()
        assert (await run(["/bin/sh", "-c", script], timeout=20)).output == b"list\n"
        assert time.monotonic() - started < 5
        assert _alive(int(pid.read_text()))
        os.kill(int(pid.read_text()), 9)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


async def test_an_endless_answer_is_cut() -> None:
    with pytest.raises(CutOff, match="more than 1 MiB"):
        await run(["yes"], timeout=10, limit=1 << 20)


async def test_endless_complaints_are_read_and_cut() -> None:
    done = await run(["/bin/sh", "-c", "head -c 3000000 /dev/zero >&2; echo done"], timeout=10)
    assert (done.output, len(done.errors)) == (b"done\n", 1 << 20)


async def test_one_that_does_not_read_its_input_does_not_hold_us_up() -> None:
    done = await run(["true"], timeout=5, stdin=b"x" * 10_000_000)
    assert done.status == 0


async def test_a_cancelled_run_leaves_no_process(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    task = asyncio.create_task(run(["/bin/sh", "-c", f"echo $$ >{pid}; exec sleep 60"], timeout=60))
    for _ in range(100):
        if pid.exists() and pid.read_text():
            break
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _alive(int(pid.read_text()))
