"""How late probes begin, told from what is stored of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.core.policy import Policy
from bot.core.probe_schedule import interval
from storage.moments import from_ms
from storage.records import Connector

LOST = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Lags:
    """Seconds between due and begun. `never`: connectors that are overdue by more than `LOST` at the end.

    `rate`: probes a second from the first to the last.
    """

    probes: int
    rate: float
    never: int
    first: tuple[float, ...]
    later: tuple[float, ...]


def lags(db: Database, every: Collection[Connector], policy: Policy, due: Mapping[int, datetime]) -> Lags:
    """`due`: when each connector was due for its first probe; one that is not known there counts from its second on."""
    waits, expected = {c.id: interval(c, policy) for c in every}, dict(due)
    first: list[float] = []
    later: list[float] = []
    rows = db.execute("SELECT connector_id, at, elapsed_ms FROM probes ORDER BY id").fetchall()
    ended = from_ms(0)
    for connector_id, at, elapsed in rows:
        ended = from_ms(at)
        if connector_id in expected:
            begun = ended - timedelta(milliseconds=elapsed)
            (first if expected[connector_id] == due.get(connector_id) else later).append(
                (begun - expected[connector_id]).total_seconds()
            )
        expected[connector_id] = ended + waits[connector_id]
    overdue = [c for c in every if c.id not in expected or expected[c.id] + LOST < ended]
    rate = len(rows) / max((ended - from_ms(rows[0][1])).total_seconds(), 1.0) if rows else 0.0
    return Lags(len(rows), rate, len(overdue), tuple(sorted(first)), tuple(sorted(later)))


def at(ordered: Sequence[float], part: float) -> float:
    """A percentile of ordered figures; 0 where there are none."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0
