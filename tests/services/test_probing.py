"""Probes of known connectors: one at a time each, recorded with what they change, scheduled again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult, TargetResult, overall
from bot.core.probe_schedule import SPREAD
from bot.probes.runner import ProbeRequest
from bot.services.probing import Probing
from knowledge.classify import Cause, Stage
from storage import connectors, incidents, probes
from storage.connection import Store
from storage.records import Connector, ConnectorFacts, ConnectorKind, IncidentState

FINE = overall([TargetResult(host="mail.contoso.test", port=25, ip="192.0.2.1", banner="220 ready")], 12.4)
REFUSED = overall(
    [TargetResult(host="h", port=25, ok=False, code="4.4.316", cause=Cause.REFUSED, stage=Stage.CONNECT)], 3.0
)


class Network:
    """Answers every probe with `result`, once `gate` is open; counts how many are under way."""

    def __init__(self) -> None:
        self.result: ProbeResult | Exception = FINE
        self.gate = asyncio.Event()
        self.gate.set()
        self.now = self.most = 0
        self.asked: list[ProbeRequest] = []
        self._arrived = asyncio.Event()

    async def reached(self, count: int) -> None:
        """Wait until so many probes were asked for."""
        while len(self.asked) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def note(self, request: ProbeRequest) -> None:
        self.asked.append(request)
        self._arrived.set()

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        self.note(request)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def egress_open(self, targets: Sequence[tuple[str, int]], timeout: float) -> bool:
        raise AssertionError("no way out to check is set")


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def probing(store: Store, network: Network, clock: Any) -> Probing:
    return Probing(
        store,
        network,
        Policy(),
        clock,
        default_port=2525,
        default_channel="C1",
        concurrency=8,
        monotonic=clock.monotonic,
    )


async def due(store: Store, connector: Connector) -> Any:
    found = await store.read(lambda db: connectors.get(db, connector.id))
    assert found is not None
    return found.next_probe_at


async def more_connectors(store: Store, clock: Any, count: int) -> None:
    facts = [
        ConnectorFacts(backend="lab", key=str(n), name=f"C{n}", kind=ConnectorKind.PARTNER, smart_hosts=(f"h{n}.test",))
        for n in range(count)
    ]
    await store.write(lambda db: connectors.sync(db, "lab", facts, clock(), complete=True))


async def test_a_probe_is_stored_with_its_document_and_the_settings_it_was_made_with(
    store: Store, contoso: Connector, probing: Probing, network: Network
) -> None:
    record = await probing.probe(contoso.id)
    (stored,) = await store.read(lambda db: probes.recent(db, contoso.id, 9))
    assert stored == record
    assert (record.ok, record.stage, record.elapsed_ms) == (True, "done", 12)
    assert json.loads(record.document)["connector"] == "Contoso"
    assert record.fingerprint["smart_hosts"] == "mail.contoso.test"
    assert record.fingerprint["addresses"] == "192.0.2.1"
    assert (network.asked[0].hosts, network.asked[0].port) == (("mail.contoso.test",), 2525)


async def test_the_next_probe_comes_after_the_interval_and_sooner_while_failing(
    store: Store, contoso: Connector, probing: Probing, network: Network, clock: Any
) -> None:
    await probing.probe(contoso.id)
    wait = await due(store, contoso) - clock()
    assert timedelta(seconds=300 * (1 - SPREAD)) <= wait <= timedelta(seconds=300)
    network.result = REFUSED
    await probing.probe(contoso.id)
    assert await due(store, contoso) - clock() <= timedelta(seconds=60)


async def test_it_stays_soon_while_an_incident_is_open(
    store: Store, contoso: Connector, probing: Probing, network: Network, clock: Any
) -> None:
    network.result = REFUSED
    await probing.probe(contoso.id)
    await probing.probe(contoso.id)
    network.result = FINE
    await probing.probe(contoso.id)
    assert await due(store, contoso) - clock() <= timedelta(seconds=60)
    await probing.probe(contoso.id)
    (incident,) = await store.read(lambda db: incidents.recent(db, 9))
    assert incident.state is IncidentState.RESOLVED
    assert await due(store, contoso) - clock() > timedelta(seconds=60)


async def test_two_who_ask_at_once_get_one_probe(contoso: Connector, probing: Probing, network: Network) -> None:
    network.gate.clear()
    both = [asyncio.create_task(probing.probe(contoso.id, actor=who)) for who in ("U0ADMIN1", "U0ADMIN2")]
    await network.reached(1)
    network.gate.set()
    one, other = await asyncio.gather(*both)
    assert one == other
    assert len(network.asked) == 1


async def test_an_asker_who_goes_away_does_not_stop_the_probe(
    store: Store, contoso: Connector, probing: Probing, network: Network
) -> None:
    network.gate.clear()
    asker = asyncio.create_task(probing.probe(contoso.id))
    await network.reached(1)
    asker.cancel()
    await asyncio.gather(asker, return_exceptions=True)
    network.gate.set()
    await probing.probe(contoso.id)
    assert len(network.asked) == 1


async def test_each_asker_is_named_in_the_thread_of_an_open_incident(
    store: Store, contoso: Connector, probing: Probing, network: Network
) -> None:
    network.result = REFUSED
    await probing.probe(contoso.id, actor="U0ADMIN1")
    await probing.probe(contoso.id)
    await asyncio.gather(*(probing.probe(contoso.id, actor=who) for who in ("U0ADMIN1", "U0ADMIN2", "U0ADMIN1")))
    events = await store.read(lambda db: incidents.events(db, 1))
    told = [(e.actor, e.data["code"]) for e in events if e.kind == "reprobed"]
    assert told == [("U0ADMIN1", "4.4.316"), ("U0ADMIN2", "4.4.316")]


async def test_an_unknown_connector_is_a_lookup_error(probing: Probing) -> None:
    with pytest.raises(LookupError):
        await probing.probe(99)


async def test_a_tick_probes_everything_due_within_its_concurrency(
    store: Store, clock: Any, probing: Probing, network: Network
) -> None:
    await more_connectors(store, clock, 50)
    network.gate.clear()
    tick = asyncio.create_task(probing.tick())
    await network.reached(8)
    network.gate.set()
    await tick
    assert (len(network.asked), network.most) == (50, 8)
    await probing.tick()
    assert len(network.asked) == 50, "nothing is due any more"


async def test_a_slow_target_does_not_keep_others_waiting(store: Store, clock: Any, contoso: Connector) -> None:
    class OneIsSlow(Network):
        async def probe(self, request: ProbeRequest) -> ProbeResult:
            if request.hosts == ("mail.contoso.test",):
                await self.gate.wait()
            else:
                self.note(request)
            return FINE

    network = OneIsSlow()
    network.gate.clear()
    probing = Probing(store, network, Policy(), clock, default_port=25, default_channel="C1", concurrency=2)
    await more_connectors(store, clock, 20)
    tick = asyncio.create_task(probing.tick())
    await network.reached(20)
    assert not tick.done(), "the slow one is still being probed"
    assert ("mail.contoso.test",) not in [request.hosts for request in network.asked]
    network.gate.set()
    await tick


async def test_a_claimed_connector_is_not_claimed_again_while_its_probe_runs(
    store: Store, contoso: Connector, clock: Any, probing: Probing, network: Network
) -> None:
    network.gate.clear()
    first = asyncio.create_task(probing.tick())
    await network.reached(1)
    second = asyncio.create_task(probing.tick())
    await asyncio.sleep(0)
    network.gate.set()
    await asyncio.gather(first, second)
    assert len(network.asked) == 1


async def test_a_probe_that_breaks_here_is_tried_later_and_the_tick_goes_on(
    store: Store, contoso: Connector, clock: Any, probing: Probing, network: Network
) -> None:
    network.result = OSError("too many open files")
    await probing.tick()
    assert await due(store, contoso) == clock() + timedelta(seconds=60)
    with pytest.raises(OSError, match="too many"):
        await probing.probe(contoso.id)
    assert await store.read(lambda db: probes.recent(db, contoso.id, 9)) == []


async def test_closing_gives_up_what_runs(contoso: Connector, probing: Probing, network: Network) -> None:
    network.gate.clear()
    asker = asyncio.create_task(probing.probe(contoso.id))
    await network.reached(1)
    await probing.close()
    with pytest.raises(asyncio.CancelledError):
        await asker
    assert network.now == 0


async def test_a_clock_set_back_does_not_put_probes_off(
    store: Store, contoso: Connector, clock: Any, probing: Probing
) -> None:
    await probing.probe(contoso.id)
    clock.advance(hours=-1)
    await probing.clock_jumped()
    assert await due(store, contoso) - clock() <= timedelta(seconds=300)
    before = await due(store, contoso)
    await probing.recover()
    assert await due(store, contoso) == before


async def test_a_probe_that_had_nothing_to_dial_is_not_taken_for_a_good_one(
    store: Store, contoso: Connector, probing: Probing, network: Network, clock: Any
) -> None:
    network.result = overall([], 0.1)
    await probing.probe(contoso.id, actor="U1")
    (kept,) = await store.read(lambda db: probes.recent(db, contoso.id, 9))
    assert kept.nothing_probed
    assert await store.read(lambda db: probes.last_good(db, contoso.id)) is None
    assert await store.read(lambda db: probes.recent_good(db, contoso.id, 9)) == []
    assert await due(store, contoso) > clock()


async def test_a_failure_that_lasts_is_probed_ever_less_and_its_end_is_seen_within_the_usual_interval(
    store: Store, contoso: Connector, probing: Probing, network: Network, clock: Any
) -> None:
    network.result = REFUSED
    waits = []
    for _ in range(400):
        await probing.probe(contoso.id)
        wait = await due(store, contoso) - clock()
        waits.append(wait)
        clock.now += wait
    assert waits[0] <= timedelta(seconds=60)
    assert waits == sorted(waits)
    assert timedelta(seconds=270) <= waits[-1] <= timedelta(seconds=300)
    network.result = FINE
    for _ in range(2):
        await probing.probe(contoso.id)
        clock.now = await due(store, contoso)
    assert [i.state for i in await store.read(lambda db: incidents.recent(db, 9))] == [IncidentState.RESOLVED]


async def starts(store: Store, clock: Any) -> list[float]:
    every = await store.read(connectors.every)
    return sorted((c.next_probe_at - clock()).total_seconds() for c in every)


async def test_a_first_import_of_thousands_begins_at_a_steady_pace_and_each_comes_once(
    store: Store, clock: Any, probing: Probing, network: Network
) -> None:
    await more_connectors(store, clock, 2000)
    await probing.tick()
    first = len(network.asked)
    seen = [first]
    while len(network.asked) < 2000:
        clock.advance(seconds=1)
        await probing.tick()
        seen.append(len(network.asked) - sum(seen))
    assert len(seen) <= 42
    assert max(seen) <= 100
    assert len({request.hosts for request in network.asked}) == 2000


@pytest.mark.parametrize("hours", [1, -1, 24 * 3650, -24 * 3650])
async def test_after_a_clock_jump_nobody_waits_longer_than_its_interval_and_not_all_come_at_once(
    store: Store, clock: Any, probing: Probing, hours: int
) -> None:
    await more_connectors(store, clock, 1000)
    await probing.tick()
    clock.advance(seconds=30)
    await probing.tick()
    clock.advance(hours=hours)
    await probing.clock_jumped()
    due_in = await starts(store, clock)
    assert due_in[-1] <= 300
    assert sum(wait <= 1 for wait in due_in) <= 100


async def test_after_a_pause_connectors_with_an_outage_come_first(
    store: Store, clock: Any, contoso: Connector, probing: Probing, network: Network
) -> None:
    network.result = REFUSED
    await probing.probe(contoso.id)
    await probing.probe(contoso.id)
    network.result = FINE
    await more_connectors(store, clock, 1000)
    await probing.tick()
    clock.advance(hours=5)
    await probing.recover()
    assert await due(store, contoso) <= clock()
    assert sum(wait <= 0 for wait in await starts(store, clock)) <= 100
