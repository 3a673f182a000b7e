"""What people look at: one incident, every connector, the bot itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot.core.capabilities import Capability, Family, Place
from bot.core.events import EventKind
from bot.core.policy import Policy
from bot.services.monitor import tell_blind
from bot.services.timeline import record_event
from bot.services.views import connector_views, incident_view, status_view
from storage import actions, incidents, messages, outbox, probes, syncs
from storage.connection import Store
from storage.records import (
    Action,
    ActionState,
    Connector,
    Incident,
    MessageFacts,
    OutboxState,
    ProbeRecord,
    Severity,
)

FIX = {"files": frozenset({Capability.REJECT_MESSAGES})}


def probed(connector: Connector, clock: Any, code: str | None = None, **fingerprint: str) -> ProbeRecord:
    return ProbeRecord(
        connector_id=connector.id,
        at=clock(),
        ok=code is None,
        code=code,
        cause="refused" if code else None,
        status=None,
        stage="connect" if code else "done",
        degraded=False,
        elapsed_ms=3,
        document="{}",
        fingerprint=fingerprint,
    )


async def opened(store: Store, connector: Connector | None, clock: Any, **more: Any) -> Incident:
    def work(db: Any) -> Incident:
        new = incidents.insert(
            db,
            connector_id=connector.id if connector else None,
            code="4.4.316",
            severity=Severity.WARNING,
            now=clock(),
            first_failure_at=clock(),
            channel="C1",
            **more,
        )
        return record_event(db, new.id, EventKind.OPENED, now=clock(), data={"by": "probe"})

    return await store.write(work)


def waiting(clock: Any, **more: Any) -> MessageFacts:
    usual: dict[str, Any] = {
        "backend": "files",
        "key": "m1",
        "recipient": "user@contoso.test",
        "sender": "games@fabrikam.test",
        "received_at": clock(),
        "expires_at": clock() + timedelta(hours=24),
        "code": "4.4.316",
    }
    return MessageFacts(**(usual | more))


async def test_an_incident_is_shown_with_all_that_is_known(store: Store, contoso: Connector, clock: Any) -> None:
    await store.write(lambda db: probes.record(db, probed(contoso, clock, banner="old")))
    clock.advance(minutes=5)
    for _ in range(3):
        await store.write(lambda db: probes.record(db, probed(contoso, clock, "4.4.316", banner="new")))
    await store.write(lambda db: messages.sync(db, "files", [(waiting(clock), contoso.id)], clock(), complete=True))
    incident = await opened(store, contoso, clock)
    await store.write(lambda db: record_event(db, incident.id, EventKind.EVIDENCE, now=clock()))
    view = await store.read(lambda db: incident_view(db, incident.id, Policy(), clock(), FIX))
    assert view is not None
    assert (view.connector, view.queue.total, view.now) == (contoso, 1, clock())
    assert view.probe is not None
    assert view.probe.code == "4.4.316"
    assert view.last_good is not None
    assert [(d.before, d.after) for d in view.differences] == [("old", "new")]
    assert [e.kind for e in view.events] == ["opened"], "mere redraws are no part of the story"
    assert (view.capabilities, view.family) == (FIX["files"], Family.EXCHANGE_ONLINE)
    assert (view.action, view.steps, view.previous, view.disagreement) == (None, (), None, None)


async def test_the_kind_of_mail_system_is_known_where_the_bot_has_it(
    store: Store, contoso: Connector, clock: Any
) -> None:
    incident = await opened(store, contoso, clock)
    known = {"files": Place(family=Family.POSTFIX), "other": Place(family=Family.EXCHANGE_SERVER)}
    view = await store.read(lambda db: incident_view(db, incident.id, Policy(), clock(), {}, places=known))
    assert view is not None
    assert view.family is Family.POSTFIX


async def test_an_unknown_incident_has_no_view(store: Store, clock: Any) -> None:
    assert await store.read(lambda db: incident_view(db, 1, Policy(), clock(), {})) is None


async def test_the_monitors_own_incident_has_no_connector(store: Store, clock: Any) -> None:
    incident = await store.write(lambda db: tell_blind(db, clock(), "C1", seen="egress", connector_ids=[]))
    again = await store.write(lambda db: tell_blind(db, clock(), "C1", seen="egress", connector_ids=[]))
    view = await store.read(lambda db: incident_view(db, incident.id, Policy(), clock(), {}))
    assert view is not None
    assert again == incident
    assert (view.connector, view.queue.total, view.incident.code) == (None, 0, "blind")


async def test_a_connector_never_probed_has_an_empty_view(store: Store, contoso: Connector, clock: Any) -> None:
    incident = await opened(store, contoso, clock)
    view = await store.read(lambda db: incident_view(db, incident.id, Policy(), clock(), {}))
    assert view is not None
    assert (view.probe, view.last_good, view.differences, view.capabilities) == (None, None, (), frozenset())
    assert (view.queue_read_at, view.queue_stale) == (None, False)


async def test_the_one_before_and_the_last_fix_are_shown(store: Store, contoso: Connector, clock: Any) -> None:
    first = await opened(store, contoso, clock)
    await store.write(lambda db: incidents.change(db, first.id, state="resolved", resolved_at=clock()))
    second = await opened(store, contoso, clock, previous_id=first.id)
    offer = Action(
        id="a1",
        incident_id=second.id,
        connector_id=contoso.id,
        state=ActionState.OFFERED,
        offered_at=clock(),
        expires_at=clock(),
        plan="{}",
    )
    await store.write(lambda db: actions.offer(db, offer))
    view = await store.read(lambda db: incident_view(db, second.id, Policy(), clock(), {}))
    assert view is not None
    assert view.previous is not None
    assert (view.previous.id, view.action, view.steps) == (first.id, offer, ())


async def test_queue_figures_grow_stale(store: Store, contoso: Connector, clock: Any) -> None:
    incident = await opened(store, contoso, clock)

    def work(db: Any) -> None:
        syncs.finish(db, syncs.begin(db, "files", clock()), clock(), {})

    await store.write(work)
    read_at = clock()
    for minutes, stale in ((15, False), (1, True)):
        clock.advance(minutes=minutes)
        view = await store.read(lambda db: incident_view(db, incident.id, Policy(), clock(), {}))
        assert view is not None
        assert (view.queue_read_at, view.queue_stale) == (read_at, stale)


async def test_every_connector_is_a_line(store: Store, contoso: Connector, clock: Any) -> None:
    await store.write(lambda db: probes.record(db, probed(contoso, clock)))
    incident = await opened(store, contoso, clock)
    (line,) = await store.read(lambda db: connector_views(db, clock()))
    assert (line.connector, line.queue.total, line.incidents) == (contoso, 0, (incident,))
    assert line.probe is not None


async def test_the_status_tells_the_bots_own_troubles(store: Store, contoso: Connector, clock: Any) -> None:
    incident = await opened(store, contoso, clock)
    unassigned = replace(waiting(clock), key="m2")

    def work(db: Any) -> None:
        outbox.bury(db, 1, "not_in_channel")
        messages.sync(db, "files", [(unassigned, None)], clock(), complete=True)
        syncs.finish(db, syncs.begin(db, "files", clock()), clock(), {})
        syncs.finish(db, syncs.begin(db, "lab", clock()), clock(), {}, "it does not answer")
        tell_blind(db, clock(), "C1", seen="egress", connector_ids=[])

    await store.write(work)
    clock.advance(minutes=20)
    await store.write(lambda db: syncs.finish(db, syncs.begin(db, "files", clock()), clock(), {}, "refused"))
    status = await store.read(lambda db: status_view(db, Policy(), clock()))
    assert status.outbox == {OutboxState.DEAD: 1, OutboxState.PENDING: 1}
    assert status.dead == ("root of #1 for C1, 20 min old: not_in_channel",)
    assert status.syncs == {
        "files": "read 20 min ago (stale); last try failed: refused",
        "lab": "never read yet; last try failed: it does not answer",
    }
    assert status.late == ()
    assert status.unassigned.total == 1
    assert [i.code for i in status.monitor] == ["blind"]
    assert status.connectors[0].incidents == (incident,)


async def test_a_message_that_keeps_failing_is_said_to_be_late(store: Store, contoso: Connector, clock: Any) -> None:
    await opened(store, contoso, clock)
    clock.advance(minutes=3)
    await store.write(lambda db: outbox.postpone(db, 1, clock(), "Slack can't be reached"))
    status = await store.read(lambda db: status_view(db, Policy(), clock()))
    assert status.late == ("root of #1 for C1, 3 min old: Slack can't be reached",)
