"""What our probes saw. Failures are kept longer than successes, and the newest of each kind for ever.

One that had nothing to dial is kept as what it is: `ok`, but not done. It is no good probe: nothing compares with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlite_utils import Database

from storage.moments import from_ms, to_ms
from storage.records import ProbeRecord

FAILURES_KEPT_LONGER = timedelta(days=60)
"""For so much longer than successes."""


_INSERT = """INSERT INTO probes
    (connector_id, at, ok, code, cause, status, stage, degraded, elapsed_ms, document, fingerprint)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def record(db: Database, probe: ProbeRecord) -> ProbeRecord:
    """Store one probe; returns it with its id."""
    cursor = db.execute(
        _INSERT,
        [
            probe.connector_id,
            to_ms(probe.at),
            int(probe.ok),
            probe.code,
            probe.cause,
            probe.status,
            probe.stage,
            int(probe.degraded),
            probe.elapsed_ms,
            probe.document,
            json.dumps(dict(probe.fingerprint), separators=(",", ":")),
        ],
    )
    return replace(probe, id=cursor.lastrowid)


def recent(db: Database, connector_id: int, limit: int) -> list[ProbeRecord]:
    """The last probes of one connector, newest first."""
    rows = db.query("SELECT * FROM probes WHERE connector_id = ? ORDER BY id DESC LIMIT ?", [connector_id, limit])
    return list(map(_probe, rows))


def recent_good(db: Database, connector_id: int, limit: int) -> list[ProbeRecord]:
    """The last probes of one connector that were fine, newest first."""
    rows = db.query(
        "SELECT * FROM probes WHERE connector_id = ? AND ok = 1 AND stage = 'done' ORDER BY id DESC LIMIT ?",
        [connector_id, limit],
    )
    return list(map(_probe, rows))


def last_good(db: Database, connector_id: int, before_id: int | None = None) -> ProbeRecord | None:
    """The newest probe that was fine, of those stored before `before_id` if one is given."""
    rows = db.query(
        """SELECT * FROM probes WHERE connector_id = ?1 AND ok = 1 AND stage = 'done' AND (?2 IS NULL OR id < ?2)
            ORDER BY id DESC LIMIT 1""",
        [connector_id, before_id],
    )
    return next(map(_probe, rows), None)


def latest(db: Database) -> dict[int, ProbeRecord]:
    """The newest probe of every connector that was ever probed, without documents and fingerprints: for lists."""
    rows = db.query(
        """SELECT p.id, p.connector_id, p.at, p.ok, p.code, p.cause, p.status, p.stage, p.degraded, p.elapsed_ms,
                '{}' AS document, '{}' AS fingerprint
            FROM connectors c JOIN probes p ON p.id = (SELECT max(id) FROM probes WHERE connector_id = c.id)"""
    )
    return {row["connector_id"]: _probe(row) for row in rows}


def prune(db: Database, before: datetime) -> int:
    """Forget successes before this moment, and failures before an earlier one; returns how many.

    The newest probe and the newest good one of a connector stay, however old: they are what later ones compare with.
    """
    return db.execute(
        """DELETE FROM probes WHERE at < iif(ok, ?, ?)
            AND id NOT IN (SELECT max(id) FROM probes GROUP BY connector_id)
            AND id NOT IN (SELECT max(id) FROM probes WHERE ok = 1 AND stage = 'done' GROUP BY connector_id)""",
        [to_ms(before), to_ms(before - FAILURES_KEPT_LONGER)],
    ).rowcount


def _probe(row: Mapping[str, Any]) -> ProbeRecord:
    return ProbeRecord(
        id=row["id"],
        connector_id=row["connector_id"],
        at=from_ms(row["at"]),
        ok=bool(row["ok"]),
        code=row["code"],
        cause=row["cause"],
        status=row["status"],
        stage=row["stage"],
        degraded=bool(row["degraded"]),
        elapsed_ms=row["elapsed_ms"],
        document=row["document"],
        fingerprint=json.loads(row["fingerprint"]),
    )
