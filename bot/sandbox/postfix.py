"""A real Postfix (Debian's package) on loopback, with a configuration, queue and mailboxes of its own.

It needs root, because Postfix starts only so, and touches nothing of the machine's own Postfix. Mail for `routes` goes
to their next hops; mail for the senders' domain, which is where bounces go, is put into files.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import smtplib
import socket
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from email.message import Message
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Self

from bot.sandbox.child import dies_with_parent

HOST = "relay.mail.test"
SENDERS = "senders.test"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
START_SECONDS = STOP_SECONDS = 30.0

_MAIN = """
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
relay_domains = {relayed}
parent_domain_matches_subdomains =
relay_recipient_maps = hash:{home}/etc/mfi_recipients
transport_maps = hash:{home}/etc/mfi_overrides, hash:{home}/etc/transport
smtp_tls_security_level = may
maximal_queue_lifetime = 1d
smtpd_peername_lookup = no
smtpd_recipient_restrictions =
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_helo_timeout = 5s
maillog_file = {home}/log
maillog_file_prefixes = {home}
"""

_MASTER = """
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


_KEEPER = """trap 'kill $child; wait $child; exit 0' TERM
"$@" &
child=$!
wait $child"""


def missing() -> str | None:
    """Why it can't be run here; None: it can."""
    if shutil.which("postfix", path=ENVIRONMENT["PATH"]) is None:
        return "Debian's package postfix is not installed"
    return None if os.geteuid() == 0 else "Postfix starts only as root"


class SandboxPostfix:
    """Async context manager. `home`: an empty directory that Postfix's own user can reach, not below a private one.

    `routes`: next hop of each domain (`[127.0.0.9]:2525`); it relays for all but the `foreign` ones. `lines`: more of
    main.cf. `wrapper`: the shipped command
    mfi-postfix, which is installed for this instance alone.
    """

    def __init__(
        self,
        home: Path,
        routes: Mapping[str, str],
        *,
        wrapper: Path,
        foreign: Collection[str] = (),
        lines: Sequence[str] = (),
    ) -> None:
        self.home, self.routes = home, dict(routes)
        self._relayed = [domain for domain in routes if domain not in foreign]
        self.wrapper = home / "mfi-postfix"
        self.port = 0
        self._shipped, self._lines = wrapper, tuple(lines)
        self._master: asyncio.subprocess.Process | None = None

    @property
    def config_dir(self) -> str:
        """Where its main.cf is."""
        return str(self.home / "etc")

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._configure)
        for table in ("transport", "mfi_overrides", "mfi_recipients"):
            await self.command("postmap", f"hash:{self.config_dir}/{table}")
        await self.command("postfix", "check")
        self._master = await self._spawn_master()
        try:
            await self._listens(self._master)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    def environment(self, name: str, recipients: Path | None = None) -> dict[str, str]:
        """The settings of a backend of the kind postfix with this name. `recipients`: the list of its directory."""
        found = {"CONFIG_DIR": self.config_dir, "ACT": str(self.wrapper)}
        found |= {"RECIPIENTS": str(recipients)} if recipients else {}
        return {f"MFI_{name.upper()}_{option}": value for option, value in found.items()}

    async def send(self, sender: str, recipients: Iterable[str], subject: str = "Report") -> None:
        """Hand one message to it."""
        await self.send_all([(sender, list(recipients))], subject)

    async def send_all(self, mails: Sequence[tuple[str, list[str]]], subject: str = "Report") -> None:
        """Hand messages to it, each with its sender and recipients, over one connection."""
        await asyncio.to_thread(self._send, mails, subject)

    def mailbox(self) -> list[Message]:
        """All mail that came to senders."""
        files = sorted((self.home / "mail").rglob("new/*"))
        return [BytesParser(policy=default).parsebytes(file.read_bytes()) for file in files]

    async def command(self, *argv: str) -> str:
        """Run one of Postfix's programs on this instance; returns what it printed. RuntimeError if it fails."""
        process = await self._spawn(*argv, output=asyncio.subprocess.PIPE)
        told, _ = await asyncio.wait_for(process.communicate(), START_SECONDS)
        if process.returncode:
            raise RuntimeError(f"{argv[0]} ended with {process.returncode}")
        return told.decode()

    def _send(self, mails: Sequence[tuple[str, list[str]]], subject: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as client:
            for sender, recipients in mails:
                client.sendmail(sender, recipients, f"From: {sender}\r\nSubject: {subject}\r\n\r\nText.\r\n")

    async def _spawn(
        self, program: str, *rest: str, output: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            f"/usr/sbin/{program}",
            "-c",
            self.config_dir,
            *rest,
            stdout=output,
            stderr=asyncio.subprocess.DEVNULL,
            env=ENVIRONMENT,
        )

    async def _spawn_master(self) -> asyncio.subprocess.Process:
        """Postfix's master, below a shell that ends it when we end: it changes its user, so the kernel forgets to."""
        daemons = (await self.command("postconf", "-h", "daemon_directory")).strip()
        return await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _KEEPER, "sh", f"{daemons}/master", "-d", "-c", self.config_dir),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=ENVIRONMENT,
            preexec_fn=dies_with_parent,
        )

    async def _stop(self) -> None:
        if self._master is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._master.terminate()
        await asyncio.wait_for(self._master.wait(), STOP_SECONDS)
        self._master = None

    def _configure(self) -> None:
        """Write configuration, tables and the wrapper."""
        for name in ("etc", "spool", "data", "mail"):
            (self.home / name).mkdir()
        shutil.chown(self.home / "data", "postfix")
        shutil.chown(self.home / "mail", 65534, 65534)
        with socket.create_server(("127.0.0.1", 0)) as held:
            self.port = held.getsockname()[1]
        etc, relayed = self.home / "etc", ", ".join(self._relayed)
        main = _MAIN.format(home=self.home, host=HOST, senders=SENDERS, relayed=relayed)
        (etc / "main.cf").write_text(main + "".join(f"{line}\n" for line in self._lines))
        (etc / "master.cf").write_text(_MASTER.format(smtpd=self.port))
        (etc / "transport").write_text("".join(f"{name}\tsmtp:{hop}\n" for name, hop in self.routes.items()))
        (etc / "mfi_overrides").write_text("")
        (etc / "mfi_recipients").write_text("".join(f"@{name}\tOK\n" for name in self._relayed))
        (etc / "instances").write_text(f"{etc}\n")
        text = self._shipped.read_text().replace("/etc/mfi-postfix.instances", str(etc / "instances"))
        self.wrapper.write_text(text.replace("/usr/local/sbin/mfi-postfix\n", f"{self.wrapper}\n"))
        self.wrapper.chmod(0o755)

    async def _listens(self, master: asyncio.subprocess.Process) -> None:
        """Wait until it accepts mail."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if master.returncode is not None:
                    break
                await asyncio.sleep(0.05)
                continue
            writer.close()
            await writer.wait_closed()
            return
        raise RuntimeError(f"Postfix did not start: see {self.home}/log")
