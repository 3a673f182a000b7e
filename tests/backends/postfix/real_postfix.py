"""A real Postfix on loopback: own configuration, queue and mailboxes, stopped at the end; and the servers behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import smtplib
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import TypeVar

import bot.backends.postfix
from bot.backends.postfix import Options, PostfixBackend
from bot.sandbox.smtp_behaviours import Behaviour
from bot.sandbox.smtp_cast import Row
from bot.sandbox.smtp_servers import BrokenServers
from storage.records import TlsSetting

T = TypeVar("T")
HOST = "relay.mail.test"
SENDERS = "senders.test"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
WRAPPER = Path(bot.backends.postfix.__file__).with_name("mfi-postfix")
SERVERS: Mapping[str, Behaviour] = {
    "refused": Behaviour.REFUSED,
    "busy": Behaviour.BUSY,
    "closes": Behaviour.CLOSES,
    "good": Behaviour.GOOD_PLAIN,
    "partner": Behaviour.GOOD_PLAIN,
}
"""Smart hosts; mail to `<name>.test` goes to each."""

MAIN = """
compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = {host}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = {senders}
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
relay_domains = refused.test, busy.test, closes.test, good.test
parent_domain_matches_subdomains =
relay_recipient_maps = hash:{home}/etc/mfi_recipients
transport_maps = hash:{home}/etc/mfi_overrides, hash:{home}/etc/transport
smtp_tls_security_level = may
smtp_tls_policy_maps = inline:{{ {{ [{partner}]:{port} = none }} }}
maximal_queue_lifetime = 1d
smtpd_peername_lookup = no
smtpd_recipient_restrictions =
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_helo_timeout = 5s
maillog_file = {home}/log
maillog_file_prefixes = {home}
"""

MASTER = """
postlog unix-dgram n - n - 1 postlogd
127.0.0.1:{smtpd} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
  -o syslog_name=postfix/$service_name
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


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


def missing() -> str | None:
    """Why it can't be run here."""
    if shutil.which("postfix", path=ENVIRONMENT["PATH"]) is None:
        return "Debian's package postfix is not installed"
    return None if os.geteuid() == 0 else "Postfix starts only as root"


@contextlib.asynccontextmanager
async def running(home: Path) -> AsyncIterator[RealPostfix]:
    """Start it in this directory, which Postfix's own user has to reach; stop it at the end."""
    rows = [Row(name, behaviour, TlsSetting.OPPORTUNISTIC) for name, behaviour in SERVERS.items()]
    async with BrokenServers(rows=rows) as servers:
        started = _configure(home, servers)
        command = ["/usr/sbin/postfix", "-c", started.config_dir]
        quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL, "env": ENVIRONMENT}
        master = await asyncio.create_subprocess_exec(*command, "start-fg", **quiet)
        try:
            await _listening(started.port, master)
            yield started
        finally:
            stop = await asyncio.create_subprocess_exec(*command, "stop", **quiet)
            await asyncio.wait_for(stop.wait(), 30)
            await asyncio.wait_for(master.wait(), 30)


def _configure(home: Path, servers: BrokenServers) -> RealPostfix:
    """Write configuration, tables and the wrapper."""
    for name in ("etc", "spool", "data", "mail"):
        (home / name).mkdir()
    shutil.chown(home / "data", "postfix")
    shutil.chown(home / "mail", 65534, 65534)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    etc, partner = home / "etc", servers.servers["partner"].ip
    text = MAIN.format(home=home, host=HOST, senders=SENDERS, partner=partner, port=servers.port)
    (etc / "main.cf").write_text(text)
    (etc / "master.cf").write_text(MASTER.format(smtpd=port))
    routes = (f"{name}.test\tsmtp:[{servers.servers[name].ip}]:{servers.port}\n" for name in SERVERS)
    (etc / "transport").write_text("".join(routes))
    (etc / "mfi_overrides").write_text("")
    (etc / "mfi_recipients").write_text("".join(f"@{name}.test\tOK\n" for name in SERVERS if name != "partner"))
    (etc / "instances").write_text(f"{etc}\n")
    for table in ("transport", "mfi_overrides", "mfi_recipients"):
        subprocess.run(["/usr/sbin/postmap", "-c", str(etc), f"hash:{etc / table}"], check=True, timeout=30)
    return RealPostfix(home, port, servers, install_wrapper(home, etc / "instances"))


def install_wrapper(home: Path, instances: Path) -> Path:
    """The shipped wrapper, for these instances."""
    installed = home / "mfi-postfix"
    text = WRAPPER.read_text().replace("/etc/mfi-postfix.instances", str(instances))
    installed.write_text(text.replace("/usr/local/sbin/mfi-postfix\n", f"{installed}\n"))
    installed.chmod(0o755)
    return installed


async def _listening(port: int, master: asyncio.subprocess.Process) -> None:
    """Wait until it accepts mail."""

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert master.returncode is None, "Postfix did not start"
            return False
        writer.close()
        await writer.wait_closed()
        return True

    await until(answers, bool)
