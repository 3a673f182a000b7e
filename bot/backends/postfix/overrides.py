"""The tables that belong to the bot, as text. Pure.

`mfi_overrides` stands first in transport_maps: `address  error:5.1.1 …` returns one recipient's mail to its sender,
`domain  retry:4.3.2 …` keeps a domain's mail in the queue. `mfi_recipients` stands in relay_recipient_maps:
`@domain  OK` accepts every address of a domain, `address  OK` this one. The wrapper lets no other line through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from bot.backends.ports import Refused
from storage.records import DomainType

HOLD = "retry:4.3.2 disabled by an administrator"
_KEY = re.compile(r"[^\s#]{1,320}")
_ADDRESS = re.compile(r"[^\s#@]{1,200}@[^\s#@]{1,255}")


def rejecting(reason: str) -> str:
    """The entry that returns mail, with this reason."""
    text = "".join(c for c in " ".join(reason.split()) if " " <= c <= "~")[:180]
    return f"error:5.1.1 {text or 'no such address'}"


def with_rejections(current: Mapping[str, str], addresses: Iterable[str], reason: str) -> dict[str, str]:
    """The held domains as they are, and these addresses. Raises Refused for one that no table can hold."""
    wanted = sorted(set(addresses))
    if odd := [a for a in wanted if not _ADDRESS.fullmatch(a)]:
        raise Refused(f"{len(odd)} of the addresses can't stand in a table, such as {odd[0][:80]!r}: reject by hand")
    return {**lasting(current), **dict.fromkeys(wanted, rejecting(reason))}


def lasting(current: Mapping[str, str]) -> dict[str, str]:
    """What stays when no rejection is under way: the held domains."""
    return {key: value for key, value in current.items() if value.startswith("retry:")}


def with_held(current: Mapping[str, str], patterns: Iterable[str], *, held: bool) -> dict[str, str]:
    """Hold these patterns, or let them go."""
    touched = set(patterns)
    rest = {key: value for key, value in lasting(current).items() if key not in touched}
    return {**rest, **(dict.fromkeys(sorted(touched), HOLD) if held else {})}


def with_domain(current: Mapping[str, str], domain: str, to: DomainType, addresses: Iterable[str]) -> dict[str, str]:
    """This domain with its addresses (authoritative), or open to all; the other domains as they are."""
    rest = {key: "OK" for key in current if key.rpartition("@")[2] != domain}
    wanted = sorted(addresses) if to is DomainType.AUTHORITATIVE else [f"@{domain}"]
    if odd := [a for a in wanted if "#" in a or not _KEY.fullmatch(a)]:
        raise Refused(f"{len(odd)} addresses of {domain} can't stand in a table, such as {odd[0][:80]!r}")
    return {**rest, **dict.fromkeys(wanted, "OK")}


def text(entries: Mapping[str, str]) -> bytes:
    """As the wrapper takes it."""
    return "".join(f"{key}\t{value}\n" for key, value in entries.items()).encode()
