"""A real Postfix on loopback: own configuration, queue and mailboxes, stopped at the end; and the servers behind it."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import TypeVar

from bot.backends.postfix import SHIPPED_WRAPPER, Options, PostfixBackend
from bot.sandbox.postfix import ENVIRONMENT, HOST, SENDERS, SandboxPostfix, missing
from bot.sandbox.smtp_behaviours import Behaviour
from bot.sandbox.smtp_cast import Row
from bot.sandbox.smtp_servers import BrokenServers
from storage.records import TlsSetting

__all__ = [
    "ENVIRONMENT",
    "HOST",
    "SENDERS",
    "SERVERS",
    "WRAPPER",
    "RealPostfix",
    "bounces",
    "missing",
    "running",
    "until",
]

T = TypeVar("T")
PARTNER = "partner.test"
WRAPPER = SHIPPED_WRAPPER
SERVERS: Mapping[str, Behaviour] = {
    "refused": Behaviour.REFUSED,
    "busy": Behaviour.BUSY,
    "closes": Behaviour.CLOSES,
    "good": Behaviour.GOOD_PLAIN,
    "partner": Behaviour.GOOD_PLAIN,
}
"""Smart hosts; mail to `<name>.test` goes to each."""


@dataclass(frozen=True, slots=True)
class RealPostfix:
    """A running Postfix with smart hosts behind it. `wrapper`: installed for this instance alone."""

    home: Path
    port: int
    servers: BrokenServers
    wrapper: Path

    @property
    def config_dir(self) -> str:
        """Where main.cf is."""
        return str(self.home / "etc")

    def backend(self, name: str = "relay", *, act: bool = True, **settings: str) -> PostfixBackend:
        """The bot's view of it."""
        given = {"CONFIG_DIR": self.config_dir, **({"ACT": str(self.wrapper)} if act else {}), **settings}
        return PostfixBackend(name, Options.parse(given))

    def key(self, server: str) -> str:
        """The connector of one of SERVERS."""
        return f"smtp:[{self.servers.servers[server].ip}]:{self.servers.port}"

    async def send(self, sender: str, recipients: Iterable[str], subject: str = "Report") -> None:
        """Hand one message to it."""
        await asyncio.to_thread(self._send, sender, list(recipients), subject)

    def _send(self, sender: str, recipients: list[str], subject: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as client:
            client.sendmail(sender, recipients, f"From: {sender}\r\nSubject: {subject}\r\n\r\nText.\r\n")

    def mailbox(self) -> list[Message]:
        """All mail that came to senders."""
        files = sorted((self.home / "mail").rglob("new/*"))
        return [BytesParser(policy=default).parsebytes(file.read_bytes()) for file in files]

    def command(self, *argv: str) -> str:
        """Run one of Postfix's programs on this instance."""
        full = [argv[0], "-c", self.config_dir, *argv[1:]]
        return subprocess.run(full, env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=30).stdout

    def write(self, file: str, text: str) -> None:
        """Write one of its files."""
        Path(file).write_text(text)

    def tables(self) -> dict[str, str]:
        """The text files beside main.cf."""
        files = (file for file in (self.home / "etc").iterdir() if not file.name.endswith(".db"))
        return {file.name: file.read_text() for file in files}

    def shell(self, line: str) -> None:
        """What an administrator would type."""
        subprocess.run(["/bin/sh", "-ec", line], env=ENVIRONMENT, check=True, timeout=30)


def bounces(mail: Iterable[Message]) -> list[tuple[str, str]]:
    """(address, status) of every failed recipient in these reports (RFC 3464)."""
    found = []
    for part in (part for message in mail for part in message.walk()):
        if part.get_content_type() == "message/delivery-status":
            blocks = [block for block in part.get_payload() if isinstance(block, Message)]
            found += [
                (str(block["Final-Recipient"]).partition(";")[2].strip(), str(block["Status"]))
                for block in blocks
                if block["Action"] == "failed"
            ]
    return found


async def until(look: Callable[[], Awaitable[T]], good: Callable[[T], bool], *, seconds: float = 40.0) -> T:
    """Look again until it is so."""
    end = time.monotonic() + seconds
    for _ in iter(lambda: time.monotonic() < end, False):
        if good(found := await look()):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"not so after {seconds} s; at last: {found!r:.2000}")


@contextlib.asynccontextmanager
async def running(home: Path) -> AsyncIterator[RealPostfix]:
    """Start it in this directory, which Postfix's own user has to reach; stop it at the end."""
    rows = [Row(name, behaviour, TlsSetting.OPPORTUNISTIC) for name, behaviour in SERVERS.items()]
    async with BrokenServers(rows=rows) as servers:
        hops = {f"{name}.test": f"[{servers.servers[name].ip}]:{servers.port}" for name in SERVERS}
        policy = f"smtp_tls_policy_maps = inline:{{ {{ {hops[PARTNER]} = none }} }}"
        sandbox = SandboxPostfix(home, hops, wrapper=SHIPPED_WRAPPER, foreign=(PARTNER,), lines=(policy,))
        async with sandbox:
            yield RealPostfix(home, sandbox.port, servers, sandbox.wrapper)
