"""The recipient directory of mail systems that can't be asked: the last imported list, whole.

Only for a domain in `complete` does an address that is not `known` mean an invalid one. Addresses and domains are kept
in lower case.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from sqlite_utils import Database

from storage.moments import from_ms, to_ms
from storage.records import SyncCounts


def replace(
    db: Database, backend: str, addresses: Iterable[str], complete_domains: Iterable[str], now: datetime
) -> SyncCounts:
    """Make this list the directory: what the earlier one had besides is forgotten, its completeness too."""
    listed = {a.lower() for a in addresses}
    gone = db.execute(
        "DELETE FROM recipients WHERE backend = ? AND address NOT IN (SELECT value FROM json_each(?))",
        [backend, json.dumps(list(listed))],
    ).rowcount
    added = db.conn.executemany(
        "INSERT INTO recipients (backend, address) VALUES (?, ?) ON CONFLICT (backend, address) DO NOTHING",
        [(backend, address) for address in sorted(listed)],
    ).rowcount
    _replace_complete(db, backend, {d.lower() for d in complete_domains}, now)
    return SyncCounts(added=max(added, 0), unchanged=len(listed) - max(added, 0), missing=gone)


def known(db: Database, backend: str, addresses: Iterable[str]) -> set[str]:
    """Those of these addresses that the directory holds, in lower case."""
    rows = db.execute(
        "SELECT address FROM recipients WHERE backend = ? AND address IN (SELECT value FROM json_each(?))",
        [backend, json.dumps([a.lower() for a in addresses])],
    )
    return {address for (address,) in rows}


def complete(db: Database, backend: str) -> dict[str, datetime]:
    """The domains whose whole directory was imported, and when."""
    rows = db.execute("SELECT domain, at FROM complete_directories WHERE backend = ?", [backend])
    return {domain: from_ms(at) for domain, at in rows}


def _replace_complete(db: Database, backend: str, domains: set[str], now: datetime) -> None:
    db.execute("DELETE FROM complete_directories WHERE backend = ?", [backend])
    db.conn.executemany(
        "INSERT INTO complete_directories (backend, domain, at) VALUES (?, ?, ?)",
        [(backend, domain, to_ms(now)) for domain in sorted(domains)],
    )
