"""`mfi queue --json` and `--csv`: what waits and what bounced, as plain rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bot.core.evidence import Sample, own_words
from bot.core.mail_clock import MailClock
from bot.core.two_views import MAIL_SYSTEM, conclusion
from bot.core.views import ConnectorView, OneQueue, QueueView, StaleSource, UnassignedQueue
from storage.queue_records import Bounce, TopList
from storage.records import QueueSummary

Row = dict[str, Any]

BOUNCED_COLUMNS = (
    "ended_at", "status", "sender", "recipient", "connector", "code", "reason", "received_at", "backend", "key",
    "presumed",
)  # fmt: skip


def group_rows(view: QueueView) -> list[Row]:
    """One row for each connector and code, as `mfi queue --json` has them under "queue"; connector null: of none."""
    queues: list[tuple[str | None, QueueSummary]] = [(v.connector.name, v.queue) for v in view.connectors]
    return [
        {
            "connector": name,
            "code": group.code,
            "waiting": group.count,
            "oldest_received_at": group.oldest_received_at,
            "first_bounce_at": group.first_expiry_at,
            "reason": own_words(group.reason) if group.reason else group.reason,
            "destination": group.remote_host or group.remote_ip,
        }
        for name, queue in [*queues, (None, view.unassigned)]
        for group in queue.by_code
    ]


def clock_rows(view: QueueView) -> list[Row]:
    """One row for each connector where something waits or bounced; the last one, connector null, of what has none."""
    shown = [connector_row(v) for v in view.connectors if v.queue.total or v.clock.bounced]
    if view.unassigned.total:
        shown.append({"connector": None, **_clock_row(view.unassigned, view.unassigned_clock)})
    return shown


def connector_row(view: ConnectorView) -> Row:
    """One connector's clock."""
    kind, system = view.disagreement, view.allowed_from.system if view.allowed_from else MAIL_SYSTEM
    return {
        "connector": view.connector.name,
        **_clock_row(view.queue, view.clock),
        "sample": _sample_row(view.sample),
        "disagreement": kind,
        "conclusion": conclusion(kind, system) if kind else None,
        "read_at": view.queue_read_at,
        "stale": view.queue_stale,
    }


def one_row(one: OneQueue) -> Row:
    """One connector in full."""
    return {**connector_row(one.row), "top": _top_row(one.top)}


def unassigned_row(view: UnassignedQueue) -> Row:
    """What belongs to no connector, in full: connector null."""
    return {
        "connector": None,
        **_clock_row(view.queue, view.clock),
        "systems": list(view.systems),
        "top": _top_row(view.top),
    }


def _top_row(top: TopList) -> Row:
    return {
        "domains": [{"domain": name, "waiting": number} for name, number in top.domains],
        "senders": [{"sender": name, "waiting": number} for name, number in top.senders],
        "looked_at": top.looked_at,
    }


def stale_rows(stale: Iterable[StaleSource]) -> list[Row]:
    """The mail systems whose figures are old; `read_at` is None where one was never read."""
    return [{"backend": s.backend, "read_at": s.read_at, "error": s.error} for s in stale]


def bounce_rows(bounces: Iterable[Bounce]) -> list[Row]:
    """One row for each message that came back, the newest first.

    `reason` is what the server said; `raw`, in JSON only, has the frame that a message trace puts around it.
    """
    return [
        {name: getattr(bounce, name) for name in BOUNCED_COLUMNS}
        | {"reason": own_words(bounce.reason) if bounce.reason else bounce.reason, "raw": bounce.reason}
        for bounce in bounces
    ]


def _clock_row(queue: QueueSummary, clock: MailClock) -> Row:
    pace = clock.pace
    return {
        "waiting": queue.total,
        "oldest_received_at": queue.oldest_received_at,
        "first_bounce_at": queue.first_expiry_at,
        "overdue": clock.overdue,
        "ages": {band.name: band.count for band in clock.bands},
        "bounces": {f"{due.hours}h": due.count for due in clock.due},
        "bounces_by_hour": list(clock.hourly),
        "peak": {"at": clock.peak.at, "bounces": clock.peak.count} if clock.peak else None,
        "arrivals_per_minute": round(pace.arrivals, 3) if pace else None,
        "drains_per_minute": round(pace.drains, 3) if pace else None,
        "bounced_24h": clock.bounced,
    }


def _sample_row(sample: Sample | None) -> Row | None:
    if sample is None:
        return None
    return {"kind": sample.kind, "code": sample.code, "known": sample.known, "waiting": sample.waiting}
