"""When a connector is probed next, what counts as one destination, and how a probe is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.core.policy import Policy
from bot.core.probe_result import TargetResult, overall
from bot.core.probe_schedule import destination, interval, record_of
from storage.records import Connector, ConnectorKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FINE = overall([TargetResult(host="mail.contoso.test", port=25, ip="192.0.2.1", banner="220 ready")], 12.4)
CONTOSO = Connector(
    id=1,
    backend="files",
    key="contoso",
    name="Contoso",
    kind=ConnectorKind.ON_PREMISES,
    smart_hosts=("mail.contoso.test",),
    recipient_domains=("contoso.test",),
    next_probe_at=NOW,
    changed_at=NOW,
)


def test_intervals_are_a_little_different_for_each_connector_and_stable() -> None:
    many = [interval(replace(CONTOSO, key=str(n)), Policy()) for n in range(1000)]
    assert len(set(many)) > 990
    assert timedelta(seconds=270) <= min(many) < timedelta(seconds=272) < timedelta(seconds=298) < max(many)
    assert many[7] == interval(replace(CONTOSO, key="7"), Policy())


def test_a_connectors_own_interval_wins_and_failing_never_slows_it_down() -> None:
    quick = replace(CONTOSO, probe_interval=timedelta(seconds=20))
    assert interval(quick, Policy()) <= timedelta(seconds=20)
    assert interval(quick, Policy(), failing_for=MINUTE) <= timedelta(seconds=20)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "mail.contoso.test"),
        ({"smart_hosts": ("b.test", "a.test")}, "a.test b.test"),
        ({"smart_hosts": ()}, "contoso.test"),
        ({"smart_hosts": (), "recipient_domains": ()}, "contoso"),
    ],
)
def test_connectors_with_the_same_next_hops_are_one_destination(changes: dict[str, Any], expected: str) -> None:
    assert destination(replace(CONTOSO, **changes)) == expected


def test_a_connector_that_asks_for_mx_says_so_in_its_fingerprint() -> None:
    record = record_of(replace(CONTOSO, smart_hosts=(), use_mx=True), FINE, NOW)
    assert record.fingerprint["smart_hosts"] == "MX"
    assert record.fingerprint["mx"] == "mail.contoso.test"
    assert "mx" not in record_of(CONTOSO, FINE, NOW).fingerprint
    assert "smart_hosts" not in record_of(replace(CONTOSO, smart_hosts=()), FINE, NOW).fingerprint
