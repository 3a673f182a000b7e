"""What time alone does to an incident: marks, countdown, and a clock that is set."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from storage.records import Severity

REFUSED = "4.4.316"


async def read_on(world: Any, minute: int) -> None:
    """Time goes on, and the mail system is read as ever."""
    await world.at(minute).syncing.sync("mail")
    await world.upkeep.tick()


async def test_escalates_once_at_each_mark(world: Any) -> None:
    await world.at(0).waits(1, REFUSED)
    told = []
    for minute in range(0, 24 * 60, 10):
        await read_on(world, minute)
        told += [(minute, line) for line in await world.told()]
    assert told == [
        (20, "#1 4.4.316 warning"),
        (240, "#1! escalated 4 h"),
        (720, "#1! escalated 12 h"),
        (1200, "#1! escalated 20 h"),
        (1380, "#1! escalated 1 h before the first bounce"),
    ]
    (open_one,) = await world.open_ones()
    assert (open_one.severity, open_one.escalated) == (Severity.CRITICAL, 4)


async def test_marks_that_had_passed_before_it_opened_are_not_told_again(world: Any) -> None:
    await world.at(0).waits(1, REFUSED, age=13 * 60)
    assert await world.told() == ["#1 4.4.316 critical"]
    await read_on(world, 60)
    assert await world.told() == []
    await read_on(world, 7 * 60)
    assert await world.told() == ["#1! escalated 20 h"]


async def test_marks_missed_while_the_bot_was_down_are_one_broadcast_once_the_queue_was_read(world: Any) -> None:
    await world.at(0).waits(1, REFUSED, age=20)
    await world.told()
    await world.at(21 * 60).upkeep.tick()
    assert await world.told() == [], "what waited then may have left long ago"
    await read_on(world, 21 * 60)
    assert await world.told() == ["#1! escalated 20 h"]


async def test_a_mark_is_told_without_a_read_where_the_probe_still_fails(world: Any) -> None:
    await world.at(0).waits(1, REFUSED, age=20)
    await world.told()
    await world.at(239).probe_fails(REFUSED)
    await world.at(240).upkeep.tick()
    assert await world.told() == ["#1! escalated 4 h"]


async def test_two_seconds_ten_years_ahead_cost_nothing(world: Any) -> None:
    await world.at(0).probe_is_fine()
    await world.at(1).waits(3, REFUSED, age=20)
    for minute in range(2, 20):
        await world.at(minute).upkeep.tick()
    assert await world.told() == ["#1 4.4.316 warning"]
    kept = await world.store.read(_counts)
    world.set_clock(timedelta(days=3650))
    await world.upkeep.tick()
    await world.syncing.sync("mail")
    world.set_clock(timedelta(days=-3650))
    await world.upkeep.clock_jumped()
    await world.probing.clock_jumped()
    assert await world.told() == []
    assert await world.store.read(_counts) >= kept
    for minute in range(20, 23 * 60 + 30, 5):
        await world.at(minute).upkeep.tick()
    told = [line for line in await world.told() if "escalated" in line]
    assert [line.split("escalated ")[1] for line in told] == ["4 h", "12 h", "20 h", "1 h before the first bounce"]


def _counts(db: Any) -> list[int]:
    tables = ("incidents", "incident_events", "probes", "queued_messages", "queue_samples")
    return [db[table].count for table in tables]


async def test_the_countdown_goes_on_without_any_probe_or_change_of_the_queue(world: Any) -> None:
    await world.at(0).waits(3, REFUSED, age=20)
    await world.told()
    for minute in range(5, 100, 5):
        await world.at(minute).upkeep.tick()
    await world.told()
    assert world.channel.redraws >= 1
