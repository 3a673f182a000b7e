"""From where we stand: is it the mail servers that are dead, or are we the ones who can't see?

Promises: cheap and bounded. Our own way out is asked for at most every two seconds, other ports of silent servers at
most once a minute, five addresses at a time, and only addresses that a probe was allowed to dial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Protocol

from sqlite_utils import Database

from bot.core.blindness import PORT_BLOCKED, Horizon
from bot.core.evidence import DNS_FAILED, NETWORK_CODES
from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult
from bot.core.probe_schedule import destination
from bot.probes.runner import ProbeRequest
from bot.services.monitor import blind_incident, tell_seeing
from knowledge.classify import Cause
from storage import connectors, incidents, probes
from storage.connection import Store
from storage.records import Connector

EGRESS_TIMEOUT = 5.0
EGRESS_KNOWN_FOR = timedelta(seconds=2)
OTHER_PORTS = (443, 587, 80)
"""What most mail servers answer besides 25: ports that are closed for nobody."""
OTHER_PORTS_TIMEOUT = 3.0
END_LOOKED_FOR = timedelta(seconds=1)


class Probes(Protocol):
    """What is asked of bot.probes.runner.Prober."""

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        """See there."""
        ...

    async def egress_open(self, targets: Sequence[tuple[str, int]], timeout: float) -> bool:
        """See there."""
        ...


class Vantage:
    """Takes in every probe (`note`) and says when we are blind; ends a blindness when it is over."""

    def __init__(self, store: Store, prober: Probes, policy: Policy, *, egress: Sequence[tuple[str, int]]) -> None:
        self._store = store
        self._prober = prober
        self._policy = policy
        self._egress = egress
        self._egress_is_named = not all(_is_address(host) for host, _ in egress)
        self._horizon = Horizon(policy)
        self._egress_checked: tuple[datetime, bool] | None = None
        self._looked_round_at: datetime | None = None
        self._ports_asked_at: datetime | None = None
        self._end_looked_for_at: datetime | None = None

    async def recover(self, now: datetime) -> None:
        """Take up a blindness that was open when the last process ended."""
        found = await self._store.read(_dark_then)
        if found is not None:
            code, dark = found
            self._horizon.restore(dark, code, now)

    def dark(self) -> list[int]:
        """Connectors whose targets are dark, one per target."""
        return self._horizon.dark()

    async def note(self, connector: Connector, result: ProbeResult, now: datetime) -> str | None:
        """Take in one probe. What tells us that we are blind: a code, "egress" or "port25"; None: nothing does."""
        if result.nothing_probed:
            self._horizon.forget(connector.id)
            return None
        dark = result.code in NETWORK_CODES
        turned = dark and await self._was_fine(connector.id)
        self._horizon.note(
            connector.id,
            destination(connector),
            was_fine=turned,
            code=result.code,
            now=now,
            ips=[t.ip for t in result.targets if t.ip],
            fine_ips=[t.ip for t in result.targets if t.ip and t.answered],
            silent_ip=_silent(result),
            by_name=any(t.host != t.ip for t in result.targets),
        )
        if not dark:
            return None
        egress = await self._way_out(now, result.code)
        if egress is False:
            return "egress" if self._horizon.alone(connector.id) else None
        if egress is None and turned and (code := self._horizon.went_dark(now)):
            return code
        if turned:
            await self._look_round(now)
        return PORT_BLOCKED if await self._port_blocked(now) else None

    async def end_blindness(self, now: datetime) -> None:
        """Tell it when we see again; what was dark is looked at again soon."""
        if not _long_ago(self._end_looked_for_at, END_LOOKED_FOR, now):
            return
        self._end_looked_for_at = now
        known = await self._store.read(blind_incident)
        if known is None:
            return
        egress = await self._way_out(now, *self._horizon.codes())
        if self._horizon.sees_again(known.opened_at, egress=egress):
            await self._store.write(lambda db: _see_again(db, now))

    async def _way_out(self, now: datetime, *codes: str | None) -> bool | None:
        """Is our own way out open? None: nobody is set to be asked, or it says nothing of these codes.

        That an address is reached says nothing of names.
        """
        if not self._egress:
            return None
        if not await self._egress_open(now):
            return False
        return None if DNS_FAILED in codes and not self._egress_is_named else True

    async def _was_fine(self, connector_id: int) -> bool:
        before = await self._store.read(lambda db: probes.recent(db, connector_id, 1))
        return bool(before) and before[0].ok and not before[0].nothing_probed

    async def _egress_open(self, now: datetime) -> bool:
        """Can we reach anything? Asked once for all targets that go dark together."""
        checked = self._egress_checked
        if checked is None or abs(now - checked[0]) > EGRESS_KNOWN_FOR:
            is_open = await self._prober.egress_open(self._egress, EGRESS_TIMEOUT)
            checked = self._egress_checked = (now, is_open)
        return checked[1]

    async def _port_blocked(self, now: datetime) -> bool:
        """Do servers of many unrelated networks stay silent while most of them answer at another port?"""
        if not _long_ago(self._ports_asked_at, self._policy.probe_interval_failing, now):
            return False
        asked = self._horizon.silent(now)
        if not asked:
            return False
        self._ports_asked_at = now
        answers = await asyncio.gather(
            *(self._prober.egress_open([(ip, port) for port in OTHER_PORTS], OTHER_PORTS_TIMEOUT) for ip in asked)
        )
        if sum(answers) * 2 <= len(asked):
            return False
        self._horizon.port_blocked()
        return True

    async def _look_round(self, now: datetime) -> None:
        """A target went dark: probe some others soon, so that blindness shows before anything is opened."""
        if _long_ago(self._looked_round_at, self._policy.probe_interval_failing, now):
            self._looked_round_at = now
            await self._store.write(lambda db: _hurry_others(db, 2 * self._policy.blind_after, now))


def _silent(result: ProbeResult) -> str | None:
    """The first address of a destination that takes no connection at all, though packets were sent."""
    tried = [t for t in result.targets if not t.skipped]
    silent = bool(tried) and all(t.cause is Cause.CONNECT_TIMEOUT for t in tried)
    return tried[0].ip if silent else None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _see_again(db: Database, now: datetime) -> None:
    """Tell it, and let everything that was found dark meanwhile be probed at once."""
    tell_seeing(db, now)
    for connector_id, probe in probes.latest(db).items():
        if probe.code in NETWORK_CODES:
            connectors.schedule(db, connector_id, now)


def _long_ago(last: datetime | None, every: timedelta, now: datetime) -> bool:
    """Also when the clock was set back: then the last time lies ahead."""
    return last is None or abs(now - last) >= every


def _hurry_others(db: Database, limit: int, now: datetime) -> None:
    """Make some connectors that were fine due now, each with another next hop."""
    chosen: dict[str, Connector] = {}
    for connector in connectors.every(db):
        if len(chosen) == limit:
            break
        if connector.enabled and any(p.ok for p in probes.recent(db, connector.id, 1)):
            chosen.setdefault(destination(connector), connector)
    for connector in chosen.values():
        if connector.next_probe_at > now:
            connectors.schedule(db, connector.id, now)


def _dark_then(db: Database) -> tuple[str, list[tuple[int, str]]] | None:
    known = blind_incident(db)
    if known is None:
        return None
    evidence = incidents.last_evidence(db, known.id)
    found = (connectors.get(db, connector_id) for connector_id in evidence.get("connectors", ()))
    return str(evidence.get("seen", "")), [(c.id, destination(c)) for c in found if c is not None]
