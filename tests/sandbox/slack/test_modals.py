"""What people can do in a modal, and what the app hears and may answer."""

from __future__ import annotations

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import BadGesture, SandboxSlack, View
from bot.sandbox.slack.seed import ADMIN_ONE, READER
from tests.sandbox.slack.forms import FORM, NOTICE, ROW, Heard, Json


async def test_a_submission_carries_the_state_of_every_input(slack: SandboxSlack, heard: Heard, form: View) -> None:
    assert (form.callback_id, form.private_metadata) == ("plan", "secret")
    outcome = await slack.submit("Reader", form, {"steps": ["x", "y"], "name": {"v": "Contoso"}, "many": ["m"]})
    assert outcome.ok
    assert slack.modal("Reader") is None
    body = heard.bodies[-1]
    values = body["view"]["state"]["values"]
    assert body["type"] == "view_submission"
    assert [each["value"] for each in values["steps"]["v"]["selected_options"]] == ["x", "y"]
    assert values["name"]["v"] == {"type": "plain_text_input", "value": "Contoso"}
    assert values["who"]["v"] == {"type": "users_select", "selected_user": READER}
    assert values["many"]["v"]["selected_options"][0]["value"] == "m"
    assert (body["view"]["private_metadata"], body["view"]["callback_id"]) == ("secret", "plan")


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"steps": []}, {"steps", "name"}),
        ({"name": ""}, {"name"}),
        ({"name": "ab"}, {"name"}),
    ],
)
async def test_the_client_itself_stops_what_is_incomplete(
    slack: SandboxSlack, heard: Heard, form: View, values: Json, errors: set[str]
) -> None:
    before = len(heard.bodies)
    outcome = await slack.submit("Reader", form, values)
    assert (set(outcome.errors), outcome.envelope) == (errors, None)
    assert len(heard.bodies) == before


@pytest.mark.parametrize("values", [{"nothing": "x"}, {"name": "x" * 21}, {"name": 5}, {"steps": ["z"]}])
async def test_values_that_no_client_could_send_are_bad_gestures(slack: SandboxSlack, form: View, values: Json) -> None:
    with pytest.raises(BadGesture):
        await slack.submit("Reader", form, values)


async def test_errors_stand_at_their_blocks_and_the_modal_stays(slack: SandboxSlack, heard: Heard, form: View) -> None:
    heard.answer = {"response_action": "errors", "errors": {"name": "Type the name."}}
    outcome = await slack.submit("Reader", form, {"name": "Contoso"})
    assert outcome.errors == {"name": "Type the name."}
    assert slack.modal("Reader") is form


@pytest.mark.parametrize(
    "answer",
    [
        {"response_action": "errors", "errors": {"nowhere": "x"}},
        {"response_action": "errors", "errors": {}},
        {"response_action": "update", "view": {"type": "modal"}},
        {"response_action": "dance"},
    ],
)
async def test_an_answer_that_slack_would_not_understand_shows_trouble(
    slack: SandboxSlack, heard: Heard, form: View, answer: Json
) -> None:
    heard.answer = answer
    outcome = await slack.submit("Reader", form, {"name": "Contoso"})
    assert "trouble" in str(outcome.error)
    assert slack.modal("Reader") is form


async def test_a_submission_that_nobody_acknowledges_shows_trouble(slack: SandboxSlack, form: View) -> None:
    slack.faults.lost = 1
    assert "trouble" in str((await slack.submit("Reader", form, {"name": "Contoso"})).error)


async def test_an_answer_may_update_push_or_clear(slack: SandboxSlack, heard: Heard, form: View) -> None:
    heard.answer = {"response_action": "push", "view": {**FORM, "callback_id": "plan"}}
    await slack.submit("Reader", form, {"name": "Contoso"})
    second = slack.modal("Reader")
    assert second
    assert (second.previous_id, second.root_id) == (form.id, form.id)
    with pytest.raises(BadGesture):
        await slack.submit("Reader", form, {"name": "Contoso"})
    heard.answer = {"response_action": "update", "view": NOTICE}
    await slack.submit("Reader", second, {"name": "Contoso"})
    assert slack.modal("Reader") is second
    assert second.callback_id == "notice"
    with pytest.raises(BadGesture):
        await slack.submit("Reader", second)
    await slack.close("Reader", second)
    heard.answer = {"response_action": "clear"}
    await slack.submit("Reader", form, {"name": "Contoso"})
    assert slack.modal("Reader") is None
    with pytest.raises(BadGesture):
        await slack.close("Reader", form)
    with pytest.raises(BadGesture):
        await slack.close("Admin One", form)


async def test_closing_is_told_only_to_apps_that_asked_for_it(slack: SandboxSlack, heard: Heard, form: View) -> None:
    await slack.close("Reader", form)
    assert heard.bodies[-1]["type"] == "block_actions"
    asking = slack.views.open(READER, {**NOTICE, "notify_on_close": True, "clear_on_close": True})
    slack.views.push(READER, {**NOTICE, "notify_on_close": True})
    await slack.close("Reader", asking)
    assert [(each["type"], each["is_cleared"]) for each in heard.bodies[-2:]] == [("view_closed", True)] * 2


async def test_elements_of_a_modal_tell_the_app_with_the_state_so_far(
    slack: SandboxSlack, heard: Heard, form: View
) -> None:
    view = slack.views.open(READER, {**FORM, "blocks": [*FORM["blocks"], ROW]})
    heard.method, heard.view = "views_push", NOTICE
    await slack.gestures.act_in_view(
        slack.workspace.user("Reader"), view, "go", values={"name": "half typed"}, block_id="row"
    )
    await slack.wait_for(lambda: slack.modal("Reader") is not view)
    body = heard.bodies[-1]
    assert body["container"] == {"type": "view", "view_id": view.id}
    assert body["view"]["state"]["values"]["name"]["v"]["value"] == "half typed"
    await slack.click("Reader", view, "menu", "b")
    assert heard.bodies[-1]["actions"][0]["selected_option"]["value"] == "b"
    assert view.values["row"]["menu"]["selected_option"]["value"] == "b"


async def test_views_can_be_updated_with_their_hash_and_stack_three_deep(
    slack: SandboxSlack, client: AsyncWebClient, form: View
) -> None:
    tickets = slack.tickets
    form.values["name"]["v"]["value"] = "kept"
    await client.views_update(view_id=form.id, hash=form.hash, view={**FORM, "external_id": "outside"})
    assert form.values["name"]["v"]["value"] == "kept"
    await client.views_update(external_id="outside", view=FORM)
    for _ in range(2):
        await client.views_push(trigger_id=tickets.trigger(READER).id, view=NOTICE)
    cases: list[tuple[str, Json, str]] = [
        ("views.update", {"view_id": form.id, "hash": "old", "view": FORM}, "hash_conflict"),
        ("views.update", {"view_id": "V404", "view": FORM}, "not_found"),
        ("views.update", {"view": FORM}, "invalid_arguments"),
        ("views.update", {"view_id": form.id}, "invalid_arguments"),
        ("views.update", {"view_id": form.id, "view": {"type": "modal"}}, "invalid_arguments"),
        ("views.push", {"trigger_id": tickets.trigger(READER).id, "view": NOTICE}, "push_limit_reached"),
        ("views.push", {"trigger_id": tickets.trigger(ADMIN_ONE).id, "view": NOTICE}, "not_found"),
        ("views.publish", {"user_id": "U404", "view": NOTICE}, "user_not_found"),
    ]
    for method, args, word in cases:
        with pytest.raises(SlackApiError) as caught:
            await client.api_call(method, json=args)
        assert caught.value.response["error"] == word
    named = {**NOTICE, "external_id": "same"}
    await client.views_open(trigger_id=tickets.trigger(READER).id, view=named)
    with pytest.raises(SlackApiError) as caught:
        await client.views_open(trigger_id=tickets.trigger(ADMIN_ONE).id, view=named)
    assert caught.value.response["error"] == "duplicate_external_id"
