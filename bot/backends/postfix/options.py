"""The settings of one Postfix instance, read from text. A BadOption names the setting, never its value."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


class BadOption(ValueError):
    """A setting of the instance is senseless; `option` names it, `problem` says what it wants."""

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option} {problem}")
        self.option = option
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One instance. `act`: the words of the command that acts, empty to read only. `log`: auto, off or a path."""

    config_dir: str = "/etc/postfix"
    ssh: str | None = None
    ssh_key: str | None = None
    log: str = "auto"
    recipients: Path | None = None
    on_premises: frozenset[str] = frozenset()
    partner: frozenset[str] = frozenset()
    act: tuple[str, ...] = ()
    timeout: float = 30.0

    @classmethod
    def parse(cls, settings: Mapping[str, str]) -> Options:
        """From text; raises BadOption."""
        found = {name: text.strip() for name, text in settings.items() if text.strip()}
        config_dir = found.get("CONFIG_DIR", "/etc/postfix").rstrip("/")
        if not _DIRECTORY.fullmatch(config_dir) or ".." in config_dir:
            raise BadOption("CONFIG_DIR", "wants an absolute directory such as /etc/postfix, without spaces")
        ssh = found.get("SSH")
        if ssh is not None and not _SSH.fullmatch(ssh):
            raise BadOption("SSH", "wants user@host")
        recipients = found.get("RECIPIENTS")
        return cls(
            config_dir=config_dir,
            ssh=ssh,
            ssh_key=found.get("SSH_KEY"),
            log=_log(found.get("LOG", "auto"), ssh),
            recipients=Path(recipients) if recipients else None,
            on_premises=_words(found.get("ON_PREMISES", "")),
            partner=_words(found.get("PARTNER", "")),
            act=_act(found.get("ACT", ""), ssh),
            timeout=_seconds(found.get("TIMEOUT", "30")),
        )


def _log(text: str, ssh: str | None) -> str:
    if text in ("auto", "off") or (text.startswith("/") and ssh is None):
        return text
    where = "auto or off (the wrapper on that host finds the log)" if ssh else "auto, off or an absolute file"
    raise BadOption("LOG", f"wants {where}")


def _act(text: str, ssh: str | None) -> tuple[str, ...]:
    if text.lower() in ("", "off"):
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        words = ()
    if ssh is not None and text.lower() != "on":
        raise BadOption("ACT", "wants on or off where SSH is set: the wrapper on that host acts")
    if ssh is None and (not words or not words[-1].startswith("/")):
        raise BadOption("ACT", "wants the installed wrapper, such as /usr/local/sbin/mfi-postfix")
    return words


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in re.split(r"[,\s]+", text) if word)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 300.0:
        raise BadOption("TIMEOUT", "has to be a number of seconds from 0.1 to 300")
    return found
