"""The counters equal a full recount after any writes, and an older database is filled when it is brought up to date."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from storage import connectors, messages, queue_diff
from storage.connection import Store
from storage.migrations import migrations
from storage.queue_diff import Changes, Comparison, take
from storage.queue_schema import BUCKET_MS
from storage.records import CodeCount, ConnectorFacts, ConnectorKind, MessageFacts, MessageStatus, QueueSummary

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
CODES = (None, "4.4.316", "4.7.320")
WAITS = "SELECT * FROM queued_messages WHERE status = 'queued'"


def facts_of(number: int, **more: Any) -> MessageFacts:
    received = NOW - timedelta(minutes=number)
    usual: dict[str, Any] = {
        "received_at": received,
        "expires_at": received + timedelta(hours=24),
        "sender": "a@b.test",
    }
    return MessageFacts(backend="lab", key=f"m{number}", recipient="u@contoso.test", **(usual | more))


# What came and left as this test sees it: who carried a message when it last left, and how forgotten ones had ended.
WATCHED = (
    "CREATE TABLE seen_coming (connector_id, at)",
    "CREATE TABLE seen_leaving (id INTEGER PRIMARY KEY, connector_id)",
    "CREATE TABLE seen_forgotten (connector_id, at, status)",
    """CREATE TRIGGER see_coming AFTER INSERT ON queued_messages WHEN NEW.status = 'queued'
        BEGIN INSERT INTO seen_coming VALUES (ifnull(NEW.connector_id, 0), NEW.received_at / 60000 * 60000); END""",
    """CREATE TRIGGER see_leaving AFTER UPDATE ON queued_messages WHEN OLD.status = 'queued' AND NEW.status <> 'queued'
        BEGIN DELETE FROM seen_leaving WHERE id = NEW.id;
        INSERT INTO seen_leaving VALUES (NEW.id, ifnull(OLD.connector_id, 0)); END""",
    """CREATE TRIGGER see_forgetting AFTER DELETE ON queued_messages BEGIN
        INSERT INTO seen_forgotten SELECT connector_id, OLD.ended_at / 60000 * 60000, OLD.status FROM seen_leaving
            WHERE id = OLD.id AND OLD.status <> 'queued';
        DELETE FROM seen_leaving WHERE id = OLD.id; END""",
)
WAYS = {"delivered": 1, "expired": 2, "rejected": 2, "gone": 3}


def flowed(db: Database) -> dict[Any, list[int]]:
    rows = db.execute("SELECT connector_id, at, arrived, delivered, bounced, unknown FROM queue_flow")
    return {(connector_id, at): list(counts) for connector_id, at, *counts in rows}


def seen(db: Database) -> dict[Any, list[int]]:
    """The same as `flowed`, counted anew: each message once, as what its end is now."""
    found: dict[Any, list[int]] = {}
    for connector_id, at, status in db.execute(
        """SELECT connector_id, at, NULL FROM seen_coming UNION ALL SELECT * FROM seen_forgotten UNION ALL
        SELECT s.connector_id, m.ended_at / 60000 * 60000, m.status FROM queued_messages AS m
            JOIN seen_leaving AS s ON s.id = m.id WHERE m.status <> 'queued'"""
    ):
        found.setdefault((connector_id, at), [0, 0, 0, 0])[WAYS.get(status, 0)] += 1
    return found


def opened() -> Database:
    db = Database(memory=True, execute_plugins=False)
    migrations.apply(db)
    for statement in WATCHED:
        db.execute(statement)
    facts = [ConnectorFacts(backend="lab", key=k, name=k, kind=ConnectorKind.PARTNER) for k in "abc"]
    connectors.sync(db, "lab", facts, NOW, complete=True)
    return db


def counted(db: Database) -> tuple[dict[Any, int], dict[Any, int]]:
    groups = {(c, code): n for c, code, n in db.execute("SELECT connector_id, code, waiting FROM queue_groups")}
    buckets: dict[Any, int] = {}
    for connector_id, kind, at, waiting in db.execute("SELECT connector_id, kind, at, waiting FROM queue_buckets"):
        buckets[connector_id, kind, at] = waiting
    return groups, buckets


def recounted(db: Database) -> tuple[dict[Any, int], dict[Any, int]]:
    groups: Counter[Any] = Counter()
    buckets: Counter[Any] = Counter()
    for row in db.query(WAITS):
        connector_id = row["connector_id"] or 0
        groups[connector_id, row["code"] or ""] += 1
        for kind, column in enumerate(("received_at", "expires_at")):
            buckets[connector_id, kind, row[column] // BUCKET_MS * BUCKET_MS] += 1
    return dict(groups), dict(buckets)


def summed_up(db: Database) -> dict[int | None, tuple[tuple[Any, ...], ...]]:
    """The summaries the long way: code, count, oldest, first bounce."""
    found: dict[int | None, dict[str | None, list[Any]]] = {}
    for row in db.query(WAITS):
        found.setdefault(row["connector_id"], {}).setdefault(row["code"], []).append(row)
    return {
        connector_id: tuple(
            sorted(
                ((code or "", len(rows), min(r["received_at"] for r in rows), min(r["expires_at"] for r in rows)))
                for code, rows in by_code.items()
            )
        )
        for connector_id, by_code in found.items()
    }


def flat(summary: QueueSummary) -> tuple[tuple[Any, ...], ...]:
    def one(group: CodeCount) -> tuple[Any, ...]:
        moments = (group.oldest_received_at, group.first_expiry_at)
        return (group.code or "", group.count, *(round(m.timestamp() * 1000) for m in moments))

    return tuple(sorted(map(one, summary.by_code)))


listed = st.builds(
    lambda number, code, worded, status, connector_id, shift, evidence: (
        facts_of(
            number,
            code=code,
            reason=f"450 {code} no" if code and worded else None,
            remote_host="mail.contoso.test" if worded else None,
            status=status,
            expires_at=NOW + timedelta(hours=shift),
            evidence_at=evidence and NOW + timedelta(minutes=evidence),
        ),
        connector_id,
    ),
    st.integers(0, 7),
    st.sampled_from(CODES),
    st.booleans(),
    st.sampled_from([MessageStatus.QUEUED] * 3 + list(MessageStatus)),
    st.sampled_from([None, 1, 2, 3]),
    st.integers(0, 3),
    st.sampled_from([None, 1, 2]),
)
writes = st.lists(
    st.one_of(
        st.tuples(st.just("whole"), st.lists(listed, max_size=12)),
        st.tuples(st.just("part"), st.lists(listed, max_size=4)),
        st.tuples(st.just("bulk"), st.lists(listed, max_size=6)),
        st.tuples(st.just("assign"), st.tuples(st.integers(1, 9), st.sampled_from([None, 1, 2]))),
        st.tuples(st.just("adopt"), st.tuples(st.integers(1, 9), st.sampled_from([1, 2]))),
        st.tuples(st.just("vanish"), st.tuples(st.integers(0, 3), st.sampled_from(list(MessageStatus)[1:]))),
        st.tuples(st.just("expire"), st.integers(0, 4)),
        st.tuples(st.just("prune"), st.integers(0, 4)),
    ),
    max_size=8,
)


def write(db: Database, what: str, about: Any) -> None:
    if what in ("whole", "part"):
        messages.sync(db, "lab", about, NOW, complete=what == "whole")
    elif what == "bulk":
        seen = Comparison.begin(db, "nobody", NOW).look(db, iter(about)) or Changes()
        take(db, Changes(new=[("lab", *row[1:]) for row in seen.new]))
    elif what in ("assign", "adopt"):
        {"assign": messages.assign, "adopt": messages.adopt}[what](db, [about])
    elif what == "vanish":
        waiting = [row["id"] for row in db.query(WAITS)]
        queue_diff.end(db, waiting[: about[0]], NOW + timedelta(minutes=about[0]), about[1])
    elif what == "expire":
        messages.expire(db, NOW + timedelta(hours=about), read_since=NOW)
    else:
        messages.prune(db, NOW + timedelta(hours=about))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(writes)
def test_whatever_is_written_the_counters_equal_a_recount(steps: list[tuple[str, Any]]) -> None:
    db = opened()
    try:
        for what, about in steps:
            write(db, what, about)
            assert counted(db) == recounted(db)
            assert flowed(db) == seen(db)
            assert {c: flat(s) for c, s in messages.summaries(db).items()} == summed_up(db)
        assert db.execute("SELECT count(*) FROM queue_bulk").fetchone() == (0,)
    finally:
        db.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(listed, max_size=12), st.lists(listed, max_size=12))
def test_the_same_list_again_writes_nothing_whatever_was_there(before: list[Any], now: list[Any]) -> None:
    db = opened()
    try:
        messages.sync(db, "lab", before, NOW, complete=True)
        messages.sync(db, "lab", now, NOW, complete=True)
        written = db.conn.total_changes
        messages.sync(db, "lab", now, NOW, complete=True)
        distinct = {(facts.key, facts.recipient) for facts, _ in now}
        assert db.conn.total_changes == written or len(distinct) < len(now)
    finally:
        db.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(listed, max_size=8, unique_by=lambda row: row[0].key), max_size=4))
def test_a_list_taken_over_in_slices_is_the_list_taken_over_row_by_row(lists: list[list[Any]]) -> None:
    """What the digests and the bulk path spare is never seen: the rows come out the same.

    Except when mail ended that nobody saw waiting: a whole list dates it by what it tells of it.
    """
    one, other = opened(), opened()
    first_seen: dict[str, MessageStatus] = {}
    columns = "key, connector_id, status, code, reason, remote_host, received_at, expires_at, evidence_at, ended_at"
    try:
        for rows in lists:
            messages.sync(one, "lab", rows, NOW, complete=True)
            messages.sync(other, "lab", rows, NOW, complete=False)
            known = {facts.key for facts, _ in rows}
            waiting = [r["id"] for r in other.query(WAITS) if r["key"] not in known]
            queue_diff.end(other, waiting, NOW, MessageStatus.GONE)
            first_seen = {facts.key: facts.status for facts, _ in rows} | first_seen
            found = [
                [
                    row if first_seen[row[0]] is MessageStatus.QUEUED else row[:-1]
                    for row in db.execute(f"SELECT {columns} FROM queued_messages ORDER BY key").fetchall()
                ]
                for db in (one, other)
            ]
            assert found[0] == found[1]
    finally:
        one.close()
        other.close()


async def test_a_row_that_another_writer_changed_is_looked_at_again(store: Store) -> None:
    row = (facts_of(1, code="4.4.316"), None)

    def work(db: Database) -> int:
        messages.sync(db, "lab", [row], NOW, complete=True)
        messages.sync(db, "lab", [(replace(row[0], code="4.7.320"), None)], NOW, complete=False)
        return messages.sync(db, "lab", [row], NOW, complete=True).changed

    assert await store.write(work) == 1


async def test_an_older_database_is_filled_when_it_is_brought_up_to_date(tmp_path: Path) -> None:
    db = Database(tmp_path / "old.db", execute_plugins=False)
    migrations.apply(db, stop_before="queue_counters")
    for number, (status, code) in enumerate((("queued", ""), ("queued", "4.4.316"), ("gone", "4.4.316"))):
        db.execute(
            """INSERT INTO queued_messages (backend, key, recipient, sender, received_at, expires_at, status, code)
                VALUES ('lab', ?, 'u@contoso.test', '', 1000, 86401000, ?, ?)""",
            [f"m{number}", status, code],
        )
    migrations.apply(db)
    assert counted(db) == recounted(db) != ({}, {})
    assert messages.summary(db, None).total == 2
    db.close()


async def test_an_older_database_takes_back_what_it_had_counted_before(tmp_path: Path) -> None:
    db = Database(tmp_path / "old.db", execute_plugins=False)
    migrations.apply(db, stop_before="true_flow")
    for number in range(3):
        received, expires = 60_000, 86_460_000
        db.execute(
            """INSERT INTO queued_messages (backend, key, recipient, sender, received_at, expires_at, status)
                VALUES ('lab', ?, 'u@contoso.test', 'a@b.test', ?, ?, 'queued')""",
            [f"m{number}", received, expires],
        )
    db.execute("UPDATE queued_messages SET status = 'delivered', ended_at = 120000, presumed = 1")
    assert flowed(db) == {(0, 60_000): [3, 0, 0, 0], (0, 120_000): [0, 3, 0, 0]}
    migrations.apply(db)
    assert flowed(db) == {(0, 60_000): [3, 0, 0, 0], (0, 120_000): [0, 3, 0, 0]}
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    said = [facts_of(n, received_at=epoch + timedelta(minutes=1)) for n in range(2)]
    rows = [(said[0], None), (replace(said[1], status=MessageStatus.REJECTED), None)]
    messages.sync(db, "lab", rows, NOW, complete=False)
    assert flowed(db) == {(0, 60_000): [3, 0, 0, 0], (0, 120_000): [0, 1, 1, 0]}
    db.close()
