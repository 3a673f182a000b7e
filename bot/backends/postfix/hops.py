"""A next hop as Postfix writes it, `transport:nexthop`, and what it means for whoever wants to dial it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bot.backends.postfix.config import Service, members

_PORTS: Mapping[str, int] = {"smtp": 25, "submission": 587, "smtps": 465, "submissions": 465, "lmtp": 24}
_DESTINATION = re.compile(r"(?:\[(?P<exact>[^\]]+)\]|(?P<domain>[^:\[\]]+))(?::(?P<port>[A-Za-z0-9-]+))?")


@dataclass(frozen=True, slots=True)
class Destination:
    """One server of a next hop. `exact`: it was in brackets, so no MX is looked up. `port` None: the usual one."""

    host: str
    port: int | None
    exact: bool


@dataclass(frozen=True, slots=True)
class Hop:
    """Where mail goes: a delivery agent and its next hop (a destination or several)."""

    transport: str
    nexthop: str

    @property
    def key(self) -> str:
        """As the transport table would have it."""
        return f"{self.transport}:{self.nexthop}"

    def destinations(self) -> tuple[Destination, ...]:
        """The servers that are tried, in order; none where this isn't reached over the network."""
        return tuple(found for word in members(self.nexthop) if (found := destination(word)))

    def is_network(self, services: Mapping[str, Service]) -> bool:
        """Is it delivered by SMTP or LMTP to another host?"""
        service = services.get(self.transport)
        return service is not None and service.command in ("smtp", "lmtp") and bool(self.destinations())


def destination(word: str) -> Destination | None:
    """`[host]:port`, `[host]`, `host:port`, `host`, `inet:…`; None for sockets of this machine and nonsense."""
    match = _DESTINATION.fullmatch(word.removeprefix("inet:"))
    if not match or word.startswith("unix:"):
        return None
    host = (match["exact"] or match["domain"]).removeprefix("ipv6:").removeprefix("IPv6:").rstrip(".").lower()
    return Destination(host, _port(match["port"]), match["exact"] is not None) if host else None


def _port(text: str | None) -> int | None:
    found = _PORTS.get(text.lower()) if text and not text.isdigit() else int(text or 0)
    return found if found and found < 65536 and found != 25 else None


@dataclass(frozen=True, slots=True)
class Route:
    """The right side of a transport table: either part may be empty, and is then filled in by the recipient's class."""

    transport: str
    nexthop: str

    @classmethod
    def parse(cls, text: str) -> Route:
        """From `transport:nexthop`, `transport:`, `:nexthop` or `:`."""
        transport, _, nexthop = text.strip().partition(":")
        return cls(transport.strip(), nexthop.strip())
