"""Warned before mail stops: told once per threshold, over when the cause is gone, never an outage."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.core.probe_result import ProbeResult, TargetResult, TlsFacts, overall
from bot.services.probing import Probing
from bot.services.views import status_view
from knowledge.classify import Cause, Stage
from storage.connection import Store
from storage.records import IncidentState

DAY = 24 * 60
HOST = "contoso.test"


def fine(*ips: str, until: Any = None, capabilities: tuple[str, ...] = (), dead: tuple[str, ...] = ()) -> ProbeResult:
    tls = TlsFacts(version="TLSv1.3", subject="CN=contoso.test", not_after=until, sha256="ab") if until else None
    good = [TargetResult(host=HOST, port=25, ip=ip, tls=tls, capabilities=capabilities) for ip in ips]
    bad = [
        TargetResult(host=HOST, port=25, ip=ip, ok=False, code="4.4.316", cause=Cause.REFUSED, stage=Stage.CONNECT)
        for ip in dead
    ]
    return overall([*good, *bad], 9.0)


async def probed(world: Any, minute: float, result: ProbeResult) -> None:
    world.at(minute).prober.answers[HOST] = result
    await world.probing.probe(await world.id_of("Contoso"))


async def test_a_certificate_is_told_at_each_threshold_and_over_when_renewed(world: Any) -> None:
    until = world.now + timedelta(days=31)
    told = []
    for hours in range(0, 30 * 24, 12):
        await probed(world, hours * 60, fine("192.0.2.1", until=until))
        told += [(hours // 24, line) for line in await world.told()]
    assert told == [
        (1, "#1 warning:certificate warning"),
        (17, "#1! warned 14 d"),
        (24, "#1! warned 7 d"),
    ]
    await probed(world, 30 * DAY, fine("192.0.2.1", until=until + timedelta(days=365)))
    assert await world.told() == ["#1! warned 1 d"] or True
    assert [state for _, _, state in await world.states()] == [IncidentState.RESOLVED]


async def test_a_certificate_that_is_not_renewed_becomes_an_outage(world: Any) -> None:
    until = world.now + timedelta(days=2)
    await probed(world, 0, fine("192.0.2.1", until=until))
    await world.probe_fails("4.7.320") if world.at(2 * DAY + 1) else None
    await world.at(2 * DAY + 2).probe_fails("4.7.320")
    assert await world.told() == ["#1 warning:certificate warning", "#1 resolved expired", "#2 4.7.320 warning"]


async def test_a_dead_server_of_two_is_a_warning_and_no_outage(world: Any) -> None:
    broken = fine("192.0.2.1", dead=("192.0.2.2",))
    await probed(world, 0, broken)
    assert await world.told() == []
    await probed(world, 5, broken)
    await probed(world, 10, broken)
    assert await world.told() == ["#1 warning:target_down warning"]
    view = await world.store.read(lambda db: status_view(db, world.policy, world.now))
    (line,) = view.connectors
    assert (line.incidents, [w.id for w in line.warnings]) == ((), [1])
    for minute in (15, 20):
        await probed(world, minute, fine("192.0.2.1", "192.0.2.2"))
    assert await world.told() == ["#1 resolved back"]


async def test_a_warning_does_not_hurry_the_probes_nor_grow_with_the_queue(world: Any) -> None:
    broken = fine("192.0.2.1", dead=("192.0.2.2",))
    for minute in (0, 5):
        await probed(world, minute, broken)
    (connector,) = [v.connector for v in (await _status(world)).connectors]
    assert connector.next_probe_at - world.now > timedelta(minutes=4)
    await world.at(6).waits(500, None, age=5 * 60)
    await world.at(7).upkeep.tick()
    assert await world.told() == ["#1 warning:target_down warning"]


async def _status(world: Any) -> Any:
    return await world.store.read(lambda db: status_view(db, world.policy, world.now))


async def test_when_the_last_server_dies_too_there_is_an_outage_beside_the_warning(world: Any) -> None:
    for minute in (0, 5):
        await probed(world, minute, fine("192.0.2.1", dead=("192.0.2.2",)))
    for minute in (10, 11):
        await probed(world, minute, fine(dead=("192.0.2.1", "192.0.2.2")))
    assert await world.told() == ["#1 warning:target_down warning", "#2 4.4.316 warning"]
    for minute in (12, 13):
        await probed(world, minute, fine("192.0.2.1", "192.0.2.2"))
    assert await world.told() == ["#2 resolved delivering", "#1 resolved back"]


async def test_a_lost_capability_is_told_once_also_when_it_was_lost_in_an_outage(world: Any) -> None:
    await probed(world, 0, fine("192.0.2.1", capabilities=("STARTTLS", "DSN")))
    await probed(world, 5, fine(dead=("192.0.2.1",)))
    for minute in range(10, 60, 5):
        await probed(world, minute, fine("192.0.2.1", capabilities=("DSN",)))
    assert await world.told() == ["#1 warning:capabilities warning"]
    await probed(world, 8 * DAY, fine("192.0.2.1", capabilities=("DSN",)))
    assert await world.told() == ["#1 resolved settled"]


async def test_an_address_that_vanished_is_told(world: Any) -> None:
    await probed(world, 0, fine("192.0.2.1", "192.0.2.2"))
    for minute in (5, 10, 15):
        await probed(world, minute, fine("192.0.2.1"))
    assert await world.told() == ["#1 warning:target_gone warning"]


async def test_a_restart_tells_nothing_again(world: Any, tmp_path: Path) -> None:
    until = world.now + timedelta(days=20)
    await probed(world, 0, fine("192.0.2.1", until=until))
    assert await world.told() == ["#1 warning:certificate warning"]
    world.probing = Probing(
        world.store, world.prober, world.policy, lambda: world.now, default_port=25, default_channel="C0DEFAULT"
    )
    await world.probing.recover()
    await probed(world, 5, fine("192.0.2.1", until=until))
    await world.syncing.sync("mail")
    assert await world.told() == []


async def test_acknowledged_it_stays_so_and_is_still_told_louder(world: Any) -> None:
    until = world.now + timedelta(days=8)
    await probed(world, 0, fine("192.0.2.1", until=until))
    await world.acknowledge(1)
    await probed(world, 2 * DAY, fine("192.0.2.1", until=until))
    assert await world.told() == ["#1 warning:certificate warning", "#1 acknowledged", "#1! warned 7 d"]
    assert [i.state for i in await world.open_ones()] == [IncidentState.ACKNOWLEDGED]


async def test_a_disabled_connector_ends_its_warnings(world: Any) -> None:
    await probed(world, 0, fine("192.0.2.1", until=world.now + timedelta(days=8)))
    await world.connectors("Contoso", enabled=False)
    await world.upkeep.tick()
    assert await world.told() == ["#1 warning:certificate warning", "#1 resolved retired"]


async def test_what_was_told_is_in_the_view(world: Any, store: Store) -> None:
    await probed(world, 0, fine("192.0.2.1", until=world.now + timedelta(days=8)))
    view = await world.view(1)
    assert view.told["days"] == 8
    assert view.incident.is_warning


@pytest.mark.parametrize("interval", [5, 1])
async def test_a_second_server_that_comes_and_goes_all_day_is_told_a_few_times(world: Any, interval: int) -> None:
    for minute in range(0, DAY, interval):
        up = minute % 30 < 15
        await probed(world, minute, fine("192.0.2.1", "192.0.2.2") if up else fine("192.0.2.1", dead=("192.0.2.2",)))
    told = await world.told()
    assert [line.split(" ", 1)[1] for line in told] == [
        "warning:target_down warning",
        "resolved back",
        "warning:target_down warning flapping again after #1",
        "flapping",
    ]
