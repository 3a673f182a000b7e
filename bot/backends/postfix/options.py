"""The settings of one Postfix instance, read from text. BadOptions names each bad one, never its value."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bot.backends.options import BadOptions, Problems, number
from bot.core.capabilities import POSTFIX_DIRECTORY, Family, Place

OPTIONAL: Mapping[str, str] = {
    "CONFIG_DIR": "Postfix's configuration directory (/etc/postfix)",
    "SSH": "user@host where Postfix runs, if not here; its key is bound to the command mfi-postfix",
    "SSH_KEY": "file with the private key for it",
    "LOG": "the mail log: auto (maillog_file, else /var/log/mail.log), off, or a file",
    "RECIPIENTS": "file with the addresses that exist, one a line, with `# complete: domain` lines",
    "ON_PREMISES": "next hops or recipient domains that are your own servers, though Postfix doesn't relay for them",
    "PARTNER": "next hops or recipient domains that are a partner's, though Postfix relays for them",
    "ACT": "the installed wrapper (/usr/local/sbin/mfi-postfix); over ssh: on. Empty: read only",
    "TIMEOUT": "seconds that one command may take (30)",
}
"""Every setting, without its prefix, and what it is for."""

_SSH = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,62}@)?[A-Za-z0-9][A-Za-z0-9.:_-]{0,253}")
_DIRECTORY = re.compile(r"(?:/[A-Za-z0-9._+-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One instance. `act`: the words of the command that acts, empty to read only. `log`: auto, off or a path."""

    config_dir: str = POSTFIX_DIRECTORY
    ssh: str | None = None
    ssh_key: str | None = None
    log: str = "auto"
    recipients: Path | None = None
    on_premises: frozenset[str] = frozenset()
    partner: frozenset[str] = frozenset()
    act: tuple[str, ...] = ()
    timeout: float = 30.0

    @property
    def place(self) -> Place:
        """Where its administrators type."""
        host = self.ssh.rpartition("@")[2] if self.ssh else None
        return Place(family=Family.POSTFIX, config_dir=self.config_dir, host=host)

    @classmethod
    def parse(cls, settings: Mapping[str, str]) -> Options:
        """From text; raises BadOptions."""
        problems = Problems()
        found = {name: text.strip() for name, text in settings.items() if text.strip()}
        config_dir = found.get("CONFIG_DIR", POSTFIX_DIRECTORY).rstrip("/")
        if not _DIRECTORY.fullmatch(config_dir) or ".." in config_dir:
            problems.add("CONFIG_DIR", "wants an absolute directory such as /etc/postfix, without spaces")
        ssh = found.get("SSH")
        if ssh is not None and not _SSH.fullmatch(ssh):
            problems.add("SSH", "wants user@host")
        key = found.get("SSH_KEY")
        if key is not None and not _is_file(key):
            problems.add("SSH_KEY", "wants a file that exists and holds the private key")
        log = problems.caught(lambda: _log(found.get("LOG", "auto"), ssh), "auto")
        none: tuple[str, ...] = ()
        act = problems.caught(lambda: _act(found.get("ACT", ""), ssh), none)
        timeout = problems.caught(lambda: number(found, "TIMEOUT", 30, (0.1, 300), " of seconds"), 30.0)
        problems.told()
        recipients = found.get("RECIPIENTS")
        return cls(
            config_dir=config_dir,
            ssh=ssh,
            ssh_key=key,
            log=log,
            recipients=Path(recipients) if recipients else None,
            on_premises=_words(found.get("ON_PREMISES", "")),
            partner=_words(found.get("PARTNER", "")),
            act=act,
            timeout=timeout,
        )


def _log(text: str, ssh: str | None) -> str:
    if text in ("auto", "off") or (text.startswith("/") and ssh is None):
        return text
    where = "auto or off (the wrapper on that host finds the log)" if ssh else "auto, off or an absolute file"
    raise BadOptions(("LOG", f"wants {where}"))


def _act(text: str, ssh: str | None) -> tuple[str, ...]:
    if text.lower() in ("", "off"):
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        words = ()
    if ssh is not None and text.lower() != "on":
        raise BadOptions(("ACT", "wants on or off where SSH is set: the wrapper on that host acts"))
    if ssh is None and (not words or not words[-1].startswith("/")):
        raise BadOptions(("ACT", "wants the installed wrapper, such as /usr/local/sbin/mfi-postfix"))
    return words


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in re.split(r"[,\s]+", text) if word)


def _is_file(text: str) -> bool:
    with suppress(OSError, ValueError):  # too long for a name: most likely the key itself, and not to be told
        return Path(text).is_file()
    return False
