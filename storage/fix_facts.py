"""What only a fix wants to know of the queue: whom mail reached before, and which messages wait elsewhere, too."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from sqlite_utils import Database


def delivered_to(db: Database, connector_id: int, addresses: Iterable[str]) -> frozenset[str]:
    """Which of these addresses (lower case) got mail through this connector, as far back as we remember."""
    rows = db.execute(
        """SELECT DISTINCT lower(recipient) FROM queued_messages
            WHERE connector_id = ? AND status <> 'queued' AND status = 'delivered'
            AND lower(recipient) IN (SELECT value FROM json_each(?))""",
        [connector_id, json.dumps(sorted(addresses))],
    )
    return frozenset(address for (address,) in rows)


def reached_lately(db: Database, connector_id: int, domains: Collection[str], limit: int) -> frozenset[str]:
    """Addresses (lower case) of these domains that got mail through this connector: the last ones, `limit` at most."""
    rows = db.execute(
        """SELECT lower(recipient) FROM queued_messages
            WHERE connector_id = ? AND status <> 'queued' AND status = 'delivered'
            ORDER BY ended_at DESC LIMIT ?""",
        [connector_id, limit * 20],
    )
    found = dict.fromkeys(address for (address,) in rows if address.rpartition("@")[2] in domains)
    return frozenset(list(found)[:limit])


def waiting_elsewhere(db: Database, backend: str, connector_id: int, keys: Iterable[str]) -> frozenset[str]:
    """Which of these messages also wait for a recipient at another connector, or at none."""
    rows = db.execute(
        """SELECT DISTINCT m.key FROM json_each(?) AS wanted JOIN queued_messages AS m
            ON m.backend = ? AND m.key = wanted.value
            WHERE m.status = 'queued' AND m.connector_id IS NOT ?""",
        [json.dumps(sorted(set(keys))), backend, connector_id],
    )
    return frozenset(key for (key,) in rows)
