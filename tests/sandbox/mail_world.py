"""A tenant whose clock moves when told, with SMTP servers to deliver to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.sandbox.mail_system import MailSystem, TenantConnector

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SmtpServer:
    """Takes mail; `answers` replaces the reply to a command word (a code of 0 closes the connection instead)."""

    def __init__(self, banner: str = "220 mail.test ready", **answers: str) -> None:
        self.banner = banner
        self.answers = answers
        self.accepted: list[tuple[list[str], str]] = []
        self.sessions = 0
        self.port = 0
        self.talks: set[asyncio.Task[None]] = set()
        self.took = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SmtpServer]:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        async with server:
            yield self
            await asyncio.gather(*self.talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        task = asyncio.current_task()
        assert task is not None
        self.talks.add(task)
        try:
            writer.write(f"{self.banner}\r\n".encode())
            to: list[str] = []
            while line := (await reader.readline()).decode().strip():
                word = line.split()[0].upper()
                if word == "RCPT":
                    to.append(line[9:-1])
                reply = self.answers.get(f"{word}_{line[9:-1]}" if word == "RCPT" else word) or self._usual(word)
                if reply.startswith("0"):
                    return
                writer.write(f"{reply}\r\n".encode())
                if word == "DATA" and reply.startswith("354"):
                    self.accepted.append((to, await self._content(reader)))
                    to = []
                    self.took.set()
                    writer.write(b"250 2.0.0 queued\r\n")
                if word == "QUIT":
                    return
        finally:
            writer.close()
            await writer.wait_closed()

    @staticmethod
    def _usual(word: str) -> str:
        return {"DATA": "354 go on", "QUIT": "221 bye"}.get(word, "250 2.0.0 ok")

    @staticmethod
    async def _content(reader: asyncio.StreamReader) -> str:
        lines = []
        while (line := (await reader.readline()).decode()) != ".\r\n":
            lines.append(line.removeprefix("."))
        return "".join(lines)


def connector(port: int, **changes: Any) -> TenantConnector:
    values: dict[str, Any] = {
        "key": "c1",
        "name": "To on-premises",
        "smart_hosts": ("127.0.0.1",),
        "port": port,
        "recipient_domains": ("onprem.test",),
    }
    return TenantConnector(**{**values, **changes})


def entry(system: MailSystem, key: str, recipient: str = "valid@onprem.test") -> Any:
    return system.tenant.entries[(key, recipient)]


def bounces(system: MailSystem, mailbox: str = "one@contoso.test") -> list[tuple[str | None, str | None]]:
    return [(item.ndr, item.failed_recipient) for item in system.tenant.mailboxes.get(mailbox, [])]


def send(system: MailSystem, *to: str, age: timedelta = timedelta(0)) -> str:
    recipients = to or ("valid@onprem.test",)
    return system.tenant.submit(
        "one@contoso.test", recipients, now=START, received_at=START - age, subject="Hello", body=".dot\nline"
    )
