"""From evidence to what people read, on a time line."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.core.probe_result import TargetResult, overall
from bot.core.views import Disagreement
from bot.services.views import status_view
from storage.records import IncidentState, MessageStatus, Severity

REFUSED, TIMED_OUT, CANNOT, CERTIFICATE, DNS = "4.4.316", "4.4.315", "4.4.317", "4.7.320", "4.4.312"


async def test_refused_once_does_not_alert(world: Any) -> None:
    await world.at(0).probe_fails(REFUSED)
    assert await world.told() == []


async def test_refused_twice_alerts_once(world: Any) -> None:
    for minute in range(5):
        await world.at(minute).probe_fails(REFUSED)
    assert await world.told() == ["#1 4.4.316 warning"]


async def test_refused_then_ok_then_refused_does_not_alert(world: Any) -> None:
    for minute in range(20):
        await world.at(minute).probe(REFUSED if minute % 2 else None)
    assert await world.told() == []


@pytest.mark.parametrize("code", [DNS, TIMED_OUT, REFUSED, CANNOT, "4.4.318", CERTIFICATE])
async def test_each_code_opens_under_its_own_name(world: Any, code: str) -> None:
    await world.at(0).probe_fails(code)
    await world.at(1).probe_fails(code)
    assert await world.told() == [f"#1 {code} warning"]


async def test_one_failure_is_enough_when_the_queue_agrees(world: Any) -> None:
    await world.at(0).waits(3, REFUSED, age=1)
    assert await world.told() == []
    await world.at(1).probe_fails(REFUSED)
    assert await world.told() == ["#1 4.4.316 warning"]


async def test_one_failure_is_not_enough_when_the_queue_says_something_else(world: Any) -> None:
    await world.at(0).waits(3, TIMED_OUT, age=1)
    await world.at(1).probe_fails(REFUSED)
    assert await world.told() == []


async def test_stuck_mail_alerts_without_any_probe(world: Any) -> None:
    await world.at(0).waits(3, REFUSED)
    await world.at(15).upkeep.tick()
    assert await world.told() == []
    await world.at(15.1).upkeep.tick()
    assert await world.told() == ["#1 4.4.316 warning"]


async def test_mail_that_waits_without_a_reason_alerts_nobody(world: Any) -> None:
    await world.at(0).waits(3, None, age=600)
    assert await world.told() == []


async def test_a_reason_without_a_code_alerts_as_other(world: Any) -> None:
    await world.at(0).waits(3, None, age=16, reason="something that nobody has ever seen")
    assert await world.told() == ["#1 other warning"]


async def test_resolves_after_two_good_probes_and_not_after_one(world: Any) -> None:
    await world.at(0).probe_fails(REFUSED)
    await world.at(1).probe_fails(REFUSED)
    await world.told()
    await world.at(2).probe_is_fine()
    assert await world.told() == []
    await world.at(3).probe_is_fine()
    assert await world.told() == ["#1 resolved delivering"]


async def test_stays_open_while_mail_waits_with_its_code(world: Any) -> None:
    await world.at(0).waits(2, REFUSED, age=20)
    await world.at(1).probe_fails(REFUSED)
    await world.told()
    for minute in range(2, 6):
        await world.at(minute).probe_is_fine()
    assert await world.told() == []
    await world.at(6).all_end()
    assert await world.told() == ["#1 resolved delivering"]


async def test_opened_by_the_queue_alone_it_resolves_when_drained(world: Any) -> None:
    await world.at(0).waits(2, REFUSED, age=20)
    assert await world.told() == ["#1 4.4.316 warning"]
    await world.at(1).all_end()
    assert await world.told() == ["#1 resolved drained"]


async def test_a_queue_incident_with_another_code_than_the_probes_resolves_by_itself(world: Any) -> None:
    await world.at(0).waits(2, "4.4.318", age=20)
    await world.at(0).probe_fails(REFUSED)
    await world.at(1).probe_fails(REFUSED)
    assert await world.told() == ["#1 4.4.318 warning", "#2 4.4.316 warning"]
    await world.at(2).all_end(None)
    assert await world.told() == ["#1 resolved drained"]
    assert [i.code for i in await world.open_ones()] == [REFUSED]


async def test_a_code_that_changes_for_good_is_a_second_incident_and_both_end_together(world: Any) -> None:
    for minute, code in enumerate([REFUSED, REFUSED, TIMED_OUT, TIMED_OUT]):
        await world.at(minute).probe_fails(code)
    assert await world.told() == ["#1 4.4.316 warning", "#2 4.4.315 warning"]
    await world.at(4).probe_is_fine()
    await world.at(5).probe_is_fine()
    assert await world.told() == ["#1 resolved delivering", "#2 resolved delivering"]


async def test_codes_that_alternate_are_one_incident(world: Any) -> None:
    for minute in range(10):
        await world.at(minute).probe_fails(REFUSED if minute % 2 else TIMED_OUT)
    assert await world.told() == ["#1 4.4.316 warning"]


async def test_escalates_once_at_each_mark(world: Any) -> None:
    await world.at(0).waits(1, REFUSED)
    told = []
    for minute in range(0, 24 * 60, 10):
        await world.at(minute).upkeep.tick()
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
    await world.at(60).upkeep.tick()
    assert await world.told() == []
    await world.at(7 * 60).upkeep.tick()
    assert await world.told() == ["#1! escalated 20 h"]


async def test_marks_missed_while_the_bot_was_down_are_one_broadcast(world: Any) -> None:
    await world.at(0).waits(1, REFUSED, age=20)
    await world.told()
    await world.at(21 * 60).upkeep.tick()
    assert await world.told() == ["#1! escalated 20 h"]


async def test_much_mail_makes_it_critical_once(world: Any) -> None:
    await world.at(0).waits(150, REFUSED, age=20)
    await world.told()
    await world.at(1).waits(60, REFUSED)
    assert await world.told() == ["#1! critical 210 messages wait"]
    await world.at(2).waits(60, REFUSED)
    assert await world.told() == []


async def test_again_is_a_new_message_that_refers_to_the_one_before(world: Any) -> None:
    for minute, code in enumerate([REFUSED, REFUSED, None, None]):
        await world.at(minute).probe(code)
    await world.told()
    await world.at(120).probe_fails(REFUSED)
    await world.at(121).probe_fails(REFUSED)
    assert await world.told() == ["#2 4.4.316 warning again after #1"]
    assert (await world.view(2)).previous.id == 1


async def test_after_a_week_it_is_simply_new(world: Any) -> None:
    for minute, code in enumerate([REFUSED, REFUSED, None, None]):
        await world.at(minute).probe(code)
    await world.told()
    await world.at(8 * 1440).probe_fails(REFUSED)
    await world.at(8 * 1440 + 1).probe_fails(REFUSED)
    assert await world.told() == ["#2 4.4.316 warning"]


async def test_a_day_of_flapping_is_told_once(world: Any) -> None:
    """R13: at most one opened, one flapping, one resolved."""
    told = []
    for minute in range(24 * 60):
        await world.at(minute).probe(REFUSED if minute // 3 % 2 == 0 else None)
        told += await world.told()
    assert told == [
        "#1 4.4.316 warning",
        "#1 resolved delivering",
        "#2 4.4.316 warning flapping again after #1",
        "#2 flapping",
    ]
    for minute in range(24 * 60, 24 * 60 + 70):
        await world.at(minute).probe_is_fine()
        told += await world.told()
    assert told[4:] == ["#2 resolved delivering"]


async def test_acknowledged_it_stays_so_through_new_evidence(world: Any) -> None:
    await world.at(0).waits(2, REFUSED, age=20)
    await world.acknowledge(1)
    await world.at(1).waits(2, REFUSED)
    await world.at(2).probe_fails(REFUSED)
    (open_one,) = await world.open_ones()
    assert (open_one.state, open_one.acknowledged_by) == (IncidentState.ACKNOWLEDGED, "U0ADMIN1")
    assert await world.told() == ["#1 4.4.316 warning", "#1 acknowledged"]


async def test_a_reprobe_is_told_in_the_thread_before_what_it_causes(world: Any) -> None:
    await world.at(0).probe_fails(REFUSED)
    await world.at(1).probe_fails(REFUSED)
    await world.at(2).probe_is_fine(actor="U0ADMIN1")
    await world.at(3).probe_is_fine(actor="U0ADMIN2")
    assert await world.told() == [
        "#1 4.4.316 warning",
        "#1 reprobed",
        "#1 reprobed",
        "#1 resolved delivering",
    ]


async def test_mail_flows_but_our_probe_fails_pages_nobody(world: Any) -> None:
    await world.at(1).probe_fails(TIMED_OUT)
    await world.at(1.2).waits(3, None)
    await world.at(1.5).all_end(MessageStatus.DELIVERED)
    for minute in range(2, 10):
        await world.at(minute).probe_fails(TIMED_OUT)
    assert await world.told() == []


async def test_mail_that_came_in_before_the_first_failure_does_not_hide_an_outage(world: Any) -> None:
    await world.at(0).waits(1, None)
    await world.at(1).probe_fails(TIMED_OUT)
    await world.at(1.5).all_end(MessageStatus.DELIVERED)
    await world.at(2).probe_fails(TIMED_OUT)
    assert await world.told() == ["#1 4.4.315 warning"]


async def test_mail_that_stops_to_flow_is_told_a_few_intervals_later(world: Any) -> None:
    await world.at(0).probe_fails(TIMED_OUT)
    await world.at(1).waits(1, None)
    await world.at(2).all_end(MessageStatus.DELIVERED)
    for minute in range(3, 18):
        await world.at(minute).probe_fails(TIMED_OUT)
    assert await world.told() == []
    await world.at(18).probe_fails(TIMED_OUT)
    assert await world.told() == ["#1 4.4.315 warning"]


async def test_mail_that_flows_after_it_opened_is_noted_in_the_view(world: Any) -> None:
    await world.at(1).probe_fails(TIMED_OUT)
    await world.at(2).waits(3, None)
    await world.probe_fails(TIMED_OUT)
    await world.at(3).all_end(MessageStatus.DELIVERED)
    assert (await world.view(1)).disagreement is Disagreement.BOT_IS_BLOCKED


async def test_the_firewall_lets_only_us_in_is_said(world: Any) -> None:
    await world.at(0).probe_is_fine()
    await world.at(1).waits(3, REFUSED, age=20)
    assert await world.told() == ["#1 4.4.316 warning"]
    assert (await world.view(1)).disagreement is Disagreement.FIREWALL_ADMITS_BOT_ONLY


async def test_a_certificate_failure_is_one_incident_under_the_queues_code(world: Any) -> None:
    await world.at(0).waits(3, CANNOT, age=1, reason="TLS: the certificate has expired")
    await world.at(1).probe_fails(CERTIFICATE)
    await world.at(2).probe_fails(CERTIFICATE)
    assert await world.told() == ["#1 4.4.317 warning"]
    await world.at(3).all_end()
    await world.at(4).probe_fails(CERTIFICATE)
    assert await world.told() == []
    await world.at(5).probe_is_fine()
    await world.at(6).probe_is_fine()
    assert await world.told() == ["#1 resolved delivering"]


async def test_the_queues_code_takes_over_an_incident_that_the_probe_opened(world: Any) -> None:
    await world.at(0).probe_fails(CERTIFICATE)
    await world.at(1).probe_fails(CERTIFICATE)
    assert await world.told() == ["#1 4.7.320 warning"]
    await world.at(2).waits(3, CANNOT, age=20, reason="TLS: the certificate has expired")
    await world.at(3).probe_fails(CERTIFICATE)
    assert await world.told() == []
    assert [(i.id, i.code) for i in await world.open_ones()] == [(1, CANNOT)]


async def test_two_open_incidents_of_one_certificate_are_left_as_they_are(world: Any) -> None:
    await world.at(0).waits(3, CANNOT, age=20, reason="Service not available")
    await world.at(1).probe_fails(CERTIFICATE)
    await world.at(2).probe_fails(CERTIFICATE)
    assert await world.told() == ["#1 4.4.317 warning", "#2 4.7.320 warning"]
    await world.at(3).waits(1, CANNOT, age=20, reason="the certificate has expired")
    assert sorted(i.code for i in await world.open_ones()) == [CANNOT, CERTIFICATE]


async def test_a_null_mx_is_one_incident(world: Any) -> None:
    await world.at(0).waits(3, "5.1.0", age=20, reason="does not accept mail (nullMX)")
    await world.at(1).probe_fails(DNS, cause="null_mx")
    await world.at(2).probe_fails(DNS, cause="null_mx")
    assert await world.told() == ["#1 4.4.312 warning"]


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


async def test_a_root_that_was_resolved_before_it_left_is_still_posted(world: Any) -> None:
    for minute, code in enumerate([REFUSED, REFUSED, None, None]):
        await world.at(minute).probe(code)
    assert await world.told() == ["#1 4.4.316 warning", "#1 resolved delivering"]


async def test_a_thousand_messages_at_one_connector_are_one_alert(world: Any) -> None:
    await world.at(0).waits(1000, REFUSED, age=20)
    assert await world.told() == ["#1 4.4.316 critical"]


async def test_evidence_that_stays_the_same_is_not_even_redrawn(world: Any) -> None:
    await world.at(0).waits(2, REFUSED, age=20)
    await world.at(1).probe_fails(REFUSED)
    await world.told()
    world.channel.redraws = 0
    for minute in range(2, 12):
        await world.at(minute).probe_fails(REFUSED)
        await world.syncing.tick()
    await world.told()
    assert world.channel.redraws == 0


async def test_what_changed_before_the_failure_is_in_the_view(world: Any) -> None:
    await world.at(0).probe_is_fine()
    moved = replace(world.backend.connectors[0], port=2525)
    world.backend.connectors = [moved]
    await world.syncing.sync("mail")
    await world.at(2).probe_fails(REFUSED)
    await world.at(3).probe_fails(REFUSED)
    view = await world.view(1)
    assert [(d.what, d.before, d.after) for d in view.differences] == [("port", "the usual one", "2525")]
    assert view.last_good is not None
    assert world.now - view.last_good.at == timedelta(minutes=3)


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


async def test_mail_that_the_system_lists_beyond_our_idea_of_its_end_still_waits(world: Any) -> None:
    await world.at(0).waits(3, REFUSED, age=20)
    for minute in range(5, 30 * 60, 5):
        await world.at(minute).syncing.sync("mail")
        await world.upkeep.tick()
    assert (await world.view(1)).queue.total == 3
    assert [i.id for i in await world.open_ones()] == [1]


async def test_mail_that_was_given_up_waits_again_when_it_is_listed_again(world: Any) -> None:
    await world.at(0).waits(3, REFUSED, age=20)
    for minute in range(5, 26 * 60, 5):
        await world.at(minute).upkeep.tick()
    assert (await world.view(1)).queue.total == 0
    await world.syncing.sync("mail")
    assert (await world.view(1)).queue.total == 3


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
