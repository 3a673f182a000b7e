"""A mail system that was renamed or taken out of the settings is watched no more, and its figures are shown nowhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.backends.ports import Snapshot, Unreachable
from bot.core.policy import Policy
from bot.services.departed import let_go
from bot.services.syncing import Syncing
from bot.services.upkeep import Upkeep
from bot.services.views import incident_view, status_view
from bot.terminal import listings
from storage import connectors, domains, incidents, messages
from storage.connection import Store
from storage.records import (
    Connector,
    ConnectorFacts,
    ConnectorKind,
    DomainFacts,
    DomainType,
    MessageFacts,
    MessageStatus,
    SyncCounts,
)


class Tenant:
    """The same tenant under the name that it has in the settings; down: it can't be read."""

    capabilities = frozenset()

    def __init__(self, name: str, clock: Any) -> None:
        self.name, self.down = name, False
        received = clock() - timedelta(hours=1)
        server = ConnectorFacts(
            backend=name, key="guid", name="Contoso", kind=ConnectorKind.ON_PREMISES,
            recipient_domains=("contoso.test",),
        )  # fmt: skip
        waits = MessageFacts(
            backend=name, key="m1", recipient="user@contoso.test", sender="app@fabrikam.test", code="4.4.316",
            received_at=received, expires_at=received + timedelta(hours=24),
        )  # fmt: skip
        homeless = MessageFacts(
            backend=name, key="m2", recipient="user@elsewhere.test", sender="app@fabrikam.test",
            received_at=received, expires_at=received + timedelta(hours=24),
        )  # fmt: skip
        accepted = DomainFacts(backend=name, name="contoso.test", type=DomainType.INTERNAL_RELAY)
        self.parts = Snapshot(connectors=[server], domains=[accepted], messages=[waits, homeless])

    async def snapshot(self) -> Snapshot:
        if self.down:
            raise Unreachable("the client secret has expired")
        return self.parts


def reading(store: Store, clock: Any, *tenants: Any) -> Syncing:
    found = {tenant.name: tenant for tenant in tenants}
    return Syncing(store, found, Policy(), clock, default_channel="C1", monotonic=clock.monotonic)


@pytest.fixture
async def old(store: Store, clock: Any) -> Tenant:
    """It was read, has stuck mail and its incident, and can't be read since: that is told, too."""
    tenant = Tenant("exo", clock)
    syncing = reading(store, clock, tenant)
    await syncing.sync("exo")
    tenant.down = True
    for _ in range(6):
        clock.advance(minutes=15)
        await syncing.tick()
    assert [i.code for i in await store.read(incidents.open_everywhere)] == ["4.4.316", "sync:exo"]
    return tenant


async def looked_up(store: Store, clock: Any) -> None:
    await Upkeep(store, Policy(), clock, default_channel="C1", monotonic=clock.monotonic).tick()


async def due(store: Store, clock: Any) -> list[Connector]:
    return await store.write(lambda db: connectors.claim_due(db, clock.now, 10, timedelta(minutes=5)))


async def test_a_renamed_mail_system_is_watched_under_its_new_name_only(store: Store, old: Tenant, clock: Any) -> None:
    assert await let_go(store, ["contoso"], clock) == ["exo"]
    await reading(store, clock, Tenant("contoso", clock)).sync("contoso")
    await looked_up(store, clock)
    assert [c.backend for c in await store.read(connectors.every)] == ["contoso"]
    assert [c.backend for c in await due(store, clock)] == ["contoso"]
    assert await store.read(lambda db: domains.every(db, "exo")) == []
    view = await store.read(lambda db: status_view(db, Policy(), clock.now))
    assert (list(view.syncs), view.stale, view.monitor) == (["contoso"], (), ())
    assert sum(group.count for group in view.unassigned.by_code) == 1, "not what the old name still counted, besides"
    open_ones = await store.read(incidents.open_everywhere)
    assert [i.connector_id for i in open_ones] == [c.id for c in await store.read(connectors.every)]
    ended = await store.read(lambda db: incidents.last_resolved(db, None, "sync:exo"))
    assert ended is not None
    assert ended.resolution == "not configured"
    assert await let_go(store, ["contoso"], clock) == []


async def test_one_that_is_configured_or_imported_stays(store: Store, old: Tenant, clock: Any) -> None:
    files = ConnectorFacts(backend="files", key="f", name="From a file", kind=ConnectorKind.PARTNER)
    await store.write(lambda db: connectors.sync(db, "files", [files], clock.now, complete=False))
    assert await let_go(store, ["exo", "new"], clock) == []
    assert [c.backend for c in await store.read(connectors.every)] == ["exo", "files"]
    assert "exo" in (await store.read(lambda db: status_view(db, Policy(), clock.now))).syncs


async def test_one_that_comes_back_is_taken_up_again(store: Store, old: Tenant, clock: Any) -> None:
    await let_go(store, [], clock)
    refs = [("m1", "user@contoso.test")]
    (kept,) = await store.read(lambda db: messages.get_refs(db, "exo", refs))
    assert kept.status is MessageStatus.GONE
    await looked_up(store, clock)
    assert await store.read(incidents.open_everywhere) == []
    old.down = False
    counts = await reading(store, clock, old).sync("exo")
    assert counts["connectors"] == SyncCounts(changed=1)
    (back,) = await store.read(lambda db: messages.get_refs(db, "exo", refs))
    assert (back.status, back.connector_id) == (MessageStatus.QUEUED, kept.connector_id)
    assert [i.code for i in await store.read(incidents.open_everywhere)] == ["4.4.316"]


async def test_incidents_keep_their_connectors_name_and_say_that_its_mail_system_is_gone(
    store: Store, old: Tenant, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")

    async def listed() -> tuple[Any, str]:
        rows = await listings.read("incidents", store, clock.now, Policy())
        return rows[-1]["unconfigured"], listings.render("incidents", rows[-1:], clock.now)

    assert (await listed())[0] is None
    await let_go(store, [], clock)
    await looked_up(store, clock)
    unconfigured, drawn = await listed()
    assert unconfigured == "exo"
    assert "Contoso (exo isn't configured any more)" in drawn
    view = await store.read(lambda db: incident_view(db, 1, Policy(), clock.now, {}))
    assert view is not None
    assert view.connector is not None
    assert (view.connector.name, view.unconfigured) == ("Contoso", True)


async def test_a_connector_that_its_mail_system_lacks_is_not_said_to_be_of_one_that_is_gone(
    store: Store, old: Tenant, clock: Any
) -> None:
    old.down, old.parts = False, Snapshot(connectors=[], domains=[], messages=[])
    await reading(store, clock, old).sync("exo")
    view = await store.read(lambda db: incident_view(db, 1, Policy(), clock.now, {}))
    assert view is not None
    assert view.connector is not None
    assert (view.connector.missing_since is None, view.unconfigured) == (False, False)
