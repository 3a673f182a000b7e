"""One message and recipient as a row of queued_messages: how it is written, when it counts as changed, how it is read.

Rules that every write keeps:
* a row is written only if something about it changed;
* evidence (code, reason, remote host) is not erased by a row that brings none, nor by older evidence. A code alone,
  with neither words nor a moment, is none: it was concluded from other mail, and fills in where nothing is known.
  Except when a message is rejected: why it waited is not why it came back, so that goes, until somebody tells the real
  reason;
* delivered, expired and rejected are final: an older list that still says queued does not undo them, nor does one that
  tells another failure without a reason undo a failure that has its reason. Unless the end was only presumed, because a
  list lacked the message: whoever lists it again knows better.

`digest` stands for the row as it was listed when it was last written: the same again needs no look at the rest. Any
other write of the row takes it away (storage/queue_schema.py).
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from struct import unpack
from typing import Any

from storage.moments import from_ms, optional_moment, optional_ms, to_ms
from storage.records import MessageFacts, MessageStatus, QueuedMessage

Row = Mapping[str, Any]
Values = tuple[Any, ...]

_COLUMNS = (
    *("backend", "key", "recipient", "sender", "connector_id", "connector_key", "size", "received_at", "expires_at"),
    *("status", "code", "reason", "remote_host", "remote_ip", "evidence_at", "ended_at", "digest"),
)
# excluded = the row that comes in. It is bare if it brings a code at most, silent if that says nothing against ours.
_BARE = "(excluded.reason IS NULL AND excluded.evidence_at IS NULL)"
_KNOWN = "(reason IS NOT NULL OR (code IS NOT NULL AND evidence_at IS NOT NULL))"
_SILENT = f"""(coalesce(excluded.code, excluded.reason) IS NULL OR ifnull(excluded.evidence_at < evidence_at, 0)
    OR ({_BARE} AND {_KNOWN}))"""
_UNEXPLAINED = """(excluded.status = 'rejected' AND excluded.reason IS NULL
    AND (status NOT IN ('rejected', 'expired') OR presumed IS NOT NULL))"""
_QUIET = f"({_SILENT} AND NOT {_UNEXPLAINED})"
# A bare row was assigned by its recipient alone: that doesn't overrule what evidence, or an earlier row, told.
_CONNECTOR = f"""iif(({_SILENT} OR {_BARE}) AND excluded.connector_key IS NULL AND connector_id IS NOT NULL
    AND ({_KNOWN} OR (code IS NOT NULL AND excluded.code IS NULL) OR excluded.connector_id IS NULL
        OR excluded.status <> 'queued'), connector_id, excluded.connector_id)"""
_FINAL = """(status IN ('delivered', 'expired', 'rejected') AND presumed IS NULL
    AND excluded.received_at <= ended_at AND (excluded.status = 'queued'
        OR (status <> 'delivered' AND reason IS NOT NULL
            AND excluded.status NOT IN (status, 'delivered') AND excluded.reason IS NULL)))"""
_DIFFERS = """NOT {final}
        AND ((sender, received_at, expires_at, status)
                IS NOT (excluded.sender, excluded.received_at, excluded.expires_at, excluded.status)
            OR (presumed IS NOT NULL AND excluded.status <> 'queued')
            OR (excluded.size IS NOT NULL AND size IS NOT excluded.size)
            OR (excluded.connector_key IS NOT NULL AND connector_key IS NOT excluded.connector_key)
            OR connector_id IS NOT {connector_id}
            OR (NOT {silent} AND (code, reason, remote_host, remote_ip, evidence_at)
                IS NOT (excluded.code, excluded.reason, excluded.remote_host, excluded.remote_ip,
                    excluded.evidence_at)))"""
_INSERT = """
    INSERT INTO queued_messages (backend, key, recipient, sender, connector_id, connector_key, size, received_at,
        expires_at, status, code, reason, remote_host, remote_ip, evidence_at, ended_at, digest)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ON_CONFLICT = """
    ON CONFLICT (backend, key, recipient) DO UPDATE SET
        sender = excluded.sender,
        connector_id = {connector_id},
        connector_key = coalesce(excluded.connector_key, connector_key),
        size = coalesce(excluded.size, size),
        received_at = excluded.received_at,
        expires_at = excluded.expires_at,
        status = excluded.status,
        code = iif({quiet}, code, excluded.code),
        reason = iif({quiet}, reason, excluded.reason),
        remote_host = iif({quiet}, remote_host, excluded.remote_host),
        remote_ip = iif({quiet}, remote_ip, excluded.remote_ip),
        evidence_at = iif({quiet}, evidence_at, excluded.evidence_at),
        ended_at = iif(excluded.status = 'queued', NULL, coalesce(ended_at, excluded.ended_at)),
        presumed = NULL,
        left_from = iif(excluded.status = 'queued', NULL, iif(status = 'queued', ifnull(connector_id, 0), left_from)),
        digest = excluded.digest
    WHERE {differs}
"""


def _filled(template: str) -> str:
    for word, text in (
        ("differs", _DIFFERS),
        ("final", _FINAL),
        ("connector_id", _CONNECTOR),
        ("quiet", _QUIET),
        ("silent", _SILENT),
    ):
        template = template.replace(f"{{{word}}}", text)
    return template


def _as_parameters(sql: str) -> str:
    """The same with the incoming row as numbered parameters, for a statement that writes nothing."""
    return re.sub(r"excluded\.(\w+)", lambda found: f"?{_COLUMNS.index(found[1]) + 1}", sql)


INSERT_NEW = _INSERT + " ON CONFLICT (backend, key, recipient) DO NOTHING"
"""Writes one row of `values`, unless it is there already."""
UPSERT = _INSERT + _filled(_ON_CONFLICT)
"""Writes one row of `values`, unless it says nothing new."""
LOOK_UP = _as_parameters(
    _filled("""SELECT id, status, connector_id, digest, {differs} FROM queued_messages
        WHERE backend = excluded.backend AND key = excluded.key AND recipient = excluded.recipient""")
)
"""What is stored of one row, and whether UPSERT would change it; takes the first LOOKED_AT of `values`."""
LOOKED_AT = _COLUMNS.index("evidence_at") + 1

_ENDING = tuple(map(_COLUMNS.index, ("received_at", "expires_at", "status", "evidence_at", "ended_at")))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUEUED = MessageStatus.QUEUED


def digests_of(listed: Sequence[tuple[MessageFacts, int | None]]) -> Sequence[int | None]:
    """For each row as it is listed 64 bits that stand for it; None: it has to be looked at.

    Every sync asks this of every row, so it is written for speed.
    """
    told, dumps = [], marshal.dumps
    try:
        for row, connector_id in listed:
            received, lasts = row.received_at - _EPOCH, row.expires_at - row.received_at
            evidence = None if row.evidence_at is None else row.evidence_at - _EPOCH
            everything = (
                row.key, row.recipient, row.sender, row.connector_key, row.size, row.code, row.reason, row.remote_host,
                row.remote_ip, connector_id, None if row.status is _QUEUED else row.status.value,
                received.days, received.seconds, received.microseconds, lasts.days, lasts.seconds, lasts.microseconds,
                None if evidence is None else (evidence.days, evidence.seconds, evidence.microseconds),
            )  # fmt: skip
            # Version 2 of this format writes equal values equally; the later ones mark what occurs twice.
            told.append(dumps(everything, 2))
    except (TypeError, ValueError):  # a kind of text that isn't a plain one, a moment that `values` refuses
        return [None] * len(listed)
    return unpack(">" + "q56x" * len(told), b"".join([hashed.digest() for hashed in map(blake2b, told)]))


def values(backend: str, facts: MessageFacts, connector_id: int | None, digest: int | None, now: datetime) -> Values:
    """The row as UPSERT and LOOK_UP take it."""
    return (
        backend,
        facts.key,
        facts.recipient,
        facts.sender,
        connector_id,
        facts.connector_key,
        facts.size,
        to_ms(facts.received_at),
        to_ms(facts.expires_at),
        facts.status,
        facts.code or None,
        facts.reason,
        facts.remote_host,
        facts.remote_ip,
        optional_ms(facts.evidence_at),
        None if facts.status is MessageStatus.QUEUED else to_ms(now),
        digest,
    )


def never_seen_waiting(row: Values) -> Values:
    """The same row of mail that had ended when we first heard of it: not now, but when its failure was told; where
    nobody tells, when its time was up or, rejected, as it came in.
    """
    received, expires, status, evidence, ended = (row[position] for position in _ENDING)
    told = evidence if evidence is not None else expires if status == MessageStatus.EXPIRED else received
    return (*row[: _ENDING[-1]], max(received, min(told, ended)), *row[_ENDING[-1] + 1 :])


def message(row: Row) -> QueuedMessage:
    """The record of one row."""
    return QueuedMessage(
        id=row["id"],
        backend=row["backend"],
        key=row["key"],
        recipient=row["recipient"],
        sender=row["sender"],
        connector_id=row["connector_id"],
        connector_key=row["connector_key"],
        size=row["size"],
        received_at=from_ms(row["received_at"]),
        expires_at=from_ms(row["expires_at"]),
        status=MessageStatus(row["status"]),
        code=row["code"],
        reason=row["reason"],
        remote_host=row["remote_host"],
        remote_ip=row["remote_ip"],
        evidence_at=optional_moment(row["evidence_at"]),
    )
