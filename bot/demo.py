"""`mfi demo`: the unchanged bot, as a process of its own, in a world of stand-ins on loopback.

It prints the page's address, says what to try next as soon as that can be tried, and takes `break` and `repair` with a
connector's name on the terminal. Everything ends with Ctrl-C and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from bot.backends.postfix import SHIPPED_WRAPPER
from bot.sandbox import relay
from bot.sandbox.child import dies_with_parent
from bot.sandbox.postfix import missing as postfix_missing
from bot.sandbox.slack import Message
from bot.sandbox.slack.seed import ALERTS
from bot.sandbox.smtp_behaviours import Behaviour
from bot.sandbox.world import ROUTES, World
from bot.slack.manifest import manifest

STOP_SECONDS = 12.0
RELAY = "Postfix relay"
"""How its next hop is called on the terminal."""
CHOICES = ("MFI_ACTIONS", "MFI_FIX_APPROVALS")
"""Settings of the demo's bot that whoever starts it may choose."""


def say(line: str = "") -> None:
    """One line for the person at the terminal."""
    print(line, flush=True)  # noqa: T201 - this is what the demo is for


async def run_demo(*, port: int, database: Path | None) -> int:
    """Start the world and the bot, guide, and stop on Ctrl-C; returns the exit code. `database`: an absolute path."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mfi-demo-")))
        without_postfix = postfix_missing()
        wrapper = None if without_postfix else SHIPPED_WRAPPER
        world = World(manifest=manifest(), page_port=port, postfix_wrapper=wrapper)
        await stack.enter_async_context(world)
        chosen = {name: os.environ[name] for name in CHOICES if name in os.environ}
        bot = await stack.enter_async_context(bot_process(world, database or home / "mfi.db", chosen))
        say(f"Sandbox Slack page: {world.slack.page_url}")
        say("Open it in a browser. An Exchange Online tenant with seven connectors is watched; six of them are broken.")
        mended = f"So is a Postfix relay; `repair {RELAY}` + Enter here mends its next hop, for Retry now on its alert."
        beside = f"No Postfix relay besides: {without_postfix}." if without_postfix else mended
        say(beside)
        say("Ctrl-C ends everything.")
        guide = asyncio.create_task(Guide(world, say).run())
        stack.push_async_callback(cancelled, guide)
        listening = asyncio.create_task(_obey_terminal(world))
        stack.push_async_callback(cancelled, listening)
        return await _until_the_end(bot, stop)


async def _until_the_end(bot: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    """0 when somebody ended it, 1 when the bot ended by itself."""
    ended, stopped = asyncio.create_task(bot.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
    died = ended.done() and not stopped.done()
    for task in (ended, stopped):
        await cancelled(task)
    if died:
        say(f"The bot ended by itself with exit code {bot.returncode}.")
    return 1 if died else 0


@contextlib.asynccontextmanager
async def bot_process(
    world: World, database: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`mfi run` with the world's settings, then these, and none of ours; ended with SIGTERM, at last with SIGKILL."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MFI_", "SLACK_"))}
    environment = {**kept, "MFI_LOG_LEVEL": "warning", **world.environment(), **(settings or {})}
    environment["MFI_DATABASE"] = str(database)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        "run",
        env=environment,
        cwd=database.parent,
        start_new_session=True,  # so that Ctrl-C reaches only us, and we stop things in order
        preexec_fn=dies_with_parent,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


async def cancelled(task: asyncio.Task[object]) -> None:
    """End a task and swallow its cancellation."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# --- the guide -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hint:
    """What to try next, said once, when `when` holds for the texts in the channel: here, and in short on the page."""

    when: Callable[[Sequence[str]], bool]
    page: str
    lines: tuple[str, ...]


def _alerts(texts: Sequence[str]) -> int:
    return sum(any(r.code and r.code in t and r.name in t for r in ROUTES) for t in texts)


HINTS = (
    Hint(
        lambda texts: _alerts(texts) >= 1,
        "The first alert is here; more follow, one for each code.",
        ("The first alert is in #mail-alerts.",),
    ),
    Hint(
        lambda texts: _alerts(texts) >= sum(r.code is not None for r in ROUTES),
        "Type `/mfi explain 450 4.4.316`; press *Re-probe*; then *Fix now…* on “Contoso on-premises”.",
        (
            "The six alerts of Exchange Online are there, one for each code; Head office works and has none.",
            "If Postfix is installed, its relay's alert makes seven. Try, as Admin One:",
            "  /mfi explain 450 4.4.316          what it means, who must act, what to do",
            "  /mfi status · /mfi queue · /mfi connectors",
            "  Re-probe on an alert; then Fix now… on “Contoso on-premises”: read the plan, type the connector's name.",
            "Then switch to Reader and click the same: refused, with the reason.",
        ),
    ),
    Hint(
        lambda texts: any("starts the fix" in t for t in texts),
        "Fix now runs: open the alert's thread. In 20 s it is verified (an hour in real life).",
        ("Fix now runs: open the alert's thread. Its result is verified in 20 s (an hour in real life).",),
    ),
    Hint(
        lambda texts: any("Verified" in t for t in texts),
        "Verified. *Undo…* in the thread puts the settings back. Then switch to *Reader* and try to fix something.",
        (
            "Verified. Undo in the thread puts connector and domain back; rejected mail stays rejected.",
            "Here in the terminal: `repair Plant gateway` + Enter mends a server: its alert resolves by itself.",
            "                      `break Head office` + Enter breaks the good one.",
        ),
    ),
)


class Guide:
    """Watches the channel and says what to try next."""

    def __init__(self, world: World, tell: Callable[[str], None]) -> None:
        self._world, self._tell = world, tell

    async def run(self) -> None:
        """Until every hint was given."""
        for hint in HINTS:
            await self._world.slack.wait_for(partial(self._holds, hint), timeout=math.inf)
            self._world.slack.suggest(hint.page)
            self._tell("")
            for line in hint.lines:
                self._tell(line)

    def _holds(self, hint: Hint) -> bool:
        return hint.when(self._texts())

    def _texts(self) -> list[str]:
        slack = self._world.slack
        found: list[Message] = list(slack.messages(ALERTS))
        for root in slack.messages(ALERTS):
            found += slack.thread(ALERTS, root.ts)
        return [message.text for message in found]


# --- break and repair ------------------------------------------------------------------------------------------------


async def _obey_terminal(world: World) -> None:
    """Read commands from the terminal or a pipe, if there is one."""
    if not _can_be_waited_for(sys.stdin):
        return
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    try:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (ValueError, OSError):
        return
    try:
        while line := await reader.readline():
            say(await obey(world, line.decode("utf-8", "replace").strip()))
    finally:
        transport.close()


def _can_be_waited_for(stdin: TextIO | None) -> bool:
    """Is it a terminal, a pipe or a socket? /dev/null and files have nothing to say later (and epoll refuses them)."""
    if stdin is None or stdin.closed:
        return False
    mode = os.fstat(stdin.fileno()).st_mode
    return stdin.isatty() or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def obey(world: World, line: str) -> str:
    """Carry out `break NAME` or `repair NAME`; the answer is one line."""
    verb, _, name = line.partition(" ")
    wanted = name.strip().casefold()
    servers = _servers(world)
    fitting = [known for known in servers if wanted and known.casefold().startswith(wanted)]
    if verb.lower() not in ("break", "repair") or len(fitting) != 1:
        return "Type: repair or break, then a connector: " + ", ".join(servers)
    (known,) = fitting
    if world.servers.servers[servers[known]].ip is None:
        return f"{known} has no server to mend: its name does not exist in the DNS."
    good = verb.lower() == "repair"
    await world.servers.set_behaviour(servers[known], Behaviour.GOOD if good else Behaviour.REFUSED)
    return f"{known}: its mail server {'works' if good else 'refuses connections'} now. Watch its alert."


def _servers(world: World) -> dict[str, str]:
    """What can be broken and repaired: a connector's name → its server in the cast."""
    relayed = {RELAY: relay.NEXT_HOP.name} if world.postfix else {}
    return {route.name: route.server for route in ROUTES} | relayed
