"""The queue as people look at it, from a real database."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from bot.core.evidence import SampleKind
from bot.core.policy import Policy
from bot.core.views import ConnectorView, Disagreement
from bot.services import queue_views
from bot.services.views import connector_views, incident_view, one_queue, queue_view, status_view
from storage import connectors, incidents, messages, meta, probes, syncs
from storage.connection import Store
from storage.records import Connector, ConnectorFacts, ConnectorKind, MessageFacts, MessageStatus, ProbeRecord, Severity

DAY = timedelta(days=1)
REFUSED = "450 4.4.316 Connection refused"


def message(clock: Any, n: int, age: timedelta, **more: Any) -> MessageFacts:
    usual: dict[str, Any] = {
        "backend": "files",
        "key": f"m{n}",
        "recipient": f"user{n}@contoso.test",
        "sender": "games@fabrikam.test",
        "received_at": clock() - age,
        "expires_at": clock() - age + DAY,
        "code": "4.4.316",
        "reason": REFUSED,
    }
    return MessageFacts(**(usual | more))


async def take(store: Store, connector: Connector | None, clock: Any, *facts: MessageFacts) -> None:
    owner = connector.id if connector else None
    rows = [(one, owner) for one in facts]
    await store.write(lambda db: messages.sync(db, "files", rows, clock(), complete=True))


async def read(store: Store, clock: Any, failed: bool = False) -> None:
    def work(db: Any) -> None:
        syncs.finish(db, syncs.begin(db, "files", clock()), clock(), {}, "HTTP 503" if failed else None)

    await store.write(work)


async def probed(store: Store, connector: Connector, clock: Any, code: str | None, *failing: str) -> None:
    document = json.dumps({"targets": [{"ok": False, "code": c} for c in failing]})
    made = ProbeRecord(
        connector_id=connector.id, at=clock(), ok=code is None, code=code, cause=None, status=None,
        stage="connect" if code else "done", degraded=bool(failing), elapsed_ms=3, document=document,
    )  # fmt: skip
    await store.write(lambda db: probes.record(db, made))


async def opened(store: Store, connector: Connector, clock: Any) -> int:
    made = await store.write(
        lambda db: incidents.insert(
            db, connector_id=connector.id, code="4.4.316", severity=Severity.WARNING, now=clock(),
            first_failure_at=clock(), channel="C1",
        )
    )  # fmt: skip
    return made.id


@dataclass
class Side:
    """One connector and the clock that it is looked at by."""

    connector: Connector
    clock: Any


@pytest.fixture
def side(contoso: Connector, clock: Any) -> Side:
    return Side(contoso, clock)


async def row(store: Store, clock: Any) -> ConnectorView:
    view = await store.read(lambda db: queue_view(db, Policy(), clock()))
    return view.connectors[0]


async def test_a_queue_has_its_clock_from_what_is_stored(store: Store, contoso: Connector, clock: Any) -> None:
    old, young = timedelta(hours=5), timedelta(minutes=30)
    await take(store, contoso, clock, *(message(clock, n, old) for n in range(3)), message(clock, 9, young))
    await read(store, clock)
    found = await row(store, clock)
    assert found.clock.waiting == 4
    assert {band.name: band.count for band in found.clock.bands if band.count} == {"4-8 h": 3, "15-60 min": 1}
    assert [found.clock.within(hours) for hours in (1, 8, 24)] == [0, 0, 4]
    assert found.clock.pace is not None
    assert found.clock.pace.arrived == 1
    assert (found.queue_read_at, found.queue_stale, found.sample, found.disagreement) == (clock(), False, None, None)


async def test_bounces_that_were_seen_are_counted_for_a_day(store: Store, contoso: Connector, clock: Any) -> None:
    facts = [message(clock, n, timedelta(hours=23)) for n in range(3)]
    await take(store, contoso, clock, *facts)
    clock.advance(hours=2)
    await take(store, contoso, clock, *(replace(one, status=MessageStatus.EXPIRED) for one in facts))
    assert (await row(store, clock)).clock.bounced == 3
    clock.advance(hours=25)
    assert (await row(store, clock)).clock.bounced == 0


async def test_old_figures_and_failing_sources_are_named(store: Store, contoso: Connector, clock: Any) -> None:
    await take(store, contoso, clock, message(clock, 1, timedelta(hours=1)))
    await read(store, clock)
    assert await store.read(lambda db: queue_views.stale_sources(db, Policy(), clock())) == ()
    clock.advance(minutes=16)
    await read(store, clock, failed=True)
    view = await store.read(lambda db: queue_view(db, Policy(), clock()))
    (stale,) = view.stale
    assert stale.read_at is not None
    assert (stale.backend, clock() - stale.read_at, stale.error) == ("files", timedelta(minutes=16), "HTTP 503")
    assert view.connectors[0].queue_stale


async def test_a_mail_system_that_was_never_read_is_named_from_its_first_failed_try(
    store: Store, contoso: Connector, clock: Any
) -> None:
    await read(store, clock, failed=True)
    view = await store.read(lambda db: queue_view(db, Policy(), clock()))
    assert [(s.backend, s.read_at, s.error) for s in view.stale] == [("files", None, "HTTP 503")]
    one = await store.read(lambda db: one_queue(db, contoso.id, Policy(), clock()))
    assert one is not None
    assert one.never_read == view.stale


async def test_what_belongs_to_no_connector_has_a_clock_of_its_own(
    store: Store, contoso: Connector, clock: Any
) -> None:
    await take(store, None, clock, message(clock, 1, timedelta(hours=5)), message(clock, 2, timedelta(hours=5)))
    view = await store.read(lambda db: status_view(db, Policy(), clock()))
    assert view.unassigned.total == 2
    assert view.unassigned_clock.within(24) == 2
    assert view.connectors[0].clock.waiting == 0


async def test_a_sampled_queue_is_told_as_such(store: Store, contoso: Connector, clock: Any) -> None:
    hour = timedelta(hours=1)
    unknown = [message(clock, n, hour, code=None, reason=None) for n in range(10, 40)]
    await take(store, contoso, clock, *(message(clock, n, hour) for n in range(3)), *unknown)
    sample = (await row(store, clock)).sample
    assert sample is not None
    assert (sample.kind, sample.known, sample.waiting) == (SampleKind.AGREES, 3, 33)


@pytest.mark.parametrize(
    ("code", "failing", "expected"),
    [
        (None, (), Disagreement.FIREWALL_ADMITS_BOT_ONLY),
        (None, ("4.4.316",), Disagreement.SOME_SERVERS),
        ("4.4.316", (), None),
        ("4.4.315", (), Disagreement.NEITHER_CONNECTS),
    ],
)
async def test_queue_and_probe_are_compared_where_an_incident_is_open(
    store: Store, side: Side, code: str | None, failing: tuple[str, ...], expected: Disagreement | None
) -> None:
    contoso, clock = side.connector, side.clock
    await take(store, contoso, clock, message(clock, 1, timedelta(hours=1)))
    await probed(store, contoso, clock, code, *failing)
    assert (await row(store, clock)).disagreement is None, "nobody asks while nothing is open"
    number = await opened(store, contoso, clock)
    await store.write(lambda db: meta.put(db, "address_ranges:files", '{"ranges": ["40.92.0.0/15"], "read_at": null}'))
    found = await row(store, clock)
    view = await store.read(lambda db: incident_view(db, number, Policy(), clock(), {}))
    assert view is not None
    assert (found.disagreement, view.disagreement) == (expected, expected)
    assert found.allowed_from == view.allowed_from
    assert view.allowed_from is not None
    assert (view.allowed_from.system, view.allowed_from.ranges) == ("Microsoft 365", ("40.92.0.0/15",))
    assert view.clock.waiting == 1


@pytest.mark.parametrize(
    ("is_cloud", "expected"),
    [(True, Disagreement.FIREWALL_ADMITS_BOT_ONLY), (False, Disagreement.JUST_REPAIRED)],
)
async def test_a_repaired_server_has_as_long_as_the_mail_system_takes_to_try_again(
    store: Store, side: Side, is_cloud: bool, expected: Disagreement
) -> None:
    contoso, clock = side.connector, side.clock
    for code, minutes in (*[("4.4.316", 1)] * 8, (None, 70)):
        await probed(store, contoso, clock, code)
        clock.advance(minutes=minutes)
    await take(store, contoso, clock, message(clock, 1, timedelta(hours=3)))
    number = await opened(store, contoso, clock)
    if is_cloud:
        await store.write(lambda db: meta.put(db, "address_ranges:files", '{"ranges": [], "read_at": null}'))
    found = await row(store, clock)
    view = await store.read(lambda db: incident_view(db, number, Policy(), clock(), {}))
    assert view is not None
    assert (found.disagreement, view.disagreement) == (expected, expected)


async def test_one_queue_has_its_top_lists(store: Store, contoso: Connector, clock: Any) -> None:
    hour = timedelta(hours=1)
    await take(store, contoso, clock, message(clock, 1, hour), message(clock, 2, hour, sender="b@fabrikam.test"))
    one = await store.read(lambda db: one_queue(db, contoso.id, Policy(), clock()))
    assert one is not None
    assert one.top.domains == (("contoso.test", 2),)
    assert {name for name, _ in one.top.senders} == {"games@fabrikam.test", "b@fabrikam.test"}
    assert await store.read(lambda db: one_queue(db, 999, Policy(), clock())) is None


async def test_only_the_most_urgent_connectors_are_looked_at_in_detail(store: Store, clock: Any) -> None:
    facts = [
        ConnectorFacts(backend="files", key=f"k{n}", name=f"Con {n:03}", kind=ConnectorKind.PARTNER) for n in range(70)
    ]
    await store.write(lambda db: connectors.sync(db, "files", facts, clock(), complete=True))
    await read(store, clock)
    rows = await store.read(lambda db: connector_views(db, clock()))
    await take(store, rows[69].connector, clock, message(clock, 1, timedelta(hours=2)))
    view = await store.read(lambda db: queue_view(db, Policy(), clock()))
    assert [r.connector.name for r in view.connectors] == [r.connector.name for r in rows]
    looked_at = [r for r in view.connectors if r.clock.bands]
    assert len(looked_at) == queue_views.DETAILED
    assert view.connectors[69].clock.waiting == 1
