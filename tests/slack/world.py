"""Builds the view models of one small world: a moment, a connector, an incident and everything around them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.core.capabilities import Capability
from bot.core.views import ConnectorView, Difference, Disagreement, IncidentView, StatusView
from storage.records import (
    CodeCount,
    Connector,
    ConnectorKind,
    Incident,
    IncidentEvent,
    IncidentState,
    OutboxState,
    ProbeRecord,
    QueueSummary,
    Severity,
    TlsSetting,
)
from tests.slack.queue_world import QueueWorld

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class World(QueueWorld):
    """Builds view models; every text that comes from outside is `foreign` when that is given."""

    def __init__(self, foreign: str | None = None) -> None:
        self.foreign = foreign
        self.now = NOW

    def text(self, usual: str) -> str:
        return self.foreign if self.foreign is not None else usual

    def connector(self, **changes: Any) -> Connector:
        made = Connector(
            id=7,
            backend="lab",
            key="key-7",
            name=self.text("Contoso inbound"),
            kind=ConnectorKind.ON_PREMISES,
            smart_hosts=(self.text("mail.contoso.com"),),
            recipient_domains=(self.text("contoso.com"),),
            tls_setting=TlsSetting.OPPORTUNISTIC,
            partner_contact=self.text("postmaster of Fabrikam"),
            next_probe_at=NOW,
            changed_at=NOW,
        )
        return replace(made, **changes)

    def queue(self, count: int = 42, code: str | None = "4.4.316") -> QueueSummary:
        return QueueSummary(
            by_code=(
                CodeCount(
                    code=code,
                    count=count,
                    oldest_received_at=NOW - 5 * HOUR,
                    first_expiry_at=NOW + 19 * HOUR,
                    reason=self.text("450 4.4.316 Connection refused [Message=Socket error code 10061]"),
                    remote_host=self.text("mail.contoso.com"),
                    remote_ip=self.text("192.0.2.7"),
                ),
            )
        )

    def probe(self, ok: bool = False, **changes: Any) -> ProbeRecord:
        target = {
            "host": self.text("mail.contoso.com"),
            "ip": self.text("192.0.2.7"),
            "port": 25,
            "ok": ok,
            "code": None if ok else "4.4.316",
            "cause": None if ok else "refused",
            "stage": "done" if ok else "connect",
            "detail": self.text("connection refused"),
            "banner": self.text("220 mail.contoso.com ESMTP"),
            "timings_ms": {"dns": 3.2, "connect": 12.7} | ({"banner": 30.0, "ehlo": 31.0} if ok else {}),
        }
        made = ProbeRecord(
            id=3,
            connector_id=7,
            at=NOW - timedelta(minutes=1),
            ok=ok,
            code=None if ok else "4.4.316",
            cause=None if ok else "refused",
            status=None if ok else self.text("450 4.4.316 Connection refused"),
            stage="done" if ok else "connect",
            degraded=False,
            elapsed_ms=420,
            document=json.dumps({"targets": [target, {**target, "host": self.text("mail2.contoso.com")}]}),
        )
        return replace(made, **changes)

    def incident(self, state: IncidentState = IncidentState.FIRING, **changes: Any) -> Incident:
        made = Incident(
            id=12,
            connector_id=7,
            code="4.4.316",
            state=state,
            severity=Severity.CRITICAL,
            opened_at=NOW - 4 * HOUR,
            updated_at=NOW,
            first_failure_at=NOW - 5 * HOUR,
            channel="C0ALERTS",
            ts="1772415600.000100",
        )
        return replace(made, **changes)

    def view(self, state: IncidentState = IncidentState.FIRING, **changes: Any) -> IncidentView:
        made = IncidentView(
            incident=self.incident(state),
            connector=self.connector(),
            queue=self.queue(),
            now=NOW,
            probe=self.probe(),
            events=(self.event("opened", by="both"),),
            disagreement=Disagreement.FIREWALL_ADMITS_BOT_ONLY,
            differences=(
                Difference(what=self.text("certificate"), before=self.text("a1:b2"), after=self.text("c3:d4")),
            ),
            capabilities=frozenset(Capability),
            queue_read_at=NOW - timedelta(minutes=2),
            clock=self.clock(),
        )
        return replace(made, **changes)

    def event(self, kind: str, actor: str | None = "U0ADMIN1", **data: Any) -> IncidentEvent:
        return IncidentEvent(
            id=5, incident_id=12, revision=2, at=NOW - timedelta(minutes=3), kind=kind, actor=actor, data=data
        )

    def row(self, incidents: int = 1, **changes: Any) -> ConnectorView:
        made = ConnectorView(
            connector=self.connector(),
            queue=self.queue(),
            now=NOW,
            probe=self.probe(),
            incidents=tuple(self.incident(id=12 + n) for n in range(incidents)),
            clock=self.clock(),
            queue_read_at=NOW - timedelta(minutes=2),
        )
        return replace(made, **changes)

    def status(self, *rows: ConnectorView, **changes: Any) -> StatusView:
        made = StatusView(
            now=NOW,
            connectors=rows or (self.row(),),
            unassigned=self.queue(3, None),
            outbox={OutboxState.PENDING: 2, OutboxState.DEAD: 1},
            dead=(self.text("reply of #12 for C0ALERTS, 3 min old: is_archived"),),
            syncs={self.text("lab"): self.text("read 2 min ago")},
        )
        return replace(made, **changes)
