"""The short-lived keys that Slack hands out with an interaction: trigger ids, response URLs, WebSocket tickets.

Promises: a trigger works once and for 3 seconds; a response URL 5 times in 30 minutes; a WebSocket ticket once.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.workspace import Now

TRIGGER_SECONDS: Final = 3.0
HOOK_SECONDS: Final = 30 * 60.0
HOOK_USES: Final = 5


@dataclass(slots=True, kw_only=True)
class Trigger:
    """The right to open a view for one user, once."""

    id: str
    user_id: str
    made_at: float
    view_id: str | None = None
    """The view from which it came: views.push needs one."""
    used: bool = False


@dataclass(slots=True, kw_only=True)
class Hook:
    """A response URL: where its replies go."""

    id: str
    user_id: str
    channel: str
    made_at: float
    message_ts: str | None = None
    """The message that was acted on; replace_original and delete_original mean it."""
    uses: int = 0


class Tickets:
    """All keys of one workspace."""

    def __init__(self, now: Now, team_id: str) -> None:
        self._now = now
        self._team = team_id
        self._triggers: dict[str, Trigger] = {}
        self._hooks: dict[str, Hook] = {}
        self._sockets: set[str] = set()

    def trigger(self, user_id: str, view_id: str | None = None) -> Trigger:
        """A new trigger id for something that the user just did."""
        name = f"{secrets.randbelow(10**12)}.{self._team}.{secrets.token_hex(16)}"
        made = Trigger(id=name, user_id=user_id, made_at=self._now(), view_id=view_id)
        self._triggers[name] = made
        return made

    def exchange(self, trigger_id: object) -> Trigger:
        """Use a trigger up; SlackError when it is unknown, late or used."""
        trigger = self._triggers.get(str(trigger_id))
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if self._now() - trigger.made_at > TRIGGER_SECONDS:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger

    def hook(self, user_id: str, channel: str, message_ts: str | None = None) -> Hook:
        """A new response URL."""
        made = Hook(
            id=secrets.token_hex(16), user_id=user_id, channel=channel, made_at=self._now(), message_ts=message_ts
        )
        self._hooks[made.id] = made
        return made

    def use_hook(self, hook_id: str) -> Hook:
        """Count one use; SlackError(used_url | expired_url) when there is none left."""
        hook = self._hooks.get(hook_id)
        if hook is None or self._now() - hook.made_at > HOOK_SECONDS:
            raise SlackError("expired_url")
        if hook.uses >= HOOK_USES:
            raise SlackError("used_url")
        hook.uses += 1
        return hook

    def socket(self) -> str:
        """A WebSocket ticket."""
        ticket = secrets.token_hex(16)
        self._sockets.add(ticket)
        return ticket

    def admit(self, ticket: str) -> bool:
        """Whether the ticket lets a connection in; it does so only once."""
        known = ticket in self._sockets
        self._sockets.discard(ticket)
        return known
