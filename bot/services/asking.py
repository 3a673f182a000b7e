"""Who may be asked about a recipient, and how often: counted in the database, over all programs that use it.

Promises: a question is counted in the transaction that allows it, so two programs never both get the last one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlite_utils import Database

from bot.core.recipient import asking
from bot.core.targets import HostAddress, HostName, parse_host
from storage import connectors, meta
from storage.records import Connector, ConnectorKind

KEY = "rcpt_asked"


def claim(db: Database, hosts: Iterable[str], now: datetime) -> timedelta:
    """Count a question to each of these hosts. Not zero: it is too early, nothing was counted, and that is the wait."""
    wait, asked = asking(_asked(db), map(_known_as, hosts), now)
    meta.put(db, KEY, json.dumps({host: [t.isoformat() for t in times] for host, times in asked.items()}))
    return wait


def partner_of(db: Database, hosts: Iterable[str], mx_domain: str | None) -> Connector | None:
    """The partner's connector that leads to one of these hosts or to this mail domain; None if there is none."""
    names = {_known_as(host) for host in hosts}
    for connector in connectors.every(db):
        if connector.kind is ConnectorKind.PARTNER:
            leads = any(_within(mx_domain, d) for d in connector.recipient_domains) if mx_domain else False
            if leads or names & set(map(_known_as, connector.smart_hosts)):
                return connector
    return None


def _within(domain: str, pattern: str) -> bool:
    """Is it this domain, or one below `*.domain`? The domain of a connector for everybody (`*`) is nobody's."""
    name, bare = _known_as(domain), _known_as(pattern.removeprefix("*."))
    return name == bare or (pattern.startswith("*.") and name.endswith(f".{bare}"))


def _known_as(host: str) -> str:
    """One spelling for one host."""
    parsed = parse_host(host)
    if isinstance(parsed, HostName):
        return parsed.name
    return parsed.ip if isinstance(parsed, HostAddress) else host.strip().casefold()


def _asked(db: Database) -> dict[str, list[datetime]]:
    """When each host was asked; nothing if that can't be read."""
    try:
        kept = json.loads(meta.get(db, KEY) or "{}")
        return {str(host): [datetime.fromisoformat(t) for t in times] for host, times in kept.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
