"""conversations.*: history with metadata, threads, membership."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.methods.world import Method, World, channel_of, joined, message_of, need, page_of
from bot.sandbox.slack.posting import document
from bot.sandbox.slack.workspace import Channel, Json, Message

READ: Final = ("channels:read", "groups:read", "im:read")
HISTORY: Final = ("channels:history", "groups:history", "im:history")


def described(world: World, channel: Channel) -> Json:
    """A channel as conversations.info and .list give it."""
    common = {"id": channel.id, "is_archived": channel.is_archived, "is_im": channel.im_user is not None, "created": 0}
    if channel.im_user:
        return {**common, "user": channel.im_user}
    return {
        **common,
        "name": channel.name,
        "name_normalized": channel.name,
        "is_channel": True,
        "is_group": False,
        "is_mpim": False,
        "is_private": channel.is_private,
        "is_member": world.app.bot_user in channel.members,
        "is_general": False,
        "is_shared": False,
        "is_ext_shared": False,
        "is_org_shared": False,
        "context_team_id": world.workspace.team_id,
        "num_members": len(channel.members),
        "topic": {"value": channel.topic, "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
    }


def info(world: World, args: Json) -> Json:
    """One channel."""
    return {"channel": described(world, channel_of(world, args))}


def listing(world: World, args: Json) -> Json:
    """The channels of the wanted types that the bot may know of."""
    types = {word.strip() for word in str(args.get("types") or "public_channel").split(",")}
    known = [each for each in world.workspace.channels.values() if _kind(each) in types and _visible(world, each)]
    if args.get("exclude_archived"):
        known = [each for each in known if not each.is_archived]
    page, more = page_of(known, args)
    return {"channels": [described(world, each) for each in page], **more}


def _kind(channel: Channel) -> str:
    if channel.im_user:
        return "im"
    return "private_channel" if channel.is_private else "public_channel"


def _visible(world: World, channel: Channel) -> bool:
    return not channel.is_private or world.app.bot_user in channel.members


def open_direct(world: World, args: Json) -> Json:
    """The direct conversation with one user."""
    users = [word for word in str(args.get("users", "")).split(",") if word]
    if args.get("channel"):
        return {"channel": {"id": channel_of(world, args).id}}
    if len(users) != 1 or users[0] not in world.workspace.users:
        raise SlackError("user_not_found" if users else "users_list_not_supplied")
    existed = any(each.im_user == users[0] for each in world.workspace.channels.values())
    channel = world.workspace.direct(users[0])
    return {"channel": {"id": channel.id}, "no_op": existed, "already_open": existed}


def members(world: World, args: Json) -> Json:
    """Who is in a channel."""
    page, more = page_of(sorted(channel_of(world, args).members), args)
    return {"members": page, **more}


def _within(message: Message, args: Json) -> bool:
    """Whether the message lies between oldest and latest; both ends belong to it only if `inclusive`."""
    moment, inclusive = float(message.ts), bool(args.get("inclusive"))
    try:
        oldest, latest = float(args.get("oldest") or 0), float(args.get("latest") or "inf")
    except (TypeError, ValueError):
        raise SlackError("invalid_ts_oldest") from None
    if oldest < moment < latest:
        return True
    return inclusive and moment in (oldest, latest)


def _shown(world: World, messages: list[Message], args: Json) -> list[Json]:
    metadata = bool(args.get("include_all_metadata")) and not world.faults.strip_metadata
    return [document(world.workspace, each, metadata=metadata) for each in messages]


def history(world: World, args: Json) -> Json:
    """What stands in a channel, newest first; replies only where they were shared to the channel."""
    channel = joined(world, args, writing=False)
    found = [each for each in reversed(world.workspace.timeline(channel)) if _within(each, args)]
    page, more = page_of(found, args, most=999)
    has_more = bool(more["response_metadata"]["next_cursor"])
    return {"messages": _shown(world, page, args), "has_more": has_more, "pin_count": 0, **(more if has_more else {})}


def replies(world: World, args: Json) -> Json:
    """A thread: its parent, whatever the limits in time, then the replies, oldest first."""
    need(args, "ts")
    channel = joined(world, args, writing=False)
    parent = message_of(channel, args["ts"], "thread_not_found")
    if parent.is_reply:
        return {"messages": _shown(world, [parent], args), "has_more": False}
    found = [each for each in world.workspace.thread(channel, parent.ts) if _within(each, args)]
    page, more = page_of([parent, *found], args, default=1000)
    has_more = bool(more["response_metadata"]["next_cursor"])
    return {"messages": _shown(world, page, args), "has_more": has_more, **(more if has_more else {})}


METHODS: Final[Mapping[str, Method]] = {
    "conversations.info": Method(handler=info, scopes=READ, tier=3),
    "conversations.list": Method(handler=listing, scopes=READ, tier=2),
    "conversations.open": Method(handler=open_direct, scopes=("im:write",), tier=3),
    "conversations.members": Method(handler=members, scopes=READ, tier=4),
    "conversations.history": Method(handler=history, scopes=HISTORY, tier=3),
    "conversations.replies": Method(handler=replies, scopes=HISTORY, tier=3),
}
