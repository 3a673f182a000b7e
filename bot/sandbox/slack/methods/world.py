"""What every method works on, how a method is described, and the look-ups that methods share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot.sandbox.slack.calls import Ledger
from bot.sandbox.slack.config import AppConfig
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.faults import Faults
from bot.sandbox.slack.limits import Limits
from bot.sandbox.slack.tickets import Tickets
from bot.sandbox.slack.views import Views
from bot.sandbox.slack.workspace import Channel, Json, Message, Workspace


@dataclass(slots=True, kw_only=True)
class World:
    """The whole stand-in behind its wires."""

    workspace: Workspace
    tickets: Tickets
    views: Views
    faults: Faults
    limits: Limits
    ledger: Ledger
    origin: str = ""
    """http://host:port, without a slash at the end."""

    @property
    def app(self) -> AppConfig:
        """The installed app."""
        return self.workspace.app


Handler = Callable[[World, Json], Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method: its function, the scopes of which one is needed, its tier (0: no limit), the kind of token."""

    handler: Handler
    scopes: tuple[str, ...] = ()
    tier: int = 3
    app_level: bool = False


def need(args: Json, *names: str) -> None:
    """Refuse a call that lacks one of the arguments, as Slack words it."""
    for name in names:
        if args.get(name) in (None, ""):
            line = f"[ERROR] missing required field: {name}"
            raise SlackError("invalid_arguments", response_metadata={"messages": [line]})


def whole(args: Json, name: str, default: int, most: int) -> int:
    """A number of items, within what the method allows."""
    try:
        value = int(args.get(name) or default)
    except (TypeError, ValueError):
        raise SlackError("invalid_arguments") from None
    return max(1, min(value, most))


def channel_of(world: World, args: Json, *, by_name: bool = False) -> Channel:
    """The channel that the call names, if the bot may know of it: by id, and for posting by name or user id too."""
    name, workspace = str(args.get("channel", "")), world.workspace
    channel = workspace.channels.get(name)
    if channel is None and by_name and name in workspace.users:
        return workspace.direct(name)
    if channel is None and by_name:
        channel = next((each for each in workspace.channels.values() if each.name == name.removeprefix("#")), None)
    if channel is None or (channel.is_private and world.app.bot_user not in channel.members):
        raise SlackError("channel_not_found")
    return channel


def joined(world: World, args: Json, *, by_name: bool = False, writing: bool = True) -> Channel:
    """A channel in which the bot is; one that isn't archived when it wants to write."""
    channel = channel_of(world, args, by_name=by_name)
    if writing and channel.is_archived:
        raise SlackError("is_archived")
    if world.app.bot_user not in channel.members:
        raise SlackError("not_in_channel")
    return channel


def message_of(channel: Channel, ts: object, word: str = "message_not_found") -> Message:
    """A message that everybody in the channel sees."""
    message = channel.messages.get(str(ts))
    if message is None:
        raise SlackError(word)
    return message


def page_of(items: list[Any], args: Json, *, default: int = 100, most: int = 1000) -> tuple[list[Any], Json]:
    """One page of the items, and the answer's part that leads to the next page."""
    limit, cursor = whole(args, "limit", default, most), str(args.get("cursor") or "")
    if cursor and not cursor.isdigit():
        raise SlackError("invalid_cursor")
    start = int(cursor or 0)
    following = str(start + limit) if start + limit < len(items) else ""
    return items[start : start + limit], {"response_metadata": {"next_cursor": following}}
