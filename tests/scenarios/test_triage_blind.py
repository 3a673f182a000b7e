"""When our own network is down: one alert about us, none about anybody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.core.policy import Policy
from bot.core.probe_result import TargetResult, overall
from bot.services.monitor import tell_seeing
from bot.services.probing import Probing
from knowledge.classify import Cause, Stage
from storage.records import IncidentState

World = Any


def seen(code: str) -> Any:
    """A probe's result with this code, of a server whose address is not known."""
    cause = Cause.REFUSED if code == REFUSED else Cause.CONNECT_TIMEOUT
    dead = TargetResult(host="c.test", port=25, ok=False, code=code, cause=cause, stage=Stage.CONNECT)
    return overall([dead], 12.0)


DNS, TIMED_OUT, REFUSED = "4.4.312", "4.4.315", "4.4.316"


async def everything_fails(world: Any, code: str, minute: float, names: range = range(12)) -> None:
    world.at(minute)
    for n in names:
        await world.probe_fails(code, f"C{n}")


@pytest.mark.parametrize("code", [DNS, TIMED_OUT])
async def test_many_targets_that_go_dark_at_once_are_one_alert_about_us(many: Any, code: str) -> None:
    for minute in range(6, 20):
        await everything_fails(many, code, minute)
    assert await many.told() == ["#1 blind critical"]


async def test_rather_many_alerts_than_none_once_it_lasts_for_several_intervals(many: Any) -> None:
    for minute in range(6, 22):
        await everything_fails(many, TIMED_OUT, minute)
    assert len(await many.told()) == 1 + 12
    assert "blind" in [i.code for i in await many.open_ones()]


async def test_a_closed_way_out_is_one_alert_even_with_few_targets(guarded: Any) -> None:
    guarded.prober.way_out = False
    for minute in range(6, 10):
        await everything_fails(guarded, TIMED_OUT, minute, range(2))
    assert await guarded.told() == ["#1 blind critical"]


async def test_servers_that_go_dark_while_our_way_out_is_open_are_down(guarded: Any) -> None:
    for minute in (6, 7):
        await everything_fails(guarded, TIMED_OUT, minute)
    assert len(await guarded.told()) == 12


async def test_a_way_out_by_address_says_nothing_of_the_resolver(guarded: Any) -> None:
    for minute in range(6, 12):
        await everything_fails(guarded, DNS, minute)
    assert await guarded.told() == ["#1 blind critical"]


async def test_a_way_out_that_is_wrongly_closed_hides_nothing_once_another_server_is_reached(guarded: Any) -> None:
    """The host of the egress check was switched off: C0 is down, the others are fine, C1 refuses."""
    guarded.prober.way_out = False
    await guarded.at(6).probe_fails(TIMED_OUT, "C0")
    for minute in range(7, 60):
        guarded.at(minute).prober.answers |= {"c0.test": seen(TIMED_OUT), "c1.test": seen(REFUSED)}
        await guarded.probing.tick()
    told = await guarded.told()
    assert told[0] == "#1 blind critical"
    assert sorted(line.split(" ", 1)[1] for line in told[1:]) == [
        "4.4.315 warning", "4.4.316 warning", "resolved seeing again",
    ]  # fmt: skip


async def test_a_connector_without_anything_to_dial_does_not_make_us_see(many: Any) -> None:
    many.prober.answers["c11.test"] = overall([], 0.0)
    for minute in range(6, 20):
        await everything_fails(many.at(minute), TIMED_OUT, minute, range(11))
        await many.probing.probe(await many.id_of("C11"))
        await many.probing.tick()
    assert await many.told() == ["#1 blind critical"]


async def test_while_blind_young_mail_opens_nothing(many: Any) -> None:
    await everything_fails(many, TIMED_OUT, 6)
    await many.at(7).waits(1, TIMED_OUT, age=1, name="C1")
    await many.probe_fails(TIMED_OUT, "C1")
    assert await many.told() == ["#1 blind critical"]
    await many.at(23).upkeep.tick()
    assert (await many.told())[0] == "#2 4.4.315 warning"


def _silent_outside(many: Any, names: range) -> None:
    """These never answer on the mail port, each in a network of its own."""
    for n in names:
        dead = TargetResult(
            host=f"c{n}.test", ip=f"198.51.{n}.1", port=25, ok=False, code=TIMED_OUT, cause=Cause.CONNECT_TIMEOUT,
            stage=Stage.CONNECT,
        )  # fmt: skip
        many.prober.answers[f"c{n}.test"] = overall([dead], 10_000.0)


@pytest.fixture
async def newly_installed(store: Any, make_world: Any) -> World:
    """Twelve connectors, none of which was ever probed, and no way out to check is set."""
    made = make_world(store, Policy())
    await made.connectors(*(f"C{n}" for n in range(12)))
    return made


async def test_a_host_whose_port_25_is_blocked_is_one_alert_from_the_start(newly_installed: World) -> None:
    many = newly_installed
    _silent_outside(many, range(12))
    for minute in range(30):
        await many.at(minute).probing.tick()
    assert await many.told() == ["#1 blind critical"]
    assert (await many.view(1)).told["seen"] == "port25"
    many.prober.answers.clear()
    for minute in range(30, 40):
        await many.at(minute).probing.tick()
    assert await many.told() == ["#1 resolved seeing again"]


async def test_silent_servers_whose_other_ports_are_silent_too_are_down(newly_installed: World) -> None:
    many = newly_installed
    many.prober.way_out = False
    _silent_outside(many, range(6))
    for minute in range(3):
        await many.at(minute).probing.tick()
    assert len(await many.told()) == 6


async def test_other_ports_are_asked_once_a_minute_and_only_addresses_that_were_dialled(newly_installed: World) -> None:
    many = newly_installed
    many.prober.way_out = False
    _silent_outside(many, range(12))
    for second in range(0, 120, 10):
        await many.at(second / 60).probing.tick()
    assert len(many.prober.ways) == 2 * 5
    assert {ip for way in many.prober.ways for ip, _ in way} <= {f"198.51.{n}.1" for n in range(12)}
    assert {port for way in many.prober.ways for _, port in way} == {443, 587, 80}


async def test_a_blocked_port_stays_known_over_a_restart(newly_installed: World) -> None:
    many = newly_installed
    _silent_outside(many, range(12))
    await many.probing.tick()
    many.probing = Probing(
        many.store, many.prober, many.policy, lambda: many.now, default_port=25, default_channel="C0DEFAULT"
    )
    await many.probing.recover()
    for minute in range(1, 30):
        await many.at(minute).probing.tick()
    assert await many.told() == ["#1 blind critical"]


async def test_four_dark_targets_are_four_incidents(many: Any) -> None:
    await everything_fails(many, TIMED_OUT, 6, range(4))
    await everything_fails(many, TIMED_OUT, 7, range(4))
    assert await many.told() == [f"#{n} 4.4.315 warning" for n in (1, 2, 3, 4)]


async def test_many_refusals_at_once_are_not_blindness(many: Any) -> None:
    await everything_fails(many, REFUSED, 6)
    await everything_fails(many, REFUSED, 7)
    assert len(await many.told()) == 12


async def test_targets_that_went_dark_over_hours_are_not_blindness(many: Any) -> None:
    for n in range(6):
        await many.at(10 * n + 6).probe_fails(TIMED_OUT, f"C{n}")
        await many.at(10 * n + 7).probe_fails(TIMED_OUT, f"C{n}")
    assert await many.told() == [f"#{n} 4.4.315 warning" for n in range(1, 7)]


async def test_one_host_behind_many_connectors_is_one_target(many: Any) -> None:
    many.backend.connectors = [replace(c, smart_hosts=("c0.test",)) for c in many.backend.connectors]
    await many.syncing.sync("mail")
    for minute in (6, 7):
        await everything_fails(many.at(minute), TIMED_OUT, minute)
    assert len(await many.told()) == 12


async def test_the_first_dark_target_makes_others_be_looked_at_soon(many: Any) -> None:
    """Probes are spread over minutes: the rest must not be found dark only after the first was taken for dead."""
    many.prober.answers = {f"c{n}.test": await _dark(many) for n in range(12)}
    await many.at(1).probing.probe(await many.id_of("C0"))
    many.prober.asked.clear()
    await many.probing.tick()
    assert len(many.prober.asked) >= 5
    assert await many.told() == ["#1 blind critical"]


async def _dark(many: Any) -> Any:
    await many.probe_fails(TIMED_OUT, "C11")
    answer = many.prober.answers["c11.test"]
    await many.probe_is_fine("C11")
    return answer


async def test_when_we_see_again_the_alert_ends_and_what_is_really_dead_is_told(many: Any) -> None:
    for minute in (6, 7):
        await everything_fails(many, TIMED_OUT, minute)
    await many.told()
    many.at(8)
    for n in range(11):
        await many.probe_is_fine(f"C{n}")
    await many.probing.tick()
    await many.at(9).probe_fails(TIMED_OUT, "C11")
    assert await many.told() == ["#1 resolved seeing again", "#2 4.4.315 warning"]


async def test_blindness_ends_when_the_way_out_is_open_again(guarded: Any) -> None:
    guarded.prober.way_out = False
    await guarded.at(6).probe_fails(TIMED_OUT, "C0")
    await everything_fails(guarded, TIMED_OUT, 6.5)
    await guarded.probing.tick()
    assert await guarded.told() == ["#1 blind critical"]
    guarded.prober.way_out = True
    await guarded.at(7).probing.tick()
    assert await guarded.told() == ["#1 resolved seeing again"]


async def test_targets_that_stay_dark_while_others_are_fine_for_long_are_really_down(many: Any) -> None:
    await everything_fails(many, TIMED_OUT, 6, range(6))
    for minute in range(7, 25):
        many.at(minute)
        await everything_fails(many, TIMED_OUT, minute, range(6))
        await many.probe_is_fine("C7")
        await many.probing.tick()
    told = await many.told()
    assert told[:2] == ["#1 blind critical", "#1 resolved seeing again"]
    assert sorted(told[2:]) == [f"#{n} 4.4.315 warning" for n in range(2, 8)]


async def test_a_restart_while_blind_stays_blind(many: Any) -> None:
    for minute in (6, 7):
        await everything_fails(many, TIMED_OUT, minute)
    reborn = Probing(
        many.store, many.prober, many.policy, lambda: many.now, default_port=25, default_channel="C0DEFAULT"
    )
    await reborn.recover()
    many.probing = reborn
    await everything_fails(many, TIMED_OUT, 8)
    await reborn.tick()
    assert await many.told() == ["#1 blind critical"]
    assert [i.state for i in await many.open_ones()] == [IncidentState.FIRING]


async def test_again_blind_refers_to_the_time_before(many: Any) -> None:
    await everything_fails(many, TIMED_OUT, 6)
    many.at(7)
    for n in range(12):
        await many.probe_is_fine(f"C{n}")
    await many.probing.tick()
    await everything_fails(many, TIMED_OUT, 30)
    assert await many.told() == ["#1 blind critical", "#1 resolved seeing again", "#2 blind critical again after #1"]


async def test_the_queues_own_evidence_counts_while_we_are_blind(many: Any) -> None:
    await everything_fails(many, TIMED_OUT, 6)
    await many.at(7).waits(3, REFUSED, age=20, name="C3")
    assert await many.told() == ["#1 blind critical", "#2 4.4.316 warning"]


async def test_seeing_is_told_only_after_being_blind(many: Any) -> None:
    assert await many.store.write(lambda db: tell_seeing(db, many.now)) is None
