"""A connector that is switched off, changed or removed takes its incidents with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot.core.probe_result import TargetResult, overall
from bot.services.views import status_view

REFUSED = "4.4.316"


async def test_a_disabled_connector_retires_its_incidents_and_is_left_alone(world: Any) -> None:
    await world.at(0).waits(3, REFUSED, age=20)
    await world.at(1).probe_fails(REFUSED)
    await world.told()
    await world.at(2).connectors("Contoso", enabled=False)
    assert await world.told() == ["#1 resolved retired"]
    world.prober.asked.clear()
    await world.at(30).probing.tick()
    await world.upkeep.tick()
    assert (world.prober.asked, await world.told()) == ([], [])


async def test_switched_on_again_and_still_dead_it_refers_to_the_old_one_but_does_not_flap(world: Any) -> None:
    await world.at(0).waits(3, REFUSED, age=20)
    await world.at(1).connectors("Contoso", enabled=False)
    await world.told()
    await world.at(2).connectors("Contoso", enabled=True)
    await world.upkeep.tick()
    assert await world.told() == ["#2 4.4.316 warning again after #1"]


async def test_a_connector_that_is_no_longer_listed_ends_its_incidents_as_removed(world: Any) -> None:
    await world.at(0).probe_fails(REFUSED)
    await world.at(1).probe_fails(REFUSED)
    await world.told()
    await world.at(2).connectors()
    assert await world.told() == ["#1 resolved removed"]


async def test_a_connector_disabled_by_an_import_is_noticed_by_upkeep(world: Any) -> None:
    from storage import connectors

    await world.at(0).probe_fails(REFUSED)
    await world.at(1).probe_fails(REFUSED)
    await world.told()
    contoso = await world.id_of("Contoso")
    await world.store.write(lambda db: connectors.set_enabled(db, contoso, False, world.now))
    await world.at(2).upkeep.tick()
    assert await world.told() == ["#1 resolved retired"]


async def test_settings_that_change_during_a_probe_are_probed_at_once_and_not_judged_by_it(world: Any) -> None:
    await world.at(0).probe_fails(REFUSED)
    ask = world.at(1).prober.probe

    async def repaired_meanwhile(request: Any) -> Any:
        world.prober.probe = ask
        world.backend.connectors = [replace(c, smart_hosts=("new.test",)) for c in world.backend.connectors]
        await world.syncing.sync("mail")
        return await ask(request)

    world.prober.probe = repaired_meanwhile
    await world.probing.probe(await world.id_of("Contoso"))
    assert await world.told() == []
    await world.probing.tick()
    assert world.prober.asked[-1] == "new.test"
    assert await world.told() == []


async def test_an_incident_ends_when_there_is_nothing_to_dial_any_more(world: Any) -> None:
    await world.at(0).probe_fails(REFUSED)
    await world.at(1).probe_fails(REFUSED)
    world.prober.answers["contoso.test"] = overall([], 0.0)
    for minute in (2, 3):
        world.at(minute)
        await world.probing.probe(await world.id_of("Contoso"), actor="U0ADMIN1")
    assert await world.told() == ["#1 4.4.316 warning", "#1 resolved drained"]


async def test_a_connector_that_is_switched_on_again_is_watched_again_and_its_mail_counts(
    world: Any,
) -> None:
    await world.at(0).waits(3, REFUSED, age=20)
    for enabled, minute in ((False, 1), (True, 2)):
        world.at(minute).backend.connectors = [replace(c, enabled=enabled) for c in world.backend.connectors]
        await world.syncing.sync("mail")
        status = await world.store.read(lambda db: status_view(db, world.policy, world.now))
        assert sum(v.queue.total for v in status.connectors) == 3
    world.prober.answers["contoso.test"] = overall([TargetResult(host="c", port=25, ok=False, code=REFUSED)], 1.0)
    await world.probing.tick()
    assert await world.told() == ["#1 4.4.316 warning", "#1 resolved retired", "#2 4.4.316 warning again after #1"]
