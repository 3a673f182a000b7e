"""chat.*, reactions.add and blocks.validate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bot.core.blockkit import Surface, problems
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.methods.world import Method, World, joined, message_of, need
from bot.sandbox.slack.posting import app_message, content_of, document, rewrite
from bot.sandbox.slack.workspace import Channel, Json, Message


def _parent(channel: Channel, args: Json) -> str | None:
    """The thread to reply in: Slack takes the ts of a reply as its thread's."""
    ts = args.get("thread_ts")
    if not ts:
        return None
    message = message_of(channel, ts, "thread_not_found")
    return message.thread_ts or message.ts


def post_message(world: World, args: Json) -> Json:
    """Post as the app."""
    channel = joined(world, args, by_name=True)
    thread = _parent(channel, args)
    broadcast = bool(args.get("reply_broadcast")) and thread is not None
    message = app_message(world.workspace, channel.id, content_of(args), thread_ts=thread, broadcast=broadcast)
    return {"channel": channel.id, "ts": message.ts, "message": document(world.workspace, message, metadata=True)}


def post_ephemeral(world: World, args: Json) -> Json:
    """Post what only one member of the channel sees."""
    need(args, "user")
    channel = joined(world, args, by_name=True)
    if args["user"] not in channel.members:
        raise SlackError("user_not_in_channel")
    content = {name: value for name, value in content_of(args).items() if name != "metadata"}
    message = app_message(
        world.workspace, channel.id, content, thread_ts=_parent(channel, args), ephemeral_to=args["user"]
    )
    return {"message_ts": message.ts}


def _own(world: World, args: Json, word: str) -> Message:
    need(args, "ts")
    message = message_of(joined(world, args), args["ts"])
    if message.user != world.app.bot_user:
        raise SlackError(word)
    return message


def update(world: World, args: Json) -> Json:
    """Rewrite one of the app's messages."""
    message = rewrite(world.workspace, _own(world, args, "cant_update_message"), content_of(args))
    body = document(world.workspace, message, metadata=True)
    return {"channel": message.channel, "ts": message.ts, "text": message.text, "message": body}


def delete(world: World, args: Json) -> Json:
    """Delete one of the app's messages."""
    message = _own(world, args, "cant_delete_message")
    world.workspace.remove(message)
    return {"channel": message.channel, "ts": message.ts}


def permalink(world: World, args: Json) -> Json:
    """The address of a message on this stand-in's page."""
    need(args, "message_ts")
    channel = joined(world, args, writing=False)
    message = message_of(channel, args["message_ts"])
    address = f"{world.origin}/archives/{channel.id}/p{message.ts.replace('.', '')}"
    if message.is_reply:
        address += f"?thread_ts={message.thread_ts}&cid={channel.id}"
    return {"channel": channel.id, "permalink": address}


def add_reaction(world: World, args: Json) -> Json:
    """React as the app."""
    need(args, "name", "timestamp")
    message = message_of(joined(world, args), args["timestamp"])
    users = message.reactions.setdefault(args["name"], [])
    if world.app.bot_user in users:
        raise SlackError("already_reacted")
    users.append(world.app.bot_user)
    world.workspace.changes.touch()
    return {}


def validate(_world: World, args: Json) -> Json:
    """Say what is wrong with blocks, a message or a view."""
    given = [name for name in ("blocks", "message", "view") if args.get(name) is not None]
    if len(given) != 1:
        raise SlackError("invalid_arguments")
    body = {"text": "-", "blocks": args["blocks"]} if given == ["blocks"] else args[given[0]]
    surface: Surface = "message"
    if given == ["view"]:
        surface = "home" if isinstance(body, dict) and body.get("type") == "home" else "modal"
    found = problems(body, surface)
    if found:
        errors = [{"pointer": each.pointer, "code": each.code, "message": each.message} for each in found]
        raise SlackError("invalid_blocks", errors=errors)
    return {}


METHODS: Final[Mapping[str, Method]] = {
    "chat.postMessage": Method(handler=post_message, scopes=("chat:write",), tier=4),
    "chat.postEphemeral": Method(handler=post_ephemeral, scopes=("chat:write",), tier=4),
    "chat.update": Method(handler=update, scopes=("chat:write",), tier=3),
    "chat.delete": Method(handler=delete, scopes=("chat:write",), tier=3),
    "chat.getPermalink": Method(handler=permalink, tier=0),
    "reactions.add": Method(handler=add_reaction, scopes=("reactions:write",), tier=3),
    "blocks.validate": Method(handler=validate, tier=0),
}
