"""What `mfi doctor` says of a drop folder: each thing that it needs, and for what is missing the exact fix."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC

from bot.backends.exchange_server.document import FROM_AHEAD, SET_CLOCKS, Ahead, Document, WrongVersion, newest
from bot.backends.exchange_server.options import Options
from bot.backends.exchange_server.rows import text
from bot.backends.exchange_server.signing import BadKey, read_key
from bot.backends.ports import Unreachable
from bot.core.clock import Clock
from bot.core.finding import Finding


async def check(name: str, options: Options, clock: Clock) -> list[Finding]:
    """Look at everything, change nothing. Never raises BackendError."""
    return await asyncio.to_thread(lambda: list(_findings(name, options, clock)))


def task_line(options: Options) -> str:
    """The command that lets Task Scheduler run the script; the folder is as Windows names it."""
    more = " -KeyFile C:\\mfi\\key.txt -StaySeconds 50" if options.key_file else ""
    script = (
        f"powershell.exe -NoProfile -ExecutionPolicy RemoteSigned -File C:\\mfi\\mfi-exchange.ps1 -Drop <folder>{more}"
    )
    return f'schtasks /Create /TN mfi-exchange /SC MINUTE /MO 1 /RU <account> /RP * /TR "{script}"'


def _findings(name: str, options: Options, clock: Clock) -> Iterator[Finding]:
    prefix = f"MFI_{name.upper()}_"

    def fault(says: str, fix: str) -> Finding:
        return Finding(level="fault", what=name, says=says, fix=fix)

    key = None
    if options.key_file is not None:
        try:
            key = read_key(options.key_file)
        except BadKey as error:
            yield fault(error.problem, error.fix)
            return
    if not options.drop.is_dir():
        yield fault(
            f"there is no folder {options.drop}", f"create or mount it, or set {prefix}DROP to where the script writes"
        )
        return
    try:
        found = newest(options.drop, key, now=clock())
    except WrongVersion as error:
        yield fault(str(error), "copy bot/backends/exchange_server/mfi-exchange.ps1 over the one on the server")
        return
    except Ahead:
        yield fault(*_clocks("its newest document is", clock))
        return
    except Unreachable as error:
        yield fault(str(error), _reading_fix(str(error), options))
        return
    if found.ahead:
        yield fault(*_clocks("documents newer than the one that is used are", clock))
    yield from _state(name, found.document, clock, options)
    yield from _acts(name, found.document, options)


def _clocks(what: str, clock: Clock) -> tuple[str, str]:
    says = f"{what} {FROM_AHEAD}, which says {clock().astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return says, f"{SET_CLOCKS}; signed orders expire by them"


def _reading_fix(error: str, options: Options) -> str:
    if "signature" in error:
        return f"copy the server's key file to {options.key_file}, chmod 600"
    if "no document yet" in error:
        return f"on the Exchange server: {task_line(options)}"
    if "can't be read" in error:
        return "let the user that runs mfi read the folder and the files in it"
    return "run mfi-exchange.ps1 on the server by hand and look at what it says"


def _state(name: str, document: Document, clock: Clock, options: Options) -> Iterator[Finding]:
    age = clock() - document.started_at
    says = (
        f"mfi-exchange.ps1 {document.script} on {document.server}: {len(document.queues)} queues, "
        f"{len(document.messages)} messages, {len(document.connectors)} send connectors"
    )
    yield Finding(level="ok", what=name, says=says)
    if age > options.max_age:
        yield Finding(
            level="fault",
            what=name,
            says=f"its newest document is {age.total_seconds() / 60:.0f} min old: the scheduled task doesn't run",
            fix=f"on the Exchange server: schtasks /Run /TN mfi-exchange; or create it: {task_line(options)}",
        )
    for queue in document.cut_short[:3]:
        yield Finding(
            level="fault",
            what=name,
            says=f"queue {text(queue, 'Identity', 200)} was not listed whole, so that no queue is shown",
            fix="give the script a larger -MaxMessages in the scheduled task",
        )
    for part, lines in document.faults.items():
        yield Finding(
            level="fault",
            what=name,
            says=f"the script could not read the {part}: {lines[0]}",
            fix="add the task's account to the role group View-Only Organization Management; leave servers that can't "
            "be asked out with -SkipServers",
        )
    if document.directory is None:
        yield Finding(
            level="note",
            what=name,
            says="nobody says which recipients exist, so Fix now can't tell invalid ones",
            fix="let the scheduled task run with -DirectoryHours 6",
        )
    else:
        domains = ", ".join(sorted(document.directory.domains)[:5])
        yield Finding(level="ok", what=name, says=f"{len(document.directory.addresses)} recipients of {domains}")


def _acts(name: str, document: Document, options: Options) -> Iterator[Finding]:
    prefix = f"MFI_{name.upper()}_"
    orders = options.drop / "orders"
    if options.key_file is None:
        more = f"; the script obeys orders: set {prefix}KEY_FILE to the same key" if document.acts else ""
        yield Finding(
            level="note",
            what=name,
            says="read only: Fix now shows what to do by hand",
            fix=f"to let it act, set {prefix}KEY_FILE (README, Exchange Server){more}",
        )
    elif not document.acts:
        yield Finding(
            level="fault",
            what=name,
            says=f"{prefix}KEY_FILE is set, but the script runs without -KeyFile and obeys no order",
            fix=f"on the Exchange server: {task_line(options)}",
        )
    elif not (orders.is_dir() and os.access(orders, os.W_OK | os.X_OK)):
        yield Finding(
            level="fault",
            what=name,
            says=f"no order can be put into {orders}",
            fix=f"let the user that runs mfi write into {orders} (the script makes it at its first run)",
        )
    else:
        yield Finding(level="ok", what=name, says="it may act: orders are signed and can be delivered")
