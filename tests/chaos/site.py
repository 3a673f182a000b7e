"""The bot as a real process that is killed, and the stand-in Slack that it talks to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bot.sandbox.slack import Message, SandboxSlack
from bot.sandbox.slack.seed import ADMIN_ONE
from bot.sandbox.slack.workspace import Channel, User, Workspace
from storage import connectors, incidents, outbox
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind, OutboxState

FULL = os.environ.get("MFI_CHAOS") == "full"


def count(small: int, full: int) -> int:
    """A small number in `make test`, the whole one in `make chaos`."""
    return full if FULL else small


def channels(how_many: int) -> list[str]:
    return [f"C0CHAOS{n:02d}" for n in range(how_many)]


def furnish(workspace: Workspace) -> None:
    workspace.add_user(User(id=ADMIN_ONE, name="admin.one", real_name="Admin One"))
    for channel_id in channels(10):
        members = {ADMIN_ONE, workspace.app.bot_user}
        workspace.add_channel(Channel(id=channel_id, name=channel_id.lower(), members=members))


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Site:
    """One database, one workspace, and at most one running bot."""

    slack: SandboxSlack
    directory: Path
    port: int = field(default_factory=closed_port)
    process: asyncio.subprocess.Process | None = None
    added: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(20))

    @property
    def database(self) -> Path:
        return self.directory / "mfi.db"

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MFI_", "SLACK_"))}
        return kept | {
            "SLACK_API_URL": self.slack.api_url,
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_APP_TOKEN": self.slack.app_token,
            "MFI_ALERT_CHANNEL": channels(10)[0],
            "MFI_ADMINS": ADMIN_ONE,
            "MFI_DATABASE": str(self.database),
            "MFI_PROBE_ALLOW": "127.0.0.0/8",
            "MFI_SMTP_PORT": str(self.port),
            "MFI_OPEN_AFTER": "1",
            "MFI_PROBE_INTERVAL": "60",
            "MFI_PROBE_INTERVAL_FAILING": "60",
            "MFI_LOG_LEVEL": "warning",
        }

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "run", env=self.environment(), cwd=self.directory
        )

    async def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), 20)

    async def add_connectors(self, how_many: int, *, over: Sequence[str]) -> None:
        """More connectors whose server refuses, as an import beside the running bot would add them."""
        facts = [
            ConnectorFacts(
                backend="files",
                key=f"key-{n}",
                name=f"Connector {n:04d}",
                kind=ConnectorKind.ON_PREMISES,
                smart_hosts=(f"127.40.{n // 250}.{n % 250 + 1}",),
                recipient_domains=(f"d{n}.test",),
                alert_channel=over[n % len(over)],
            )
            for n in range(self.added, self.added + how_many)
        ]
        store = await Store.open(self.database)
        try:
            await store.write(lambda db: connectors.sync(db, "files", facts, datetime.now(UTC), complete=False))
        finally:
            await store.close()
        self.added += how_many

    async def owed(self) -> int:
        """How many connectors have not been told about yet, for whatever reason."""
        store = await Store.open(self.database)
        try:
            counts = await store.read(outbox.counts)
            opened = len(await store.read(incidents.open_everywhere))
        finally:
            await store.close()
        assert not counts.get(OutboxState.DEAD, 0)
        unsent = sum(counts.get(state, 0) for state in (OutboxState.PENDING, OutboxState.SENDING))
        return unsent + self.added - opened

    async def drained(self, timeout: float) -> None:
        """Wait until every connector's alert was delivered."""
        async with asyncio.timeout(timeout):
            while await self.owed():  # noqa: ASYNC110 - another process's database
                await asyncio.sleep(0.5)

    def alerts(self, channel: str) -> list[Message]:
        return [m for m in self.slack.messages(channel) if "Connector" in m.text]

    def told(self) -> dict[str, int]:
        """How many alerts each connector has in all channels together."""
        found = {f"Connector {n:04d}": 0 for n in range(self.added)}
        for channel in channels(10):
            for message in self.alerts(channel):
                (name,) = [n for n in found if n in message.text]
                found[name] += 1
        return found
