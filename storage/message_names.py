"""The Message IDs of mail that is kept under another id, so that an export that names it by its Message ID is matched.

A name goes when its message is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlite_utils import Database

from storage.moments import from_ms

_UNNAMED = """SELECT m.id, json_extract(named.value, '$[1]') FROM json_each(?) AS named
    JOIN queued_messages AS m ON m.backend = ? AND m.key = json_extract(named.value, '$[0]')
    WHERE NOT EXISTS (SELECT 1 FROM message_names WHERE message = m.id)"""
_UNDER = """SELECT n.message_id, m.recipient, m.key, m.received_at, m.expires_at FROM json_each(?) AS ref
    JOIN message_names AS n ON n.message_id = json_extract(ref.value, '$[0]')
    JOIN queued_messages AS m ON m.id = n.message AND m.backend = ? AND m.recipient = json_extract(ref.value, '$[1]')
    ORDER BY m.id"""


class Named(NamedTuple):
    """A message that is stored under `key` and has this Message ID."""

    message_id: str
    recipient: str
    key: str
    received_at: datetime
    expires_at: datetime


def unnamed(db: Database, backend: str, names: Iterable[tuple[str, str]]) -> list[tuple[int, str]]:
    """Of these (key, Message ID) pairs those that `note` has not yet: (id of the message, Message ID) each."""
    return [(int(message), name) for message, name in db.execute(_UNNAMED, [json.dumps(list(names)), backend])]


def note(db: Database, names: Iterable[tuple[int, str]]) -> None:
    """Keep these (id of a message, Message ID) pairs; a message that is gone by now is left out."""
    db.conn.executemany(
        """INSERT INTO message_names (message, message_id) SELECT id, ?2 FROM queued_messages WHERE id = ?1
            ON CONFLICT (message) DO NOTHING""",
        list(names),
    )


def under(db: Database, backend: str, refs: Iterable[tuple[str, str]]) -> list[Named]:
    """All mail that has these (Message ID, recipient) pairs, and is stored under another id."""
    found = db.execute(_UNDER, [json.dumps(list(refs)), backend])
    return [Named(name, to, key, from_ms(came), from_ms(ends)) for name, to, key, came, ends in found]
