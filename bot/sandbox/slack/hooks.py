"""Response URLs: what an app answers to a command or a click, at most five times in half an hour.

Promises: a refused reply (bad blocks) costs a use, as at Slack; replace_original and delete_original reach ephemeral
messages, which nothing else can change.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from bot.sandbox.slack.calls import Call
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.faults import FaultKind
from bot.sandbox.slack.methods.world import World
from bot.sandbox.slack.posting import app_message, content_of, rewrite
from bot.sandbox.slack.tickets import Hook
from bot.sandbox.slack.web_api import arguments, cut
from bot.sandbox.slack.workspace import Json, Message

METHOD = "response_url"


class Hooks:
    """The handler of every response URL."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take one reply."""
        fault = self._world.faults.take(METHOD, None)
        try:
            args = await arguments(request)
        except SlackError as error:
            return self._answer({}, 400, error)
        if fault and fault.kind is FaultKind.RATE_LIMIT:
            return self._answer(args, 429, SlackError("ratelimited"), {"Retry-After": str(fault.retry_after)})
        if fault and fault.kind is FaultKind.STATUS:
            return self._answer(args, fault.status, SlackError("server_error"))
        if fault and fault.kind in (FaultKind.DROP, FaultKind.HANG):
            await asyncio.sleep(fault.seconds if fault.kind is FaultKind.HANG else 0)
            return cut(request)
        response = self._take(request.match_info["hook"], args)
        return cut(request) if fault else response

    def _take(self, hook_id: str, args: Json) -> web.Response:
        try:
            hook = self._world.tickets.use_hook(hook_id)
        except SlackError as error:
            return self._answer(args, 404, error)
        try:
            self.reply(hook, args)
        except SlackError as error:
            return self._answer(args, 400, error)
        return self._answer(args, 200)

    def _answer(
        self, args: Json, status: int, error: SlackError | None = None, headers: dict[str, str] | None = None
    ) -> web.Response:
        answer = error.answer() if error else {"ok": True}
        now = self._world.workspace.now()
        self._world.ledger.append(Call(method=METHOD, at=now, args=args, status=status, answer=answer))
        if error is None:
            return web.Response(text="ok", content_type="text/html")
        return web.json_response(answer, status=status, headers=headers)

    def reply(self, hook: Hook, args: Json) -> Message | None:
        """Carry out one reply; used for acknowledgements that carry a message too."""
        workspace = self._world.workspace
        original = self._original(hook)
        if args.get("delete_original") and original:
            workspace.remove(original)
            return None
        content = content_of(args)
        if args.get("replace_original") and original:
            return rewrite(workspace, original, content)
        public = args.get("response_type") == "in_channel"
        thread = self._thread(args.get("thread_ts"), hook.channel)
        return app_message(
            workspace, hook.channel, content, thread_ts=thread, ephemeral_to=None if public else hook.user_id
        )

    def _original(self, hook: Hook) -> Message | None:
        if hook.message_ts is None:
            return None
        note = self._world.workspace.note(hook.user_id, hook.message_ts)
        return note or self._world.workspace.channels[hook.channel].messages.get(hook.message_ts)

    def _thread(self, ts: Any, channel: str) -> str | None:
        if not ts:
            return None
        if str(ts) not in self._world.workspace.channels[channel].messages:
            raise SlackError("thread_not_found")
        return str(ts)
