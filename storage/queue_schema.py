"""What the database itself counts about the queue, whoever writes it: triggers on queued_messages keep it exact.

queue_groups: how much waits per connector and code. queue_buckets: how much of it came in (kind 0), and bounces (kind
1), in each quarter of an hour. queue_flow: what came and left, per connector and minute. The connector 0 stands for
none, the code '' for none; a row that counts nothing is deleted. queued_messages.left_from: the connector in whose flow
the end of a message is counted; an end that turns out to be another one, or none, is taken back there. queue_bulk: has
a row only inside a transaction that counts new messages itself (storage/queue_bulk.py).
"""

from __future__ import annotations

BUCKET_MS = 15 * 60_000
"""The width of a bucket of queue_buckets."""
MINUTE_MS = 60_000
"""The width of a row of queue_flow."""

_TABLES = (
    """CREATE TABLE queue_groups (
        connector_id INTEGER NOT NULL,
        code TEXT NOT NULL,
        waiting INTEGER NOT NULL,
        PRIMARY KEY (connector_id, code)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE queue_buckets (
        connector_id INTEGER NOT NULL,
        kind INTEGER NOT NULL CHECK (kind IN (0, 1)),
        at INTEGER NOT NULL,
        waiting INTEGER NOT NULL,
        PRIMARY KEY (connector_id, kind, at)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE queue_flow (
        connector_id INTEGER NOT NULL,
        at INTEGER NOT NULL,
        arrived INTEGER NOT NULL DEFAULT 0,
        delivered INTEGER NOT NULL DEFAULT 0,
        bounced INTEGER NOT NULL DEFAULT 0,
        unknown INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (connector_id, at)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX queue_flow_by_age ON queue_flow (at)",
    "CREATE TABLE queue_bulk (id INTEGER PRIMARY KEY) STRICT",
)
_COLUMNS = (
    "ALTER TABLE queued_messages ADD COLUMN digest INTEGER",
    "ALTER TABLE syncs ADD COLUMN true_at INTEGER",
    "ALTER TABLE syncs ADD COLUMN notes TEXT",
)
_INDEXES = (
    """CREATE INDEX queued_messages_expiring ON queued_messages (connector_id, code, expires_at, backend, digest)
        WHERE status = 'queued'""",
    """CREATE INDEX queued_messages_evidence ON queued_messages (connector_id, code, evidence_at)
        WHERE status = 'queued' AND reason IS NOT NULL""",
)


def _sql(template: str, **words: str) -> str:
    """The template with its {words}; those are constants of this module."""
    for word, text in words.items():
        template = template.replace(f"{{{word}}}", text)
    return template.replace("{quarter}", str(BUCKET_MS)).replace("{minute}", str(MINUTE_MS))


_GROUP_IN = """INSERT INTO queue_groups (connector_id, code, waiting) VALUES ({key}, 1)
    ON CONFLICT (connector_id, code) DO UPDATE SET waiting = waiting + 1;"""
_GROUP_OUT = """UPDATE queue_groups SET waiting = waiting - 1 WHERE (connector_id, code) = ({key});
    DELETE FROM queue_groups WHERE (connector_id, code) = ({key}) AND waiting = 0;"""
_BUCKET_IN = """INSERT INTO queue_buckets (connector_id, kind, at, waiting) VALUES ({key}, 1)
    ON CONFLICT (connector_id, kind, at) DO UPDATE SET waiting = waiting + 1;"""
_BUCKET_OUT = """UPDATE queue_buckets SET waiting = waiting - 1 WHERE (connector_id, kind, at) = ({key});
    DELETE FROM queue_buckets WHERE (connector_id, kind, at) = ({key}) AND waiting = 0;"""
_FLOW = """INSERT INTO queue_flow (connector_id, at, {column})
    VALUES (ifnull({row}.connector_id, 0), {moment} / {minute} * {minute}, 1)
    ON CONFLICT (connector_id, at) DO UPDATE SET {column} = {column} + 1;"""


def _group(statements: str, row: str) -> str:
    """Count the message `row` (NEW, OLD) into or out of its group."""
    return _sql(statements, key=f"ifnull({row}.connector_id, 0), ifnull({row}.code, '')")


def _buckets(statements: str, row: str) -> str:
    key = "ifnull({row}.connector_id, 0), {kind}, {row}.{column} / {quarter} * {quarter}"
    came = _sql(key, row=row, kind="0", column="received_at")
    bounces = _sql(key, row=row, kind="1", column="expires_at")
    return _sql(statements, key=came) + _sql(statements, key=bounces)


def _left(column: str, name: str, statuses: str) -> str:
    noted = _sql(_FLOW, column=column, row="OLD", moment="ifnull(NEW.ended_at, NEW.expires_at)")
    when = f"WHEN OLD.status = 'queued' AND NEW.status IN ({statuses})"
    return f"CREATE TRIGGER queue_{name} AFTER UPDATE OF status ON queued_messages {when} BEGIN {noted} END"


_GROUP_MOVED = "(OLD.status, OLD.connector_id, OLD.code) IS NOT (NEW.status, NEW.connector_id, NEW.code)"
_BUCKET_MOVED = _sql(
    """(OLD.status, OLD.connector_id, OLD.received_at / {quarter}, OLD.expires_at / {quarter})
    IS NOT (NEW.status, NEW.connector_id, NEW.received_at / {quarter}, NEW.expires_at / {quarter})"""
)
_ONE_BY_ONE = "NOT EXISTS (SELECT 1 FROM queue_bulk)"
_CAME = _sql(_FLOW, column="arrived", row="NEW", moment="NEW.received_at")
_OF_GROUP = "AFTER UPDATE OF status, connector_id, code ON queued_messages"
_OF_BUCKET = "AFTER UPDATE OF status, connector_id, received_at, expires_at ON queued_messages"
_TRIGGERS = (
    f"""CREATE TRIGGER queue_came AFTER INSERT ON queued_messages WHEN NEW.status = 'queued' AND {_ONE_BY_ONE}
        BEGIN {_group(_GROUP_IN, "NEW")} {_buckets(_BUCKET_IN, "NEW")} {_CAME} END""",
    f"""CREATE TRIGGER queue_forgotten AFTER DELETE ON queued_messages WHEN OLD.status = 'queued'
        BEGIN {_group(_GROUP_OUT, "OLD")} {_buckets(_BUCKET_OUT, "OLD")} END""",
    f"""CREATE TRIGGER queue_group_out {_OF_GROUP} WHEN OLD.status = 'queued' AND {_GROUP_MOVED}
        BEGIN {_group(_GROUP_OUT, "OLD")} END""",
    f"""CREATE TRIGGER queue_group_in {_OF_GROUP} WHEN NEW.status = 'queued' AND {_GROUP_MOVED}
        BEGIN {_group(_GROUP_IN, "NEW")} END""",
    f"""CREATE TRIGGER queue_bucket_out {_OF_BUCKET} WHEN OLD.status = 'queued' AND {_BUCKET_MOVED}
        BEGIN {_buckets(_BUCKET_OUT, "OLD")} END""",
    f"""CREATE TRIGGER queue_bucket_in {_OF_BUCKET} WHEN NEW.status = 'queued' AND {_BUCKET_MOVED}
        BEGIN {_buckets(_BUCKET_IN, "NEW")} END""",
    _left("delivered", "delivered", "'delivered'"),
    _left("bounced", "bounced", "'expired', 'rejected'"),
    _left("unknown", "vanished", "'gone'"),
    """CREATE TRIGGER queue_otherwise_changed AFTER UPDATE ON queued_messages
        WHEN NEW.digest IS NOT NULL AND NEW.digest IS OLD.digest
        BEGIN UPDATE queued_messages SET digest = NULL WHERE id = NEW.id; END""",
)
_FILL_BUCKETS = """INSERT INTO queue_buckets (connector_id, kind, at, waiting)
    SELECT ifnull(connector_id, 0), {kind}, {column} / {quarter} * {quarter}, count(*) FROM queued_messages
    WHERE status = 'queued' GROUP BY 1, 3"""
_FILL = (
    "UPDATE queued_messages SET code = NULL WHERE code = ''",
    """INSERT INTO queue_groups (connector_id, code, waiting)
        SELECT ifnull(connector_id, 0), ifnull(code, ''), count(*) FROM queued_messages
        WHERE status = 'queued' GROUP BY 1, 2""",
    _sql(_FILL_BUCKETS, kind="0", column="received_at"),
    _sql(_FILL_BUCKETS, kind="1", column="expires_at"),
)
QUEUE_COUNTERS = (*_TABLES, *_COLUMNS, *_INDEXES, *_FILL, *_TRIGGERS)
"""The statements that bring an older database, or a new one, to these counters."""

_LEFT_MOVED = _sql(
    """(OLD.left_from, OLD.status, ifnull(OLD.ended_at, OLD.expires_at) / {minute})
    IS NOT (NEW.left_from, NEW.status, ifnull(NEW.ended_at, NEW.expires_at) / {minute})"""
)
_LEFT_IN = _sql("""INSERT INTO queue_flow (connector_id, at, delivered, bounced, unknown)
    VALUES (NEW.left_from, ifnull(NEW.ended_at, NEW.expires_at) / {minute} * {minute},
        NEW.status = 'delivered', NEW.status IN ('expired', 'rejected'), NEW.status = 'gone')
    ON CONFLICT (connector_id, at) DO UPDATE SET delivered = delivered + excluded.delivered,
        bounced = bounced + excluded.bounced, unknown = unknown + excluded.unknown;""")
_LEFT_AT = _sql("connector_id = OLD.left_from AND at = ifnull(OLD.ended_at, OLD.expires_at) / {minute} * {minute}")
# Older minutes are forgotten, ends in them are not: hence never below 0.
_LEFT_OUT = _sql(
    """UPDATE queue_flow SET delivered = max(delivered - (OLD.status = 'delivered'), 0),
        bounced = max(bounced - (OLD.status IN ('expired', 'rejected')), 0),
        unknown = max(unknown - (OLD.status = 'gone'), 0) WHERE {there};
    DELETE FROM queue_flow WHERE {there} AND (arrived, delivered, bounced, unknown) = (0, 0, 0, 0);""",
    there=_LEFT_AT,
)
_OF_FLOW = "AFTER UPDATE OF status, ended_at, left_from ON queued_messages"
TRUE_FLOW = (
    "ALTER TABLE queued_messages ADD COLUMN left_from INTEGER",
    "UPDATE queued_messages SET left_from = ifnull(connector_id, 0) WHERE presumed IS NOT NULL",
    "DROP TRIGGER queue_delivered",
    "DROP TRIGGER queue_bounced",
    "DROP TRIGGER queue_vanished",
    f"""CREATE TRIGGER queue_left {_OF_FLOW} WHEN NEW.status <> 'queued' AND NEW.left_from IS NOT NULL AND {_LEFT_MOVED}
        BEGIN {_LEFT_IN} END""",
    # A later message that has the key of one that ended says nothing about that end.
    f"""CREATE TRIGGER queue_not_left {_OF_FLOW} WHEN OLD.status <> 'queued' AND OLD.left_from IS NOT NULL
            AND NEW.received_at <= ifnull(OLD.ended_at, OLD.expires_at) AND {_LEFT_MOVED}
        BEGIN {_LEFT_OUT} END""",
)
"""The statements that let the flow count each end once, as what it turned out to be; they follow QUEUE_COUNTERS."""
