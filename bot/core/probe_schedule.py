"""When a connector is probed next, what counts as one destination, and how a probe is kept. Pure."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from zlib import crc32

from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult
from storage.records import Connector, ProbeRecord

SPREAD = 0.1
"""An interval is shortened by up to this part, the same for a connector every time: so thousands drift apart."""


def record_of(connector: Connector, result: ProbeResult, now: datetime) -> ProbeRecord:
    """A probe as it is stored: the settings that it was made with stand in the fingerprint beside what was seen."""
    settings = {
        "smart_hosts": ", ".join(connector.smart_hosts) or ("MX" if connector.use_mx else ""),
        "port": str(connector.port or "the usual one"),
        "tls_setting": str(connector.tls_setting),
        "tls_domain": connector.tls_domain or "none",
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
        document=json.dumps(result.document() | {"connector": connector.name}, ensure_ascii=False),
        fingerprint={key: value for key, value in settings.items() if value} | result.fingerprint(),
    )


def interval(connector: Connector, policy: Policy, *, failing: bool) -> timedelta:
    """How long until a connector's next probe: stable for it, a little different for each."""
    usual = connector.probe_interval or policy.probe_interval
    whole = min(usual, policy.probe_interval_failing) if failing else usual
    share = crc32(f"{connector.backend}/{connector.key}".encode()) / 2**32
    return whole * (1 - SPREAD * share)


def destination(connector: Connector) -> str:
    """What a connector's mail is sent to: connectors with the same next hops fail together, and count once."""
    return " ".join(sorted(connector.smart_hosts)) or " ".join(sorted(connector.recipient_domains)) or connector.key
