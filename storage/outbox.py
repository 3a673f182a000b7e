"""The duty to tell Slack, as rows.

Promises: a row is written in the transaction of the fact that it tells, at most once per (incident, revision, channel,
kind); what is to be posted keeps, in its channel, the order of `id`, and redraws are listed apart because they may
wait; a row is `sending` on disk before anything leaves, so an uncertain send is known after a crash; an undeliverable
row is kept as `dead`, never deleted before retention.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlite_utils import Database

from storage.moments import from_ms, optional_moment, to_ms
from storage.records import OutboxItem, OutboxKind, OutboxState

_BY_ID = "SELECT * FROM outbox WHERE id = ?"
_INSERT = """INSERT INTO outbox (uid, incident_id, event_id, revision, channel, kind, state, created_at, next_at)
    VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?) ON CONFLICT (incident_id, revision, channel, kind) DO NOTHING"""
_HEADS = """SELECT * FROM outbox WHERE id IN
    (SELECT min(o.id) FROM outbox AS o JOIN incidents AS i ON i.id = o.incident_id
        WHERE o.state IN ('pending', 'sending') AND (o.kind <> 'root' OR i.ts IS NULL) GROUP BY o.channel)
    ORDER BY id"""
_REDRAWS = """SELECT * FROM
    (SELECT o.*, row_number() OVER (PARTITION BY o.channel ORDER BY o.next_at, o.id) AS place
        FROM outbox AS o JOIN incidents AS i ON i.id = o.incident_id
        WHERE o.state IN ('pending', 'sending') AND o.kind = 'root' AND i.ts IS NOT NULL)
    WHERE place = 1 ORDER BY id"""
_ROOTS = """SELECT * FROM outbox WHERE incident_id = ? AND channel = ? AND kind = 'root' ORDER BY id"""
_CLAIM = """UPDATE outbox SET state = 'sending', attempts = attempts + 1, attempt_at = ?, next_at = ?
    WHERE id = ? AND state = 'pending'"""
_SENT = "UPDATE outbox SET state = 'sent', sent_at = ?, ts = ?, error = NULL WHERE id = ?"
_SETTLE = """UPDATE outbox SET state = 'sent', sent_at = ?, ts = ? WHERE incident_id = ? AND channel = ?
    AND kind = 'root' AND state = 'pending' AND revision <= ?"""
_POSTPONE = "UPDATE outbox SET state = ?, next_at = ?, error = ? WHERE id = ?"
_RENEW = "UPDATE outbox SET state = 'pending', uid = ?, next_at = ?, error = ?, ts = NULL WHERE id = ?"
_DEAD = "UPDATE outbox SET state = 'dead', error = ? WHERE id = ?"
_MOVE = """UPDATE outbox SET channel = ?, state = 'pending', uid = lower(hex(randomblob(16))), next_at = ?, attempts = 0
    WHERE incident_id = ? AND channel = ? AND state IN ('pending', 'sending')"""
_TOMBSTONE = """INSERT INTO outbox (uid, incident_id, event_id, revision, channel, kind, state, created_at, next_at,
    attempts, attempt_at, error) VALUES (?, ?, ?, ?, ?, ?, 'dead', ?, ?, ?, ?, ?)
    ON CONFLICT (incident_id, revision, channel, kind) DO NOTHING"""
_COUNTS = "SELECT state, count(*) AS n FROM outbox GROUP BY state"
_DEAD_ONES = "SELECT * FROM outbox WHERE state = 'dead' ORDER BY id DESC LIMIT ?"
_LATE = """SELECT * FROM outbox WHERE id IN
    (SELECT min(id) FROM outbox WHERE state IN ('pending', 'sending') AND error IS NOT NULL AND created_at < ?
        GROUP BY channel)
    ORDER BY id LIMIT ?"""
_RECENT = "SELECT * FROM outbox ORDER BY id DESC LIMIT ?"
_CLAMP = """UPDATE outbox SET next_at = ? WHERE state IN ('pending', 'sending') AND next_at > ?"""
_LOOK_AT = "UPDATE outbox SET next_at = ? WHERE state = 'sending'"
_REVIVE = """UPDATE outbox SET state = 'pending', next_at = ? WHERE id IN
    (SELECT max(o.id) FROM outbox AS o JOIN incidents AS i ON i.id = o.incident_id AND i.channel = o.channel
        WHERE o.kind = 'root' AND o.state = 'dead' AND i.state <> 'resolved' AND i.ts IS NULL GROUP BY o.incident_id)"""
_PRUNE = "DELETE FROM outbox WHERE state = 'sent' AND sent_at < ?"


def enqueue(
    db: Database,
    *,
    incident_id: int,
    revision: int,
    channel: str,
    kind: OutboxKind,
    now: datetime,
    event_id: int | None = None,
) -> None:
    """Owe Slack one more message. Owing the same one twice is owing it once."""
    at = to_ms(now)
    db.execute(_INSERT, (uuid4().hex, incident_id, event_id, revision, channel, kind, at, at))


def get(db: Database, item_id: int) -> OutboxItem | None:
    """One row."""
    return next((_item(row) for row in db.query(_BY_ID, (item_id,))), None)


def heads(db: Database) -> list[OutboxItem]:
    """The first row of each channel that is to be posted: no post behind it may leave before it."""
    return [_item(row) for row in db.query(_HEADS)]


def redraws(db: Database) -> list[OutboxItem]:
    """The redraw of each channel that is due first. Those wait for nobody, and nobody for them."""
    return [_item(row) for row in db.query(_REDRAWS)]


def roots(db: Database, incident_id: int, channel: str) -> list[OutboxItem]:
    """The rows that draw one incident's own message, in order."""
    return [_item(row) for row in db.query(_ROOTS, (incident_id, channel))]


def claim(db: Database, item_id: int, now: datetime, look_again_at: datetime) -> bool:
    """pending → sending, before the request leaves. False: somebody else has it, or it is settled."""
    return db.execute(_CLAIM, (to_ms(now), to_ms(look_again_at), item_id)).rowcount == 1


def sent(db: Database, item_id: int, now: datetime, ts: str | None) -> None:
    """It arrived, as message `ts`."""
    db.execute(_SENT, (to_ms(now), ts, item_id))


def settle(db: Database, drawn: OutboxItem, revision: int, now: datetime, ts: str | None) -> int:
    """The message was drawn as of `revision`: older redraws that still wait are told with it. How many were."""
    return db.execute(_SETTLE, (to_ms(now), ts, drawn.incident_id, drawn.channel, revision)).rowcount


def postpone(db: Database, item_id: int, until: datetime, error: str, *, uncertain: bool = False) -> None:
    """Try again at `until`; uncertain: it may have arrived, so look first (it stays `sending`)."""
    state = OutboxState.SENDING if uncertain else OutboxState.PENDING
    db.execute(_POSTPONE, (state, to_ms(until), error, item_id))


def renew(db: Database, item_id: int, now: datetime, error: str | None) -> None:
    """Send it once more as a new message: it gets a new uid, because the old one was seen and is gone."""
    db.execute(_RENEW, (uuid4().hex, to_ms(now), error, item_id))


def bury(db: Database, item_id: int, error: str) -> None:
    """It will never be sent. The row stays, for everybody to see."""
    db.execute(_DEAD, (error, item_id))


def move(db: Database, item: OutboxItem, to: str, now: datetime) -> None:
    """Send everything that `item`'s incident still owes its channel to another one, in the same order."""
    db.execute(_MOVE, (to, to_ms(now), item.incident_id, item.channel))


def entomb(db: Database, item: OutboxItem, now: datetime, error: str) -> None:
    """Keep a dead row for a message that its channel refused, though it goes on elsewhere: for everybody to see."""
    moments = (to_ms(item.created_at), to_ms(now), item.attempts, to_ms(item.attempt_at or now))
    values = (uuid4().hex, item.incident_id, item.event_id, item.revision, item.channel, item.kind, *moments, error)
    db.execute(_TOMBSTONE, values)


def counts(db: Database) -> Mapping[OutboxState, int]:
    """How many rows are in each state."""
    return {OutboxState(row["state"]): row["n"] for row in db.query(_COUNTS)}


def dead(db: Database, limit: int) -> list[OutboxItem]:
    """The undeliverable rows, newest first."""
    return [_item(row) for row in db.query(_DEAD_ONES, (limit,))]


def late(db: Database, before: datetime, limit: int) -> list[OutboxItem]:
    """The first row of each channel that is older than that, was tried in vain and is still tried."""
    return [_item(row) for row in db.query(_LATE, (to_ms(before), limit))]


def recent(db: Database, limit: int) -> list[OutboxItem]:
    """The newest rows, newest first."""
    return [_item(row) for row in db.query(_RECENT, (limit,))]


def clamp(db: Database, latest: datetime) -> int:
    """No unfinished row waits longer than until `latest`: the cure for a clock that jumped back. How many did."""
    return db.execute(_CLAMP, (to_ms(latest), to_ms(latest))).rowcount


def look_at(db: Database, moment: datetime) -> int:
    """Every uncertain row is looked up at this moment, whatever the clock said when it left. How many there are."""
    return db.execute(_LOOK_AT, (to_ms(moment),)).rowcount


def revive(db: Database, now: datetime) -> int:
    """Try the dead message of every open incident that has none once more; how many there are."""
    return db.execute(_REVIVE, (to_ms(now),)).rowcount


def prune(db: Database, before: datetime) -> int:
    """Forget what was sent before then; dead rows stay with their incident."""
    return db.execute(_PRUNE, (to_ms(before),)).rowcount


def _item(row: dict[str, Any]) -> OutboxItem:
    return OutboxItem(
        id=row["id"],
        uid=row["uid"],
        incident_id=row["incident_id"],
        event_id=row["event_id"],
        revision=row["revision"],
        channel=row["channel"],
        kind=OutboxKind(row["kind"]),
        state=OutboxState(row["state"]),
        created_at=from_ms(row["created_at"]),
        next_at=from_ms(row["next_at"]),
        attempts=row["attempts"],
        attempt_at=optional_moment(row["attempt_at"]),
        ts=row["ts"],
        error=row["error"],
    )
