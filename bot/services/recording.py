"""What is done with the answers of probes: recorded, acted upon, and the next probe scheduled.

Promises: a probe, everything it changes and when the next one is due are in one transaction, wholly or not at all, and
on the disk when `record` returns. Probes that end while another transaction runs share the next one, because that is
what writing costs; one of them that can't be written costs the others nothing. Where nothing is going on (see
bot/core/calm.py) no decision is looked for, because there would be none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.core.calm import Calm
from bot.core.events import EventKind
from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult
from bot.core.probe_schedule import interval, record_of
from bot.services.monitor import probes_say_nothing, tell_blind
from bot.services.timeline import record_event
from bot.services.triage import triage_connector
from storage import connectors, incidents, probes
from storage.connection import Store
from storage.records import Connector, Incident, ProbeRecord

PROBED_SETTINGS = ("use_mx", "smart_hosts", "port", "recipient_domains", "tls_setting", "tls_domain")
"""What a probe depends on."""
TOGETHER = 64
"""So many probes at most share a transaction: nobody who wants to write waits for more."""
GATHER = 0.01
"""Seconds for which a transaction waits for probes that may end in this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A probe that has ended. `askers`: who wanted it; `seen`, `dark`: what tells us that we are blind."""

    connector: Connector
    """As it was when the probe began."""
    result: ProbeResult
    at: datetime
    askers: Sequence[str] = ()
    seen: str | None = None
    dark: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One that waits to be written. `usual`: it shows nothing new."""

    finished: Finished
    probe: ProbeRecord
    usual: bool
    written: asyncio.Future[ProbeRecord]


class Recorder:
    """Writes finished probes. `steady`: may the clock be trusted (bot/services/steadiness.py)?"""

    def __init__(self, store: Store, policy: Policy, *, default_channel: str, steady: Callable[[], bool]) -> None:
        self._store = store
        self._policy = policy
        self._default_channel = default_channel
        self._steady = steady
        self._calm = Calm(policy)
        self._waiting: list[_Entry] = []
        self._writer: asyncio.Task[None] | None = None

    async def record(self, finished: Finished, *, more: Callable[[], int]) -> ProbeRecord:
        """Write it and return it with its id, when it is on the disk. `more`: how many probes are under way, with this.

        Whoever is cancelled meanwhile gets no answer; what was begun is written as a whole all the same.
        """
        probe = record_of(finished.connector, finished.result, finished.at)
        usual = not finished.askers and finished.seen is None
        usual = usual and self._calm.is_usual(probe, finished.result, finished.at)
        entry = _Entry(finished, probe, usual, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(more), name="record-probes")
        return await entry.written

    async def close(self) -> None:
        """Let what is being written come to its end; what nobody waits for any more is not begun."""
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)

    async def _write(self, more: Callable[[], int]) -> None:
        """Transaction after transaction until nothing waits."""
        try:
            while self._waiting:
                if more() > len(self._waiting):
                    await asyncio.sleep(GATHER)
                wanted = [e for e in self._waiting if not e.written.done()]
                self._waiting = wanted[TOGETHER:]
                await self._together(wanted[:TOGETHER])
        finally:
            self._writer = None

    async def _together(self, entries: Sequence[_Entry]) -> None:
        """All in one transaction; if that fails, each in its own."""
        try:
            written = await self._store.write(lambda db: self._all(db, entries))
        except Exception as error:
            if len(entries) == 1:
                _tell(entries[0], error)
            for entry in entries if len(entries) > 1 else ():
                await self._together([entry])
            return
        for entry, probe in zip(entries, written, strict=True):
            self._calm.note(probe)
            _tell(entry, probe)

    def _all(self, db: Database, entries: Sequence[_Entry]) -> list[ProbeRecord]:
        usual = [e.finished.connector for e in entries if e.usual]
        quiet = connectors.undisturbed(db, usual) if usual else set[int]()
        return [self._one(db, entry, quiet=entry.usual and entry.probe.connector_id in quiet) for entry in entries]

    def _one(self, db: Database, entry: _Entry, *, quiet: bool) -> ProbeRecord:
        """Write one. `quiet`: it shows nothing new, and nothing is going on at its connector."""
        if not quiet:
            return self._act_upon(db, entry)
        finished, connector = entry.finished, entry.finished.connector
        probe = probes.record(db, entry.probe)
        connectors.schedule(db, connector.id, finished.at + interval(connector, self._policy))
        return probe

    def _act_upon(self, db: Database, entry: _Entry) -> ProbeRecord:
        """1. Record. 2. Tell who asked. 3. Are we blind? 4. Triage. 5. Schedule."""
        finished, connector, now = entry.finished, entry.finished.connector, entry.finished.at
        probe = probes.record(db, entry.probe)
        for actor in () if finished.result.nothing_probed else finished.askers:
            for incident in incidents.open_at(db, connector.id):
                _tell_reprobed(db, incident, probe, actor)
        if finished.seen is not None:
            tell_blind(db, now, self._default_channel, seen=finished.seen, connector_ids=finished.dark)
        if was_changed(connector, connectors.get(db, connector.id)):
            return probe  # it says nothing of the new settings, which are due at once
        triage_connector(
            db,
            connector.id,
            self._policy,
            now,
            default_channel=self._default_channel,
            blind=probes_say_nothing(db, self._policy, now),
            steady=self._steady(),
        )
        wait = interval(connector, self._policy, failing_for=_failing_for(db, probe))
        connectors.schedule(db, connector.id, now + wait)
        return probe


def was_changed(probed: Connector, present: Connector | None) -> bool:
    """Does mail go elsewhere by now, or otherwise, than it did when the probe began?"""
    return present is not None and any(getattr(probed, name) != getattr(present, name) for name in PROBED_SETTINGS)


def _tell(entry: _Entry, outcome: ProbeRecord | Exception) -> None:
    """Answer the one who waits, if he still does."""
    if entry.written.done():
        return
    if isinstance(outcome, Exception):
        entry.written.set_exception(outcome)
    else:
        entry.written.set_result(outcome)


def _tell_reprobed(db: Database, incident: Incident, record: ProbeRecord, actor: str) -> None:
    data = {
        "ok": record.ok,
        "code": record.code,
        "status": record.status,
        "stage": record.stage,
        "elapsed_ms": record.elapsed_ms,
    }
    record_event(db, incident.id, EventKind.REPROBED, now=record.at, actor=actor, data=data)


def _failing_for(db: Database, record: ProbeRecord) -> timedelta | None:
    """How long the trouble lasts, as far as an open outage knows; None: all is well."""
    begun = [i.first_failure_at for i in incidents.open_at(db, record.connector_id) if not i.is_warning]
    return record.at - min(begun, default=record.at) if begun or not record.ok else None
