"""Mail that one export names by its Message ID (the admin center's) and another by its network message id.

Promises: where an export states both, mail that we know by its Message ID keeps that name, so that it counts once. In
the other order nothing tells that two are the same: then the reader is warned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sqlite_utils import Database

from bot.backends.files import MessageIds
from storage import messages, meta
from storage.records import MessageFacts

_PART = 2000
"""So many messages are looked up at a time, so that few are in memory."""
_KEY = "import_named_by"
_MESSAGE_ID, _NETWORK_ID = "Message ID", "network message id"


def named_as_known(db: Database, backend: str, rows: Sequence[MessageFacts], ids: MessageIds) -> Sequence[MessageFacts]:
    """The rows, those under their Message ID that we know by it alone."""
    stated = ids.of
    named = Counter((stated[m.key], m.recipient) for m in rows if m.key in stated)
    known = _known(db, backend, [ref for ref, count in named.items() if count == 1])
    if not known:
        return rows
    both = [m for m in rows if (stated.get(m.key), m.recipient) in known]
    twice = _known(db, backend, [(m.key, m.recipient) for m in both])
    renamed = {(m.key, m.recipient) for m in both} - twice
    return [replace(m, key=stated[m.key]) if (m.key, m.recipient) in renamed else m for m in rows]


def _known(db: Database, backend: str, refs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    parts = (refs[start : start + _PART] for start in range(0, len(refs), _PART))
    return {(m.key, m.recipient) for part in parts for m in messages.get_refs(db, backend, part)}


def warning(db: Database, ids: MessageIds) -> str | None:
    """What to say if this export and the one before it name mail in two ways; remembers how this one does."""
    if ids.network == ids.alone:
        return None
    now, before = _NETWORK_ID if ids.network else _MESSAGE_ID, meta.get(db, _KEY)
    if now == before:
        return None
    meta.put(db, _KEY, now)
    if before is None or ids.of:
        return None
    return (
        f"mail is named by its {now} here and by its {before} in an earlier import: "
        "what is in both counts twice, so keep to one kind of export"
    )
