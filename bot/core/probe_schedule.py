"""When a connector is probed next, what counts as one destination, and how a probe is kept. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b

from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult
from storage.records import Connector, ProbeRecord

SPREAD = 0.1
"""An interval is shortened by up to this part, the same for a connector every time: so thousands drift apart."""


SURGE = 300
"""So many connectors may be due at once before they are spread."""
PACE = 50
"""Connectors a second that a spread begins with at least."""


def record_of(connector: Connector, result: ProbeResult, now: datetime) -> ProbeRecord:
    """A probe as it is stored: the settings that it was made with stand in the fingerprint beside what was seen."""
    settings = {
        "smart_hosts": ", ".join(connector.smart_hosts) or ("MX" if connector.use_mx else ""),
        "port": str(connector.port or "the usual one"),
        "tls_setting": str(connector.tls_setting),
        "tls_domain": connector.tls_domain or "none",
        "mx": ", ".join(dict.fromkeys(t.host for t in result.targets)) if connector.use_mx else "",
    }
    return ProbeRecord(
        connector_id=connector.id,
        at=now,
        ok=result.ok,
        code=result.code,
        cause=result.cause,
        status=result.status,
        stage=result.stage,
        degraded=result.degraded,
        elapsed_ms=round(result.elapsed_ms),
        document=json.dumps(
            result.document() | {"connector": connector.name}, ensure_ascii=False, separators=(",", ":")
        ),
        fingerprint={key: value for key, value in settings.items() if value} | result.fingerprint(),
    )


def interval(connector: Connector, policy: Policy, *, failing_for: timedelta | None = None) -> timedelta:
    """How long until a connector's next probe: stable for it, a little different for each.

    `failing_for` None: all is well. A failure is looked at more often, and ever less so the longer it lasts: never less
    often than usual, so its end is noticed as soon as any trouble would be.
    """
    usual = connector.probe_interval or policy.probe_interval
    if failing_for is None:
        return usual * (1 - SPREAD * _own(connector, 1))
    doublings = min(max(failing_for // policy.probe_backs_off_after, 0), 16)
    return min(usual, policy.probe_interval_failing * (1 << doublings)) * (1 - SPREAD * _own(connector, 1))


def place(connector: Connector) -> float:
    """A number from 0 to 1 that is a connector's own: where it stands when many are spread over a time.

    It has nothing to do with how much its interval is shortened: else those that stand late would catch up with those
    that stand early, and all would meet.
    """
    return _own(connector, 0)


def _own(connector: Connector, which: int) -> float:
    return _lot(f"{connector.backend}/{connector.key}", which)


@lru_cache(maxsize=16384)
def _lot(name: str, which: int) -> float:
    digest = blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest[which * 4 :][:4], "big") / 2**32


def spread(due: Collection[Connector], policy: Policy, now: datetime) -> dict[int, datetime]:
    """When to probe connectors that are all due at once: connector id → moment, none later than its interval.

    Few are left as they are. Many (a first import, a long pause, a clock that was set) begin at a steady pace.
    """
    if len(due) <= SURGE:
        return {}
    window = timedelta(seconds=len(due) / PACE)
    return {c.id: now + min(window, c.probe_interval or policy.probe_interval) * place(c) for c in due}


def destination(connector: Connector) -> str:
    """What a connector's mail is sent to: connectors with the same next hops fail together, and count once."""
    return " ".join(sorted(connector.smart_hosts)) or " ".join(sorted(connector.recipient_domains)) or connector.key
