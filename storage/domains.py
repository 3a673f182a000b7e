"""Accepted domains as the mail systems list them. Names are kept in lower case."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from storage.records import DomainFacts, DomainType, SyncCounts

_UPSERT = """
    INSERT INTO accepted_domains (backend, name, type, match_subdomains) VALUES (?, ?, ?, ?)
    ON CONFLICT (backend, name) DO UPDATE SET type = excluded.type, match_subdomains = excluded.match_subdomains
    WHERE (type, match_subdomains) IS NOT (excluded.type, excluded.match_subdomains)
"""


def sync(db: Database, backend: str, facts: Iterable[DomainFacts], now: datetime, *, complete: bool) -> SyncCounts:
    """Take over what a mail system lists. complete: the list is whole, so ours that it lacks are forgotten."""
    del now  # domains keep no dates, but every sync is called alike
    listed = {f.name.lower(): f for f in facts}
    before = _count(db, backend)
    rows = [(backend, name, f.type, f.match_subdomains) for name, f in listed.items()]
    written = max(db.conn.executemany(_UPSERT, rows).rowcount, 0)
    added = _count(db, backend) - before
    missing = _forget(db, backend, listed) if complete else 0
    return SyncCounts(added=added, changed=written - added, unchanged=len(listed) - written, missing=missing)


def every(db: Database, backend: str) -> list[DomainFacts]:
    """All of one mail system, by name."""
    return list(map(_domain, db.query("SELECT * FROM accepted_domains WHERE backend = ? ORDER BY name", [backend])))


def get(db: Database, backend: str, name: str) -> DomainFacts | None:
    """One domain, ignoring case."""
    rows = db.query("SELECT * FROM accepted_domains WHERE backend = ? AND name = ?", [backend, name.lower()])
    return next(map(_domain, rows), None)


def set_type(db: Database, backend: str, name: str, to: DomainType) -> None:
    """Note that the mail system's domain has this type now."""
    db.execute(
        "UPDATE accepted_domains SET type = ? WHERE backend = ? AND name = ?",
        [to, backend, name.lower()],
    )


def _count(db: Database, backend: str) -> int:
    count: int = db.execute("SELECT count(*) FROM accepted_domains WHERE backend = ?", [backend]).fetchone()[0]
    return count


def _forget(db: Database, backend: str, listed: Iterable[str]) -> int:
    return db.execute(
        "DELETE FROM accepted_domains WHERE backend = ? AND name NOT IN (SELECT value FROM json_each(?))",
        [backend, json.dumps(list(listed))],
    ).rowcount


def _domain(row: Mapping[str, Any]) -> DomainFacts:
    return DomainFacts(
        backend=row["backend"],
        name=row["name"],
        type=DomainType(row["type"]),
        match_subdomains=bool(row["match_subdomains"]),
    )
