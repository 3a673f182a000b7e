"""Each write of the storage × {commits, rolls back, is idempotent, survives reopening}: a new write needs one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlite_utils import Database

from storage import audit, connectors, domains, inbox, message_names, messages, meta, probes, recipients, syncs
from storage.connection import Store
from storage.journal_records import AuditEntry
from storage.records import (
    ConnectorFacts,
    ConnectorKind,
    DomainFacts,
    DomainType,
    MessageFacts,
    MessageStatus,
    ProbeRecord,
)

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
OLD = NOW - timedelta(days=400)

CONNECTOR = ConnectorFacts(
    backend="lab", key="k", name="To on-prem", kind=ConnectorKind.ON_PREMISES, smart_hosts=("mail.contoso.com",)
)
DOMAIN = DomainFacts(backend="lab", name="contoso.com", type=DomainType.INTERNAL_RELAY)


def message(status: MessageStatus = MessageStatus.QUEUED, key: str = "m") -> MessageFacts:
    return MessageFacts(
        backend="lab",
        key=key,
        recipient="user@contoso.com",
        sender="app@fabrikam.com",
        received_at=NOW,
        expires_at=NOW + timedelta(days=1),
        status=status,
    )


def probe(at: datetime, ok: bool = False) -> ProbeRecord:
    return ProbeRecord(
        connector_id=1,
        at=at,
        ok=ok,
        code=None if ok else "4.4.316",
        cause=None,
        status=None,
        stage="connect",
        degraded=False,
        elapsed_ms=1,
        document="{}",
    )


ENTRY = AuditEntry(at=NOW, actor="U1", verb="ack", target="#1", allowed=True)


def given(db: Database) -> None:
    """What is there before each write."""
    connectors.sync(db, "lab", [CONNECTOR], NOW, complete=True)
    domains.sync(db, "lab", [DOMAIN], NOW, complete=True)
    messages.sync(db, "lab", [(message(), 1), (message(MessageStatus.DELIVERED, "old"), 1)], OLD, complete=True)
    messages.sync(db, "lab", [(message(key="homeless"), None)], OLD, complete=False)
    messages.sample(db, 1, OLD)
    recipients.replace(db, "lab", ["user@contoso.com"], ["contoso.com"], NOW)
    for at, ok in ((OLD, True), (OLD, False), (NOW, True), (NOW, False)):
        probes.record(db, probe(at, ok))
    for at in (OLD, NOW):
        syncs.finish(db, syncs.begin(db, "lab", at), at, {"added": 1}, None)
    inbox.admit(db, "seen", OLD)
    meta.put(db, "a", "1")
    audit.append(db, ENTRY)


@dataclass(frozen=True)
class Write:
    name: str
    work: Callable[[Database], object]
    idempotent: bool = True


WRITES = [
    Write("connectors.sync adds", lambda db: connectors.sync(db, "files", [CONNECTOR], NOW, complete=False)),
    Write("connectors.sync misses", lambda db: connectors.sync(db, "lab", [], LATER, complete=True)),
    Write("connectors.claim_due", lambda db: connectors.claim_due(db, NOW, 10, timedelta(seconds=60))),
    Write("connectors.schedule", lambda db: connectors.schedule(db, 1, LATER)),
    Write("connectors.set_enabled", lambda db: connectors.set_enabled(db, 1, False, LATER)),
    Write("domains.sync adds", lambda db: domains.sync(db, "files", [DOMAIN], NOW, complete=False)),
    Write("domains.sync forgets", lambda db: domains.sync(db, "lab", [], NOW, complete=True)),
    Write("domains.set_type", lambda db: domains.set_type(db, "lab", "Contoso.com", DomainType.AUTHORITATIVE)),
    Write("recipients.replace", lambda db: recipients.replace(db, "lab", ["b@contoso.com"], [], NOW)),
    Write("messages.sync adds", lambda db: messages.sync(db, "lab", [(message(key="n"), 1)], NOW, complete=False)),
    Write("messages.sync ends", lambda db: messages.sync(db, "lab", [], NOW, complete=True)),
    Write("messages.assign", lambda db: messages.assign(db, [(1, None)])),
    Write("messages.adopt", lambda db: messages.adopt(db, [(3, 1)])),
    Write("message_names.note", lambda db: message_names.note(db, [(1, "1@contoso.com"), (99, "gone@contoso.com")])),
    Write("messages.sample_all", lambda db: messages.sample_all(db, NOW)),
    Write("messages.sample", lambda db: messages.sample(db, 1, NOW)),
    Write(
        "messages.expire",
        lambda db: messages.expire(db, LATER + timedelta(days=9), read_since=LATER + timedelta(days=9)),
    ),
    Write("messages.prune", lambda db: messages.prune(db, NOW)),
    Write("probes.record", lambda db: probes.record(db, probe(NOW)), idempotent=False),
    Write("probes.prune", lambda db: probes.prune(db, NOW)),
    Write("syncs.begin", lambda db: syncs.begin(db, "lab", NOW), idempotent=False),
    Write("syncs.finish", lambda db: syncs.finish(db, 1, LATER, {}, "unreachable")),
    Write("syncs.forget", lambda db: syncs.forget(db, "lab")),
    Write("syncs.prune", lambda db: syncs.prune(db, NOW)),
    Write("inbox.admit", lambda db: inbox.admit(db, "new", NOW)),
    Write("inbox.prune", lambda db: inbox.prune(db, NOW)),
    Write("audit.append", lambda db: audit.append(db, ENTRY), idempotent=False),
    Write("meta.put", lambda db: meta.put(db, "a", "2")),
]
EACH = pytest.mark.parametrize("write", WRITES, ids=lambda w: w.name)


def dump(db: Database) -> list[str]:
    """Everything in the database, without the migrations' own dates."""
    tables = [t for t in db.table_names() if t != "_sqlite_migrations"]
    return [f"{t}: {row}" for t in tables for row in db.execute(f"SELECT * FROM [{t}]").fetchall()]


@pytest.fixture
async def before(store: Store) -> list[str]:
    await store.write(given)
    return await store.read(dump)


@EACH
async def test_it_commits(write: Write, store: Store, before: list[str], path: Path) -> None:
    await store.write(write.work)
    async with await Store.open(path) as other:
        assert await other.read(dump) != before


@EACH
async def test_it_rolls_back_whole(write: Write, store: Store, before: list[str]) -> None:
    def undone(db: Database) -> None:
        write.work(db)
        raise RuntimeError("after it")

    with pytest.raises(RuntimeError):
        await store.write(undone)
    assert await store.read(dump) == before


@EACH
async def test_doing_it_again_changes_nothing(write: Write, store: Store, before: list[str]) -> None:
    await store.write(write.work)
    once = await store.read(dump)
    await store.write(write.work)
    assert (await store.read(dump) == once) is write.idempotent


@EACH
async def test_it_survives_a_reopening(write: Write, path: Path) -> None:
    async with await Store.open(path, sole=True) as store:
        await store.write(given)
        await store.write(write.work)
        written = await store.read(dump)
    async with await Store.open(path, sole=True) as store:
        assert await store.read(dump) == written


def test_no_write_is_forgotten_here() -> None:
    """Every public function that takes a database either is a known read or stands in the table."""
    reads = {
        *("connectors.get", "connectors.by_key", "connectors.every", "connectors.find", "connectors.newcomers"),
        *("domains.get", "recipients.known", "recipients.complete", "messages.summary", "messages.summaries"),
        *("messages.waiting", "messages.get_refs", "messages.passed_since", "connectors.undisturbed"),
        "connectors.new_ones_next",
        "syncs.misses",
        *("messages.samples", "probes.recent", "probes.last_good", "probes.latest", "syncs.latest"),
        *(
            "syncs.last_success",
            "audit.recent",
            "audit.every",
            "audit.verify",
            "audit.ChainVerdict",
            "meta.get",
            "probes.recent_good",
            "domains.every",
            *("message_names.Named", "message_names.under", "message_names.unnamed"),
        ),
    }
    modules = (connectors, domains, recipients, message_names, messages, probes, syncs, inbox, audit, meta)
    public = {
        f"{m.__name__.removeprefix('storage.')}.{name}"
        for m in modules
        for name, function in vars(m).items()
        if not name.startswith("_") and getattr(function, "__module__", "") == m.__name__
    }
    assert {w.name.split()[0] for w in WRITES} == public - reads - {"messages.Row"}
