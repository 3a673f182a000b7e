"""The world's Postfix relay: one dead next hop, with mail to valid and to invalid recipients behind it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bot.sandbox.postfix import SENDERS, SandboxPostfix
from bot.sandbox.smtp_behaviours import Behaviour
from bot.sandbox.smtp_cast import Row
from storage.records import TlsSetting

DOMAIN = "legacy.contoso.test"
NEXT_HOP = Row("relay-next-hop", Behaviour.REFUSED, TlsSetting.OPPORTUNISTIC)
"""The server behind it, for the cast."""
VALID = tuple(f"valid{n}@{DOMAIN}" for n in range(10))
GONE = tuple(f"gone{n}@{DOMAIN}" for n in range(7))
MESSAGES = 40


def mails() -> list[tuple[str, list[str]]]:
    """So many messages, each to a valid recipient, to an invalid one, or to both in either order."""
    found = []
    for n in range(MESSAGES):
        good, bad = VALID[n % len(VALID)], GONE[n % len(GONE)]
        found.append((f"sender{n % 4}@{SENDERS}", [[good], [bad], [good, bad], [bad, good]][n % 4]))
    return found


def relay(home: Path, next_hop: str, wrapper: Path) -> SandboxPostfix:
    """The relay, not started; Postfix's own user gets into `home`.

    `next_hop`: as in a transport table. `wrapper`: the shipped command mfi-postfix.
    """
    home.chmod(0o755)
    listed = "".join(f"{line}\n" for line in (f"# complete: {DOMAIN}", *VALID))
    _recipients(home).write_text(listed)
    return SandboxPostfix(home, {DOMAIN: next_hop}, wrapper=wrapper)


def environment(postfix: SandboxPostfix) -> Mapping[str, str]:
    """The settings of the backend `relay`."""
    return postfix.environment("relay", _recipients(postfix.home))


def _recipients(home: Path) -> Path:
    return home / "recipients.txt"
