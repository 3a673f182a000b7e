"""Content filters: mail that waits for one is told from mail that waits for its own next hop. Pure.

Postfix hands a message to its filter (content_filter in main.cf, or of a service in master.cf) before anything else,
whoever it is for. So a filter that is down holds up mail for every next hop, and none of these is to blame: nobody has
to open a firewall. Which of both a message waits for, its reason says: it names the server or socket that was tried. A
filter that is a program has reasons of its own. Where both fit it is neither's: a guess would blame the wrong server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from bot.backends.postfix.config import Service
from bot.backends.postfix.hops import Hop, Route

_SERVER = re.compile(r"(?:^|[\s(])(?P<host>[^\s\[\]()]{1,255})\[(?P<place>[^\s\[\]]{1,255})\](?::(?P<port>\d{1,5}))?")
_NAME = re.compile(r"Name service error for name=(?P<host>[^\s]{1,255})")
_BY_PROGRAM = re.compile(
    r"Command (?:died with|time limit exceeded)|(?:^|\. )Command output: "
    r"|^(?:temporary failure|system resource problem|input/output error)$"
)
"""What pipe(8) says of a program that failed."""
_NO_AGENT = frozenset({"mail transport unavailable", "unknown mail transport error"})
"""What the queue manager says when the delivery agent itself can't be had."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """The server or socket that a reason names. `port` None: it doesn't say."""

    names: frozenset[str]
    port: int | None = None

    def may_be(self, hop: Hop, services: Mapping[str, Service]) -> bool:
        """Does this next hop lead there, as far as the reason says?"""
        if hop.nexthop.removeprefix("unix:").lower() in self.names:
            return True
        usual = 24 if (service := services.get(hop.transport)) and service.command == "lmtp" else 25
        return any(
            server.host in self.names and self.port in (None, server.port or usual) for server in hop.destinations()
        )


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of an instance, as next hops of their own."""

    hops: tuple[Hop, ...] = ()
    services: Mapping[str, Service] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Iterable[str], services: Mapping[str, Service]) -> Filters:
        """From the values of content_filter. One that is made of other settings can't be followed."""
        routes = dict.fromkeys(Route.parse(v) for v in values if v.strip() and "$" not in v)
        return cls(tuple(Hop(route.transport, route.nexthop) for route in routes if route.transport), services)

    def waits_for(self, reason: str, own: str | None) -> str | None:
        """What a message waits for, by its reason: a filter's key, or its own next hop's; None: that can't be told."""
        if not self.hops:
            return own
        if reason in _NO_AGENT:
            return next((hop.key for hop in self.hops if hop.transport not in self.services), None)
        if tried := _tried(reason):
            return self._at(tried, own)
        programs = (hop.key for hop in self.hops if self._is_program(hop))
        return next(programs, own) if _BY_PROGRAM.search(reason) else own

    def _at(self, tried: _Tried, own: str | None) -> str | None:
        found = next((hop.key for hop in self.hops if tried.may_be(hop, self.services)), None)
        if found is None or found == own:
            return own
        transport, _, nexthop = (own or "").partition(":")
        both = own is not None and tried.may_be(Hop(transport, nexthop), self.services)
        return None if both else found

    def _is_program(self, hop: Hop) -> bool:
        service = self.services.get(hop.transport)
        return service is not None and service.command not in ("smtp", "lmtp")


@lru_cache(maxsize=4096)
def _tried(reason: str) -> _Tried | None:
    """Reasons repeat: thousands of messages wait for the same one."""
    if server := _SERVER.search(reason):
        names = frozenset({server["host"].rstrip(".").lower(), server["place"].lower()})
        return _Tried(names, int(server["port"]) if server["port"] else None)
    if name := _NAME.search(reason):
        return _Tried(frozenset({name["host"].rstrip(".").lower()}))
    return None
