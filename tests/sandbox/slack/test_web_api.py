"""The stand-in's Web API, asked by the real slack_sdk client: it accepts and refuses what Slack does."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import AppConfig, Channel, SandboxSlack
from bot.sandbox.slack.seed import ADMIN_ONE, ADMINS, ALERTS, PARTNERS, READER
from tests.sandbox.slack.api_calls import ClientFor, error_of

Json = dict[str, Any]
META = {"event_type": "mfi", "event_payload": {"uid": "u-1"}}
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "words"}}


async def test_auth_test_says_who_the_bot_is_and_lists_its_scopes(slack: SandboxSlack, client: AsyncWebClient) -> None:
    answer = await client.auth_test()
    assert (answer["user_id"], answer["bot_id"]) == (slack.workspace.app.bot_user, slack.workspace.app.bot_id)
    assert "chat:write" in answer.headers["X-OAuth-Scopes"].split(",")


@pytest.mark.parametrize(
    ("method", "token", "word"),
    [
        ("auth.test", "xoxb-wrong", "invalid_auth"),
        ("apps.connections.open", "bot", "not_allowed_token_type"),
        ("auth.test", "app", "not_allowed_token_type"),
        ("chat.postMassage", "bot", "unknown_method"),
        ("files.upload", "bot", "unknown_method"),
    ],
)
async def test_wrong_tokens_and_methods_are_refused(
    slack: SandboxSlack, client_for: ClientFor, method: str, token: str, word: str
) -> None:
    client = client_for(slack, {"bot": slack.bot_token, "app": slack.app_token}.get(token, token))
    assert await error_of(client.api_call(method)) == word


async def test_a_call_without_any_token_is_not_authed(slack: SandboxSlack) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{slack.api_url}auth.test") as answer:
        assert (await answer.json())["error"] == "not_authed"


@pytest.mark.parametrize(
    ("body", "word"), [("{", "invalid_json"), ("[]", "json_not_object"), ('{"channel":"C1"', "invalid_json")]
)
async def test_a_broken_body_is_refused(slack: SandboxSlack, body: str, word: str) -> None:
    headers = {"Authorization": f"Bearer {slack.bot_token}", "Content-Type": "application/json"}
    address = f"{slack.api_url}chat.postMessage"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(address, data=body) as answer:
        assert (await answer.json())["error"] == word


async def test_a_form_with_json_inside_works_as_a_json_body_does(slack: SandboxSlack) -> None:
    form = {"token": slack.bot_token, "channel": ALERTS, "text": "x", "blocks": json.dumps([SECTION])}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{slack.api_url}chat.postMessage", data=form) as answer:
            assert (await answer.json())["ok"] is True
        for name, word in (("blocks", "invalid_blocks_format"), ("metadata", "invalid_arguments")):
            async with session.post(f"{slack.api_url}chat.postMessage", data={**form, name: "{"}) as answer:
                assert (await answer.json())["error"] == word
    assert slack.messages("mail-alerts")[0].visible == "words"
    assert "token" not in slack.calls[0].args


async def test_an_app_without_the_scope_is_told_which_one_it_needs(client_for: ClientFor) -> None:
    manifest = {
        "features": {
            "bot_user": {"display_name": "mfi"},
            "slash_commands": [{"command": "/mfi", "description": "d", "usage_hint": "help"}],
            "shortcuts": [{"name": "Explain", "type": "message", "callback_id": "explain"}],
        },
        "oauth_config": {"scopes": {"bot": ["commands"]}},
        "settings": {"event_subscriptions": {"bot_events": ["app_mention"]}},
    }
    config = AppConfig.from_manifest(manifest)
    assert (config.commands[0].usage_hint, config.shortcuts[0].kind, config.events) == (
        "help",
        "message",
        {"app_mention"},
    )
    async with SandboxSlack(app=config) as slack:
        with pytest.raises(SlackApiError) as caught:
            await client_for(slack).chat_postMessage(channel=ALERTS, text="x")
        assert (caught.value.response["error"], caught.value.response["needed"]) == ("missing_scope", "chat:write")


# --- posting -------------------------------------------------------------------------------------------------------
async def test_timestamps_are_unique_and_increase_even_when_the_clock_stands(
    timed: SandboxSlack, client_for: ClientFor
) -> None:
    client = client_for(timed)
    stamps = [(await client.chat_postMessage(channel=ALERTS, text=str(n)))["ts"] for n in range(4)]
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
        ("a &amp; b", "a &amp; b"),
        ("<!channel> <@U1> <https://e.test/?a=1&b=2|x>", "<!channel> <@U1> <https://e.test/?a=1&b=2|x>"),
        ("<javascript:x> <nothing>", "&lt;javascript:x&gt; &lt;nothing&gt;"),
    ],
)
async def test_text_is_kept_as_slack_keeps_it(
    slack: SandboxSlack, client: AsyncWebClient, sent: str, kept: str
) -> None:
    answer = await client.chat_postMessage(channel=ALERTS, text=sent)
    assert answer["message"]["text"] == kept


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"text": "x", "blocks": [{"type": "section"}]}, "invalid_blocks"),
        (
            {"text": "x", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2900}}] * 5},
            "msg_blocks_too_long",
        ),
        ({"text": "x", "metadata": {"event_type": "x"}}, "invalid_metadata_schema"),
        ({"text": "x", "thread_ts": "1.000001"}, "thread_not_found"),
        ({"text": "x", "channel": "C404"}, "channel_not_found"),
        ({"text": "x", "channel": ""}, "channel_not_found"),
    ],
)
async def test_a_message_that_slack_refuses_is_refused_here(client: AsyncWebClient, args: Json, word: str) -> None:
    assert await error_of(client.api_call("chat.postMessage", json={"channel": ALERTS, **args})) == word


async def test_a_refusal_of_blocks_points_at_the_place(client: AsyncWebClient) -> None:
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=ALERTS, text="x", blocks=[{"type": "section", "text": {"type": "x"}}])
    assert "[json-pointer:/blocks/0/text/type]" in caught.value.response["response_metadata"]["messages"][0]


async def test_a_channel_by_name_and_a_user_id_are_addresses_for_posting(
    slack: SandboxSlack, client: AsyncWebClient
) -> None:
    by_name = await client.chat_postMessage(channel="#mail-alerts", text="x")
    direct = await client.chat_postMessage(channel=READER, text="for you")
    opened = await client.conversations_open(users=READER)
    assert (by_name["channel"], direct["channel"]) == (ALERTS, opened["channel"]["id"])
    assert await error_of(client.conversations_open(users="U404")) == "user_not_found"
    assert await error_of(client.conversations_open(users="")) == "users_list_not_supplied"
    again = await client.conversations_open(channel=direct["channel"])
    assert again["channel"]["id"] == direct["channel"]
    info = await client.conversations_info(channel=direct["channel"])
    assert (info["channel"]["is_im"], info["channel"]["user"]) == (True, READER)


async def test_where_the_bot_is_not_or_may_not_write_it_is_told_so(slack: SandboxSlack, client: AsyncWebClient) -> None:
    slack.remove_bot("mail-partners")
    assert await error_of(client.chat_postMessage(channel=PARTNERS, text="x")) == "not_in_channel"
    assert await error_of(client.conversations_history(channel=PARTNERS)) == "not_in_channel"
    slack.archive("mail-alerts")
    assert await error_of(client.chat_postMessage(channel=ALERTS, text="x")) == "is_archived"
    assert (await client.conversations_history(channel=ALERTS))["messages"] == []
    slack.workspace.add_channel(Channel(id="C0SECRET", name="secret", is_private=True, members={ADMIN_ONE}))
    assert await error_of(client.chat_postMessage(channel="C0SECRET", text="x")) == "channel_not_found"


async def test_an_update_without_blocks_takes_the_blocks_away_and_keeps_metadata(
    slack: SandboxSlack, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel=ALERTS, text="x", blocks=[SECTION], metadata=META)
    await client.chat_update(channel=ALERTS, ts=posted["ts"], text="only text")
    (message,) = slack.messages("mail-alerts")
    assert (message.blocks, message.text, message.metadata) == ([], "only text", META)
    history = await client.conversations_history(channel=ALERTS)
    assert history["messages"][0]["edited"]["ts"] > posted["ts"]
    await client.chat_update(channel=ALERTS, ts=posted["ts"], text="x", metadata={})
    assert message.metadata is None


async def test_each_change_gives_blocks_new_ids(client: AsyncWebClient) -> None:
    blocks = [
        SECTION,
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "a"}}]},
    ]
    posted = await client.chat_postMessage(channel=ALERTS, text="x", blocks=blocks)
    changed = await client.chat_update(channel=ALERTS, ts=posted["ts"], text="x", blocks=blocks)
    ids = [block["block_id"] for answer in (posted, changed) for block in answer["message"]["blocks"]]
    assert len(set(ids)) == len(ids)
    assert posted["message"]["blocks"][1]["elements"][0]["action_id"]


async def test_only_own_messages_can_be_changed_and_deleted(slack: SandboxSlack, client: AsyncWebClient) -> None:
    said = slack.say("Reader", "mail-alerts", "hello")
    posted = await client.chat_postMessage(channel=ALERTS, text="x")
    assert await error_of(client.chat_update(channel=ALERTS, ts=said.ts, text="y")) == "cant_update_message"
    assert await error_of(client.chat_delete(channel=ALERTS, ts=said.ts)) == "cant_delete_message"
    assert await error_of(client.chat_update(channel=ALERTS, ts="1.1", text="y")) == "message_not_found"
    assert await error_of(client.chat_update(channel=ALERTS, ts=posted["ts"], text="é" * 2001)) == "msg_too_long"
    assert await error_of(client.chat_update(channel=ALERTS, ts="", text="y")) == "invalid_arguments"
    await client.chat_delete(channel=ALERTS, ts=posted["ts"])
    assert slack.messages("mail-alerts") == [said]


async def test_an_ephemeral_message_is_seen_by_one_and_is_in_no_history(
    slack: SandboxSlack, client: AsyncWebClient
) -> None:
    note = await client.chat_postEphemeral(channel=ALERTS, user=READER, text="psst")
    assert [each.text for each in slack.ephemerals("Reader", "mail-alerts")] == ["psst"]
    assert slack.ephemerals("Admin One") == []
    assert (await client.conversations_history(channel=ALERTS))["messages"] == []
    assert await error_of(client.chat_update(channel=ALERTS, ts=note["message_ts"], text="y")) == "message_not_found"
    assert await error_of(client.chat_postEphemeral(channel=ALERTS, user="U404", text="x")) == "user_not_in_channel"


async def test_a_permalink_leads_to_the_page_and_into_the_thread(slack: SandboxSlack, client: AsyncWebClient) -> None:
    root = await client.chat_postMessage(channel=ALERTS, text="x")
    reply = await client.chat_postMessage(channel=ALERTS, text="y", thread_ts=root["ts"])
    link = (await client.chat_getPermalink(channel=ALERTS, message_ts=root["ts"]))["permalink"]
    assert link == f"{slack.page_url}archives/{ALERTS}/p{root['ts'].replace('.', '')}"
    inner = (await client.chat_getPermalink(channel=ALERTS, message_ts=reply["ts"]))["permalink"]
    assert f"thread_ts={root['ts']}" in inner


async def test_a_reaction_is_added_once(slack: SandboxSlack, client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel=ALERTS, text="x")
    await client.reactions_add(channel=ALERTS, timestamp=posted["ts"], name="eyes")
    assert (
        await error_of(client.reactions_add(channel=ALERTS, timestamp=posted["ts"], name="eyes")) == "already_reacted"
    )
    history = await client.conversations_history(channel=ALERTS)
    assert history["messages"][0]["reactions"][0]["count"] == 1


# --- reading -------------------------------------------------------------------------------------------------------
async def test_history_is_newest_first_in_pages_and_between_two_moments(
    slack: SandboxSlack, client: AsyncWebClient
) -> None:
    slack.limits.enabled = False
    stamps = [(await client.chat_postMessage(channel=ALERTS, text=str(n)))["ts"] for n in range(5)]
    first = await client.conversations_history(channel=ALERTS, limit=2)
    assert [each["ts"] for each in first["messages"]] == stamps[:2:-1]
    assert first["has_more"] is True
    cursor = first["response_metadata"]["next_cursor"]
    second = await client.conversations_history(channel=ALERTS, limit=2, cursor=cursor)
    assert [each["ts"] for each in second["messages"]] == [stamps[2], stamps[1]]
    between = await client.conversations_history(channel=ALERTS, oldest=stamps[1], latest=stamps[3])
    assert [each["ts"] for each in between["messages"]] == [stamps[2]]
    with_ends = await client.conversations_history(channel=ALERTS, oldest=stamps[1], latest=stamps[3], inclusive=True)
    assert [each["ts"] for each in with_ends["messages"]] == [stamps[3], stamps[2], stamps[1]]
    assert await error_of(client.conversations_history(channel=ALERTS, oldest="soon")) == "invalid_ts_oldest"
    assert await error_of(client.conversations_history(channel=ALERTS, cursor="x")) == "invalid_cursor"
    assert await error_of(client.conversations_history(channel=ALERTS, limit="many")) == "invalid_arguments"


async def test_metadata_is_read_only_when_asked_for(slack: SandboxSlack, client: AsyncWebClient) -> None:
    await client.chat_postMessage(channel=ALERTS, text="x", metadata=META)
    assert "metadata" not in (await client.conversations_history(channel=ALERTS))["messages"][0]
    asked = await client.conversations_history(channel=ALERTS, include_all_metadata=True)
    assert asked["messages"][0]["metadata"] == META
    slack.faults.strip_metadata = True
    stripped = await client.conversations_history(channel=ALERTS, include_all_metadata=True)
    assert "metadata" not in stripped["messages"][0]


async def test_replies_stand_in_the_thread_and_only_shared_ones_in_the_channel(
    slack: SandboxSlack, client: AsyncWebClient
) -> None:
    root = await client.chat_postMessage(channel=ALERTS, text="root", metadata=META)
    first = await client.chat_postMessage(channel=ALERTS, text="first", thread_ts=root["ts"])
    shared = await client.chat_postMessage(channel=ALERTS, text="2", thread_ts=first["ts"], reply_broadcast=True)
    thread = await client.conversations_replies(channel=ALERTS, ts=root["ts"], include_all_metadata=True)
    assert [each["ts"] for each in thread["messages"]] == [root["ts"], first["ts"], shared["ts"]]
    assert thread["messages"][0]["metadata"] == META
    assert thread["messages"][0]["reply_count"] == 2
    later = await client.conversations_replies(channel=ALERTS, ts=root["ts"], oldest=first["ts"])
    assert [each["ts"] for each in later["messages"]] == [root["ts"], shared["ts"]]
    history = await client.conversations_history(channel=ALERTS)
    assert [each["ts"] for each in history["messages"]] == [shared["ts"], root["ts"]]
    assert history["messages"][0]["subtype"] == "thread_broadcast"
    assert [each.ts for each in slack.thread("mail-alerts", root["ts"])] == [first["ts"], shared["ts"]]
    inner = await client.conversations_replies(channel=ALERTS, ts=first["ts"])
    assert [each["ts"] for each in inner["messages"]] == [first["ts"]]
    assert await error_of(client.conversations_replies(channel=ALERTS, ts="1.1")) == "thread_not_found"


async def test_channels_people_and_groups_can_be_looked_up(slack: SandboxSlack, client: AsyncWebClient) -> None:
    slack.archive("mail-partners")
    slack.workspace.add_channel(Channel(id="C0SECRET", name="secret", is_private=True, members={ADMIN_ONE}))
    names = [each["name"] for each in (await client.conversations_list(exclude_archived=True))["channels"]]
    assert names == ["mail-alerts"]
    everything = await client.conversations_list(types="public_channel,private_channel", limit=1)
    assert everything["response_metadata"]["next_cursor"] == "1"
    info = await client.conversations_info(channel=ALERTS)
    assert (info["channel"]["is_member"], info["channel"]["num_members"]) == (True, 4)
    assert READER in (await client.conversations_members(channel=ALERTS))["members"]
    assert (await client.users_info(user=READER))["user"]["real_name"] == "Reader"
    assert await error_of(client.users_info(user="U404")) == "user_not_found"
    assert len((await client.users_list())["members"]) == 4
    assert (await client.usergroups_users_list(usergroup=ADMINS))["users"] == [ADMIN_ONE, "U0ADMINTWO"]
    assert await error_of(client.usergroups_users_list(usergroup="S404")) == "no_such_subteam"
    assert (await client.usergroups_list(include_users=True))["usergroups"][0]["users"][0] == ADMIN_ONE
    assert "users" not in (await client.usergroups_list())["usergroups"][0]
    assert (await client.bots_info(bot=slack.workspace.app.bot_id))["bot"]["name"] == "mfi"
    assert await error_of(client.bots_info(bot="B404")) == "bot_not_found"
    assert (await client.team_info())["team"]["id"] == slack.workspace.team_id


async def test_blocks_validate_answers_with_the_validators_problems(client: AsyncWebClient) -> None:
    await client.blocks_validate(blocks=[SECTION])
    await client.blocks_validate(message={"text": "x"})
    await client.blocks_validate(view={"type": "home", "blocks": [SECTION]})
    with pytest.raises(SlackApiError) as caught:
        await client.blocks_validate(view={"type": "modal", "blocks": [SECTION]})
    assert caught.value.response["errors"][0]["pointer"] == "/title"
    assert await error_of(client.blocks_validate()) == "invalid_arguments"
