"""Whose reason is asked for, how long it counts, and what it tells of the rest."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.backends.exchange_online.evidence import (
    PER_CONNECTOR,
    PER_SYNC,
    Evidence,
    Memory,
    Room,
    chosen,
    is_expiry,
    of_deferral,
    of_failure,
    shared_code,
)
from bot.backends.exchange_online.trace_rows import Event, TraceRow
from tests.backends.exchange_online.bench import START

DEFERRED = (
    "Reason: [{LED=450 4.4.316 Connection refused [Message=Socket error code 10061] "
    "[LastAttemptedServerName=mail.onprem.test] [LastAttemptedIP=203.0.113.10:25]};{MSG=};{FQDN=mail.onprem.test};"
    "{IP=203.0.113.10};{LRT=}]"
)
PLENTY = Room(free=1000, first=1000)


def row(number: int, domain: str = "onprem.test") -> TraceRow:
    return TraceRow(f"id{number:04}", f"r@{domain}", "a@b.test", START - timedelta(minutes=number), "pending", None)


def event(name: str, text: str, at: datetime = START) -> Event:
    return Event(at, name, text, {})


def code(name: str, at: datetime = START) -> Evidence:
    return Evidence(asked_at=START, reason="told", code=name, at=at)


def test_the_last_deferral_tells_reason_server_and_moment() -> None:
    later = START + timedelta(minutes=5)
    found = of_deferral([event("defer", "450 4.4.317 old"), event("defer", DEFERRED, later), event("send", "x")], START)
    assert (found.code, found.remote_host, found.remote_ip) == ("4.4.316", "mail.onprem.test", "203.0.113.10")
    assert (found.reason, found.at) == (DEFERRED, later)


def test_mail_that_was_never_deferred_has_no_reason() -> None:
    assert of_deferral([event("receive", "in")], START) == Evidence(asked_at=START)


def test_an_expired_failure_is_told_from_a_rejection() -> None:
    expired = of_failure([event("fail", "550 5.4.316 Message expired, connection refused(Socket error)")], START)
    rejected = of_failure([event("fail", "Reason: [{LED=550 5.1.10 RESOLVER.ADR.RecipientNotFound; x};{MSG=}]")], START)
    assert is_expiry(expired)
    assert not is_expiry(rejected)
    assert not is_expiry(Evidence(asked_at=START))


def test_each_connector_gets_its_oldest_first_then_its_newest_then_some_by_chance() -> None:
    groups: dict[int | None, list[TraceRow]] = {0: [row(n) for n in range(50)]}
    asked = chosen(groups, Memory(), START, PLENTY, lambda below: below // 2)
    assert asked[0] == row(49)
    assert asked[1] == row(0)
    assert len(asked) == len(set(asked)) == PER_CONNECTOR


def test_no_more_than_forty_are_asked_and_every_connector_has_its_turn() -> None:
    groups: dict[int | None, list[TraceRow]] = {
        number: [row(100 * number + n) for n in range(30)] for number in range(60)
    }
    asked = chosen(groups, Memory(), START, PLENTY, lambda _: 0)
    assert len(asked) == PER_SYNC
    assert len({r.key[:4] for r in asked}) == PER_SYNC


def test_what_was_asked_lately_is_not_asked_again_and_those_of_whom_less_is_known_come_first() -> None:
    memory = Memory()
    known, unknown = [row(n) for n in range(20)], [row(100 + n) for n in range(20)]
    for one in known[:9]:
        memory.put(one.ref, code("4.4.316"))
    asked = chosen({0: known, 1: unknown}, memory, START, Room(free=5, first=5), lambda _: 0)
    assert set(asked) <= set(unknown)
    whole = chosen({0: known, 1: unknown}, memory, START, PLENTY, lambda _: 0)
    assert len([r for r in whole if r in known]) == 1
    later = START + timedelta(minutes=31)
    assert len(chosen({0: known}, memory, later, PLENTY, lambda _: 0)) == PER_CONNECTOR


def test_of_very_many_connectors_each_is_asked_about_before_old_answers_are_renewed() -> None:
    groups: dict[int | None, list[TraceRow]] = {
        number: [row(10 * number + n) for n in range(5)] for number in range(400)
    }
    memory, now = Memory(), START
    for _ in range(10):
        for one in chosen(groups, memory, now, Room(free=PER_SYNC, first=PER_SYNC), lambda _: 0):
            memory.put(one.ref, Evidence(asked_at=now, reason="told", code="4.4.316", at=now))
        now += timedelta(minutes=5)
    assert all(any(memory.get(one.ref) for one in rows) for rows in groups.values())


def test_a_first_reason_may_use_the_room_of_the_next_listing_but_further_ones_may_not() -> None:
    groups: dict[int | None, list[TraceRow]] = {0: [row(n) for n in range(9)], 1: [row(100 + n) for n in range(9)]}
    assert len(chosen(groups, Memory(), START, Room(free=0, first=30), lambda _: 0)) == 2
    assert chosen(groups, Memory(), START, Room(free=0, first=0), lambda _: 0) == []
    assert len(chosen(groups, Memory(), START, Room(free=7, first=30), lambda _: 0)) == 7


def test_one_code_of_all_late_evidence_is_shared() -> None:
    memory, rows = Memory(), [row(n) for n in range(4)]
    assert shared_code(rows, memory) is None
    memory.put(rows[0].ref, code("4.4.316", START - timedelta(hours=3)))
    memory.put(rows[1].ref, code("4.7.320"))
    memory.put(rows[2].ref, Evidence(asked_at=START))
    assert shared_code(rows, memory) == "4.7.320"
    memory.put(rows[3].ref, code("4.4.316"))
    assert shared_code(rows, memory) is None


def test_a_later_answer_without_a_reason_erases_none_and_what_left_is_forgotten() -> None:
    memory, one = Memory(), row(1)
    memory.put(one.ref, code("4.4.316"))
    later = START + timedelta(hours=1)
    memory.put(one.ref, Evidence(asked_at=later))
    kept = memory.get(one.ref)
    assert kept is not None and kept.code == "4.4.316"
    assert memory.is_fresh(one.ref, later)
    memory.keep_only({})
    assert memory.get(one.ref) is None


def test_mail_that_was_never_deferred_is_looked_at_again_soon() -> None:
    memory, one, other = Memory(), row(1), row(2)
    memory.put(one.ref, Evidence(asked_at=START))
    memory.put(other.ref, code("4.4.316"))
    soon, later = START + timedelta(seconds=9), START + timedelta(seconds=10)
    assert memory.is_fresh(one.ref, soon)
    assert not memory.is_fresh(one.ref, later)
    assert memory.is_fresh(other.ref, later)
