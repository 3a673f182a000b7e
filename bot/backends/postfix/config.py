"""What `postconf` says, read into values. Pure.

Lists follow Postfix's own syntax: commas and white space separate, braces keep a member together (inline tables).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

PARAMETERS = (
    "bounce_queue_lifetime",
    "content_filter",
    "default_database_type",
    "default_transport",
    "disable_dns_lookups",
    "lmtp_tls_security_level",
    "maillog_file",
    "mail_version",
    "maximal_queue_lifetime",
    "mydestination",
    "myhostname",
    "parent_domain_matches_subdomains",
    "recipient_delimiter",
    "relay_domains",
    "relay_recipient_maps",
    "relay_transport",
    "relayhost",
    "sender_dependent_default_transport_maps",
    "sender_dependent_relayhost_maps",
    "smtp_dns_support_level",
    "smtp_enforce_tls",
    "smtp_tls_policy_maps",
    "smtp_tls_security_level",
    "smtp_tls_wrappermode",
    "smtp_use_tls",
    "syslog_name",
    "transport_maps",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
)
"""The settings that are asked for; the wrapper has the same list."""

LISTABLE = frozenset({"hash", "btree", "lmdb", "dbm", "sdbm", "texthash"})
"""Kinds of tables whose entries `postmap -s` lists."""
FROM_TEXT = frozenset({"cdb"})
"""Kinds that it doesn't list: the text that such a table is built from is listed in its place."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PATH = re.compile(r"/[A-Za-z0-9._/+-]+")


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup table as main.cf names it: kind and place, `proxy:` taken off."""

    kind: str
    place: str

    @property
    def ref(self) -> str:
        """As `postmap` wants it."""
        return f"{self.kind}:{self.place}"

    @property
    def listable(self) -> bool:
        """Can its entries, or those of its text, be listed by `postmap -s`?"""
        return self.kind in LISTABLE | FROM_TEXT and _PATH.fullmatch(self.place) is not None


@dataclass(frozen=True, slots=True)
class Service:
    """A delivery agent of master.cf: its program, and settings that it has of its own."""

    command: str
    options: Mapping[str, str]


def read_settings(text: str) -> dict[str, str]:
    """`name = value` lines; a setting that this Postfix doesn't know is absent."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip() in PARAMETERS}


def members(text: str) -> list[str]:
    """The members of a list setting."""
    return list(_members(text))


def _members(text: str) -> Iterator[str]:
    depth, start = 0, None
    for at, char in enumerate(text):
        if depth == 0 and (char == "," or char.isspace()):
            if start is not None:
                yield text[start:at]
            start = None
            continue
        start = at if start is None else start
        depth = max(0, depth + (char == "{") - (char == "}"))
    if start is not None:
        yield text[start:]


def tables(text: str, default_kind: str = "hash") -> list[Table]:
    """The tables of a `…_maps` setting, in their order."""
    return [as_table(member, default_kind) for member in members(text)]


def as_table(member: str, default_kind: str = "hash") -> Table:
    """One table. Without a kind it is of the default kind, as Postfix has it."""
    kind, colon, place = member.partition(":")
    if not colon:
        return Table(default_kind, member)
    return as_table(place, default_kind) if kind == "proxy" else Table(kind, place)


def inline_entries(place: str) -> dict[str, str]:
    """The entries of an `inline:` table: `{ key=value, { key = value with spaces } }`."""
    body = place.strip()
    body = body[1:-1] if body.startswith("{") and body.endswith("}") else body
    found: dict[str, str] = {}
    for member in members(body):
        inner = member[1:-1] if member.startswith("{") and member.endswith("}") else member
        key, equals, value = inner.partition("=")
        if equals and key.strip():
            found[key.strip().lower()] = value.strip()
    return found


def listed_entries(text: str) -> dict[str, str]:
    """The lines of `postmap -s`: key, tab, value. Keys in lower case, as Postfix has them; the first counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, tab, value = line.partition("\t")
        if tab and key:
            found.setdefault(key.lower(), value.strip())
    return found


def lifetime(text: str, default: timedelta) -> timedelta:
    """A queue lifetime: a number and s, m, h, d or w; days without a unit. Zero: bounced at the first failure."""
    match = re.fullmatch(r"(\d{1,6})\s*([smhdw]?)", text.strip())
    return timedelta(seconds=int(match[1]) * _UNITS[match[2] or "d"]) if match else default


def read_services(text: str) -> dict[str, Service]:
    """The `unix` services of `postconf -M` by name."""
    found: dict[str, Service] = {}
    for lines in _logical(text):
        words = lines.split()
        if len(words) >= 8 and words[1] == "unix":
            found[words[0]] = Service(words[7], _own_options(words[8:]))
    return found


def own_values(text: str, name: str) -> list[str]:
    """What the services of `postconf -M`, of every kind, set this setting to for themselves."""
    pattern = re.compile(rf"\s-o\s+(?:{name}=(\S+)|\{{\s*{name}\s*=\s*([^{{}}]+?)\s*\}})")
    return [found[1] or found[2] for line in _logical(text) for found in pattern.finditer(line)]


def _logical(text: str) -> list[str]:
    """Continuation lines begin with white space."""
    lines: list[str] = []
    for line in text.splitlines():
        if line[:1].isspace() and lines:
            lines[-1] += " " + line.strip()
        elif line.strip():
            lines.append(line)
    return lines


def _own_options(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for flag, word in pairwise(words):
        name, equals, value = word.partition("=")
        if flag == "-o" and equals:
            found[name] = value
    return found
