"""What is true in the stand-in workspace: people, channels, messages. Tests read it; only the server changes it.

Promises: message timestamps are unique and increase over the whole workspace; every change wakes whoever waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bot.sandbox.slack.config import AppConfig

Json = dict[str, Any]
Now = Callable[[], float]


class Changes:
    """A counter that can be waited for: it moves whenever anything in the workspace does."""

    def __init__(self) -> None:
        self.revision = 0
        self._moved = asyncio.Event()

    def touch(self) -> None:
        """Something changed."""
        self.revision += 1
        self._moved.set()
        self._moved = asyncio.Event()

    async def after(self, revision: int, timeout: float) -> int:
        """Wait until the revision is another one than this, at most so many seconds; returns the present one."""
        if self.revision == revision:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), timeout)
        return self.revision


@dataclass(slots=True, kw_only=True)
class User:
    """A person or a bot."""

    id: str
    name: str
    real_name: str
    is_bot: bool = False
    is_admin: bool = False
    is_restricted: bool = False
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class UserGroup:
    """A mentionable group; Slack calls it a subteam."""

    id: str
    handle: str
    name: str
    users: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Message:
    """One message as Slack keeps it. `ephemeral_to` names the only user who sees it."""

    ts: str
    channel: str
    user: str
    text: str = ""
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    metadata: Json | None = None
    thread_ts: str | None = None
    broadcast: bool = False
    edited: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    ephemeral_to: str | None = None
    failed: bool = False
    """The client's own line about something that went wrong, not a message from the app."""
    reactions: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_reply(self) -> bool:
        """Whether it stands in a thread under another message."""
        return self.thread_ts is not None and self.thread_ts != self.ts

    @property
    def all_blocks(self) -> list[Json]:
        """Its blocks and those of its attachments."""
        return [*self.blocks, *(block for each in self.attachments for block in each.get("blocks", []))]

    @property
    def visible(self) -> str:
        """Every word that a reader sees, one text object a line; the plain text when there are no blocks."""
        return "\n".join(_texts(self.all_blocks)) or self.text

    def elements(self) -> Iterator[tuple[Json, Json]]:
        """Each interactive element with the block that holds it."""
        return interactive(self.all_blocks)

    def has_action(self, action_id: str) -> bool:
        """Whether the message offers the action."""
        return any(element.get("action_id") == action_id for _, element in self.elements())


def interactive(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    """Each element that a user can act on, with its block; inputs too."""
    for block in blocks:
        held = [*block.get("elements", []), block.get("accessory"), block.get("element"), *block.get("actions", [])]
        for element in held:
            if isinstance(element, dict) and "action_id" in element:
                yield block, element
        yield from interactive(block.get("child_blocks", []))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and name in ("text", "alt_text", "caption"):
                yield inner
            else:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


@dataclass(slots=True, kw_only=True)
class Channel:
    """A channel or a direct conversation (`im_user` is set)."""

    id: str
    name: str
    members: set[str] = field(default_factory=set)
    is_private: bool = False
    is_archived: bool = False
    im_user: str | None = None
    topic: str = ""
    messages: dict[str, Message] = field(default_factory=dict)
    """By ts, oldest first, replies included, ephemeral ones not. Only Workspace.store and .remove change it."""
    threads: dict[str, dict[str, Message]] = field(default_factory=dict)
    """The replies of each thread by the ts of its first message, and then like `messages`."""


class Workspace:
    """One team with one app installed."""

    def __init__(
        self, app: AppConfig, now: Now = time.time, team_id: str = "T0SANDBOX", domain: str = "sandbox"
    ) -> None:
        self.app = app
        self.now = now
        self.team_id = team_id
        self.domain = domain
        self.name = "Sandbox"
        self.changes = Changes()
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.groups: dict[str, UserGroup] = {}
        self.hint = ""
        """What the page suggests to try next, as mrkdwn; nothing when empty."""
        self.private_notes: list[Message] = []
        """Ephemeral messages, oldest first."""
        self._last_micros = 0
        self._serial = 0
        self.add_user(User(id=app.bot_user, name=app.name, real_name=app.name, is_bot=True))

    # --- making ----------------------------------------------------------------------------------------------------
    def add_user(self, user: User) -> User:
        """Let somebody in."""
        self.users[user.id] = user
        self.changes.touch()
        return user

    def add_channel(self, channel: Channel) -> Channel:
        """Open a channel."""
        self.channels[channel.id] = channel
        self.changes.touch()
        return channel

    def add_group(self, group: UserGroup) -> UserGroup:
        """Make a user group."""
        self.groups[group.id] = group
        self.changes.touch()
        return group

    def next_ts(self) -> str:
        """A timestamp that no message has, later than every one given before."""
        self._last_micros = max(self._last_micros + 1, int(self.now() * 1_000_000))
        return f"{self._last_micros // 1_000_000}.{self._last_micros % 1_000_000:06d}"

    def serial(self, prefix: str) -> str:
        """A fresh identifier with the prefix."""
        self._serial += 1
        return f"{prefix}{self._serial:06X}"

    def store(self, message: Message) -> Message:
        """Keep a new message where its readers find it."""
        channel = self.channels[message.channel]
        if message.ephemeral_to is None:
            channel.messages[message.ts] = message
            if message.is_reply:
                channel.threads.setdefault(str(message.thread_ts), {})[message.ts] = message
        else:
            self.private_notes.append(message)
        self.changes.touch()
        return message

    def remove(self, message: Message) -> None:
        """Make a message disappear."""
        if message.ephemeral_to is None:
            channel = self.channels[message.channel]
            channel.messages.pop(message.ts, None)
            channel.threads.get(str(message.thread_ts), {}).pop(message.ts, None)
        elif message in self.private_notes:
            self.private_notes.remove(message)
        self.changes.touch()

    # --- finding ---------------------------------------------------------------------------------------------------
    def user(self, who: User | str) -> User:
        """A user by object, id, handle or full name; KeyError if there is none."""
        if isinstance(who, User):
            return who
        for user in self.users.values():
            if who in (user.id, user.name, user.real_name):
                return user
        raise KeyError(f"no user {who!r}")

    def channel(self, which: Channel | str) -> Channel:
        """A channel by object, id, or name with or without #; KeyError if there is none."""
        if isinstance(which, Channel):
            return which
        for channel in self.channels.values():
            if which.removeprefix("#") in (channel.id, channel.name):
                return channel
        raise KeyError(f"no channel {which!r}")

    def direct(self, user_id: str) -> Channel:
        """The direct conversation between the app and the user; opened when it doesn't exist."""
        for channel in self.channels.values():
            if channel.im_user == user_id:
                return channel
        members = {user_id, self.app.bot_user}
        name = f"dm-{user_id}"
        return self.add_channel(Channel(id=self.serial("D0"), name=name, members=members, im_user=user_id))

    def timeline(self, which: Channel | str) -> list[Message]:
        """What stands in the channel itself, oldest first: no replies, except those shared to the channel."""
        return [each for each in self.channel(which).messages.values() if not each.is_reply or each.broadcast]

    def thread(self, which: Channel | str, ts: str) -> list[Message]:
        """The replies under a message, oldest first."""
        return list(self.channel(which).threads.get(ts, {}).values())

    def notes(self, who: User | str, which: Channel | str | None = None) -> list[Message]:
        """The ephemeral messages that a user sees, oldest first."""
        user, channel = self.user(who), None if which is None else self.channel(which).id
        return [n for n in self.private_notes if n.ephemeral_to == user.id and channel in (None, n.channel)]

    def note(self, user_id: str, ts: str) -> Message | None:
        """One ephemeral message of a user."""
        return next((n for n in self.private_notes if n.ephemeral_to == user_id and n.ts == ts), None)
