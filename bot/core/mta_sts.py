"""MTA-STS (RFC 8461) as text: the TXT record, the policy, and which MX hosts it lets through.

Promises: total over hostile text; what does not keep to the standard is no policy, and the words say why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bot.core.targets import HostName, parse_host

POLICY_BYTES = 64 * 1024
PATTERNS = 100
MODES = ("enforce", "testing", "none")
LONGEST_AGE = 31557600

_ID = re.compile(r"v=STSv1\s*;(?:[^;]*;)*?\s*id\s*=\s*([A-Za-z0-9]{1,32})\s*(?:;|\Z)")


class NoPolicy(Exception):
    """There is no usable policy; the text says why in a few words."""


class NotFetched(NoPolicy):
    """There may be one, but it can't be had."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain demands of whoever sends to it."""

    mode: str
    mx: tuple[str, ...] = ()
    max_age: int = 0

    def allows(self, host: str) -> bool:
        """May this be one of the domain's MX hosts? A wildcard stands for exactly one left-most label."""
        name = host.rstrip(".").casefold()
        return any(p == name or (p.startswith("*.") and name.partition(".")[2] == p[2:]) for p in self.mx)


def policy_id(texts: Iterable[str]) -> str | None:
    """The id of the policy out of a domain's TXT records; None if it has none. Raises NoPolicy for a broken record."""
    records = [t for t in texts if t.startswith("v=STSv1")]
    if not records:
        return None
    if len(records) > 1:
        raise NoPolicy("more than one MTA-STS record")
    found = _ID.match(records[0])
    if not found:
        raise NoPolicy("the MTA-STS record has no valid id")
    return found[1]


def parse_policy(text: str) -> Policy:
    """The policy in this text. Raises NoPolicy."""
    pairs = [line.partition(":") for line in re.split(r"\r?\n", text) if line.strip()]
    if any(not colon for _, colon, _ in pairs):
        raise NoPolicy("a line of the policy is no key and value")
    fields = [(key.strip(), value.strip()) for key, _, value in pairs]
    first = dict(reversed(fields))
    if fields[:1] != [("version", "STSv1")]:
        raise NoPolicy("the policy does not begin with version: STSv1")
    mode, age = first.get("mode", ""), first.get("max_age", "")
    if mode not in MODES:
        raise NoPolicy("the policy's mode is not enforce, testing or none")
    if not re.fullmatch(r"[0-9]{1,10}", age):
        raise NoPolicy("the policy has no valid max_age")
    patterns = tuple(value.rstrip(".").casefold() for key, value in fields if key == "mx")[:PATTERNS]
    if mode != "none" and not (patterns and all(map(_is_pattern, patterns))):
        raise NoPolicy("the policy names no valid MX hosts")
    return Policy(mode, patterns, min(int(age), LONGEST_AGE))


def _is_pattern(text: str) -> bool:
    """A host name, perhaps with `*` for its first label."""
    return isinstance(parse_host(text.removeprefix("*.")), HostName)
