"""When a connector is probed next, what counts as one destination, and how a probe is kept."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.core.policy import Policy
from bot.core.probe_result import TargetResult, overall
from bot.core.probe_schedule import PACE, SURGE, destination, interval, record_of, spread
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


@pytest.mark.parametrize(
    ("hours", "seconds"), [(-1, 60), (0, 60), (0.9, 60), (1, 120), (2, 240), (2.9, 240), (3, 300), (9_999, 300)]
)
def test_a_failure_that_lasts_is_probed_less_and_less_but_never_less_than_usual(hours: float, seconds: int) -> None:
    longest = interval(CONTOSO, Policy(), failing_for=timedelta(hours=hours))
    assert timedelta(seconds=seconds * 0.9) <= longest <= timedelta(seconds=seconds)


def fleet(number: int, every: timedelta | None = None) -> list[Connector]:
    return [replace(CONTOSO, id=n, key=f"k{n}", probe_interval=every) for n in range(number)]


def test_few_that_are_due_at_once_are_left_as_they_are() -> None:
    assert spread(fleet(SURGE), Policy(), NOW) == {}


@pytest.mark.parametrize(("number", "every", "window"), [(1_000, None, 20), (100_000, None, 300), (9_000, 60, 60)])
def test_many_that_are_due_at_once_begin_at_a_steady_pace(number: int, every: int | None, window: int) -> None:
    crowd = fleet(number, timedelta(seconds=every) if every else None)
    seconds = Counter(int((at - NOW).total_seconds()) for at in spread(crowd, Policy(), NOW).values())
    assert set(seconds) == set(range(window))
    assert max(seconds.values()) <= max(number / window, PACE) * 1.5
    assert spread(crowd, Policy(), NOW) == spread(crowd, Policy(), NOW)


@pytest.mark.parametrize("black_holes", [0, 20])
def test_ten_thousand_connectors_on_a_minutes_interval_are_probed_when_they_are_due(black_holes: int) -> None:
    """Simulated: all are listed at one moment; a good probe takes 0.2 s, one of a black hole 30 s; 64 at a time."""
    policy = replace(Policy(), probe_interval=timedelta(seconds=60))
    every = fleet(10_000)
    due = [(at, n) for n, at in spread(every, policy, NOW).items()]
    heapq.heapify(due)
    ending: list[tuple[datetime, int]] = []
    lags, probes, begun = [], Counter[int](), Counter[int]()
    for step in range(6_000):
        now = NOW + step * timedelta(seconds=0.1)
        while ending and ending[0][0] <= now:
            at, n = heapq.heappop(ending)
            failing = now - NOW if n < black_holes else None
            heapq.heappush(due, (at + interval(every[n], policy, failing_for=failing), n))
        while due and due[0][0] <= now and len(ending) < 64:
            at, n = heapq.heappop(due)
            lags.append((now - at).total_seconds())
            probes[n] += 1
            begun[step // 10] += 1
            heapq.heappush(ending, (now + timedelta(seconds=30 if n < black_holes else 0.2), n))
    lags.sort()
    assert lags[int(len(lags) * 0.99)] <= 5.0
    assert min(probes[n] for n in range(black_holes, 10_000)) >= 9, "nobody starves"
    assert min(probes[n] for n in range(10_000)) >= 5
    assert max(begun.values()) <= 2 * 10_000 / 60, "no second sees a spike"


def test_the_spread_lasts_for_days() -> None:
    """Intervals differ a little, so connectors that once stood together drift apart and not back together."""
    crowd = random.Random(7).sample(fleet(10_000), 1_000)
    wait = {c.id: interval(c, Policy()).total_seconds() for c in crowd}
    for hour in (1, 24, 24 * 7):
        seconds = Counter(int(hour * 3600 % wait[c.id]) for c in crowd)
        assert max(seconds.values()) <= 20
