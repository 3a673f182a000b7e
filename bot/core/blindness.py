"""Are we the ones who can't see? Many targets that go dark at once mean our own network, not theirs. Pure: no clock.

A way out that is closed for port 25 alone looks otherwise: nothing was ever fine. It is suspected when nothing outside
answers there while many unrelated networks stay silent, and proven by their other ports (bot/services/vantage.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from bot.core.evidence import NETWORK_CODES, TIMED_OUT
from bot.core.policy import Policy

PATIENCE = 3
"""So many probe intervals after it began, one target that is fine ends a blindness that nothing else ended."""


KEPT = 50
"""So many dark targets are enough to remember a blindness by."""
PORT_BLOCKED = "port25"
"""How the monitor's own incident names a way out that is closed for the mail port."""
_LAN = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 fc00::/7 fe80::/10 ::1/128"
_INSIDE = tuple(map(ip_network, _LAN.split()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A target that was fine and went dark."""

    at: datetime
    code: str
    target: str


class Horizon:
    """Remembers which targets went dark, until they are seen again. Connectors with one next hop are one target."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._dark: dict[int, Turn] = {}
        self._silent: dict[int, tuple[Turn, str]] = {}
        self._fine_at: datetime | None = None
        self._outside_fine_at: datetime | None = None
        self._port_blocked = False

    def note(
        self,
        connector_id: int,
        target: str,
        *,
        was_fine: bool,
        code: str | None,
        now: datetime,
        fine_ips: Iterable[str] = (),
        silent_ip: str | None = None,
    ) -> None:
        """Take in one probe: `code` None is a good one. `silent_ip`: no address of it answers, this is the first."""
        self._silent.pop(connector_id, None)
        if any(network_of(ip) for ip in fine_ips):
            self._outside_fine_at = now
        if silent_ip is not None and (network := network_of(silent_ip)):
            self._silent[connector_id] = (Turn(at=now, code=network, target=target), silent_ip)
        if code is None:
            self._dark.pop(connector_id, None)
            self._fine_at = now
        elif was_fine and code in NETWORK_CODES:
            self._dark[connector_id] = Turn(at=now, code=code, target=target)

    def restore(self, dark: Iterable[tuple[int, str]], code: str, now: datetime) -> None:
        """After a restart while blind: (connector, target) pairs that were dark then; `code` is what was seen."""
        self._port_blocked = code == PORT_BLOCKED
        self._dark |= {connector_id: Turn(at=now, code=code, target=target) for connector_id, target in dark}

    def dark(self, code: str | None = None, since: datetime | None = None, limit: int = KEPT) -> list[int]:
        """The connectors whose targets are dark, one per target, at most `limit`: more would say nothing more."""
        found: dict[str, int] = {}
        for connector_id, turn in self._dark.items():
            if code in (None, turn.code) and (since is None or turn.at >= since):
                found[turn.target] = connector_id
                if len(found) == limit:
                    break
        return list(found.values())

    def went_dark(self, now: datetime) -> str | None:
        """The code that enough targets turned to within one interval; None: we are not blind."""
        since = now - self._policy.probe_interval
        enough = (code for code in sorted(NETWORK_CODES) if len(self.dark(code, since)) >= self._policy.blind_after)
        return next(enough, None)

    def silent(self, now: datetime) -> tuple[str, ...]:
        """Addresses of unrelated networks to ask at other ports; () unless our own port may be what is closed."""
        since = now - self._policy.probe_interval
        if self._port_blocked or (self._outside_fine_at is not None and self._outside_fine_at >= since):
            return ()
        unrelated = {turn.code: ip for turn, ip in self._silent.values() if turn.at >= since}
        return (
            tuple(unrelated.values())[: self._policy.blind_after] if len(unrelated) >= self._policy.blind_after else ()
        )

    def port_blocked(self) -> None:
        """It was proven: whatever is silent counts as dark."""
        self._port_blocked = True
        self._dark |= {
            connector_id: Turn(at=turn.at, code=TIMED_OUT, target=turn.target)
            for connector_id, (turn, _) in self._silent.items()
        }

    def sees_again(self, blind_since: datetime, now: datetime) -> bool:
        """Is the blindness over? Too few are still dark; or others are fine for long: then these really are down."""
        fine_at = self._outside_fine_at if self._port_blocked else self._fine_at
        others_are_fine = fine_at is not None and fine_at > blind_since
        over = len(self.dark()) < self._policy.blind_after or (
            others_are_fine and now - blind_since >= PATIENCE * self._policy.probe_interval
        )
        self._port_blocked = self._port_blocked and not over
        return over


def network_of(ip: str) -> str | None:
    """The network that an address outside belongs to, as far as outages are shared; None: it is not outside."""
    try:
        address: IPv4Address | IPv6Address = ip_address(ip)
    except ValueError:
        return None
    if any(address in inside for inside in _INSIDE):
        return None
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))
