"""The payloads that Slack sends for what users do, with all their real fields. Pure: world state in, JSON out."""

from __future__ import annotations

from bot.sandbox.slack.posting import document
from bot.sandbox.slack.tickets import Hook, Trigger
from bot.sandbox.slack.views import View, Views
from bot.sandbox.slack.workspace import Channel, Json, Message, User, Workspace


def _common(workspace: Workspace, user: User) -> Json:
    return {
        "token": workspace.app.verification,
        "api_app_id": workspace.app.app_id,
        "team": {"id": workspace.team_id, "domain": workspace.domain},
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": workspace.team_id},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def channel_name(channel: Channel) -> str:
    """The name under which payloads mention the channel."""
    if channel.im_user:
        return "directmessage"
    return "privategroup" if channel.is_private else channel.name


def slash_command(
    workspace: Workspace, user: User, channel: Channel, *, command: str, text: str, trigger: Trigger, url: str
) -> Json:
    """A slash command."""
    return {
        "token": workspace.app.verification,
        "team_id": workspace.team_id,
        "team_domain": workspace.domain,
        "channel_id": channel.id,
        "channel_name": channel_name(channel),
        "user_id": user.id,
        "user_name": user.name,
        "command": command,
        "text": text,
        "api_app_id": workspace.app.app_id,
        "is_enterprise_install": "false",
        "response_url": url,
        "trigger_id": trigger.id,
    }


def message_actions(
    workspace: Workspace, user: User, message: Message, *, action: Json, state: Json, trigger: Trigger, url: str
) -> Json:
    """block_actions of a message. An ephemeral message isn't in the payload, as Slack keeps no copy of it."""
    channel = workspace.channels[message.channel]
    container = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": channel.id,
        "is_ephemeral": message.ephemeral_to is not None,
    }
    if message.is_reply:
        container["thread_ts"] = message.thread_ts
    body = {
        "type": "block_actions",
        **_common(workspace, user),
        "container": container,
        "trigger_id": trigger.id,
        "channel": {"id": channel.id, "name": channel_name(channel)},
        "state": {"values": state},
        "response_url": url,
        "actions": [action],
    }
    if message.ephemeral_to is None:
        body["message"] = document(workspace, message, metadata=True)
    return body


def view_actions(workspace: Workspace, views: Views, user: User, view: View, *, action: Json, trigger: Trigger) -> Json:
    """block_actions of a modal or a Home tab."""
    return {
        "type": "block_actions",
        **_common(workspace, user),
        "container": {"type": "view", "view_id": view.id},
        "trigger_id": trigger.id,
        "view": views.document(view),
        "actions": [action],
    }


def submission(workspace: Workspace, views: Views, user: User, view: View, trigger: Trigger) -> Json:
    """view_submission."""
    return {
        "type": "view_submission",
        **_common(workspace, user),
        "trigger_id": trigger.id,
        "view": views.document(view),
        "response_urls": [],
    }


def closed(workspace: Workspace, views: Views, user: User, view: View, *, cleared: bool) -> Json:
    """view_closed."""
    body = {"type": "view_closed", **_common(workspace, user), "view": views.document(view)}
    return body | {"is_cleared": cleared}


def message_shortcut(
    workspace: Workspace, user: User, message: Message, *, callback_id: str, trigger: Trigger, url: str
) -> Json:
    """message_action: an entry of a message's menu was chosen."""
    channel = workspace.channels[message.channel]
    return {
        "type": "message_action",
        **_common(workspace, user),
        "callback_id": callback_id,
        "trigger_id": trigger.id,
        "response_url": url,
        "action_ts": workspace.next_ts(),
        "message_ts": message.ts,
        "channel": {"id": channel.id, "name": channel_name(channel)},
        "message": document(workspace, message),
    }


def global_shortcut(workspace: Workspace, user: User, callback_id: str, trigger: Trigger) -> Json:
    """shortcut: an entry of the composer's menu was chosen."""
    return {
        "type": "shortcut",
        **_common(workspace, user),
        "callback_id": callback_id,
        "trigger_id": trigger.id,
        "action_ts": workspace.next_ts(),
    }


def event(workspace: Workspace, body: Json) -> Json:
    """An event of the Events API around its body."""
    return {
        "token": workspace.app.verification,
        "team_id": workspace.team_id,
        "context_team_id": workspace.team_id,
        "context_enterprise_id": None,
        "api_app_id": workspace.app.app_id,
        "event": body,
        "type": "event_callback",
        "event_id": workspace.serial("Ev0"),
        "event_time": int(workspace.now()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": workspace.team_id,
                "user_id": workspace.app.bot_user,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": workspace.serial("4-"),
    }


def home_opened(workspace: Workspace, views: Views, user: User) -> Json:
    """app_home_opened on the Home tab; with the view if the app has published one."""
    body = {
        "type": "app_home_opened",
        "user": user.id,
        "channel": workspace.direct(user.id).id,
        "tab": "home",
        "event_ts": workspace.next_ts(),
    }
    view = views.homes.get(user.id)
    return body | ({"view": views.document(view)} if view else {})


def mention(workspace: Workspace, message: Message) -> Json:
    """app_mention."""
    body = {
        "type": "app_mention",
        "user": message.user,
        "text": message.text,
        "ts": message.ts,
        "channel": message.channel,
        "event_ts": message.ts,
        "team": workspace.team_id,
    }
    return body | ({"thread_ts": message.thread_ts} if message.is_reply else {})


def response_url(origin: str, workspace: Workspace, kind: str, hook: Hook) -> str:
    """The address of a hook."""
    return f"{origin}/{kind}/{workspace.team_id}/{hook.id}"
