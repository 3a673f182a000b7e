"""Rates, tasks and reading of payloads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.core.permissions import Person
from bot.slack.payload import action_of, chosen_of, key_of, person_of, typed_of, where_of, without
from bot.slack.rate import Rate, RateLimit
from bot.slack.tasks import Tasks

NOW = datetime(2026, 3, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)


# --- rates ---------------------------------------------------------------------------------------------------------
def limit(burst: int = 2, everybody: int = 100, people: int = 1000) -> RateLimit:
    return RateLimit(Rate(burst, SECOND), Rate(everybody, SECOND), people)


def test_a_burst_is_allowed_and_then_one_a_second() -> None:
    bucket = limit()
    assert [bool(bucket.take("U1", NOW)) for _ in range(3)] == [False, False, True]
    assert bucket.take("U1", NOW) == SECOND
    assert not bucket.take("U1", NOW + SECOND)
    assert bucket.take("U1", NOW + SECOND)


def test_one_person_does_not_use_up_anothers() -> None:
    bucket = limit()
    for _ in range(5):
        bucket.take("U1", NOW)
    assert not bucket.take("U2", NOW)


def test_everybody_together_has_a_limit_too() -> None:
    bucket = limit(everybody=3)
    assert [bool(bucket.take(f"U{n}", NOW)) for n in range(4)] == [False, False, False, True]


def test_a_clock_that_goes_back_costs_nothing_and_gives_nothing() -> None:
    bucket = limit(burst=1)
    assert not bucket.take("U1", NOW)
    assert bucket.take("U1", NOW - timedelta(days=1))
    assert not bucket.take("U1", NOW - timedelta(days=1) + SECOND)


def test_only_so_many_people_are_remembered() -> None:
    bucket = limit(burst=1, people=2)
    for user in ("U1", "U2", "U3"):
        assert not bucket.take(user, NOW)
    assert not bucket.take("U1", NOW), "forgotten, so fresh"
    assert bucket.take("U3", NOW)


# --- tasks ---------------------------------------------------------------------------------------------------------
async def test_a_failure_is_logged_with_the_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("boom")

    tasks = Tasks()
    assert tasks.spawn(fail(), "the job")
    await tasks.settled()
    await asyncio.sleep(0)
    assert "the job failed" in caplog.text
    assert len(tasks) == 0


async def test_there_is_a_limit_and_some_room_above_it_for_saying_so(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()

    async def wait() -> None:
        await done.wait()

    tasks = Tasks(limit=1)
    assert tasks.spawn(wait(), "first")
    assert not tasks.spawn(wait(), "second")
    assert "second was dropped" in caplog.text
    assert tasks.spawn(wait(), "third", urgent=True)
    assert len(tasks) == 2
    done.set()
    await tasks.close(1)


async def test_closing_waits_a_little_and_then_cancels() -> None:
    tasks = Tasks()
    tasks.spawn(asyncio.sleep(60), "long")
    await tasks.close(0.01)
    await asyncio.sleep(0)
    assert len(tasks) == 0
    await tasks.close(0.01)


# --- payloads ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"user_id": "U1", "team_id": "T1"}, Person(user_id="U1", request_team_id="T1")),
        (
            {"user": {"id": "U1", "team_id": "T2"}, "team": {"id": "T1"}, "enterprise": {"id": "E1"}},
            Person(user_id="U1", team_id="T2", request_team_id="T1", enterprise_id="E1"),
        ),
        ({"event": {"user": "U1"}, "team_id": "T1"}, Person(user_id="U1", request_team_id="T1")),
        ({"user": {"id": "U1", "enterprise_id": "E1"}}, Person(user_id="U1", enterprise_id="E1")),
        ({"user_id": "U1", "enterprise_id": "E1"}, Person(user_id="U1", enterprise_id="E1")),
        ({"user": "U1", "team": None, "user_id": 7}, Person(user_id="")),
        ({}, Person(user_id="")),
    ],
)
def test_people_are_known_by_ids_only(body: dict[str, Any], expected: Person) -> None:
    assert person_of(body) == expected


def test_where_an_answer_goes() -> None:
    where = where_of({"user_id": "U1", "channel_id": "C1", "response_url": "https://x"})
    assert (where.user, where.channel, where.response_url, where.thread_ts) == ("U1", "C1", "https://x", None)
    clicked = where_of({"user": {"id": "U1"}, "container": {"channel_id": "C1", "thread_ts": "1.2"}})
    assert (clicked.channel, clicked.thread_ts) == ("C1", "1.2")


def test_the_same_delivery_has_the_same_key_and_another_has_not() -> None:
    assert key_of({"event_id": "Ev1", "trigger_id": "t"}) == "event_id:Ev1"
    assert key_of({"trigger_id": "t1"}) == "trigger_id:t1"
    view = {"type": "view_submission", "view": {"id": "V1", "hash": "h", "state": {"values": {"name": "a"}}}}
    other = {"type": "view_submission", "view": {"id": "V1", "hash": "h", "state": {"values": {"name": "b"}}}}
    assert key_of(view) == key_of(dict(view)) != key_of(other)
    assert len(key_of({"trigger_id": "t" * 5000})) == 200
    assert key_of({}) == key_of({})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"actions": [{"action_id": "mfi.ack", "value": "12"}]}, ("mfi.ack", "12")),
        ({"actions": [{"action_id": 5}]}, ("", "")),
        ({"actions": []}, ("", "")),
        ({"actions": ["x"]}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_what_was_clicked(body: dict[str, Any], expected: tuple[str, str]) -> None:
    assert action_of(body) == expected


SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "Steps"}}
YES, NO, LINK = ({"type": "button", "action_id": name} for name in ("yes", "no", "link"))


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"ts": "1.2", "text": "a", "blocks": [SECTION, {"type": "actions", "elements": [YES, NO]}]}, [SECTION]),
        (
            {"ts": "1.2", "text": "a", "blocks": [SECTION, {"type": "actions", "elements": [YES, LINK]}]},
            [SECTION, {"type": "actions", "elements": [LINK]}],
        ),
        ({"ts": "1.2", "text": "a", "blocks": [SECTION, {"type": "actions", "elements": [LINK]}]}, None),
        ({"ts": "1.2", "text": "a", "blocks": [{"type": "actions", "elements": [YES]}]}, None),
        ({"text": "a", "blocks": [SECTION, {"type": "actions", "elements": [YES]}]}, None),
        ({"ts": "1.2", "blocks": "odd"}, None),
        ({"ts": "1.2", "blocks": ["odd", {"type": "actions", "elements": "odd"}]}, None),
        ({}, None),
    ],
)
def test_a_message_loses_the_buttons_that_had_their_effect_and_nothing_else(
    message: dict[str, Any], shown: list[Any] | None
) -> None:
    expected = {"ts": "1.2", "text": "a", "blocks": shown} if shown else {}
    assert without(message, ("yes", "no")) == expected


def test_what_was_filled_in() -> None:
    options = [{"value": "reject_invalid"}, "odd", {"value": None}]
    values = {"steps": {"a": {"selected_options": options}}, "name": {"b": {"value": "Contoso"}}, "odd": {"c": 5}}
    view = {"state": {"values": values}}
    assert chosen_of(view, "steps") == ("reject_invalid", "None")
    assert typed_of(view, "name") == "Contoso"
    assert chosen_of(view, "name") == ()
    assert typed_of(view, "steps") == typed_of(view, "odd") == typed_of({}, "name") == ""
