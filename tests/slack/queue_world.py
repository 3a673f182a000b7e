"""What waits and what bounced, in the small world of the Slack tests (conftest.py)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.core.evidence import Sample, SampleKind
from bot.core.mail_clock import MailClock, mail_clock
from bot.core.views import (
    AllowedFrom,
    ConnectorView,
    IncidentView,
    OneQueue,
    QueueView,
    StaleSource,
    UnassignedQueue,
)
from storage.queue_records import Bounce, Flow, QueueClock, TopList
from storage.records import IncidentState, MessageStatus, QueueSummary

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class QueueWorld:
    """Builds the queue's view models; `text`, `queue` and `row` come from the world that this is a part of."""

    text: Any
    queue: Any
    row: Any
    incident: Any
    event: Any

    def clock(self, count: int = 42, bounced: int = 12) -> MailClock:
        """Two thirds came in five hours ago and bounce first; the rest is an hour old."""
        early, late = count - count // 3, count // 3
        held = QueueClock(
            received=((NOW - 5 * HOUR, early), (NOW - 1.5 * HOUR, late)),
            expiries=((NOW + 19 * HOUR, early), (NOW + 23 * HOUR, late)),
        )
        flow = Flow(since=NOW - HOUR, arrived=14, delivered=0, bounced=0, unknown=2)
        return mail_clock(self.queue(count), held, NOW, flow=flow, bounced=bounced)

    def sample(self, kind: SampleKind = SampleKind.AGREES, waiting: int = 30_000) -> Sample:
        return Sample(kind=kind, code=None if kind is SampleKind.MIXED else "4.4.316", known=10, waiting=waiting)

    def allowed(self, *ranges: str) -> AllowedFrom:
        listed = ranges or ("40.92.0.0/15", "40.107.0.0/16", "52.100.0.0/14", "104.47.0.0/17", "2a01:111:f400::/48")
        return AllowedFrom(system="Microsoft 365", ranges=listed, read_at=NOW - 7 * HOUR)

    def waits(self, *rows: ConnectorView, unassigned: int = 3, stale: bool = False) -> QueueView:
        old = StaleSource(backend=self.text("exo"), read_at=NOW - HOUR, error=self.text("HTTP 503"))
        return QueueView(
            now=NOW,
            connectors=rows or (self.row(),),
            unassigned=self.queue(unassigned, None) if unassigned else QueueSummary(),
            unassigned_clock=self.clock(unassigned, bounced=0),
            stale=(old,) if stale else (),
        )

    def top(self) -> TopList:
        return TopList(
            domains=((self.text("contoso.com"), 30), (self.text("fabrikam.test"), 12)),
            senders=((self.text("app@fabrikam.test"), 42),),
            looked_at=20,
            waiting=42,
        )

    def one_queue(self, **changes: Any) -> OneQueue:
        return OneQueue(row=self.row(**changes), top=self.top())

    def unassigned(self, **changes: Any) -> UnassignedQueue:
        """42 wait in one mail system that is read, and one that is not may hold more."""
        made = UnassignedQueue(
            now=NOW,
            queue=self.queue(),
            clock=self.clock(),
            top=self.top(),
            systems=(self.text("relay"),),
            stale=(StaleSource(backend=self.text("exo"), read_at=NOW - HOUR, error=self.text("HTTP 503")),),
        )
        return replace(made, **changes)

    def unassigned_view(self, state: IncidentState = IncidentState.FIRING, **changes: Any) -> IncidentView:
        """The incident of that mail."""
        known = {key: changes.pop(key) for key in ("severity", "resolution", "resolved_at") if key in changes}
        incident = self.incident(state, connector_id=None, code="unassigned", **known)
        found = self.unassigned()
        made = IncidentView(
            incident=incident, connector=None, queue=found.queue, now=NOW, clock=found.clock, top=found.top,
            stale=found.stale, told={"systems": [self.text("relay")]}, events=(self.event("opened", by="queue"),),
        )  # fmt: skip
        return replace(made, **changes)

    def bounce(self, sender: str = "app@fabrikam.test", **changes: Any) -> Bounce:
        made = Bounce(
            backend="lab",
            key="m1",
            sender=self.text(sender),
            recipient=self.text("one@contoso.com"),
            connector=self.text("Contoso inbound"),
            code="4.4.316",
            reason=self.text("550 5.4.316 Message expired, connection refused"),
            received_at=NOW - 25 * HOUR,
            ended_at=NOW - HOUR,
            status=MessageStatus.EXPIRED,
        )
        return replace(made, **changes)
