"""A stand-in Slack workspace on loopback: Web API, Socket Mode, response URLs and a page for people, on one port.

Promises: as strict as Slack about what it accepts (blocks, scopes, tokens, triggers, deadlines); everything that tests
need to know stands in `workspace`, `calls` and `envelopes`; `stop` leaves no task, socket or connection behind.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from aiohttp import web

from bot.sandbox.slack.calls import Ledger
from bot.sandbox.slack.config import AppConfig
from bot.sandbox.slack.faults import Faults
from bot.sandbox.slack.gestures import Gestures
from bot.sandbox.slack.hooks import Hooks
from bot.sandbox.slack.limits import Limits
from bot.sandbox.slack.methods.world import World
from bot.sandbox.slack.modals import Modals, Outcome
from bot.sandbox.slack.page_server import PageServer
from bot.sandbox.slack.seed import furnish
from bot.sandbox.slack.sockets import Envelope, Sockets
from bot.sandbox.slack.tickets import Tickets
from bot.sandbox.slack.views import View, Views
from bot.sandbox.slack.web_api import WebApi
from bot.sandbox.slack.workspace import Channel, Message, Now, User, Workspace

_GRACE: Final = 0.05
"""Seconds that handlers get to end by themselves when the server goes down."""


class SandboxSlack:
    """One workspace with one installed app. Furnished as `seed.furnish` does, unless it's told otherwise."""

    def __init__(
        self,
        *,
        app: AppConfig | None = None,
        now: Now = time.time,
        ack_seconds: float = 3.0,
        furnish: Callable[[Workspace], None] = furnish,
    ) -> None:
        self.workspace = Workspace(app or AppConfig(), now)
        furnish(self.workspace)
        self.faults = Faults()
        self.limits = Limits()
        self.calls = Ledger()
        self.views = Views(self.workspace)
        self.tickets = Tickets(now, self.workspace.team_id)
        self._world = World(
            workspace=self.workspace,
            tickets=self.tickets,
            views=self.views,
            faults=self.faults,
            limits=self.limits,
            ledger=self.calls,
        )
        self.sockets = Sockets(self._world, ack_seconds=ack_seconds)
        self._hooks = Hooks(self._world)
        self.gestures = Gestures(self._world, self.sockets, self._hooks, self._background)
        self.modals = Modals(self._world, self.sockets)
        self._page = PageServer(self._world, self.gestures, self.modals)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._host, self._port = "127.0.0.1", 0

    # --- life ------------------------------------------------------------------------------------------------------
    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        self._host, self._port = host, port
        await self.up()

    async def up(self) -> None:
        """Listen again after `down`, on the same port."""
        if self._runner is not None:
            return
        runner = web.AppRunner(self._routes(), access_log=None, shutdown_timeout=_GRACE)
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port).start()
        self._runner = runner
        self._port = runner.addresses[0][1]
        self._world.origin = f"http://{self._host}:{self._port}"

    async def down(self) -> None:
        """Cut every connection and refuse new ones, until `up`. What is known stays known."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        self._page.leave()
        for site in list(runner.sites):
            await site.stop()
        if runner.server is not None:
            for connection in list(runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        await runner.cleanup()

    async def stop(self) -> None:
        """End for good."""
        await self.down()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> SandboxSlack:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    def _routes(self) -> web.Application:
        application = web.Application(client_max_size=4_000_000)
        api = WebApi(self._world)
        application.router.add_route("*", "/api/{method}", api.handle)
        application.router.add_get("/link/", self.sockets.handle)
        for kind in ("commands", "actions"):
            application.router.add_post(f"/{kind}/{{team}}/{{hook}}", self._hooks.handle)
        self._page.add_routes(application)
        return application

    def _background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- addresses and keys ----------------------------------------------------------------------------------------
    @property
    def api_url(self) -> str:
        """The base address for SLACK_API_URL."""
        return f"{self._world.origin}/api/"

    @property
    def page_url(self) -> str:
        """The page for people."""
        return f"{self._world.origin}/"

    @property
    def bot_token(self) -> str:
        """The token for the Web API."""
        return self.workspace.app.bot_token

    @property
    def app_token(self) -> str:
        """The token for Socket Mode."""
        return self.workspace.app.app_token

    @property
    def envelopes(self) -> deque[Envelope]:
        """Every delivery to the bot, oldest first, with its acknowledgement."""
        return self.sockets.envelopes

    @property
    def connected(self) -> bool:
        """Whether a bot listens."""
        return bool(self.sockets.connections)

    # --- what people see -------------------------------------------------------------------------------------------
    def messages(self, channel: Channel | str) -> list[Message]:
        """What stands in a channel, oldest first."""
        return self.workspace.timeline(channel)

    def thread(self, channel: Channel | str, ts: str) -> list[Message]:
        """The replies under a message, oldest first."""
        return self.workspace.thread(channel, ts)

    def ephemerals(self, user: User | str, channel: Channel | str | None = None) -> list[Message]:
        """What only this user sees, oldest first."""
        return self.workspace.notes(user, channel)

    def modal(self, user: User | str) -> View | None:
        """The modal in front of the user."""
        return self.views.top(self.workspace.user(user).id)

    def home(self, user: User | str) -> View | None:
        """The user's Home tab, once the app has published it."""
        return self.views.homes.get(self.workspace.user(user).id)

    # --- what people do --------------------------------------------------------------------------------------------
    async def command(
        self, user: User | str, channel: Channel | str, line: str, *, replies: int = 1, timeout: float = 5.0
    ) -> list[Message]:
        """Type a slash command; returns the messages that this user got to see afterwards, in order.

        Waits until so many have come, the client's own error line among them, or until the time is over.
        """
        who, where = self.workspace.user(user), self.workspace.channel(channel)
        known = self._seen(who, where)
        await self.gestures.command(who, where, line)
        await self.wait_for(lambda: len(self._seen(who, where) - known) >= replies, timeout, fail=False)
        fresh = self._seen(who, where) - known
        return sorted(
            (each for each in [*where.messages.values(), *self.ephemerals(who, where)] if each.ts in fresh),
            key=lambda message: message.ts,
        )

    def _seen(self, user: User, channel: Channel) -> set[str]:
        return set(channel.messages) | {note.ts for note in self.ephemerals(user, channel)}

    async def click(
        self,
        user: User | str,
        where: Message | View,
        action_id: str,
        value: Any = None,
        *,
        block_id: str | None = None,
    ) -> Outcome:
        """Use a button, menu or other element of a message or view; a confirm dialog was answered with yes.

        `value` is the option chosen (or the options). The message is read afresh, as a client shows it.
        """
        who = self.workspace.user(user)
        if isinstance(where, View):
            return await self.gestures.act_in_view(who, where, action_id, value, block_id=block_id)
        return await self.gestures.act(who, where, action_id, value, block_id)

    async def submit(self, user: User | str, view: View, values: Mapping[str, Any] | None = None) -> Outcome:
        """Press a modal's submit button; `values`: block id → text, option value, or list of option values."""
        return await self.modals.submit(self.workspace.user(user), view, values or {})

    async def close(self, user: User | str, view: View, *, everything: bool = False) -> None:
        """Close a modal without submitting it."""
        await self.modals.close(self.workspace.user(user), view, everything=everything)

    async def open_home(self, user: User | str, *, timeout: float = 5.0) -> View | None:
        """Look at the Home tab; returns it when the app has published it anew, or as it is after the timeout."""
        who = self.workspace.user(user)
        old = self.views.homes.get(who.id)
        before = old.hash if old else None
        self.gestures.open_home(who)
        await self.wait_for(lambda: (v := self.views.homes.get(who.id)) and v.hash != before, timeout, fail=False)
        return self.views.homes.get(who.id)

    def say(self, user: User | str, channel: Channel | str, text: str, *, thread_ts: str | None = None) -> Message:
        """Post a message as a person."""
        return self.gestures.say(self.workspace.user(user), self.workspace.channel(channel), text, thread_ts)

    async def shortcut(self, user: User | str, callback_id: str, message: Message | None = None) -> Outcome:
        """Choose a message shortcut, or without a message a global one."""
        return await self.gestures.shortcut(self.workspace.user(user), callback_id, message)

    # --- what tests wait for and break -----------------------------------------------------------------------------
    async def wait_for(self, condition: Callable[[], Any], timeout: float = 5.0, *, fail: bool = True) -> Any:
        """Wait until the condition holds in the workspace; returns its value. TimeoutError unless `fail` is false."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            left = deadline - time.monotonic()
            if left <= 0:
                if fail:
                    raise TimeoutError("the workspace never came to be as expected")
                return value
            await self.workspace.changes.after(self.workspace.changes.revision, min(left, 0.25))
        return value

    async def disconnect(self, reason: str = "refresh_requested", *, only: int | None = None) -> None:
        """Send `disconnect` to the bot's connections (or the first so many) and close them."""
        await self.sockets.disconnect(reason, only=only)

    def suggest(self, hint: str) -> None:
        """Show people, above everything, what they might try next (mrkdwn); an empty text takes it away."""
        self.workspace.hint = hint
        self.workspace.changes.touch()

    def remove_bot(self, channel: Channel | str) -> None:
        """Take the app out of a channel: not_in_channel from now on."""
        self.workspace.channel(channel).members.discard(self.workspace.app.bot_user)
        self.workspace.changes.touch()

    def archive(self, channel: Channel | str, archived: bool = True) -> None:
        """Archive a channel: is_archived from now on."""
        self.workspace.channel(channel).is_archived = archived
        self.workspace.changes.touch()
