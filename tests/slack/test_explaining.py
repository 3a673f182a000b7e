"""explain from the gesture to the answer: typed, pasted, chosen from a menu; and its buttons."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.slack.client import Where
from bot.slack.manifest import EXPLAIN_MESSAGE, manifest
from bot.slack.remembered import Remembered
from storage import audit
from storage.records import ConnectorKind

ADMIN, READER, CHANNEL = "U0ADMINONE", "U0READER", "C0MAILALERTS"
NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
REFUSED = "450 4.4.316 Connection refused [LastAttemptedServerName=mail.contoso.com]"


def shown(messages: list[Any]) -> str:
    return "\n".join(m.visible for m in messages)


async def window(live: Any, user: str, words: str) -> Any:
    """The window in front of this user, once it says this."""
    await live.slack.wait_for(lambda: (v := live.slack.modal(user)) and words in str(v.body))
    await live.deps.tasks.settled(5)
    return live.slack.modal(user)


async def pasting(live: Any, user: str = READER, line: str = "explain") -> Any:
    await live.slack.command(user, CHANNEL, f"/mfi {line}", replies=0)
    return await window(live, user, "3,000 characters")


async def notes(live: Any, user: str, number: int) -> str:
    await live.slack.wait_for(lambda: len(live.slack.ephemerals(user, CHANNEL)) >= number)
    await live.deps.tasks.settled(5)
    return shown(live.slack.ephemerals(user, CHANNEL))


# --- our connector and its buttons ---------------------------------------------------------------------------------
async def test_an_error_about_our_connector_brings_its_state_and_a_probe(live: Any) -> None:
    await live.incident(await live.connector())
    (answer,) = await live.command(f"explain {REFUSED}")
    assert "*Your connector* `Contoso inbound`" in answer.visible
    await live.slack.click(ADMIN, answer, "mfi.explain.probe")
    said = await notes(live, ADMIN, 3)
    assert "🔎 Probing `Contoso inbound`" in said
    assert "stopped at connecting" in said
    assert live.probing.asked == [(1, ADMIN)]
    await live.slack.click(ADMIN, answer, "mfi.explain.incident")
    assert "*Timeline*" in await notes(live, ADMIN, 4)


async def test_a_reader_may_look_at_the_incident_but_not_probe(live: Any) -> None:
    await live.incident(await live.connector())
    (answer,) = await live.command(f"explain {REFUSED}", READER)
    await live.slack.click(READER, answer, "mfi.explain.probe")
    assert "🚫 You are not one of the people who may act." in await notes(live, READER, 2)
    assert live.probing.asked == []
    (row, *_) = await live.store.read(lambda db: audit.recent(db, 1))
    assert (row.actor, row.verb, row.target, row.allowed) == (READER, "probe", "Contoso inbound", False)
    await live.slack.click(READER, answer, "mfi.explain.incident")
    assert "*Timeline*" in await notes(live, READER, 3)


@pytest.mark.parametrize("value", ["4711", "x", "1; DROP TABLE incidents", "9" * 40])
@pytest.mark.parametrize("action_id", ["mfi.explain.probe", "mfi.explain.incident"])
async def test_a_value_that_is_nothing_of_ours_does_nothing(live: Any, action_id: str, value: str) -> None:
    await live.incident(await live.connector())
    (answer,) = await live.command(f"explain {REFUSED}")
    for _, element in answer.elements():
        element["value"] = value
    await live.slack.click(ADMIN, answer, action_id)
    assert "not there any more" in await notes(live, ADMIN, 2)
    assert live.probing.asked == []


async def test_probing_below_an_explanation_has_a_rate(live: Any) -> None:
    await live.connector()
    (answer,) = await live.command(f"explain {REFUSED}")
    for _ in range(8):
        await live.slack.click(ADMIN, answer, "mfi.explain.probe")
    await live.deps.tasks.settled(10)
    assert "🐢 Too much at once" in await notes(live, ADMIN, 15)
    assert len(live.probing.asked) == 6


async def test_a_busy_database_lets_nobody_probe_and_hides_only_the_connector(live: Any) -> None:
    await live.connector()
    (answer,) = await live.command(f"explain {REFUSED}")

    def hold(db: Any) -> None:
        time.sleep(2.2)

    busy = asyncio.create_task(live.store.write(hold))
    await asyncio.sleep(0.05)
    await live.slack.click(ADMIN, answer, "mfi.explain.probe")
    assert "too busy to note this" in await notes(live, ADMIN, 2)
    await busy
    assert live.probing.asked == []


async def test_an_explanation_does_not_wait_for_the_database(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    await live.connector()

    async def never(_work: Any) -> Any:
        await asyncio.sleep(60)

    live.store.read = never
    (answer,) = await live.command(f"explain {REFUSED}", READER)
    assert "4.4.316 Connection refused" in answer.visible
    assert "Your connector" not in answer.visible
    assert "could not look for its connector" in caplog.text


# --- words ---------------------------------------------------------------------------------------------------------
async def test_words_bring_candidates_and_their_buttons_open_them(live: Any) -> None:
    (answer,) = await live.command("explain certificate expired", READER)
    assert "*These words fit too:*" in answer.visible
    await live.slack.click(READER, answer, "mfi.explain.also.0")
    assert "4.7.322 DANE" in await notes(live, READER, 2)
    for _, element in answer.elements():
        element["value"] = "no-such-article"
    await live.slack.click(READER, answer, "mfi.explain.also.0")
    assert "not there any more" in await notes(live, READER, 3)


async def test_an_article_of_several_for_one_code_is_the_one_that_was_chosen(live: Any) -> None:
    (answer,) = await live.command("explain certificate expired", READER)
    for _, element in answer.elements():
        element["value"] = "5.4.1-dbeb"
    await live.slack.click(READER, answer, "mfi.explain.also.1")
    assert f"5.4.1 {live.deps.articles['5.4.1-dbeb'].title}" in await notes(live, READER, 2)


async def test_a_button_that_is_not_known_any_more_says_so(live: Any) -> None:
    (answer,) = await live.command("explain certificate expired", READER)
    next(e for _, e in answer.elements())["action_id"] = "mfi.explain.later"
    await live.slack.click(READER, answer, "mfi.explain.later")
    assert "not there any more" in await notes(live, READER, 2)


# --- the window ----------------------------------------------------------------------------------------------------
async def test_a_long_paste_is_explained_in_the_window(live: Any) -> None:
    await live.connector()
    view = await pasting(live)
    long = f"{'x' * 2930} {REFUSED}"
    outcome = await live.slack.submit(READER, view, {"text": long[:3000], "more": long[3000:]})
    assert outcome.ok
    after = live.slack.modal(READER)
    assert "4.4.316 Connection refused" in str(after.body)
    assert "*Your connector* `Contoso inbound`" in str(after.body)
    assert live.slack.ephemerals(READER, CHANNEL) == []


async def test_a_paste_without_an_error_stays_in_the_window_with_an_example(live: Any) -> None:
    view = await pasting(live)
    outcome = await live.slack.submit(READER, view, {"text": "good morning, everybody in the whole wide world"})
    assert "450 4.4.316 Connection refused" in outcome.errors["text"]
    assert live.slack.modal(READER) is not None


async def test_a_shared_paste_is_answered_in_the_channel_once(live: Any) -> None:
    view = await pasting(live, READER, "share explain")
    assert "shown to the whole channel" in str(view.body)
    await live.slack.submit(READER, view, {"text": REFUSED})
    assert live.slack.modal(READER) is None
    await live.slack.wait_for(lambda: live.slack.messages(CHANNEL))
    assert "4.4.316 Connection refused" in shown(live.slack.messages(CHANNEL))


async def test_a_window_that_was_open_too_long_answers_in_private_and_says_why(live: Any) -> None:
    view = await pasting(live, READER, "share explain")
    live.now += timedelta(hours=1)
    await live.slack.submit(READER, view, {"text": REFUSED})
    after = str(live.slack.modal(READER).body)
    assert "open for too long" in after
    assert "4.4.316 Connection refused" in after
    assert live.slack.messages(CHANNEL) == []


def test_only_so_many_open_windows_are_remembered_and_each_once() -> None:
    places = Remembered(most=2)
    first, second, third = (places.keep(Where(user=f"U{n}"), NOW) for n in range(3))
    assert places.take(first, NOW) is None
    assert places.take(second, NOW) == Where(user="U1")
    assert places.take(second, NOW) is None
    assert places.take(third, NOW + timedelta(minutes=31)) is None


async def test_where_no_window_opens_the_answer_says_what_to_paste_and_its_button_tries_again(live: Any) -> None:
    live.slack.faults.error("expired_trigger_id", "views.open")
    (answer,) = await live.command("explain", READER)
    assert "For example: `/mfi explain" in answer.visible
    await live.slack.click(READER, answer, "mfi.explain.paste")
    assert "private_metadata" in (await window(live, READER, "3,000 characters")).body


async def test_a_submission_that_breaks_says_so_in_the_window(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    view = await pasting(live)

    async def broken(*_args: Any) -> Any:
        raise ValueError("boom")

    live.store.read = broken
    await live.slack.submit(READER, view, {"text": REFUSED})
    assert "Something went wrong" in str(live.slack.modal(READER).body)
    assert "a pasted error was not explained" in caplog.text


async def test_a_stranger_gets_no_answer_in_the_window(live: Any) -> None:
    view = await pasting(live)
    live.deps.commands.take = lambda *_: timedelta(seconds=9)
    await live.slack.submit(READER, view, {"text": REFUSED})
    assert live.slack.modal(READER) is None


# --- buttons in a window -------------------------------------------------------------------------------------------
async def explained(live: Any, user: str, text: str = REFUSED) -> Any:
    await live.slack.submit(user, await pasting(live, user), {"text": text})
    return live.slack.modal(user)


async def test_a_probe_from_a_window_is_shown_in_the_window(live: Any) -> None:
    await live.connector()
    view = await explained(live, ADMIN)
    await live.slack.click(ADMIN, view, "mfi.explain.probe")
    top = await window(live, ADMIN, "stopped at connecting")
    assert top.previous_id == view.id
    assert live.probing.asked == [(1, ADMIN)]
    assert live.slack.ephemerals(ADMIN, CHANNEL) == []


async def test_a_refusal_is_shown_in_the_window_too(live: Any) -> None:
    await live.connector()
    view = await explained(live, READER)
    await live.slack.click(READER, view, "mfi.explain.probe")
    top = await window(live, READER, "You are not one of the people who may act")
    assert top.previous_id == view.id
    assert live.probing.asked == []


async def test_windows_are_stacked_as_far_as_slack_takes_them_then_replaced(live: Any) -> None:
    view = await explained(live, READER, "certificate expired")
    await live.slack.click(READER, view, "mfi.explain.also.0")
    second = await window(live, READER, "4.7.322 DANE")
    await live.slack.click(READER, view, "mfi.explain.also.1")
    third = await window(live, READER, "4.7.0 ")
    await live.slack.click(READER, view, "mfi.explain.also.2")
    await live.slack.wait_for(lambda: "4.7.5 " in str(view.body["blocks"][0]))
    assert {second.previous_id, third.previous_id} == {view.id, second.id}


async def test_a_probe_whose_window_was_closed_is_told_in_a_direct_message(live: Any) -> None:
    await live.connector()
    gate, probe = asyncio.Event(), live.probing.probe

    async def slow(connector_id: int, *, actor: str | None = None) -> Any:
        await gate.wait()
        return await probe(connector_id, actor=actor)

    live.probing.probe = slow
    view = await explained(live, ADMIN)
    await live.slack.click(ADMIN, view, "mfi.explain.probe")
    top = await live.slack.wait_for(lambda: (v := live.slack.modal(ADMIN)) and "Probing" in str(v.body) and v)
    await live.slack.close(ADMIN, top, everything=True)
    gate.set()
    await live.deps.tasks.settled(5)
    assert any("stopped at connecting" in str(call.args) for call in live.slack.calls.of("chat.postMessage"))


# --- a message's menu ----------------------------------------------------------------------------------------------
async def test_any_message_is_explained_from_its_menu(live: Any) -> None:
    await live.connector(kind=ConnectorKind.PARTNER)
    message = live.slack.say(READER, CHANNEL, f"What is this?\n{REFUSED}")
    live.slack.remove_bot(CHANNEL)
    outcome = await live.slack.shortcut(READER, EXPLAIN_MESSAGE, message)
    assert outcome.ok
    view = await window(live, READER, "4.4.316 Connection refused")
    assert "Dear postmaster" in str(view.body)
    assert live.slack.ephemerals(READER, CHANNEL) == []


async def test_a_message_without_an_error_brings_the_window_to_paste_into(live: Any) -> None:
    message = live.slack.say(
        READER, CHANNEL, "Is anybody at lunch already, or shall we go together at noon today then?"
    )
    await live.slack.shortcut(READER, EXPLAIN_MESSAGE, message)
    view = await window(live, READER, "no delivery error in that message")
    await live.slack.submit(READER, view, {"text": REFUSED})
    assert "4.4.316 Connection refused" in str(live.slack.modal(READER).body)


async def test_where_the_window_can_not_be_filled_the_answer_is_private_in_the_channel(live: Any) -> None:
    message = live.slack.say(READER, CHANNEL, REFUSED)
    live.slack.faults.drop("views.update")
    await live.slack.shortcut(READER, EXPLAIN_MESSAGE, message)
    assert "4.4.316 Connection refused" in await notes(live, READER, 1)


async def test_somebody_who_asks_too_often_is_told_so_in_place_of_the_message(live: Any) -> None:
    message = live.slack.say(READER, CHANNEL, REFUSED)
    live.deps.commands.take = lambda *_: timedelta(seconds=9)
    await live.slack.shortcut(READER, EXPLAIN_MESSAGE, message)
    await window(live, READER, "This was not answered")
    assert "Too much at once" in await notes(live, READER, 1)


def test_the_manifest_offers_the_menu_entry() -> None:
    (entry,) = manifest()["features"]["shortcuts"]
    assert (entry["type"], entry["callback_id"]) == ("message", "mfi_explain_message")
    assert len(entry["name"]) <= 24
    assert len(entry["description"]) <= 150
