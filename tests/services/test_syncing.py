"""Reading the mail systems: taken over whole with its consequences, or recorded as failed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.backends.ports import Snapshot, Unreachable
from bot.core.policy import Policy
from bot.services.syncing import Syncing
from storage import connectors, domains, incidents, messages, outbox, syncs
from storage.connection import Store
from storage.records import (
    Caution,
    ConnectorFacts,
    ConnectorKind,
    DomainFacts,
    DomainType,
    IncidentState,
    MessageFacts,
    MessageStatus,
    SyncCounts,
)


class MailSystem:
    """Lists what it was given, or fails."""

    capabilities = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: BaseException | None = None
        self.parts = Snapshot()

    async def snapshot(self) -> Snapshot:
        if self.error is not None:
            raise self.error
        return self.parts


def connector(name: str, backend: str = "lab", **more: Any) -> ConnectorFacts:
    usual = {"kind": ConnectorKind.ON_PREMISES, "recipient_domains": (f"{name.lower()}.test",)}
    return ConnectorFacts(backend=backend, key=name.lower(), name=name, **(usual | more))


def message(key: str, clock: Any, recipient: str = "user@contoso.test", age: float = 20, **more: Any) -> MessageFacts:
    received = clock() - timedelta(minutes=age)
    return MessageFacts(
        backend="lab",
        key=key,
        recipient=recipient,
        sender="games@fabrikam.test",
        received_at=received,
        expires_at=received + timedelta(hours=24),
        **more,
    )


@pytest.fixture
def lab() -> MailSystem:
    return MailSystem("lab")


@pytest.fixture
def other() -> MailSystem:
    return MailSystem("other")


@pytest.fixture
def syncing(store: Store, lab: Any, other: Any, clock: Any) -> Syncing:
    return Syncing(store, {"lab": lab, "other": other}, Policy(), clock, default_channel="C1")


async def test_everything_listed_is_taken_over_and_counted(
    store: Store, lab: MailSystem, syncing: Syncing, clock: Any
) -> None:
    lab.parts = Snapshot(
        connectors=[connector("Contoso")],
        domains=[DomainFacts(backend="lab", name="contoso.test", type=DomainType.INTERNAL_RELAY)],
        messages=[message("m1", clock), message("m2", clock, code="4.4.316")],
    )
    counts = await syncing.sync("lab")
    assert counts["connectors"] == SyncCounts(added=1)
    assert counts["messages"] == SyncCounts(added=2)
    assert [d.name for d in await store.read(lambda db: domains.every(db, "lab"))] == ["contoso.test"]
    run = (await store.read(syncs.latest))["lab"]
    assert (run.error, run.counts["messages_added"]) == (None, 2)


async def test_a_part_that_is_not_read_is_left_alone(store: Store, lab: MailSystem, syncing: Syncing) -> None:
    lab.parts = Snapshot(connectors=[connector("Contoso")])
    await syncing.sync("lab")
    lab.parts = Snapshot()
    assert await syncing.sync("lab") == {}
    assert len(await store.read(connectors.every)) == 1


async def test_stuck_mail_and_its_incident_arrive_in_one_transaction(
    store: Store, lab: MailSystem, syncing: Syncing, clock: Any
) -> None:
    lab.parts = Snapshot(connectors=[connector("Contoso")], messages=[message("m1", clock, code="4.4.316")])
    await syncing.sync("lab")
    (incident,) = await store.read(incidents.open_everywhere)
    assert (incident.code, incident.channel) == ("4.4.316", "C1")
    assert len(await store.read(outbox.heads)) == 1


async def test_a_connectors_own_channel_wins(store: Store, lab: MailSystem, syncing: Syncing, clock: Any) -> None:
    lab.parts = Snapshot(
        connectors=[connector("Contoso", alert_channel="C2")], messages=[message("m1", clock, code="4.4.316")]
    )
    await syncing.sync("lab")
    (incident,) = await store.read(incidents.open_everywhere)
    assert incident.channel == "C2"


async def test_the_mail_system_says_which_connector_or_we_find_it(
    store: Store, lab: MailSystem, syncing: Syncing, clock: Any
) -> None:
    lab.parts = Snapshot(
        connectors=[connector("Contoso"), connector("Fabrikam")],
        messages=[
            message("said", clock, connector_key="fabrikam"),
            message("found", clock),
            message("unknown key", clock, connector_key="nobody"),
            message("nowhere", clock, recipient="user@elsewhere.test"),
        ],
    )
    await syncing.sync("lab")
    known = {c.name: c.id for c in await store.read(connectors.every)}
    waiting = {
        m.key: m.connector_id
        for c in (*known.values(), None)
        for m in await store.read(lambda db, c=c: messages.waiting(db, c))
    }
    assert waiting == {
        "said": known["Fabrikam"],
        "found": known["Contoso"],
        "unknown key": known["Contoso"],
        "nowhere": None,
    }


async def test_a_changed_caution_is_stored_and_the_same_again_is_not(
    store: Store, lab: MailSystem, syncing: Syncing
) -> None:
    lab.parts = Snapshot(connectors=[connector("Contoso")])
    await syncing.sync("lab")
    cautions = frozenset({Caution.RULE_SCOPED, Caution.TEST_MODE})
    lab.parts = Snapshot(connectors=[connector("Contoso", cautions=cautions)])
    assert (await syncing.sync("lab"))["connectors"] == SyncCounts(changed=1)
    (stored,) = await store.read(connectors.every)
    assert stored.cautions == cautions
    assert (await syncing.sync("lab"))["connectors"] == SyncCounts(unchanged=1)


async def test_where_the_mail_systems_own_routing_is_known_nobody_guesses_a_connector(
    store: Store, lab: MailSystem, syncing: Syncing, clock: Any
) -> None:
    refused = {"reason": "450 4.4.316 refused"}
    listed = [message("tried", clock, **refused), message("said", clock, connector_key="fabrikam", **refused)]
    lab.parts = Snapshot(connectors=[connector("Contoso"), connector("Fabrikam")], messages=listed)
    await syncing.sync("lab")
    contoso, fabrikam = sorted(await store.read(connectors.every), key=lambda c: c.name)
    listed.append(message("new", clock))

    async def carriers() -> dict[str, int | None]:
        refs = [(m.key, m.recipient) for m in listed]
        return {m.key: m.connector_id for m in await store.read(lambda db: messages.get_refs(db, "lab", refs))}

    assert await carriers() == {"tried": contoso.id, "said": fabrikam.id}
    lab.parts = replace(lab.parts, routed=True)
    await syncing.sync("lab")
    assert await carriers() == {"tried": None, "said": fabrikam.id, "new": None}


async def test_a_reason_without_a_code_is_diagnosed(
    store: Store, lab: MailSystem, syncing: Syncing, clock: Any
) -> None:
    reason = "connect to mail.contoso.test[192.0.2.1]:25: Connection refused"
    lab.parts = Snapshot(
        connectors=[connector("Contoso")],
        messages=[message("m1", clock, reason=reason), message("m2", clock, code="4.4.318", reason=reason)],
    )
    await syncing.sync("lab")
    found = {c.code for c in (await store.read(messages.summaries)).popitem()[1].by_code}
    assert found == {"4.4.316", "4.4.318"}


async def test_an_unreadable_system_is_recorded_keeps_its_figures_and_stops_nobody_else(
    store: Store, lab: MailSystem, other: MailSystem, syncing: Syncing, clock: Any
) -> None:
    lab.parts = Snapshot(connectors=[connector("Contoso")], messages=[message("m1", clock)])
    other.parts = Snapshot(connectors=[connector("Fabrikam", "other")])
    await syncing.sync("lab")
    lab.error = Unreachable("connection refused:\n check its address")
    await syncing.tick()
    runs = await store.read(syncs.latest)
    assert (runs["lab"].error, runs["other"].error) == ("connection refused: check its address", None)
    assert (await store.read(messages.summaries)).popitem()[1].total == 1
    assert len(await store.read(connectors.every)) == 2
    lab.error = None
    await syncing.tick()
    assert (await store.read(syncs.latest))["lab"].error is None


async def test_a_fault_of_ours_is_recorded_too(store: Store, lab: MailSystem, syncing: Syncing) -> None:
    lab.error = ZeroDivisionError()
    await syncing.tick()
    assert (await store.read(syncs.latest))["lab"].error == "ZeroDivisionError"


async def test_a_system_that_hangs_is_given_up(store: Store, lab: MailSystem, clock: Any) -> None:
    class Hanging(MailSystem):
        async def snapshot(self) -> Snapshot:
            await asyncio.Event().wait()
            raise AssertionError

    syncing = Syncing(store, {"lab": Hanging("lab")}, Policy(), clock, default_channel="C1", deadline=0.01)
    with pytest.raises(Unreachable, match="did not answer"):
        await syncing.sync("lab")


async def test_a_read_that_breaks_off_by_itself_is_a_failure_like_any_other(
    store: Store, lab: MailSystem, syncing: Syncing
) -> None:
    lab.error = asyncio.CancelledError()
    await syncing.tick()
    assert (await store.read(syncs.latest))["lab"].error == "its read was broken off"


async def test_a_system_that_hangs_keeps_no_other_waiting(
    store: Store, lab: MailSystem, other: MailSystem, clock: Any
) -> None:
    begun = asyncio.Event()

    class Hanging(MailSystem):
        async def snapshot(self) -> Snapshot:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    systems: Any = {"lab": Hanging("lab"), "other": other}
    syncing = Syncing(store, systems, Policy(), clock, default_channel="C1", every=timedelta(seconds=30))
    hanging = asyncio.create_task(syncing.tick("lab"))
    await begun.wait()
    await syncing.tick("other")
    assert (await store.read(syncs.latest))["other"].finished_at is not None
    assert not hanging.done()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert (await store.read(syncs.latest))["lab"].error is None
    assert syncing.interval("lab") == timedelta(seconds=30)


async def test_what_an_unstored_list_lacked_is_not_delivered_because_the_next_one_lacks_it_too(
    store: Store, lab: MailSystem, syncing: Syncing, clock: Any
) -> None:
    lab.parts = Snapshot(messages=[message("m1", clock), message("m2", clock)])
    await syncing.sync("lab")
    full = ConnectorFacts(backend="lab", key="\udc00", name="no text", kind=ConnectorKind.PARTNER)
    lab.parts = Snapshot(connectors=[full], messages=[message("m2", clock)], vanished=MessageStatus.DELIVERED)
    with pytest.raises(UnicodeEncodeError):
        await syncing.sync("lab")
    lab.parts = Snapshot(messages=[message("m2", clock)], vanished=MessageStatus.DELIVERED)
    await syncing.sync("lab")
    lab.parts = Snapshot(messages=[], vanished=MessageStatus.DELIVERED)
    await syncing.sync("lab")
    refs = [("m1", "user@contoso.test"), ("m2", "user@contoso.test")]
    found = await store.read(lambda db: messages.get_refs(db, "lab", refs))
    assert [m.status for m in found] == [MessageStatus.GONE, MessageStatus.DELIVERED]


async def test_two_reads_of_one_system_take_turns(store: Store, lab: MailSystem, syncing: Syncing, clock: Any) -> None:
    lab.parts = Snapshot(connectors=[connector("Contoso")])
    one, two = await asyncio.gather(syncing.sync("lab"), syncing.sync("lab"))
    assert (one["connectors"].added, two["connectors"].unchanged) == (1, 1)


async def test_an_unknown_system_is_a_key_error(syncing: Syncing) -> None:
    with pytest.raises(KeyError):
        await syncing.sync("nobody")


async def test_ten_thousand_messages_read_twice_are_one_alert(
    store: Store, lab: MailSystem, syncing: Syncing, clock: Any
) -> None:
    """R12 with a tenth of the figure; the whole one is in tests/bench."""
    lab.parts = Snapshot(
        connectors=[connector("Contoso")],
        messages=[message(f"m{n}", clock, reason="Connection refused") for n in range(10_000)],
    )
    await syncing.sync("lab")
    await syncing.sync("lab")
    (incident,) = await store.read(incidents.open_everywhere)
    assert incident.state is IncidentState.FIRING


async def test_a_flood_of_changes_is_looked_at_whole(
    store: Store, syncing: Syncing, lab: MailSystem, clock: Any
) -> None:
    names = [f"C{n}" for n in range(600)]
    lab.parts = Snapshot(
        connectors=[connector(name) for name in names],
        messages=[message(name, clock, f"u@{name.lower()}.test", reason="450 4.4.316 refused") for name in names],
    )
    await syncing.sync("lab")
    assert len(await store.read(incidents.open_everywhere)) == 600
