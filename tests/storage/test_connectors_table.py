"""Connectors: upsert by key, missing ones, finding by name, claiming what is due."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import datetime, timedelta

import pytest

from storage import connectors
from storage.connection import Store
from storage.records import Caution, ConnectorFacts, ConnectorKind, SyncCounts, TlsSetting

FULL = ConnectorFacts(
    backend="lab",
    key="k1",
    name="To on-prem",
    kind=ConnectorKind.ON_PREMISES,
    enabled=True,
    use_mx=False,
    smart_hosts=("mail.contoso.com", "203.0.113.10"),
    port=2525,
    recipient_domains=("onprem.contoso.com", "*.contoso.com"),
    tls_setting=TlsSetting.DOMAIN,
    tls_domain="*.contoso.com",
    partner_contact="Fabrikam desk",
    alert_channel="C012345",
    probe_interval=timedelta(seconds=90),
)
PLAIN = ConnectorFacts(backend="lab", key="k2", name="Partner", kind=ConnectorKind.PARTNER, use_mx=True)
LATER = timedelta(hours=1)


async def sync(store: Store, facts: Iterable[ConnectorFacts], now: datetime, *, complete: bool = True) -> SyncCounts:
    return await store.write(lambda db: connectors.sync(db, "lab", facts, now, complete=complete))


async def test_every_fact_comes_back(store: Store, now: datetime) -> None:
    assert await sync(store, [FULL, PLAIN], now) == SyncCounts(added=2)
    one, two = await store.read(connectors.every)
    assert (two.id, one.id) == (1, 2)
    for facts, found in ((PLAIN, one), (FULL, two)):
        assert {f.name: getattr(found, f.name) for f in fields(ConnectorFacts)} == {
            f.name: getattr(facts, f.name) for f in fields(ConnectorFacts)
        }
        assert found.next_probe_at == found.changed_at == now
        assert found.missing_since is None
        assert await store.read(lambda db, c=found: connectors.get(db, c.id)) == found
        assert await store.read(lambda db, c=found: connectors.by_key(db, "lab", c.key)) == found
    assert await store.read(lambda db: connectors.get(db, 99)) is None
    assert await store.read(lambda db: connectors.by_key(db, "files", "k1")) is None


CHANGES = [
    {"name": "New name"},
    {"kind": ConnectorKind.PARTNER},
    {"enabled": False},
    {"use_mx": True},
    {"smart_hosts": ("mail.contoso.com",)},
    {"port": None},
    {"recipient_domains": ()},
    {"tls_setting": TlsSetting.NONE},
    {"tls_domain": None},
    {"partner_contact": None},
    {"alert_channel": None},
    {"probe_interval": None},
    {"cautions": frozenset({Caution.RULE_SCOPED, Caution.TEST_MODE})},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: next(iter(c)))
async def test_any_change_is_written_and_probed_at_once(store: Store, now: datetime, change: dict[str, object]) -> None:
    await sync(store, [FULL, PLAIN], now)
    await store.write(lambda db: connectors.schedule(db, 1, now + 5 * LATER))
    assert await sync(store, [replace(FULL, **change), PLAIN], now + LATER) == SyncCounts(changed=1, unchanged=1)
    found = await store.read(lambda db: connectors.get(db, 1))
    assert found is not None
    assert found.next_probe_at == found.changed_at == now + LATER
    for name, wanted in change.items():
        assert getattr(found, name) == wanted


def test_every_fact_that_is_stored_is_among_the_changes() -> None:
    assert {next(iter(c)) for c in CHANGES} == {f.name for f in fields(ConnectorFacts)} - {"backend", "key"}


async def test_the_same_list_again_writes_nothing_and_keeps_the_schedule(store: Store, now: datetime) -> None:
    await sync(store, [FULL, PLAIN], now)
    await store.write(lambda db: connectors.schedule(db, 1, now + 5 * LATER))
    before = await store.write(lambda db: db.conn.total_changes)
    assert await sync(store, [FULL, PLAIN], now + LATER) == SyncCounts(unchanged=2)
    assert await store.write(lambda db: db.conn.total_changes) == before
    found = await store.read(lambda db: connectors.get(db, 1))
    assert found is not None
    assert found.next_probe_at == now + 5 * LATER


async def test_a_key_listed_twice_counts_once(store: Store, now: datetime) -> None:
    assert await sync(store, [FULL, replace(FULL, name="Last")], now) == SyncCounts(added=1)
    assert [c.name for c in await store.read(connectors.every)] == ["Last"]


async def test_one_that_is_no_longer_listed_is_missing_until_it_returns(store: Store, now: datetime) -> None:
    await sync(store, [FULL, PLAIN], now)
    assert await sync(store, [PLAIN], now + LATER) == SyncCounts(unchanged=1, missing=1)
    assert await sync(store, [PLAIN], now + LATER) == SyncCounts(unchanged=1)
    assert [c.key for c in await store.read(connectors.every)] == ["k2"]
    gone = await store.read(lambda db: connectors.get(db, 1))
    assert gone is not None
    assert gone.missing_since == now + LATER
    assert await store.write(lambda db: connectors.claim_due(db, now + LATER, 9, LATER)) != []
    assert await sync(store, [FULL, PLAIN], now + 2 * LATER) == SyncCounts(changed=1, unchanged=1)
    back = await store.read(lambda db: connectors.get(db, 1))
    assert back is not None
    assert back.missing_since is None
    assert back.next_probe_at == now + 2 * LATER


async def test_a_partial_list_and_another_mail_systems_list_miss_nothing(store: Store, now: datetime) -> None:
    await sync(store, [FULL], now)
    assert await sync(store, [PLAIN], now, complete=False) == SyncCounts(added=1)
    await store.write(lambda db: connectors.sync(db, "files", [], now, complete=True))
    assert len(await store.read(connectors.every)) == 2


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("to on-prem", ["To on-prem"]),
        (" TO ON-PREM ", ["To on-prem"]),
        ("to", ["To on-prem", "To on-prem 2"]),
        ("on-prem 2", ["To on-prem 2"]),
        ("part", ["Partner"]),
        ("ZÜR", ["Zürich"]),
        ("r", ["Partner", "To on-prem", "To on-prem 2", "Zürich"]),
        ("nothing", []),
        ("", []),
        ("%", []),
    ],
)
async def test_a_name_is_found_exactly_else_by_prefix_else_by_part(
    store: Store, now: datetime, text: str, names: list[str]
) -> None:
    listed = [replace(PLAIN, key=n, name=n) for n in ("To on-prem 2", "To on-prem", "Partner", "Zürich")]
    await sync(store, listed, now)
    assert [c.name for c in await store.read(lambda db: connectors.find(db, text))] == names


async def test_what_is_due_is_claimed_once_longest_overdue_first(store: Store, now: datetime) -> None:
    listed = [replace(PLAIN, key=str(i), name=str(i), enabled=i != 3) for i in range(1, 6)]
    await sync(store, listed, now)
    for number, minutes in ((1, -1), (2, -3), (3, -9), (4, 1), (5, 0)):
        await store.write(lambda db, n=number, m=minutes: connectors.schedule(db, n, now + timedelta(minutes=m)))
    lease = timedelta(seconds=60)
    claimed = await store.write(lambda db: connectors.claim_due(db, now, 2, lease))
    assert [(c.name, c.next_probe_at) for c in claimed] == [("2", now + lease), ("1", now + lease)]
    assert [c.name for c in await store.write(lambda db: connectors.claim_due(db, now, 9, lease))] == ["5"]
    assert await store.write(lambda db: connectors.claim_due(db, now, 9, lease)) == []
    again = await store.write(lambda db: connectors.claim_due(db, now + lease, 9, lease))
    assert [c.name for c in again] == ["1", "2", "4", "5"]


async def test_switching_off_stops_probes_and_switching_on_starts_them_at_once(store: Store, now: datetime) -> None:
    await sync(store, [PLAIN], now)
    await store.write(lambda db: connectors.schedule(db, 1, now + 5 * LATER))
    for enabled, at, next_probe in ((False, now + LATER, now + 5 * LATER), (True, now + 2 * LATER, now + 2 * LATER)):
        for moment in (at, at + timedelta(minutes=1)):  # the second time nothing changes
            await store.write(lambda db, e=enabled, m=moment: connectors.set_enabled(db, 1, e, m))
        found = await store.read(lambda db: connectors.get(db, 1))
        assert found is not None
        assert (found.enabled, found.changed_at, found.next_probe_at) == (enabled, at, next_probe)


async def test_claiming_of_ten_thousand_is_quick(store: Store, now: datetime) -> None:
    await sync(store, [replace(PLAIN, key=str(i), name=str(i)) for i in range(10_000)], now)
    plan = (
        "EXPLAIN QUERY PLAN SELECT * FROM connectors WHERE enabled = 1 AND missing_since IS NULL AND next_probe_at <= 1"
    )
    assert "connectors_due" in str(await store.read(lambda db: db.execute(plan).fetchall()))
    assert len(await store.write(lambda db: connectors.claim_due(db, now, 200, LATER))) == 200
