"""A full alert on invented facts, for `mfi doctor` to show to Slack's own validator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bot.core.capabilities import Capability
from bot.core.views import Difference, Disagreement, IncidentView
from bot.slack.alert import render_alert
from knowledge.articles import articles
from storage.records import (
    CodeCount,
    Connector,
    ConnectorKind,
    Incident,
    IncidentState,
    ProbeRecord,
    QueueSummary,
    Severity,
)

CODE = "4.4.316"
_NOW = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)


def sample_alert() -> dict[str, Any]:
    """`text` and `blocks` of an alert that has every part an alert can have."""
    return render_alert(_view(), articles().for_code(CODE)).payload()


def _view() -> IncidentView:
    return IncidentView(
        incident=Incident(
            id=1,
            connector_id=1,
            code=CODE,
            state=IncidentState.FIRING,
            severity=Severity.CRITICAL,
            opened_at=_NOW - timedelta(hours=5),
            updated_at=_NOW,
            first_failure_at=_NOW - timedelta(hours=6),
            channel="C0000000000",
        ),
        connector=_connector(),
        queue=_queue(),
        now=_NOW,
        probe=_probe(),
        disagreement=Disagreement.DIFFERENT_CODES,
        differences=(Difference(what="banner", before="220 mail.contoso.com", after="none"),),
        capabilities=frozenset(Capability),
        queue_read_at=_NOW - timedelta(minutes=20),
        queue_stale=True,
    )


def _connector() -> Connector:
    return Connector(
        id=1,
        backend="sample",
        key="sample",
        name="Contoso inbound",
        kind=ConnectorKind.ON_PREMISES,
        smart_hosts=("mail.contoso.com",),
        next_probe_at=_NOW,
        changed_at=_NOW,
    )


def _queue() -> QueueSummary:
    group = CodeCount(
        code=CODE,
        count=1284,
        oldest_received_at=_NOW - timedelta(hours=6),
        first_expiry_at=_NOW + timedelta(hours=18),
        reason=f"450 {CODE} Connection refused",
        remote_host="mail.contoso.com",
        remote_ip="192.0.2.7",
    )
    return QueueSummary(by_code=(group,))


def _probe() -> ProbeRecord:
    return ProbeRecord(
        connector_id=1,
        at=_NOW,
        ok=False,
        code="4.4.315",
        cause="connect_timeout",
        status="450 4.4.315 Connection timed out",
        stage="connect",
        degraded=False,
        elapsed_ms=30_000,
        document="{}",
    )
