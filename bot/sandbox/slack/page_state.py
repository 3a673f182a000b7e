"""The workspace as one user's client shows it: one JSON document. Pure."""

from __future__ import annotations

from typing import Final

from bot.sandbox.slack.methods.world import World
from bot.sandbox.slack.posting import document
from bot.sandbox.slack.views import View
from bot.sandbox.slack.workspace import Channel, Json, Message, User

_SHOWN: Final = 300
"""Messages of a channel that the page shows, the latest ones."""


def snapshot(world: World, user: User) -> Json:
    """Everything that the page of this user draws."""
    workspace, app, views = world.workspace, world.app, world.views
    channels = [each for each in workspace.channels.values() if user.id in each.members]
    home = views.homes.get(user.id)
    return {
        "revision": workspace.changes.revision,
        "me": user.id,
        "hint": workspace.hint,
        "team": workspace.name,
        "app": {
            "id": app.app_id,
            "name": app.name,
            "user": app.bot_user,
            "commands": [
                {"command": c.command, "description": c.description, "usage_hint": c.usage_hint} for c in app.commands
            ],
            "shortcuts": [{"callback_id": s.callback_id, "name": s.name, "kind": s.kind} for s in app.shortcuts],
        },
        "users": [{"id": each.id, "name": each.real_name, "bot": each.is_bot} for each in workspace.users.values()],
        "groups": [{"id": each.id, "handle": each.handle} for each in workspace.groups.values()],
        "channels": [_channel(world, each, user) for each in channels],
        "modals": [_view(world, each) for each in views.stacks.get(user.id, [])],
        "home": _view(world, home) if home else None,
    }


def _channel(world: World, channel: Channel, user: User) -> Json:
    workspace = world.workspace
    shared = list(channel.messages.values())[-_SHOWN:]
    notes = workspace.notes(user, channel)[-_SHOWN:]
    return {
        "id": channel.id,
        "name": channel.name,
        "topic": channel.topic,
        "direct": channel.im_user is not None,
        "archived": channel.is_archived,
        "members": len(channel.members),
        "messages": [_message(world, each) for each in sorted([*shared, *notes], key=lambda message: message.ts)],
    }


def _message(world: World, message: Message) -> Json:
    body = document(world.workspace, message)
    return body | {"private": message.ephemeral_to is not None, "failed": message.failed, "reply": message.is_reply}


def _view(world: World, view: View) -> Json:
    return world.views.document(view) | {"errors": view.errors}
