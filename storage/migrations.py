"""The schema: STRICT tables, made only here, by an append-only list of migrations.

Moments are integer milliseconds since 1970 UTC, durations integer milliseconds, booleans 0/1,
lists and images JSON text.
A released migration is never edited: a change is a new one at the end.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from storage.audit_chain import GENESIS, link
from storage.queue_schema import QUEUE_COUNTERS, TRUE_FLOW

APPLICATION_ID = 0x6D666931
"""`PRAGMA application_id` of our files ("mfi1"): tells ours from a foreign SQLite file."""

migrations = Migrations("mfi")


@migrations()
def first_schema(db: Database) -> None:
    """Everything that the first release keeps."""
    for statement in _FIRST_SCHEMA:
        db.execute(statement)


@migrations()
def queue_counters(db: Database) -> None:
    """What the database itself counts about the queue; when what was read was true, and what was odd about it."""
    for statement in QUEUE_COUNTERS:
        db.execute(statement)


_FIRST_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    """CREATE TABLE connectors (
        id INTEGER PRIMARY KEY,
        backend TEXT NOT NULL,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('on_premises', 'partner')),
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        use_mx INTEGER NOT NULL CHECK (use_mx IN (0, 1)),
        smart_hosts TEXT NOT NULL,
        port INTEGER,
        recipient_domains TEXT NOT NULL,
        tls_setting TEXT NOT NULL
            CHECK (tls_setting IN ('none', 'opportunistic', 'encryption', 'certificate', 'domain')),
        tls_domain TEXT,
        partner_contact TEXT,
        alert_channel TEXT,
        probe_interval INTEGER,
        next_probe_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        missing_since INTEGER,
        UNIQUE (backend, key)
    ) STRICT""",
    "CREATE INDEX connectors_due ON connectors (next_probe_at) WHERE enabled = 1 AND missing_since IS NULL",
    """CREATE TABLE accepted_domains (
        backend TEXT NOT NULL,
        name TEXT NOT NULL,
        type TEXT NOT NULL CHECK (type IN ('authoritative', 'internal_relay', 'external_relay')),
        match_subdomains INTEGER NOT NULL CHECK (match_subdomains IN (0, 1)),
        PRIMARY KEY (backend, name)
    ) STRICT""",
    """CREATE TABLE recipients (
        backend TEXT NOT NULL,
        address TEXT NOT NULL,
        PRIMARY KEY (backend, address)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE complete_directories (
        backend TEXT NOT NULL,
        domain TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (backend, domain)
    ) STRICT""",
    """CREATE TABLE queued_messages (
        id INTEGER PRIMARY KEY,
        backend TEXT NOT NULL,
        key TEXT NOT NULL,
        recipient TEXT NOT NULL,
        sender TEXT NOT NULL,
        connector_id INTEGER REFERENCES connectors (id),
        connector_key TEXT,
        size INTEGER,
        received_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('queued', 'delivered', 'expired', 'rejected', 'gone')),
        code TEXT,
        reason TEXT,
        remote_host TEXT,
        remote_ip TEXT,
        evidence_at INTEGER,
        ended_at INTEGER,
        UNIQUE (backend, key, recipient)
    ) STRICT""",
    """CREATE INDEX queued_messages_waiting ON queued_messages (connector_id, code, received_at)
        WHERE status = 'queued'""",
    "CREATE INDEX queued_messages_ended ON queued_messages (connector_id, ended_at) WHERE status <> 'queued'",
    """CREATE TABLE queue_samples (
        connector_id INTEGER NOT NULL REFERENCES connectors (id),
        at INTEGER NOT NULL,
        waiting INTEGER NOT NULL,
        oldest_received_at INTEGER,
        PRIMARY KEY (connector_id, at)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE syncs (
        id INTEGER PRIMARY KEY,
        backend TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        finished_at INTEGER,
        counts TEXT,
        error TEXT
    ) STRICT""",
    """CREATE TABLE probes (
        id INTEGER PRIMARY KEY,
        connector_id INTEGER NOT NULL REFERENCES connectors (id),
        at INTEGER NOT NULL,
        ok INTEGER NOT NULL CHECK (ok IN (0, 1)),
        code TEXT,
        cause TEXT,
        status TEXT,
        stage TEXT NOT NULL,
        degraded INTEGER NOT NULL CHECK (degraded IN (0, 1)),
        elapsed_ms INTEGER NOT NULL,
        document TEXT NOT NULL,
        fingerprint TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX probes_by_connector ON probes (connector_id, id)",
    """CREATE TABLE incidents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        connector_id INTEGER REFERENCES connectors (id),
        code TEXT NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('firing', 'acknowledged', 'fixing', 'verifying', 'resolved')),
        severity TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
        opened_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        first_failure_at INTEGER NOT NULL,
        resolved_at INTEGER,
        acknowledged_by TEXT,
        acknowledged_at INTEGER,
        revision INTEGER NOT NULL,
        channel TEXT NOT NULL,
        ts TEXT,
        escalated INTEGER NOT NULL DEFAULT 0,
        flapping INTEGER NOT NULL DEFAULT 0 CHECK (flapping IN (0, 1)),
        previous_id INTEGER REFERENCES incidents (id),
        resolution TEXT
    ) STRICT""",
    """CREATE UNIQUE INDEX incidents_one_open ON incidents (ifnull(connector_id, 0), code)
        WHERE state <> 'resolved'""",
    "CREATE INDEX incidents_by_connector ON incidents (connector_id, code, id)",
    """CREATE TABLE incident_events (
        id INTEGER PRIMARY KEY,
        incident_id INTEGER NOT NULL REFERENCES incidents (id),
        revision INTEGER NOT NULL,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        actor TEXT,
        data TEXT NOT NULL,
        UNIQUE (incident_id, revision)
    ) STRICT""",
    """CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        uid TEXT NOT NULL UNIQUE,
        incident_id INTEGER NOT NULL REFERENCES incidents (id),
        event_id INTEGER REFERENCES incident_events (id),
        revision INTEGER NOT NULL,
        channel TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('root', 'reply', 'broadcast')),
        state TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'dead')),
        created_at INTEGER NOT NULL,
        next_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        attempt_at INTEGER,
        sent_at INTEGER,
        ts TEXT,
        error TEXT,
        UNIQUE (incident_id, revision, channel, kind)
    ) STRICT""",
    "CREATE INDEX outbox_unfinished ON outbox (channel, id) WHERE state IN ('pending', 'sending')",
    """CREATE TABLE actions (
        id TEXT PRIMARY KEY,
        incident_id INTEGER NOT NULL REFERENCES incidents (id),
        connector_id INTEGER NOT NULL REFERENCES connectors (id),
        state TEXT NOT NULL CHECK (state IN ('offered', 'confirming', 'claimed', 'executing', 'verifying',
            'verified', 'failed', 'undone', 'unknown')),
        offered_at INTEGER NOT NULL,
        offered_to TEXT,
        expires_at INTEGER NOT NULL,
        plan TEXT NOT NULL,
        chosen TEXT NOT NULL DEFAULT '[]',
        claimed_by TEXT,
        claimed_at INTEGER,
        verify_at INTEGER,
        verify_attempts INTEGER NOT NULL DEFAULT 0,
        finished_at INTEGER,
        result TEXT,
        undone_by TEXT
    ) STRICT""",
    """CREATE UNIQUE INDEX actions_one_running ON actions (connector_id)
        WHERE state IN ('claimed', 'executing', 'unknown')""",
    "CREATE INDEX actions_by_incident ON actions (incident_id, offered_at)",
    "CREATE INDEX actions_to_verify ON actions (verify_at) WHERE state = 'verifying'",
    """CREATE TABLE action_steps (
        action_id TEXT NOT NULL REFERENCES actions (id),
        position INTEGER NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('reject_invalid', 'domain_authoritative', 'disable_connector')),
        state TEXT NOT NULL CHECK (state IN ('planned', 'intended', 'done', 'failed', 'skipped', 'undone')),
        intended_at INTEGER,
        finished_at INTEGER,
        before TEXT,
        after TEXT,
        detail TEXT,
        PRIMARY KEY (action_id, position)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE inbox (key TEXT PRIMARY KEY, seen_at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX inbox_by_age ON inbox (seen_at)",
    """CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        verb TEXT NOT NULL,
        target TEXT NOT NULL,
        allowed INTEGER NOT NULL CHECK (allowed IN (0, 1)),
        detail TEXT NOT NULL
    ) STRICT""",
    """CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_keeps_everything BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
)


@migrations()
def audit_chain(db: Database) -> None:
    """Each audit entry carries the hash of all up to it (storage/audit_chain.py); the old ones get theirs once."""
    db.execute("DROP TRIGGER audit_is_append_only")
    db.execute("ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT ''")
    before = GENESIS
    for row in db.execute("SELECT id, at, actor, verb, target, allowed, detail FROM audit ORDER BY id").fetchall():
        before = link(before, row)
        db.execute("UPDATE audit SET hash = ? WHERE id = ?", [before, row[0]])
    db.execute(_AUDIT_IS_APPEND_ONLY)


_AUDIT_IS_APPEND_ONLY = """CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"""


@migrations()
def fix_approvals(db: Database) -> None:
    """A fix may wait for a second person, retry a queue, and be looked at before its verification is due."""
    for statement in _FIX_APPROVALS:
        db.execute(statement)


_FIX_APPROVALS = (
    "ALTER TABLE actions ADD COLUMN requested_by TEXT",
    "ALTER TABLE actions ADD COLUMN requested_at INTEGER",
    "ALTER TABLE actions ADD COLUMN look_at INTEGER",
    "CREATE INDEX actions_to_look_at ON actions (look_at) WHERE state = 'verifying'",
    "CREATE INDEX actions_begun ON actions (claimed_at) WHERE claimed_at IS NOT NULL",
    "CREATE INDEX actions_requested ON actions (expires_at) WHERE state = 'confirming'",
    """CREATE TABLE action_steps_with_retry (
        action_id TEXT NOT NULL REFERENCES actions (id),
        position INTEGER NOT NULL,
        kind TEXT NOT NULL
            CHECK (kind IN ('reject_invalid', 'domain_authoritative', 'disable_connector', 'retry_queue')),
        state TEXT NOT NULL CHECK (state IN ('planned', 'intended', 'done', 'failed', 'skipped', 'undone')),
        intended_at INTEGER,
        finished_at INTEGER,
        before TEXT,
        after TEXT,
        detail TEXT,
        PRIMARY KEY (action_id, position)
    ) STRICT, WITHOUT ROWID""",
    """INSERT INTO action_steps_with_retry
        SELECT action_id, position, kind, state, intended_at, finished_at, before, after, detail FROM action_steps""",
    "DROP TABLE action_steps",
    "ALTER TABLE action_steps_with_retry RENAME TO action_steps",
)


@migrations()
def connector_cautions(db: Database) -> None:
    """What makes switching a connector off dangerous, as its mail system tells."""
    db.execute("ALTER TABLE connectors ADD COLUMN cautions TEXT NOT NULL DEFAULT '[]'")


@migrations()
def presumed_ends(db: Database) -> None:
    """Of a message that ended because a list lacked it, that nobody said how (1): listed again, it waits again."""
    db.execute("ALTER TABLE queued_messages ADD COLUMN presumed INTEGER")


@migrations()
def true_flow(db: Database) -> None:
    """An end that turns out to be another one, or none, is taken back from what left."""
    for statement in TRUE_FLOW:
        db.execute(statement)


@migrations()
def homeless_mail(db: Database) -> None:
    """What waits at no connector, by mail system and age: counted without looking at the rest of the queue."""
    db.execute(
        """CREATE INDEX queued_messages_homeless ON queued_messages (backend, received_at, expires_at)
            WHERE status = 'queued' AND connector_id IS NULL"""
    )


@migrations()
def message_names(db: Database) -> None:
    """The Message ID of mail that is kept under another id (storage/message_names.py)."""
    db.execute(
        """CREATE TABLE message_names (
            message INTEGER PRIMARY KEY REFERENCES queued_messages (id) ON DELETE CASCADE,
            message_id TEXT NOT NULL
        ) STRICT"""
    )
    db.execute("CREATE INDEX message_names_by_id ON message_names (message_id)")
