"""Ten thousand connectors on a 60 s interval: the bot as a real process, real sockets and TLS, a Slack that people use.

Run it alone with `python -m tests.bench.crowd [connectors] [seconds]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.core.policy import Policy
from bot.sandbox.slack import AppConfig, SandboxSlack
from bot.sandbox.slack.workspace import Channel, User, Workspace
from bot.slack.manifest import manifest
from storage import connectors
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind, TlsSetting
from tests.bench.blackbox import cpu_of
from tests.bench.fleet import HOST, Fleet, fleet
from tests.bench.lags import Lags, at, lags

EVERY = timedelta(seconds=60)
SETTLE = 5.0
ASK_EVERY = 1.0
LINES = ("/mfi help", "/mfi status", "/mfi explain 450 4.4.316 Connection refused", "/mfi queue", "/mfi connectors")
PEOPLE = tuple(f"U0BENCH{n}" for n in range(8))
CHANNEL = "C0BENCH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came out. Seconds, but for what says otherwise."""

    connectors: int
    lags: Lags
    good: int
    acks: tuple[float, ...]
    rss_mib: float
    cpu: float
    servers_cpu: float
    seconds: float


def _furnish(workspace: Workspace) -> None:
    for person in PEOPLE:
        workspace.add_user(User(id=person, name=person.lower(), real_name=person))
    workspace.add_channel(Channel(id=CHANNEL, name="bench", members={*PEOPLE, workspace.app.bot_user}))


def _listed(servers: Fleet) -> list[ConnectorFacts]:
    return [
        ConnectorFacts(
            backend="files",
            key=f"k{n}",
            name=f"Connector {n:05d}",
            kind=ConnectorKind.PARTNER,
            smart_hosts=(ip,),
            port=servers.port,
            tls_setting=TlsSetting.DOMAIN,
            tls_domain=HOST,
        )
        for n, ip in enumerate(servers.ips)
    ]


@contextlib.asynccontextmanager
async def _bot(slack: SandboxSlack, servers: Fleet, database: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`mfi run`; ended with SIGTERM."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MFI_", "SLACK_"))}
    settings = {
        "SLACK_API_URL": slack.api_url,
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_APP_TOKEN": slack.app_token,
        "MFI_ALERT_CHANNEL": CHANNEL,
        "MFI_ADMINS": PEOPLE[0],
        "MFI_DATABASE": str(database),
        "MFI_PROBE_ALLOW": "127.0.0.0/8",
        "MFI_CA_FILE": str(servers.ca_file),
        "MFI_PROBE_INTERVAL": f"{EVERY.seconds}",
        "MFI_PROBE_INTERVAL_FAILING": f"{EVERY.seconds}",
        "MFI_LOG_LEVEL": "warning",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bot", "run", env=kept | settings)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 20)


async def crowd(number: int = 10_000, seconds: float = 150.0) -> Figures:
    """Let the bot watch so many servers for so long, while people type commands."""
    with fleet(number) as servers, tempfile.TemporaryDirectory() as directory:
        database = Path(directory) / "mfi.db"
        async with await Store.open(database) as store:
            listed = _listed(servers)
            now = datetime.now(UTC)
            await store.write(lambda db: connectors.sync(db, "files", listed, now, complete=True))
        async with (
            SandboxSlack(app=AppConfig.from_manifest(manifest()), furnish=_furnish) as slack,
            _bot(slack, servers, database) as bot,
        ):
            await slack.wait_for(lambda: slack.connected, timeout=30)
            await asyncio.sleep(SETTLE)
            begun, cpu = asyncio.get_running_loop().time(), _cpu(servers)
            await _use(slack, until=begun + seconds)
            used = cpu_of(bot.pid)
            servers_used, peak = _cpu(servers) - cpu, _peak(bot.pid)
            acks = tuple(sorted(each.seconds for each in slack.envelopes if each.kind == "slash_commands"))
        async with await Store.open(database) as store:
            every = await store.read(connectors.every)
            policy = Policy(probe_interval=EVERY, probe_interval_failing=EVERY)
            found = await store.read(lambda db: lags(db, every, policy, {}))
            good = await store.read(lambda db: int(db.execute("SELECT sum(ok) FROM probes").fetchone()[0]))
    return Figures(
        connectors=number,
        lags=found,
        good=good,
        acks=acks,
        rss_mib=peak,
        cpu=used,
        servers_cpu=servers_used,
        seconds=seconds + SETTLE,
    )


async def _use(slack: SandboxSlack, *, until: float) -> None:
    """People type commands, one after the other."""
    loop, count = asyncio.get_running_loop(), 0
    workspace = slack.workspace
    while loop.time() < until:
        who = workspace.user(PEOPLE[count % len(PEOPLE)])
        await slack.gestures.command(who, workspace.channel(CHANNEL), LINES[count % len(LINES)])
        count += 1
        await asyncio.sleep(ASK_EVERY)


def _cpu(servers: Fleet) -> float:
    return sum(map(cpu_of, servers.pids))


def _peak(pid: int) -> float:
    """The most memory that a process ever had, in MiB."""
    (line,) = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def markdown(found: Figures) -> list[str]:
    """As a table for the README."""
    probes = found.lags.probes
    later = found.lags.later
    rows = {
        "probes, all good": f"{probes:,}" if found.good == probes else f"{probes:,}, {found.good:,} of them good",
        "probes a second": f"{found.lags.rate:,.0f}",
        "begun after due, p50 / p99 / most": f"{at(later, 0.5):.1f} / {at(later, 0.99):.1f} / {at(later, 1.0):.1f} s",
        "connectors left out": f"{found.lags.never}",
        "memory of the bot, at most": f"{found.rss_mib:.0f} MiB",
        "CPU of the bot, everything included": f"{found.cpu / probes * 1000:.2f} ms a probe",
        "CPU of the servers": f"{found.servers_cpu / found.seconds:.2f} cores",
        f"Slack acks of {len(found.acks)} commands meanwhile, p50 / p99": (
            f"{at(found.acks, 0.5) * 1000:.0f} / {at(found.acks, 0.99) * 1000:.0f} ms"
        ),
    }
    head = (
        f"| {found.connectors:,} connectors, one server each, every {EVERY.seconds} s, {found.seconds:.0f} s long | |"
    )
    return [head, "| --- | --- |", *(f"| {what} | {figure} |" for what, figure in rows.items())]


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 150.0
    print(*markdown(asyncio.run(crowd(number, seconds))), sep="\n")


if __name__ == "__main__":
    main()
