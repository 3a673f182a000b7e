"""What `mfi doctor` says of an instance: each thing that it needs, and for what is missing the exact fix."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
from collections.abc import Iterable

from bot.backends.ports import BackendError, Unreachable
from bot.backends.postfix.acting import rebuilt, setup, setup_recipients
from bot.backends.postfix.command import ENVIRONMENT
from bot.backends.postfix.directory import Directory
from bot.backends.postfix.host import LogPosition, PostfixHost
from bot.backends.postfix.instance import OVERRIDES, Instance
from bot.backends.postfix.log_rights import log_fix
from bot.backends.postfix.options import Options
from bot.backends.postfix.reading import Reader
from bot.core.finding import Finding
from bot.core.postfix_place import on_host, tool

CHECK_SECONDS = 9.0
PORTIONS_LOOKED_AT = 32
INSTALLED = "/usr/local/sbin/mfi-postfix"
_NO_WAY_IN = (
    "ssh: ",
    "Permission denied (",
    "Host key",
    "resolve",
    "did not end within",
    "status 255",
    "onnection ",
    "nreachable",
    "No route",
    "Identity file",
    "dentity_",
    "UNPROTECTED",
    "load key",
)
"""What ssh itself says when it gets no further than the door."""


class _Said:
    """Collects findings about one instance."""

    def __init__(self, name: str, prefix: str) -> None:
        self._name = name
        self.prefix = prefix
        self.findings: list[Finding] = []

    def ok(self, says: str) -> None:
        self.findings.append(Finding(level="ok", what=self._name, says=says))

    def note(self, says: str, fix: str = "") -> None:
        self.findings.append(Finding(level="note", what=self._name, says=says, fix=fix))

    def fault(self, says: str, fix: str) -> None:
        self.findings.append(Finding(level="fault", what=self._name, says=says, fix=fix))


async def check(
    name: str,
    options: Options,
    host: PostfixHost,
    reader: Reader,
    directory: Directory | None,
    *,
    seconds: float = CHECK_SECONDS,
) -> list[Finding]:
    """Look at everything, change nothing. Never raises BackendError; what takes too long is a finding, too."""
    said = _Said(name, f"MFI_{name.upper()}_")
    try:
        async with asyncio.timeout(seconds):
            await _look(said, options, host, reader, directory)
    except TimeoutError:
        where = f"ssh to {options.ssh}" if options.ssh else "Postfix's own commands"
        said.fault(f"no answer within {seconds:g} s", f"try {where} by hand as the user that runs mfi")
    return said.findings


async def _look(said: _Said, options: Options, host: PostfixHost, reader: Reader, directory: Directory | None) -> None:
    program = "ssh" if host.is_remote else "postconf"
    if shutil.which(program, path=ENVIRONMENT["PATH"]) is None:
        wanted = (
            "the OpenSSH client (apt install openssh-client)" if host.is_remote else "Postfix (apt install postfix)"
        )
        said.fault(f"{program} is not installed here", f"install {wanted}, or set {said.prefix}SSH to where it runs")
        return
    try:
        instance = await reader.instance()
    except Unreachable as error:
        said.fault(str(error), _config_fix(str(error), said.prefix, options))
        return
    hops = reader.connectors(instance)
    said.ok(f"Postfix {instance.settings.get('mail_version', '')} at {instance.host}: {len(hops)} next hops")
    for note in instance.notes:
        said.note(note)
    await _queue(said, options, host)
    await _log(said, options, host, instance)
    await _directory(said, directory)
    await _acts(said, options, host, instance, directory)


def _config_fix(error: str, prefix: str, options: Options) -> str:
    if "not listed in" in error:
        return "on that host, add the directory as a line to /etc/mfi-postfix.instances"
    if options.ssh and any(words in error for words in _NO_WAY_IN):
        key = f"-i {options.ssh_key} " if options.ssh_key else ""
        named = f"{prefix}SSH and {prefix}SSH_KEY" if options.ssh_key else f"{prefix}SSH"
        return f"check {named}: as the user that runs mfi, `ssh {key}{options.ssh}` has to get in without a question"
    if options.ssh and "not found" in error:
        return f"install the wrapper there as {INSTALLED} and bind the key to it (README, Postfix)"
    if "ermission denied" in error:
        return "let the user that runs mfi read that file (chmod o+r, or its group)"
    if "No such file" in error:
        built = f"build missing tables with {tool(options.place, 'postmap')}{on_host(options.place)}"
        return f"set {prefix}CONFIG_DIR to the directory that holds main.cf, and {built}"
    asked = f"`{tool(options.place, 'postconf')}` works{on_host(options.place)} for {_user(options)}"
    return f"check {prefix}CONFIG_DIR, and that {asked}"


async def _queue(said: _Said, options: Options, host: PostfixHost) -> None:
    """A look at the beginning of the queue; a short one is listed whole, and only then Postfix's warnings are known."""
    left = PORTIONS_LOOKED_AT
    try:
        async with contextlib.aclosing(host.queue()) as portions:
            async for _ in portions:
                if (left := left - 1) == 0:
                    break
    except Unreachable as error:
        said.fault(str(error), _queue_fix(str(error), options))
        return
    if left and host.complaint:
        said.fault(f"its queue can be read, but: {host.complaint}", _queue_fix(host.complaint, options))
    else:
        said.ok("its queue can be read")


def _queue_fix(error: str, options: Options) -> str:
    user, place = _user(options), options.place
    where = on_host(place)
    if "not allowed" in error:
        allow = f"{tool(place, 'postconf')} -e 'authorized_mailq_users = root, {user}'"
        return f"as root{where}: {allow} (or static:anyone, which is the default)"
    if "alternate_config_directories" in error:
        listed = f'"alternate_config_directories = $(postconf -h alternate_config_directories) {options.config_dir}"'
        return f"as root{where}: postconf -e {listed} (in the default instance)"
    if "mail system is down" in error.lower():
        return f"start it{where}: {tool(place, 'postfix')} start"
    return f"try `{tool(place, 'postqueue')} -j`{where} as {user}; it needs Postfix 3.1 or later"


def _user(options: Options) -> str:
    """As whom Postfix is asked. In a container a user often has no name."""
    if options.ssh and "@" in options.ssh:
        return options.ssh.partition("@")[0]
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"#{os.getuid()}"


async def _log(said: _Said, options: Options, host: PostfixHost, instance: Instance) -> None:
    if options.log == "off":
        said.note(
            "without the mail log, mail that left is only known to be gone", f"set {said.prefix}LOG to auto or a file"
        )
        return
    try:
        await host.log_since(LogPosition(), instance.settings.get("maillog_file", ""))
    except Unreachable as error:
        line = f"{error}; mail that left is only known to be gone"
        if "No such file" in line and options.log != "auto":
            said.fault(line, f"set {said.prefix}LOG to the file, or to auto (off: do without)")
        elif "No such file" in line:
            written = f"{tool(options.place, 'postconf')} -e maillog_file=/var/log/mail.log"
            said.note(line, f"have Postfix write one{on_host(options.place)} ({written}) or install rsyslog")
        else:
            by_postfix = bool(instance.settings.get("maillog_file"))
            fix = log_fix(str(error), _user(options), options.place, by_postfix=by_postfix)
            said.fault(line, f"{fix}; or set {said.prefix}LOG to another file (off: do without)")
    else:
        said.ok("its mail log can be read: how mail leaves is known")


async def _directory(said: _Said, directory: Directory | None) -> None:
    if directory is None:
        said.note(
            "nobody says which recipients exist, so Fix now can't tell invalid ones",
            f"set {said.prefix}RECIPIENTS to a file, one address a line, with a line `# complete: domain`",
        )
        return
    try:
        listed = await directory.listed()
    except Unreachable as error:
        said.fault(str(error), f"check {said.prefix}RECIPIENTS")
        return
    for problem in listed.problems[:5]:
        said.note(f"recipients list: {problem}")
    domains = ", ".join(sorted(listed.complete)[:5])
    whole = f"whole for {domains}" if domains else "not claimed to be whole for any domain: nobody counts as invalid"
    said.ok(f"{len(listed.addresses)} recipients listed, {whole}")


async def _acts(
    said: _Said, options: Options, host: PostfixHost, instance: Instance, directory: Directory | None
) -> None:
    if not options.act:
        said.note(
            "read only: Fix now shows what to do by hand", f"to let it act, set {said.prefix}ACT (README, Postfix)"
        )
        return
    try:
        await host.act("ready")
    except BackendError as error:
        said.fault(str(error), _act_fix(str(error), options))
        return
    said.ok("it may act")
    if instance.overrides is None:
        said.note(f"{OVERRIDES} is not first in transport_maps: mail is returned whole, next hops can't be disabled",
                  f"as root{on_host(options.place)}: {setup(instance, options.config_dir)}")  # fmt: skip
    elif instance.rejected:
        said.fault(
            f"{OVERRIDES} still rejects {len(instance.rejected)} addresses: an act was cut off",
            f"as root{on_host(options.place)}: take the error: lines out of {options.config_dir}/{OVERRIDES}, then "
            f"{rebuilt(instance, options.config_dir)}",
        )
    for line, fix in _domain_notes(instance, options, directory):
        said.note(line, fix)


def _act_fix(error: str, options: Options) -> str:
    user = _user(options)
    if "sudo" in error:
        return f"visudo -f /etc/sudoers.d/mfi-postfix: {user} ALL=(root) NOPASSWD: {INSTALLED}"
    if "not listed in" in error:
        return f"echo {options.config_dir} >> /etc/mfi-postfix.instances (as root, on that host)"
    return f"install -o root -m 0755 mfi-postfix {INSTALLED} (it is in bot/backends/postfix), and name it in ACT"


def _domain_notes(instance: Instance, options: Options, directory: Directory | None) -> Iterable[tuple[str, str]]:
    if instance.recipients is None:
        yield (
            "domains can't be made authoritative: mfi_recipients is not in relay_recipient_maps",
            setup_recipients(options.config_dir),
        )
    elif directory and instance.routing.relay_subdomains and instance.routing.relay:
        yield (
            "relay domains also accept their sub-domains, so Fix now leaves their type alone",
            "take relay_domains out of parent_domain_matches_subdomains if you have no such sub-domains",
        )
