"""What time alone brings, and only as much work as there is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.core.policy import Policy
from bot.services.triage import triage_connector, triage_many
from bot.services.upkeep import KEEP_PROBES, Upkeep, may_be_told_louder, prune, suspects
from storage import actions, inbox, incidents, messages, outbox, probes
from storage.connection import Store
from storage.incidents import Waiting
from storage.records import Action, ActionState, Connector, MessageFacts, OutboxState, ProbeRecord, Severity


async def deferred(store: Store, contoso: Connector, clock: Any, age: timedelta = timedelta(0)) -> None:
    facts = MessageFacts(
        backend="files",
        key="m1",
        recipient="user@contoso.test",
        sender="games@fabrikam.test",
        received_at=clock() - age,
        expires_at=clock() - age + timedelta(hours=24),
        code="4.4.316",
    )
    await store.write(lambda db: messages.sync(db, "files", [(facts, contoso.id)], clock(), complete=True))


@pytest.fixture
def upkeep(store: Store, clock: Any) -> Upkeep:
    return Upkeep(store, Policy(), clock, default_channel="C1", monotonic=clock.monotonic)


async def swept(store: Store, clock: Any) -> int:
    due = await store.read(lambda db: suspects(db, Policy(), clock()))
    await triage_many(store, due, Policy(), clock(), default_channel="C1", steady=True)
    return len(due)


async def test_only_what_may_have_changed_is_looked_at(store: Store, contoso: Connector, clock: Any) -> None:
    assert await swept(store, clock) == 0
    await deferred(store, contoso, clock)
    assert await swept(store, clock) == 0
    clock.advance(minutes=16)
    assert await swept(store, clock) == 1
    assert await swept(store, clock) == 0, "its incident is open, and no mark is near"
    clock.advance(hours=4)
    assert await swept(store, clock) == 1
    (incident,) = await store.read(incidents.open_everywhere)
    assert incident.escalated == 1
    assert await swept(store, clock) == 0


@pytest.mark.parametrize(
    ("severity", "escalated", "hours", "due"),
    [
        (Severity.WARNING, 0, 3.9, False),
        (Severity.WARNING, 0, 4.0, True),
        (Severity.WARNING, 1, 4.0, True),
        (Severity.CRITICAL, 1, 4.0, False),
        (Severity.CRITICAL, 1, 12.0, True),
    ],
)
async def test_an_incident_is_due_when_a_mark_has_passed(
    clock: Any, severity: Severity, escalated: int, hours: float, due: bool
) -> None:
    received = clock() - timedelta(hours=hours)
    waiting = Waiting(
        connector_id=1,
        severity=severity,
        escalated=escalated,
        waiting=1,
        oldest_received_at=received,
        first_expiry_at=received + timedelta(hours=24),
    )
    assert may_be_told_louder(waiting, Policy(), clock()) is due


async def test_queues_are_sampled_every_five_minutes(
    store: Store, contoso: Connector, clock: Any, upkeep: Upkeep
) -> None:
    begun = clock()
    await deferred(store, contoso, clock)
    for _ in range(16):
        await upkeep.tick()
        clock.advance(minutes=1)
    samples = await store.read(lambda db: messages.samples(db, contoso.id, begun))
    assert samples == [(begun + timedelta(minutes=m), 1) for m in (0, 5, 10, 15)]


async def test_unassigned_mail_has_no_samples(store: Store, contoso: Connector, clock: Any, upkeep: Upkeep) -> None:
    await deferred(store, contoso, clock)
    await store.write(lambda db: messages.assign(db, [(1, None)]))
    await upkeep.tick()
    assert await store.read(lambda db: messages.samples(db, contoso.id, clock())) == []


async def test_a_clock_set_back_does_not_stop_upkeep(
    store: Store, contoso: Connector, clock: Any, upkeep: Upkeep
) -> None:
    await deferred(store, contoso, clock)
    await upkeep.tick()
    clock.set(hours=-1)
    for _ in range(6):
        await upkeep.tick()
        clock.advance(minutes=1)
    begun = clock() - timedelta(hours=1)
    assert len(await store.read(lambda db: messages.samples(db, contoso.id, begun))) == 2


async def test_old_facts_are_forgotten_and_the_newest_stay(store: Store, contoso: Connector, clock: Any) -> None:
    def probe(db: Any) -> None:
        probes.record(
            db,
            ProbeRecord(
                connector_id=contoso.id,
                at=clock(),
                ok=True,
                code=None,
                cause=None,
                status=None,
                stage="done",
                degraded=False,
                elapsed_ms=1,
                document="{}",
            ),
        )

    for _ in range(3):
        await store.write(probe)
    await store.write(lambda db: inbox.admit(db, "k", clock()))
    clock.advance(days=KEEP_PROBES.days + 1)
    await store.write(lambda db: prune(db, clock()))
    assert len(await store.read(lambda db: probes.recent(db, contoso.id, 9))) == 1
    assert await store.write(lambda db: inbox.admit(db, "k", clock()))


async def test_an_unknown_connector_is_nobodys_trouble(store: Store, clock: Any) -> None:
    assert await store.write(lambda db: triage_connector(db, 99, Policy(), clock(), default_channel="C1")) == []


async def test_an_open_incident_without_any_message_is_tried_again_now_and_then(
    store: Store, contoso: Connector, clock: Any, upkeep: Upkeep
) -> None:
    await deferred(store, contoso, clock, age=timedelta(minutes=20))
    await upkeep.tick()
    await store.write(lambda db: outbox.bury(db, 1, "not_in_channel"))
    states = []
    for _ in range(3):
        clock.advance(minutes=6)
        await upkeep.tick()
        states.append((await store.read(lambda db: outbox.recent(db, 1)))[0].state)
    assert states == [OutboxState.DEAD, OutboxState.DEAD, OutboxState.PENDING]


async def test_mail_that_nobody_reports_any_more_ends_an_hour_after_its_time(
    store: Store, contoso: Connector, clock: Any, upkeep: Upkeep
) -> None:
    await deferred(store, contoso, clock)
    await upkeep.tick()
    clock.advance(hours=24, minutes=30)
    await upkeep.tick()
    assert (await store.read(lambda db: messages.summary(db, contoso.id))).total == 1
    clock.advance(hours=1)
    await upkeep.tick()
    assert (await store.read(lambda db: messages.summary(db, contoso.id))).total == 0


async def test_nothing_is_ended_or_forgotten_in_the_first_minutes_nor_after_the_clock_was_set(
    store: Store, contoso: Connector, clock: Any, upkeep: Upkeep
) -> None:
    async def kept() -> bool:
        waits = (await store.read(lambda db: messages.summary(db, contoso.id))).total == 1
        return waits and not await store.write(lambda db: inbox.admit(db, "k", clock()))

    await deferred(store, contoso, clock, age=timedelta(hours=25, minutes=30))
    await store.write(lambda db: inbox.admit(db, "k", clock() - timedelta(days=2)))
    await upkeep.tick()
    clock.advance(minutes=4)
    await upkeep.tick()
    assert await kept()
    clock.set(days=900)
    await upkeep.tick()
    clock.advance(minutes=4)
    await upkeep.tick()
    clock.set(days=-900)
    await upkeep.clock_jumped()
    clock.advance(minutes=4)
    await upkeep.tick()
    assert await kept()
    clock.advance(minutes=2)
    await upkeep.tick()
    assert not await kept()


async def test_a_verification_that_was_put_off_by_a_clock_ahead_comes_within_its_time(
    store: Store, contoso: Connector, clock: Any, upkeep: Upkeep
) -> None:
    def verifying(db: Any) -> None:
        opened = incidents.insert(
            db, connector_id=contoso.id, code="4.4.316", severity=Severity.WARNING, now=clock(),
            first_failure_at=clock(), channel="C1",
        )  # fmt: skip
        offer = Action(
            id="a", incident_id=opened.id, connector_id=contoso.id, state=ActionState.OFFERED, offered_at=clock(),
            expires_at=clock() + timedelta(minutes=10), plan="{}",
        )  # fmt: skip
        actions.offer(db, offer)
        actions.claim(db, "a", "U1", (), clock())
        ahead = clock() + timedelta(days=365)
        actions.set_state(db, "a", [ActionState.CLAIMED], ActionState.VERIFYING, verify_at=ahead)

    await store.write(verifying)
    await upkeep.clock_jumped()
    found = await store.read(lambda db: actions.get(db, "a"))
    assert found is not None and found.verify_at == clock() + timedelta(hours=1)
