"""Buttons, the Fix now dialog, undo and the Home tab: from the click to the answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.services.fix import Refusal
from storage import actions, audit, incidents
from storage.records import IncidentState, OutboxKind
from tests.slack.clicks import notes, posted

ADMIN, OTHER_ADMIN, READER, CHANNEL = "U0ADMINONE", "U0ADMINTWO", "U0READER", "C0MAILALERTS"


async def plan_of(live: Any, user: str, message: Any) -> Any:
    """Press Fix now… and wait for the plan."""
    await live.slack.click(user, message, "mfi.fix_now")
    await live.slack.wait_for(lambda: (v := live.slack.modal(user)) and v.body["callback_id"] == "mfi.fix")
    await live.deps.tasks.settled(5)
    return live.slack.modal(user)


# --- acknowledge and re-probe --------------------------------------------------------------------------------------
async def test_acknowledge_works_once_and_names_the_first_to_the_second(live: Any) -> None:
    message = await posted(live)
    await live.slack.click(ADMIN, message, "mfi.ack")
    assert "👀 #1 is yours" in await notes(live, ADMIN)
    await live.slack.click(OTHER_ADMIN, message, "mfi.ack")
    assert f"acknowledged already by <@{ADMIN}>" in await notes(live, OTHER_ADMIN)
    after = await live.store.read(lambda db: incidents.get(db, 1))
    assert (after.state, after.acknowledged_by) == (IncidentState.ACKNOWLEDGED, ADMIN)


@pytest.mark.parametrize("action_id", ["mfi.ack", "mfi.reprobe", "mfi.fix_now"])
async def test_a_reader_is_refused_at_every_button_and_told_who_may(live: Any, action_id: str) -> None:
    message = await posted(live)
    await live.slack.click(READER, message, action_id)
    said = await notes(live, READER)
    assert "🚫 You are not one of the people who may act." in said
    assert f"<@{ADMIN}>" in said
    assert live.slack.modal(READER) is None
    assert live.probing.asked == []
    (row, *_) = await live.store.read(lambda db: audit.recent(db, 5))
    assert (row.actor, row.target, row.allowed) == (READER, "#1", False)


async def test_re_probe_answers_at_once_and_then_with_the_result(live: Any) -> None:
    message = await posted(live)
    live.probing.ok = True
    await live.slack.click(ADMIN, message, "mfi.reprobe")
    said = await notes(live, ADMIN, 2)
    assert "🔎 Probing `Contoso inbound`" in said
    assert "✅ `Contoso inbound` gets through" in said
    assert live.probing.asked == [(1, ADMIN)]


async def test_a_button_of_an_old_message_explains_itself(live: Any) -> None:
    message = await posted(live)
    await live.store.write(lambda db: incidents.change(db, 1, state=IncidentState.RESOLVED))
    await live.slack.click(ADMIN, message, "mfi.reprobe")
    assert "#1 is resolved: nothing to probe again." in await notes(live, ADMIN)
    await live.slack.click(ADMIN, message, "mfi.ack")
    assert "resolved already" in await notes(live, ADMIN, 2)


@pytest.mark.parametrize("value", ["4711", "x", "", "1; DROP TABLE incidents", "9" * 40])
@pytest.mark.parametrize("action_id", ["mfi.ack", "mfi.reprobe"])
async def test_a_value_that_is_nothing_of_ours_does_nothing(live: Any, action_id: str, value: str) -> None:
    message = await posted(live)
    for block in message.blocks:
        for element in block.get("elements", []):
            if element.get("action_id") == action_id:
                element["value"] = value
    await live.slack.click(ADMIN, message, action_id)
    said = await notes(live, ADMIN)
    assert "not there any more" in said or "There is no incident" in said
    assert live.probing.asked == []


# --- Fix now -------------------------------------------------------------------------------------------------------
async def test_fix_now_from_the_plan_to_the_execution(live: Any) -> None:
    view = await plan_of(live, ADMIN, await posted(live))
    assert "7 for addresses that the directory does not have" in str(view.body)
    chosen = {"steps": ["reject_invalid"], "name": "contoso INBOUND"}
    outcome = await live.slack.submit(ADMIN, view, chosen)
    assert outcome.ok
    assert live.slack.modal(ADMIN) is None
    await live.slack.wait_for(lambda: True)
    await live.deps.tasks.settled(5)
    (action_id,) = live.fix.executed
    action = await live.store.read(lambda db: actions.get(db, action_id))
    assert action.claimed_by == ADMIN
    assert [str(kind) for kind in action.chosen] == ["reject_invalid"]
    assert live.nudges >= 2


async def test_the_dialog_opens_before_the_plan_is_known(live: Any) -> None:
    gate = asyncio.Event()
    offer = live.fix.offer

    async def slow(incident_id: int, actor: str) -> Any:
        await gate.wait()
        return await offer(incident_id, actor)

    live.fix.offer = slow
    message = await posted(live)
    await live.slack.click(ADMIN, message, "mfi.fix_now")
    await live.slack.wait_for(lambda: live.slack.modal(ADMIN))
    assert "Reading the present facts" in str(live.slack.modal(ADMIN).body)
    gate.set()
    await live.slack.wait_for(lambda: live.slack.modal(ADMIN).body["callback_id"] == "mfi.fix")


async def test_a_wrong_name_is_said_at_the_field_and_can_be_corrected(live: Any) -> None:
    view = await plan_of(live, ADMIN, await posted(live))
    wrong = await live.slack.submit(ADMIN, view, {"name": "Fabrikam"})
    assert wrong.errors == {"name": "Type exactly: Contoso inbound"}
    assert live.fix.executed == []
    assert (await live.slack.submit(ADMIN, view, {"name": "Contoso inbound"})).ok
    await live.deps.tasks.settled(5)
    assert len(live.fix.executed) == 1


async def test_a_second_person_is_told_who_did_it_and_when(live: Any) -> None:
    message = await posted(live)
    first = await plan_of(live, ADMIN, message)
    await live.slack.submit(ADMIN, first, {"name": "Contoso inbound"})
    await live.deps.tasks.settled(5)
    live.fix.refusal = Refusal(reason=f"<@{ADMIN}> did this already at 03:00 UTC; see <@U0EVIL>.", actor=ADMIN)
    await live.slack.click(OTHER_ADMIN, message, "mfi.fix_now")
    await live.slack.wait_for(lambda: (v := live.slack.modal(OTHER_ADMIN)) and "already" in str(v.body))
    body = str(live.slack.modal(OTHER_ADMIN).body)
    assert f"<@{ADMIN}> did this already at 03:00 UTC" in body
    assert "<@U0EVIL>" not in body


async def test_two_submits_of_two_people_make_one_execution(live: Any) -> None:
    view = await plan_of(live, ADMIN, await posted(live))
    action_id = view.body["private_metadata"]
    await live.store.write(
        lambda db: actions.claim(db, action_id, OTHER_ADMIN, live.fix.plan.pick(["reject_invalid"]) or (), live.now)
    )
    outcome = await live.slack.submit(ADMIN, view, {"name": "Contoso inbound"})
    assert outcome.error is None
    assert f"<@{OTHER_ADMIN}> did this already" in str(live.slack.modal(ADMIN).body)
    assert live.fix.executed == []


async def test_permission_is_asked_again_at_the_submit(make_live: Any) -> None:
    live = await make_live("S0MAILADMINS")
    view = await plan_of(live, ADMIN, await posted(live))
    live.slack.workspace.groups["S0MAILADMINS"].users.remove(ADMIN)
    live.now += timedelta(seconds=20)
    await live.slack.submit(ADMIN, view, {"name": "Contoso inbound"})
    body = str(live.slack.modal(ADMIN).body)
    assert "not one of the people who may act" in body
    assert "<!subteam^S0MAILADMINS>" in body
    assert live.fix.executed == []


@pytest.mark.parametrize(("running", "executed"), [(100, 1), (200, 0)])
async def test_nobody_who_confirmed_a_fix_is_told_that_nothing_was_done(live: Any, running: int, executed: int) -> None:
    view = await plan_of(live, ADMIN, await posted(live))
    stop = asyncio.Event()

    async def busy() -> None:
        await stop.wait()

    for _ in range(running):
        live.deps.tasks.spawn(busy(), "busy", urgent=True)
    assert (await live.slack.submit(ADMIN, view, {"name": "Contoso inbound"})).ok
    await live.slack.wait_for(lambda: len(live.fix.executed) == executed)
    stop.set()
    await live.deps.tasks.settled(5)
    claimed = await live.store.read(lambda db: actions.get(db, view.body["private_metadata"]))
    assert claimed.claimed_by == ADMIN, "what had no room now is carried out by the tick"
    assert live.slack.ephemerals(ADMIN, CHANNEL) == []


async def test_an_offer_that_is_gone_is_refused_in_the_dialog(live: Any) -> None:
    view = await plan_of(live, ADMIN, await posted(live))
    view.body["private_metadata"] = "tampered"
    await live.slack.submit(ADMIN, view, {"name": "Contoso inbound"})
    assert "not known any more" in str(live.slack.modal(ADMIN).body)
    assert live.fix.executed == []


async def test_steps_that_were_never_offered_are_refused(live: Any) -> None:
    view = await plan_of(live, ADMIN, await posted(live))
    view.values["steps"]["steps"] = {"type": "checkboxes", "selected_options": [{"value": "domain_authoritative"}]}
    outcome = await live.slack.submit(ADMIN, view, {"name": "Contoso inbound"})
    assert outcome.errors == {"steps": "Choose at least one step."}
    assert live.fix.executed == []


async def test_a_dry_run_says_what_would_be_done_and_runs_nothing(live: Any) -> None:
    live.fix.plan = replace(live.fix.plan, dry_run=True)
    view = await plan_of(live, ADMIN, await posted(live))
    assert "Dry run" in str(view.body)
    assert (await live.slack.submit(ADMIN, view, {"name": "Contoso inbound"})).error is None
    assert "nothing was changed" in str(live.slack.modal(ADMIN).body)
    await live.deps.tasks.settled(5)
    assert live.fix.executed == []


async def test_no_plan_is_explained_in_the_dialog_and_on_record(live: Any) -> None:
    live.fix.refusal = Refusal(reason="The queue was read too long ago.")
    message = await posted(live)
    await live.slack.click(ADMIN, message, "mfi.fix_now")
    await live.slack.wait_for(lambda: (v := live.slack.modal(ADMIN)) and "too long ago" in str(v.body))
    rows = await live.store.read(lambda db: audit.recent(db, 5))
    assert rows[0].detail == "The queue was read too long ago."
    assert not rows[0].allowed


async def test_a_broken_plan_leaves_no_dialog_loading_for_ever(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    live.fix.error = ValueError("boom")
    message = await posted(live)
    await live.slack.click(ADMIN, message, "mfi.fix_now")
    await live.slack.wait_for(lambda: (v := live.slack.modal(ADMIN)) and "went wrong" in str(v.body))
    assert "no fix plan for incident 1" in caplog.text


async def test_a_database_that_is_busy_says_so_in_the_dialog(live: Any) -> None:
    from storage.connection import Busy

    live.fix.error = Busy("the database is busy: try again")
    await live.slack.click(ADMIN, await posted(live), "mfi.fix_now")
    await live.slack.wait_for(lambda: (v := live.slack.modal(ADMIN)) and "the database is busy" in str(v.body))
    assert "submit" not in live.slack.modal(ADMIN).body, "there is no plan that could be confirmed"


@pytest.mark.parametrize(
    "break_it",
    [
        lambda s: s.faults.error("expired_trigger_id", "views.open"),
        lambda s: s.faults.drop("views.open"),
        lambda s: s.faults.http(200, "views.open", body='{"ok": true}'),
    ],
)
async def test_a_dialog_that_can_not_open_says_try_again(live: Any, break_it: Any) -> None:
    message = await posted(live)
    break_it(live.slack)
    await live.slack.click(ADMIN, message, "mfi.fix_now")
    assert "three seconds" in await notes(live, ADMIN)


@pytest.mark.parametrize(
    "break_it", [lambda s: s.faults.error("hash_conflict", "views.update"), lambda s: s.faults.drop("views.update")]
)
async def test_a_dialog_that_can_not_be_filled_is_only_logged(
    live: Any, break_it: Any, caplog: pytest.LogCaptureFixture
) -> None:
    message = await posted(live)
    break_it(live.slack)
    await live.slack.click(ADMIN, message, "mfi.fix_now")
    await live.slack.wait_for(lambda: live.slack.calls.of("views.update"))
    await live.deps.tasks.settled(5)
    assert "a dialog could not be filled" in caplog.text


async def test_fix_can_be_typed(live: Any) -> None:
    await posted(live)
    await live.slack.command(ADMIN, CHANNEL, "/mfi fix #1", replies=0)
    await live.slack.wait_for(lambda: (v := live.slack.modal(ADMIN)) and v.body["callback_id"] == "mfi.fix")
    assert live.slack.ephemerals(ADMIN, CHANNEL) == [], "the dialog is the whole answer"


# --- undo ----------------------------------------------------------------------------------------------------------
async def test_undo_from_the_report_in_the_thread(live: Any) -> None:
    reply = await posted(live, OutboxKind.REPLY, kind="fix_finished", action_id="act-9")
    await live.slack.click(ADMIN, reply, "mfi.undo")
    said = await notes(live, ADMIN)
    assert "↩️ Undone.\n• Restored." in said
    assert live.fix.undone == [("act-9", ADMIN)]
    assert live.slack.ephemerals(ADMIN, CHANNEL)[0].thread_ts == reply.thread_ts, "answered where it was asked"
    assert not [block for block in reply.blocks if block["type"] == "actions"], "it can't be undone once more"


async def test_an_undo_that_is_refused_says_why(live: Any) -> None:
    reply = await posted(live, OutboxKind.REPLY, kind="fix_finished", action_id="act-9")
    live.fix.refusal = Refusal(reason=f"<@{OTHER_ADMIN}> undid this already.", actor=OTHER_ADMIN)
    await live.slack.click(ADMIN, reply, "mfi.undo")
    assert f"🚫 <@{OTHER_ADMIN}> undid this already." in await notes(live, ADMIN)
    assert [block for block in reply.blocks if block["type"] == "actions"], "an undo that failed can be tried again"


async def test_a_reader_can_not_undo(live: Any) -> None:
    reply = await posted(live, OutboxKind.REPLY, kind="fix_finished", action_id="act-9")
    await live.slack.click(READER, reply, "mfi.undo")
    assert "🚫" in await notes(live, READER)
    assert live.fix.undone == []


# --- Home ----------------------------------------------------------------------------------------------------------
async def test_the_home_tab_shows_the_state_of_things(live: Any) -> None:
    await posted(live)
    home = await live.slack.open_home(READER)
    assert home is not None
    assert "1 open incident" in str(home.body)
    assert "/mfi explain" in str(home.body)


async def test_a_home_tab_that_can_not_be_drawn_bothers_nobody(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    live.slack.faults.error("not_enabled", "views.publish")
    await live.slack.open_home(READER, timeout=0.3)
    await live.deps.tasks.settled(5)
    assert "a Home tab could not be published" in caplog.text
    assert live.slack.calls.of("chat.postMessage") == []
    for _ in range(25):
        live.deps.commands.take(READER, live.now)
    await live.slack.open_home(READER, timeout=0.3)
    await live.deps.tasks.settled(5)
    assert len(live.slack.calls.of("views.publish")) == 1


async def test_a_home_tab_opened_twice_by_one_event_is_drawn_once(live: Any) -> None:
    live.slack.faults.duplicates = 1
    await live.slack.open_home(READER)
    await live.deps.tasks.settled(5)
    assert len(live.slack.calls.of("views.publish")) == 1


@pytest.mark.parametrize("value", ["x", "", "9" * 20])
async def test_a_candidate_that_is_no_number_is_of_another_time(live: Any, value: str) -> None:
    await live.connector()
    (ask,) = await live.command("probe", ADMIN)
    ask.blocks[1]["elements"][0]["value"] = value
    await live.slack.click(ADMIN, ask, "mfi.pick.probe.0")
    assert "not there any more" in await notes(live, ADMIN, 2)


async def test_an_incident_of_the_monitor_has_nothing_to_probe(live: Any) -> None:
    message = await posted(live)
    await live.store.write(lambda db: db.execute("UPDATE incidents SET connector_id = NULL"))
    await live.slack.click(ADMIN, message, "mfi.reprobe")
    assert "not there any more" in await notes(live, ADMIN)
