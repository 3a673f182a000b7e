"""Are we the ones who can't see? Many targets that go dark at once mean our own network, not theirs. Pure: no clock.

A way out that is closed for port 25 alone looks otherwise: nothing was ever fine. It is suspected when nothing outside
answers there while many unrelated networks stay silent, and proven by their other ports (bot/services/vantage.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from bot.core.evidence import DNS_FAILED, NETWORK_CODES, TIMED_OUT
from bot.core.policy import Policy

PATIENCE = 3
"""For so many probe intervals a blindness hides what probes see; then rather many alerts than none."""
KEPT = 50
"""So many dark targets are enough to remember a blindness by."""
PORT_BLOCKED = "port25"
"""How the monitor's own incident names a way out that is closed for the mail port."""
_LAN = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 fc00::/7 fe80::/10 ::1/128"
_INSIDE = tuple(map(ip_network, _LAN.split()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A target that was fine and went dark. `inside`: it is known to stand in our own network."""

    at: datetime
    code: str
    target: str
    inside: bool = False

    @property
    def disproof(self) -> Reach:
        """What another target must show so that this one is really down, and we are not blind."""
        if self.code == DNS_FAILED:
            return Reach.BY_NAME
        return Reach.ANY if self.inside else Reach.OUTSIDE


class Reach(StrEnum):
    """How a server was reached: at all, beyond our own network, after its name was resolved."""

    ANY = "any"
    OUTSIDE = "outside"
    BY_NAME = "by name"


class Horizon:
    """Remembers which targets went dark, until they are seen again. Connectors with one next hop are one target."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._dark: dict[int, Turn] = {}
        self._silent: dict[int, tuple[Turn, str]] = {}
        self._began: dict[int, Turn] = {}
        self._reached_at: dict[Reach, datetime] = {}
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
        ips: Iterable[str] = (),
        fine_ips: Iterable[str] = (),
        silent_ip: str | None = None,
        by_name: bool = True,
    ) -> None:
        """Take in one probe: `code` None is a good one.

        `ips`: the addresses of the target, `fine_ips`: those that took a connection. `silent_ip`: none of them
        answers, this is the first. `by_name`: names had to be resolved to get there.
        """
        self._silent.pop(connector_id, None)
        inside = _all_inside(ips)
        if any(network_of(ip) for ip in fine_ips):
            self._outside_fine_at = now
        if silent_ip is not None and (network := network_of(silent_ip)):
            self._silent[connector_id] = (Turn(at=now, code=network, target=target), silent_ip)
        if code in NETWORK_CODES:
            turn = Turn(at=now, code=code, target=target, inside=inside)
            self._began.setdefault(connector_id, turn)
            if was_fine:
                self._dark[connector_id] = turn
            return
        self._began.pop(connector_id, None)
        if code is None:
            self._dark.pop(connector_id, None)
        self._reached_at[Reach.ANY] = now
        if not inside:
            self._reached_at[Reach.OUTSIDE] = now
        if by_name:
            self._reached_at[Reach.BY_NAME] = now

    def forget(self, connector_id: int) -> None:
        """There was nothing to dial: nothing is known of it, good or bad."""
        for known in (self._silent, self._began, self._dark):
            known.pop(connector_id, None)

    def alone(self, connector_id: int) -> bool:
        """Was nobody else reached since this target went dark? Then it may be us."""
        turn = self._began.get(connector_id)
        return turn is None or not self._reached(turn.disproof, turn.at)

    def restore(self, dark: Iterable[tuple[int, str]], code: str, now: datetime) -> None:
        """After a restart while blind: (connector, target) pairs that were dark then; `code` is what was seen."""
        self._port_blocked = code == PORT_BLOCKED
        self._dark |= {connector_id: Turn(at=now, code=code, target=target) for connector_id, target in dark}
        self._began |= self._dark

    def dark(self, code: str | None = None, since: datetime | None = None, limit: int = KEPT) -> list[int]:
        """The connectors whose targets are dark, one per target, at most `limit`: more would say nothing more."""
        found: dict[str, int] = {}
        for connector_id, turn in self._dark.items():
            if code in (None, turn.code) and (since is None or turn.at >= since):
                found[turn.target] = connector_id
                if len(found) == limit:
                    break
        return list(found.values())

    def codes(self) -> set[str]:
        """What the dark targets show."""
        return {turn.code for turn in self._dark.values()}

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

    def sees_again(self, blind_since: datetime, *, egress: bool | None = None) -> bool:
        """Is the blindness over? `egress`: our own way out is proven open, or closed; None: nothing is known of it.

        It is over when others were reached some time after it began: then what is still dark is really down. Unless
        our way out is closed, also when too few are still dark; an open one ends everything that it can disprove.
        """
        if self._port_blocked:
            answered = self._outside_fine_at is not None and self._outside_fine_at > blind_since
            over = answered or self._too_few()
        else:
            settled = blind_since + self._policy.probe_interval_failing
            over = all(self._reached(kind, settled) for kind in self._disproofs())
            over = over or (egress is not False and self._too_few()) or egress is True
        if over:
            self._port_blocked = False
            self._dark.clear()
        return over

    def _too_few(self) -> bool:
        return len(self.dark()) < self._policy.blind_after

    def _disproofs(self) -> set[Reach]:
        return {turn.disproof for turn in self._dark.values()} or {Reach.ANY}

    def _reached(self, kind: Reach, since: datetime) -> bool:
        return kind in self._reached_at and self._reached_at[kind] >= since


def _all_inside(ips: Iterable[str]) -> bool:
    """Are they known, and all in our own network?"""
    known = list(ips)
    return bool(known) and not any(network_of(ip) for ip in known)


@lru_cache(maxsize=4096)
def network_of(ip: str) -> str | None:
    """The network that an address outside belongs to, as far as outages are shared; None: it is not outside."""
    try:
        address: IPv4Address | IPv6Address = ip_address(ip)
    except ValueError:
        return None
    if any(address in inside for inside in _INSIDE):
        return None
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))
