"""What people do in their clients: type, click, open the Home tab. The page and tests use the same code.

Promises: a person can do only what a client offers (BadGesture otherwise, and nothing is sent); every interaction goes
to the bot through Socket Mode, and one that isn't acknowledged shows the line that Slack's clients show.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from bot.sandbox.slack import payloads
from bot.sandbox.slack.elements import BadGesture, action_of, initial_state, state_of
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.hooks import Hooks
from bot.sandbox.slack.methods.world import World
from bot.sandbox.slack.modals import NOT_ACKED, Outcome, enter, owned
from bot.sandbox.slack.sockets import Envelope, Sockets
from bot.sandbox.slack.text import escape, mentions
from bot.sandbox.slack.views import View
from bot.sandbox.slack.workspace import Channel, Json, Message, User, interactive


class Gestures:
    """Everything a person can do."""

    def __init__(self, world: World, sockets: Sockets, hooks: Hooks, background: Callable[..., None]) -> None:
        self._world = world
        self._sockets = sockets
        self._hooks = hooks
        self._background: Callable[[Coroutine[Any, Any, Any]], None] = background
        self.event_retries: tuple[float, ...] = (0.0, 60.0, 300.0)
        """Seconds before each redelivery of an event that nobody acknowledged."""

    # --- typing ----------------------------------------------------------------------------------------------------
    async def command(self, user: User, channel: Channel, line: str) -> Outcome:
        """Send a slash command."""
        command, _, text = line.strip().partition(" ")
        if command not in {each.command for each in self._world.app.commands}:
            self._complain(user, channel, f"{command} is not a valid command. Type / to see what there is.")
            return Outcome(error="not_a_command")
        workspace, tickets = self._world.workspace, self._world.tickets
        hook, trigger = tickets.hook(user.id, channel.id), tickets.trigger(user.id)
        url = payloads.response_url(self._world.origin, workspace, "commands", hook)
        body = payloads.slash_command(
            workspace, user, channel, command=command, text=text.strip(), trigger=trigger, url=url
        )
        envelope = await self._sockets.deliver("slash_commands", body)
        if not envelope.acked:
            self._complain(user, channel, f"{line.strip()} failed with the error “{NOT_ACKED}”")
            return Outcome(error=NOT_ACKED, envelope=envelope)
        if envelope.response:
            try:
                self._hooks.reply(hook, envelope.response)
            except SlackError as error:
                self._complain(user, channel, f"{line.strip()} failed with the error “{error.word}”")
                return Outcome(error=error.word, envelope=envelope)
        return Outcome(envelope=envelope)

    def _complain(self, user: User, channel: Channel, text: str) -> None:
        """The client's own line, which only this person sees."""
        workspace = self._world.workspace
        workspace.store(
            Message(
                ts=workspace.next_ts(),
                channel=channel.id,
                user=user.id,
                text=escape(text),
                ephemeral_to=user.id,
                failed=True,
            )
        )

    def say(self, user: User, channel: Channel, text: str, thread_ts: str | None = None) -> Message:
        """Post a message as this person; the app hears of it if it is mentioned."""
        if not text.strip():
            raise BadGesture("there is nothing to send")
        if channel.is_archived or user.id not in channel.members:
            raise BadGesture("nobody can write here")
        workspace = self._world.workspace
        bot = workspace.app.bot_user
        stored = escape(text).replace(f"&lt;@{bot}&gt;", f"<@{bot}>").replace(f"@{workspace.app.name} ", f"<@{bot}> ")
        message = workspace.store(
            Message(ts=workspace.next_ts(), channel=channel.id, user=user.id, text=stored, thread_ts=thread_ts)
        )
        if mentions(stored, bot):
            self.send_event(payloads.mention(workspace, message))
        return message

    # --- clicking --------------------------------------------------------------------------------------------------
    async def act(
        self, user: User, message: Message, action_id: str, raw: Any = None, block_id: str | None = None
    ) -> Outcome:
        """Use an element of a message (any confirmation was given)."""
        if message.ephemeral_to not in (None, user.id):
            raise BadGesture("only its addressee sees this message")
        block, element = self._element(message.all_blocks, action_id, block_id)
        workspace, tickets = self._world.workspace, self._world.tickets
        action = action_of(block, element, raw, workspace.next_ts())
        state = initial_state(message.all_blocks)
        if block["block_id"] in state and action_id in state[block["block_id"]]:
            state[block["block_id"]][action_id] = state_of(element, raw)
        hook = tickets.hook(user.id, message.channel, message.ts)
        url = payloads.response_url(self._world.origin, workspace, "actions", hook)
        trigger = tickets.trigger(user.id)
        body = payloads.message_actions(workspace, user, message, action=action, state=state, trigger=trigger, url=url)
        return self._acked(await self._sockets.deliver("interactive", body))

    async def act_in_view(
        self,
        user: User,
        view: View,
        action_id: str,
        raw: Any = None,
        *,
        block_id: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Use an element of a modal or of the Home tab; `values` is what stands in the other inputs."""
        owned(self._world, user, view)
        enter(view, values or {})
        block, element = self._element(view.blocks, action_id, block_id)
        action = action_of(block, element, raw, self._world.workspace.next_ts())
        if action_id in view.values.get(block["block_id"], {}):
            view.values[block["block_id"]][action_id] = state_of(element, raw)
        trigger = self._world.tickets.trigger(user.id, view.id)
        body = payloads.view_actions(
            self._world.workspace, self._world.views, user, view, action=action, trigger=trigger
        )
        return self._acked(await self._sockets.deliver("interactive", body))

    async def shortcut(self, user: User, callback_id: str, message: Message | None = None) -> Outcome:
        """Choose an entry of a message's menu, or without a message one of the composer's."""
        kind = "message" if message else "global"
        if (callback_id, kind) not in {(each.callback_id, each.kind) for each in self._world.app.shortcuts}:
            raise BadGesture(f"the app has no {kind} shortcut {callback_id!r}")
        workspace, tickets = self._world.workspace, self._world.tickets
        trigger = tickets.trigger(user.id)
        if message is None:
            body = payloads.global_shortcut(workspace, user, callback_id, trigger)
        else:
            hook = tickets.hook(user.id, message.channel, message.ts)
            url = payloads.response_url(self._world.origin, workspace, "actions", hook)
            body = payloads.message_shortcut(
                workspace, user, message, callback_id=callback_id, trigger=trigger, url=url
            )
        return self._acked(await self._sockets.deliver("interactive", body))

    @staticmethod
    def _acked(envelope: Envelope) -> Outcome:
        return Outcome(error=None if envelope.acked else NOT_ACKED, envelope=envelope)

    @staticmethod
    def _element(blocks: list[Json], action_id: str, block_id: str | None) -> tuple[Json, Json]:
        for block, element in interactive(blocks):
            if element["action_id"] == action_id and block_id in (None, block["block_id"]):
                return block, element
        raise BadGesture(f"nothing here has the action {action_id!r}")

    # --- the Home tab and events -----------------------------------------------------------------------------------
    def open_home(self, user: User) -> None:
        """Look at the app's Home tab."""
        self.send_event(payloads.home_opened(self._world.workspace, self._world.views, user))

    def send_event(self, body: Json) -> None:
        """Deliver an event if the app subscribes to its type; again later when it isn't acknowledged."""
        if body["type"] in self._world.app.events:
            self._background(self._event(payloads.event(self._world.workspace, body)))

    async def _event(self, payload: Json) -> None:
        for attempt, wait in enumerate((0.0, *self.event_retries)):
            await asyncio.sleep(wait)
            envelope = await self._sockets.deliver("events_api", payload, attempt=attempt)
            if envelope.acked:
                return
