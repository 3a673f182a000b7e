"""Slack in a few lines that fail as told, and what tests of the delivery do with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from bot.core.events import EventKind
from bot.core.views import IncidentView
from bot.services.delivery import Delivery
from bot.services.ports import MessageGone
from bot.services.timeline import record_event
from storage import incidents, outbox
from storage.connection import Store
from storage.records import Connector, Incident, OutboxItem, OutboxKind, OutboxState, Severity

Failure = Exception | Callable[[], Awaitable[None]] | None


class Slack:
    """Keeps (channel, what) of what it took. `failures`: one per request. `accepts`: takes it even when it fails."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.failures: list[Exception | None] = []
        self.accepts = False
        self.readable: Exception | None = None
        self.posts: list[tuple[str, str]] = []
        self.redraws: list[tuple[int, int]] = []
        self.times: list[tuple[str, datetime]] = []
        self.uids: dict[str, str] = {}
        self.gone: set[str] = set()
        self.looked_since: list[datetime] = []

    def _request(self, item: OutboxItem) -> Exception | None:
        self.times.append((item.channel, self.clock()))
        return self.failures.pop(0) if self.failures else None

    def _take(self, item: OutboxItem, view: IncidentView) -> str:
        event = next((e for e in view.events if e.id == item.event_id), None)
        what = "root" if item.kind is OutboxKind.ROOT else str(event.kind if event else "?")
        self.posts.append((item.channel, f"#{item.incident_id} {what}"))
        assert item.uid not in self.uids, "posted twice"
        self.uids[item.uid] = f"{len(self.posts)}.0"
        return self.uids[item.uid]

    async def post(self, item: OutboxItem, view: IncidentView) -> str:
        failure = self._request(item)
        if item.kind is not OutboxKind.ROOT:
            assert view.incident.ts is not None, "a reply without its message"
            if view.incident.ts in self.gone:
                raise MessageGone("thread_not_found")
        if failure is not None:
            if self.accepts:
                self._take(item, view)
            raise failure
        return self._take(item, view)

    async def redraw(self, item: OutboxItem, view: IncidentView) -> None:
        failure = self._request(item)
        if view.incident.ts in self.gone:
            raise MessageGone("message_not_found")
        if failure is not None:
            raise failure
        self.redraws.append((item.incident_id, view.incident.revision))

    async def find(self, item: OutboxItem, view: IncidentView, since: datetime) -> str | None:
        self.looked_since.append(since)
        if self.readable is not None:
            raise self.readable
        return self.uids.get(item.uid)


def make(store: Store, slack: Any, clock: Any, **more: Any) -> Delivery:
    return Delivery(store, slack, clock, monotonic=clock.monotonic, jitter=lambda: 1.0, **more)


async def opened(store: Store, at: Connector, clock: Any, channel: str = "C1", code: str = "4.4.316") -> Incident:
    def work(db: Any) -> Incident:
        new = incidents.insert(
            db,
            connector_id=at.id,
            code=code,
            severity=Severity.WARNING,
            now=clock(),
            first_failure_at=clock(),
            channel=channel,
        )
        return record_event(db, new.id, EventKind.OPENED, now=clock(), data={"by": "probe"})

    return await store.write(work)


async def happens(store: Store, incident: Incident, kind: EventKind, clock: Any, **changes: object) -> Incident:
    return await store.write(lambda db: record_event(db, incident.id, kind, now=clock(), **changes))


async def drain(delivery: Delivery, clock: Any, *, seconds: float = 600, step: float = 1.0) -> None:
    """Let time pass until nothing is owed any more."""
    for _ in range(int(seconds / step)):
        while await delivery.step():
            pass
        clock.advance(seconds=step)


async def rows(store: Store, state: OutboxState | None = None) -> list[OutboxItem]:
    every = await store.read(lambda db: outbox.recent(db, 10_000))
    return [item for item in reversed(every) if state in (None, item.state)]


async def the(store: Store, incident: Incident) -> Incident:
    found = await store.read(lambda db: incidents.get(db, incident.id))
    assert found is not None
    return found
