"""Domains, recipients, probes, syncs, the inbox, the audit log and single values."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from storage import audit, connectors, domains, inbox, meta, probes, recipients, syncs
from storage.connection import Store
from storage.journal_records import AuditEntry, SyncRun
from storage.records import ConnectorFacts, ConnectorKind, DomainFacts, DomainType, ProbeRecord, SyncCounts

HOUR = timedelta(hours=1)
RELAY = DomainFacts(backend="lab", name="onprem.contoso.com", type=DomainType.INTERNAL_RELAY, match_subdomains=True)
OWN = DomainFacts(backend="lab", name="contoso.com", type=DomainType.AUTHORITATIVE)


async def test_domains_come_back_by_name_whatever_the_case(store: Store, now: datetime) -> None:
    facts = [RELAY, replace(OWN, name="Contoso.COM")]
    assert await store.write(lambda db: domains.sync(db, "lab", facts, now, complete=True)) == SyncCounts(added=2)
    assert await store.read(lambda db: domains.every(db, "lab")) == [OWN, RELAY]
    assert await store.read(lambda db: domains.get(db, "lab", "ONPREM.contoso.com")) == RELAY
    assert await store.read(lambda db: domains.get(db, "files", "contoso.com")) is None
    assert await store.read(lambda db: domains.every(db, "files")) == []


async def test_only_changed_domains_are_written_and_absent_ones_forgotten(store: Store, now: datetime) -> None:
    await store.write(lambda db: domains.sync(db, "lab", [RELAY, OWN], now, complete=True))
    changed = replace(RELAY, match_subdomains=False)
    counts = await store.write(lambda db: domains.sync(db, "lab", [changed, OWN], now, complete=True))
    assert counts == SyncCounts(changed=1, unchanged=1)
    assert await store.write(lambda db: domains.sync(db, "lab", [], now, complete=False)) == SyncCounts()
    assert await store.write(lambda db: domains.sync(db, "lab", [OWN], now, complete=True)) == SyncCounts(
        unchanged=1, missing=1
    )
    assert await store.read(lambda db: domains.every(db, "lab")) == [OWN]


async def test_a_domains_type_is_set(store: Store, now: datetime) -> None:
    await store.write(lambda db: domains.sync(db, "lab", [RELAY], now, complete=True))
    await store.write(lambda db: domains.set_type(db, "lab", "OnPrem.contoso.com", DomainType.AUTHORITATIVE))
    found = await store.read(lambda db: domains.get(db, "lab", RELAY.name))
    assert found == replace(RELAY, type=DomainType.AUTHORITATIVE)


async def test_the_newest_list_is_the_directory(store: Store, now: datetime) -> None:
    first = ["A@contoso.com", "b@contoso.com", "c@fabrikam.com"]
    counts = await store.write(lambda db: recipients.replace(db, "files", first, ["Contoso.com"], now))
    assert counts == SyncCounts(added=3)
    asked = ["a@CONTOSO.com", "x@contoso.com", "c@fabrikam.com"]
    assert await store.read(lambda db: recipients.known(db, "files", asked)) == {"a@contoso.com", "c@fabrikam.com"}
    assert await store.read(lambda db: recipients.complete(db, "files")) == {"contoso.com": now}
    assert await store.read(lambda db: recipients.known(db, "lab", asked)) == set()
    counts = await store.write(lambda db: recipients.replace(db, "files", ["c@fabrikam.com"], [], now + HOUR))
    assert counts == SyncCounts(unchanged=1, missing=2)
    assert await store.read(lambda db: recipients.known(db, "files", asked)) == {"c@fabrikam.com"}
    assert await store.read(lambda db: recipients.complete(db, "files")) == {}
    assert await store.write(lambda db: recipients.replace(db, "files", [], [], now)) == SyncCounts(missing=1)


@pytest.fixture
async def probed(store: Store, now: datetime) -> Store:
    facts = [ConnectorFacts(backend="lab", key=k, name=k, kind=ConnectorKind.PARTNER, use_mx=True) for k in "abc"]
    await store.write(lambda db: connectors.sync(db, "lab", facts, now, complete=True))
    return store


def probe(connector_id: int, at: datetime, ok: bool) -> ProbeRecord:
    return ProbeRecord(
        connector_id=connector_id,
        at=at,
        ok=ok,
        code=None if ok else "4.4.316",
        cause=None if ok else "refused",
        status=None if ok else "450 4.4.316 Connection refused",
        stage="done" if ok else "connect",
        degraded=ok,
        elapsed_ms=12,
        document='{"ok": true}',
        fingerprint={"banner": "220 mail ☃"},
    )


async def record(store: Store, *all_of: ProbeRecord) -> list[ProbeRecord]:
    return [await store.write(lambda db, p=p: probes.record(db, p)) for p in all_of]


async def test_probes_come_back_newest_first(probed: Store, now: datetime) -> None:
    stored = await record(probed, *(probe(1, now + i * HOUR, ok=i != 1) for i in range(3)), probe(2, now, False))
    assert [replace(p, id=None) for p in stored[:3]] == [probe(1, now + i * HOUR, ok=i != 1) for i in range(3)]
    assert await probed.read(lambda db: probes.recent(db, 1, 2)) == [stored[2], stored[1]]
    in_lists = [replace(p, document="{}", fingerprint={}) for p in stored]
    assert await probed.read(probes.latest) == {1: in_lists[2], 2: in_lists[3]}


async def test_the_last_good_probe_before_another_is_found(probed: Store, now: datetime) -> None:
    good, bad, later, _ = await record(
        probed, probe(1, now, True), probe(1, now, False), probe(1, now, True), probe(2, now, True)
    )
    assert await probed.read(lambda db: probes.last_good(db, 1)) == later
    assert await probed.read(lambda db: probes.last_good(db, 1, bad.id)) == good
    assert await probed.read(lambda db: probes.last_good(db, 1, good.id)) is None
    assert await probed.read(lambda db: probes.last_good(db, 3)) is None


async def test_failures_outlive_successes_and_the_newest_of_each_stays(probed: Store, now: datetime) -> None:
    ages = [(400, True), (399, False), (50, True), (49, False), (40, True), (39, False), (1, False)]
    await record(probed, *(probe(1, now - timedelta(days=age), ok) for age, ok in ages))
    await record(probed, probe(2, now - timedelta(days=400), True), probe(2, now - timedelta(days=399), False))
    assert await probed.write(lambda db: probes.prune(db, now - timedelta(days=30))) == 3
    kept = await probed.read(lambda db: probes.recent(db, 1, 99))
    assert [((now - p.at).days, p.ok) for p in reversed(kept)] == [(49, False), (40, True), (39, False), (1, False)]
    assert len(await probed.read(lambda db: probes.recent(db, 2, 99))) == 2


async def test_syncs_tell_when_and_how_each_mail_system_was_read(store: Store, now: datetime) -> None:
    assert await store.read(syncs.latest) == {}
    assert await store.read(lambda db: syncs.last_success(db, "lab")) is None
    first = await store.write(lambda db: syncs.begin(db, "lab", now))
    assert await store.read(syncs.latest) == {"lab": SyncRun(id=first, backend="lab", started_at=now)}
    assert await store.read(lambda db: syncs.last_success(db, "lab")) is None
    await store.write(lambda db: syncs.finish(db, first, now + HOUR, {"added": 3}))
    second = await store.write(lambda db: syncs.begin(db, "lab", now + 2 * HOUR))
    await store.write(lambda db: syncs.finish(db, second, now + 3 * HOUR, {}, "unreachable"))
    assert await store.read(lambda db: syncs.last_success(db, "lab")) == now + HOUR
    latest = (await store.read(syncs.latest))["lab"]
    assert (latest.error, latest.finished_at, latest.counts) == ("unreachable", now + 3 * HOUR, {})


async def test_what_was_too_old_to_count_as_a_read_still_says_how_old_the_figures_are(
    store: Store, now: datetime
) -> None:
    for error, true_at in ((None, now), ("old", now + HOUR), ("old", now + 2 * HOUR), ("unreachable", None)):
        run = await store.write(lambda db: syncs.begin(db, "lab", now))
        await store.write(lambda db, r=run, e=error, t=true_at: syncs.finish(db, r, now, {}, e, true_at=t))
    assert (await store.read(lambda db: syncs.misses(db, "lab")))[0] == 3
    assert await store.write(lambda db: syncs.prune(db, now + 9 * HOUR)) == 2
    assert await store.read(lambda db: syncs.last_success(db, "lab")) == now + 2 * HOUR


async def test_old_syncs_are_forgotten_but_the_last_success_stays(store: Store, now: datetime) -> None:
    for hours, error in enumerate(["no", None, None, "no", "no"]):
        at = now + hours * HOUR
        run = await store.write(lambda db, at=at: syncs.begin(db, "lab", at))
        await store.write(lambda db, r=run, at=at, e=error: syncs.finish(db, r, at, {"added": 1}, e))
    assert await store.write(lambda db: syncs.prune(db, now + 9 * HOUR)) == 3
    assert await store.read(lambda db: syncs.last_success(db, "lab")) == now + 2 * HOUR
    assert (await store.read(syncs.latest))["lab"].started_at == now + 4 * HOUR


async def test_a_redelivery_is_noticed_until_it_is_forgotten(store: Store, now: datetime) -> None:
    answers = [await store.write(lambda db, k=key: inbox.admit(db, k, now)) for key in ("a", "b", "a")]
    assert answers == [True, True, False]
    assert await store.write(lambda db: inbox.prune(db, now)) == 0
    assert await store.write(lambda db: inbox.prune(db, now + HOUR)) == 2
    assert await store.write(lambda db: inbox.admit(db, "a", now + HOUR))


async def test_audit_entries_come_back_newest_first(store: Store, now: datetime) -> None:
    entries = [
        AuditEntry(at=now, actor="U1", verb="fix", target=f"#{i}", allowed=i != 2, detail="not an admin" * (i == 2))
        for i in range(1, 4)
    ]
    for entry in entries:
        await store.write(lambda db, e=entry: audit.append(db, e))
    found = await store.read(lambda db: audit.recent(db, 2))
    assert found == [replace(entries[2], id=3), replace(entries[1], id=2)]


async def test_a_value_is_kept_and_replaced(store: Store) -> None:
    assert await store.read(lambda db: meta.get(db, "a")) is None
    for text in ("1", "2"):
        await store.write(lambda db, t=text: meta.put(db, "a", t))
    assert await store.read(lambda db: meta.get(db, "a")) == "2"
