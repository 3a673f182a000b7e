"""From evidence to what people read, on a time line."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.core.views import Disagreement
from storage.records import IncidentState, MessageStatus

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
