"""POST and GET /api/<method>: reads a call as slack_sdk sends it, and answers as Slack would, faults included.

The order is Slack's: token, method, pauses and limits, scopes, then the work. Every call is recorded, refused ones too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from bot.sandbox.slack.calls import Call
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.faults import Fault, FaultKind
from bot.sandbox.slack.methods import chat, conversations, people, views
from bot.sandbox.slack.methods.world import Method, World
from bot.sandbox.slack.workspace import Json

METHODS: Final[Mapping[str, Method]] = {**people.METHODS, **chat.METHODS, **conversations.METHODS, **views.METHODS}
_JSON_ARGS: Final = frozenset({"blocks", "attachments", "metadata", "view", "message"})
_BOOLEAN_ARGS: Final = frozenset(
    {"inclusive", "include_all_metadata", "exclude_archived", "include_users", "reply_broadcast", "unfurl_links"}
)


class WebApi:
    """The handler of every method."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        name = request.match_info["method"]
        try:
            args = await arguments(request)
        except SlackError as error:
            return self._answered(name, {}, error.answer(), 200)
        channel = str(args["channel"]) if args.get("channel") else None
        world, now = self._world, self._world.workspace.now()
        if wait := world.limits.paused(name, channel, now):
            return self._limited(name, args, wait, early=True)
        fault = world.faults.take(name, channel)
        if fault is not None:
            return await self._faulty(request, name, args, channel, fault)
        method = METHODS.get(name)
        if method and (wait := world.limits.spend(name, channel, method.tier, now)):
            world.limits.pause(name, channel, wait, now)
            return self._limited(name, args, wait)
        return self._answered(name, args, self._perform(request, name, args), 200)

    def _perform(self, request: web.Request, name: str, args: Json) -> Json:
        try:
            method = METHODS.get(name)
            if method is None:
                raise SlackError("unknown_method", req_method=name)
            self._authorise(request, args, method)
            return {"ok": True, **method.handler(self._world, args)}
        except SlackError as error:
            return error.answer()

    def _authorise(self, request: web.Request, args: Json, method: Method) -> None:
        app = self._world.app
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip() or str(args.get("token", ""))
        if not token:
            raise SlackError("not_authed")
        if token not in (app.bot_token, app.app_token):
            raise SlackError("invalid_auth")
        if token != (app.app_token if method.app_level else app.bot_token):
            raise SlackError("not_allowed_token_type")
        if method.scopes and not app.scopes.intersection(method.scopes):
            raise SlackError("missing_scope", needed=method.scopes[0], provided=",".join(sorted(app.scopes)))

    # --- answers ---------------------------------------------------------------------------------------------------
    def _answered(self, name: str, args: Json, answer: Json, status: int) -> web.Response:
        self._record(name, args, status, answer)
        headers = {"X-OAuth-Scopes": ",".join(sorted(self._world.app.scopes)), "X-Slack-Req-Id": "sandbox"}
        return web.json_response(answer, status=status, headers=headers)

    def _limited(self, name: str, args: Json, wait: int, *, early: bool = False) -> web.Response:
        answer = SlackError("ratelimited").answer()
        self._record(name, args, 429, answer, early=early)
        return web.json_response(answer, status=429, headers={"Retry-After": str(wait)})

    def _record(self, name: str, args: Json, status: int, answer: Json, *, early: bool = False) -> None:
        kept = {key: value for key, value in args.items() if key != "token"}
        now = self._world.workspace.now()
        self._world.ledger.append(Call(method=name, at=now, args=kept, status=status, answer=answer, early=early))

    # --- faults ----------------------------------------------------------------------------------------------------
    async def _faulty(
        self, request: web.Request, name: str, args: Json, channel: str | None, fault: Fault
    ) -> web.StreamResponse:
        match fault.kind:
            case FaultKind.RATE_LIMIT:
                self._world.limits.pause(name, channel, fault.retry_after, self._world.workspace.now())
                return self._limited(name, args, fault.retry_after)
            case FaultKind.STATUS:
                self._record(name, args, fault.status, {})
                return web.Response(status=fault.status, text=fault.body, content_type="text/html")
            case FaultKind.ERROR:
                return self._answered(name, args, SlackError(fault.error).answer(), 200)
            case FaultKind.ERROR_AFTER:
                self._perform(request, name, args)
                return self._answered(name, args, SlackError(fault.error).answer(), 200)
        answer = {} if fault.kind in (FaultKind.DROP, FaultKind.HANG) else self._perform(request, name, args)
        self._record(name, args, 0, answer)
        if fault.kind in (FaultKind.HANG, FaultKind.ACCEPT_THEN_HANG):
            await asyncio.sleep(fault.seconds)
        return cut(request)


def cut(request: web.Request) -> web.StreamResponse:
    """Tear the caller's connection down without a byte of an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def arguments(request: web.Request) -> Json:
    """The call's arguments from query, form or JSON body, nested ones parsed; SlackError if they are broken."""
    args: Json = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.text() or "{}")
        except (ValueError, RecursionError):
            raise SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        args |= body
    elif request.can_read_body:
        args |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    return {name: _parsed(name, value) for name, value in args.items()}


def _parsed(name: str, value: Any) -> Any:
    if name in _JSON_ARGS and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise SlackError("invalid_blocks_format" if name == "blocks" else "invalid_arguments") from None
    if name in _BOOLEAN_ARGS and isinstance(value, str):
        return value.lower() in ("1", "true")
    return value
