"""Mail that one export names by its Message ID (the admin center's) and another by its network message id.

Promises: where an export states both, its mail counts once, whichever export came first: what we know by its Message ID
keeps that name, and what we know by its network message id is found by the Message ID that was stated with it. Only
where that is sure: one message on either side, for the same recipient, and in this second case come in at the same
time. Where nothing tells that two are the same, the reader is warned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlite_utils import Database

from bot.backends.files import MessageIds
from bot.services.queue_adding import in_slices
from storage import message_names, messages, meta
from storage.connection import Store
from storage.message_names import Named
from storage.records import MessageFacts

_PART = 2000
"""So many messages are looked up at a time, so that few are in memory."""
_SAME_TIME = timedelta(minutes=1)
"""One export has whole seconds or minutes where the other has fractions."""
_KEY = "import_named_by"
_MESSAGE_ID, _NETWORK_ID, _BOTH = "Message ID", "network message id", "both ids"
_Ref = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Renamed:
    """Rows under the names by which we know their mail; `doubtful`: so many may be known by another."""

    rows: Sequence[MessageFacts]
    doubtful: int = 0


def named_as_known(db: Database, backend: str, rows: Sequence[MessageFacts], ids: MessageIds) -> Renamed:
    """The rows, each that we know by its other id alone under that."""
    rows = _by_message_id(db, backend, rows, ids)
    return _by_network_id(db, backend, rows) if ids.alone else Renamed(rows)


def _by_message_id(db: Database, backend: str, rows: Sequence[MessageFacts], ids: MessageIds) -> Sequence[MessageFacts]:
    stated = ids.of
    named = Counter((stated[m.key], m.recipient) for m in rows if m.key in stated)
    known = _known(db, backend, [ref for ref, count in named.items() if count == 1])
    if not known:
        return rows
    both = [m for m in rows if (stated.get(m.key), m.recipient) in known]
    twice = _known(db, backend, [(m.key, m.recipient) for m in both])
    renamed = {(m.key, m.recipient) for m in both} - twice
    return [replace(m, key=stated[m.key]) if (m.key, m.recipient) in renamed else m for m in rows]


def _by_network_id(db: Database, backend: str, rows: Sequence[MessageFacts]) -> Renamed:
    named: dict[_Ref, list[Named]] = {}
    for part in _parts([(m.key, m.recipient) for m in rows]):
        for one in message_names.under(db, backend, part):
            named.setdefault((one.message_id, one.recipient), []).append(one)
    for ref in _known(db, backend, list(named)):
        del named[ref]  # known by both ids already
    told = [_as_stored(m, named.get((m.key, m.recipient), ())) for m in rows]
    return Renamed(told, doubtful=sum((m.key, m.recipient) in named for m in told))


def _as_stored(message: MessageFacts, found: Sequence[Named]) -> MessageFacts:
    """The message under the name of the only one that it can be, which knows the time to the fraction."""
    if len(found) != 1 or abs(found[0].received_at - message.received_at) > _SAME_TIME:
        return message
    (one,) = found
    return replace(message, key=one.key, received_at=one.received_at, expires_at=one.expires_at)


def _known(db: Database, backend: str, refs: Sequence[_Ref]) -> set[_Ref]:
    return {(m.key, m.recipient) for part in _parts(refs) for m in messages.get_refs(db, backend, part)}


def _parts(refs: Sequence[_Ref]) -> list[Sequence[_Ref]]:
    return [refs[start : start + _PART] for start in range(0, len(refs), _PART)]


async def remember(store: Store, backend: str, ids: MessageIds) -> None:
    """Keep the Message IDs that an export stated beside the names of its mail; call it when that is stored."""
    stated = _parts(list(ids.of.items()))
    fresh = await store.read(lambda db: [new for part in stated for new in message_names.unnamed(db, backend, part)])
    await in_slices(store, fresh, message_names.note)


def warning(db: Database, ids: MessageIds, doubtful: int) -> str | None:
    """What to say if this export and the one before it name mail in two ways; remembers how this one does."""
    if ids.network == ids.alone:
        return None
    now = _BOTH if ids.of else _NETWORK_ID if ids.network else _MESSAGE_ID
    before = meta.get(db, _KEY)
    if now != before:
        meta.put(db, _KEY, now)
    if doubtful:
        return (
            f"{doubtful} may count twice: they are named by their Message ID here, and mail of the same Message ID "
            "came in at another time in an earlier import"
        )
    if {now, before} != {_MESSAGE_ID, _NETWORK_ID}:
        return None
    return (
        f"mail is named by its {now} here and by its {before} in an earlier import: "
        "what is in both counts twice, so keep to one kind of export"
    )
