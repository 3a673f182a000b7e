"""Serves the page to people's browsers: its files, the state as one user sees it, gestures, and news as they happen.

Promises: only for this machine (a foreign Host or Origin is refused, so no web site can reach it through a browser);
nothing is fetched from elsewhere (strict Content-Security-Policy); a gesture is the same code that tests call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from bot.sandbox.slack.elements import BadGesture
from bot.sandbox.slack.gestures import Gestures
from bot.sandbox.slack.methods.world import World
from bot.sandbox.slack.modals import Modals, Outcome
from bot.sandbox.slack.page_state import snapshot
from bot.sandbox.slack.views import View
from bot.sandbox.slack.workspace import Json, Message, User

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_QUIET_SECONDS: Final = 15.0


class PageServer:
    """The routes under / and /page/."""

    def __init__(self, world: World, gestures: Gestures, modals: Modals) -> None:
        self._world = world
        self._gestures = gestures
        self._modals = modals
        self._streams: set[asyncio.Task[Any]] = set()

    def add_routes(self, application: web.Application) -> None:
        """Hang the page into the server."""
        router = application.router
        for path in ("/", "/archives/{channel}/{ts}"):
            router.add_get(path, self._guarded(self._index))
        router.add_get("/page/files/{name}", self._guarded(self._file))
        router.add_get("/page/state", self._guarded(self._state))
        router.add_get("/page/news", self._guarded(self._news))
        router.add_post("/page/do", self._guarded(self._do))

    def leave(self) -> None:
        """End the streams of news, so that the server can stop."""
        for task in list(self._streams):
            task.cancel()

    def _guarded(self, handler: Handler) -> Handler:
        async def guard(request: web.Request) -> web.StreamResponse:
            origin = request.headers.get("Origin")
            if urlsplit(f"//{request.host}").hostname not in _LOCAL:
                raise web.HTTPForbidden(text="This page is only for the machine on which it runs.")
            if origin is not None and origin != f"http://{request.host}":
                raise web.HTTPForbidden(text="Another site can't act here.")
            return await handler(request)

        return guard

    # --- files -----------------------------------------------------------------------------------------------------
    async def _index(self, _request: web.Request) -> web.StreamResponse:
        return self._served("index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._served(request.match_info["name"])

    @staticmethod
    def _served(name: str) -> web.Response:
        folder = resources.files("bot.sandbox.slack") / "page"
        kind = _TYPES.get(name.rpartition(".")[2])
        if kind is None or name not in {entry.name for entry in folder.iterdir()}:
            raise web.HTTPNotFound
        return web.Response(body=(folder / name).read_bytes(), content_type=kind, charset="utf-8", headers=_HEADERS)

    # --- state and news --------------------------------------------------------------------------------------------
    def _user(self, request: web.Request) -> User:
        """Who the page acts as; the first person of the workspace until it says so."""
        people = [each for each in self._world.workspace.users.values() if not each.is_bot]
        wanted = request.query.get("user")
        for user in people:
            if wanted in (None, user.id):
                return user
        raise web.HTTPNotFound(text="No such user.")

    async def _state(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(snapshot(self._world, self._user(request)), headers=_HEADERS)

    async def _news(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the workspace's revision whenever it moves. The page then asks for the state."""
        self._user(request)
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        changes, told = self._world.workspace.changes, -1
        try:
            while True:
                now = changes.revision
                await response.write(f"data: {now}\n\n".encode() if now != told else b": still here\n\n")
                told = now
                await changes.after(now, _QUIET_SECONDS)
        except ConnectionError:
            return response
        finally:
            self._streams.discard(task)

    # --- gestures --------------------------------------------------------------------------------------------------
    async def _do(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        try:
            wish = json.loads(await request.text())
            outcome = await self._carry_out(user, wish)
        except (BadGesture, KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": f"{error}"}, status=400, headers=_HEADERS)
        answer = {"error": outcome.error, "errors": dict(outcome.errors)} if outcome else {}
        return web.json_response(answer, headers=_HEADERS)

    async def _carry_out(self, user: User, wish: Json) -> Outcome | None:
        """Do one thing that the page asks for on behalf of its user."""
        workspace = self._world.workspace
        match wish["do"]:
            case "say":
                line, channel = str(wish["text"]), workspace.channel(wish["channel"])
                if line.startswith("/"):
                    return await self._gestures.command(user, channel, line)
                self._gestures.say(user, channel, line, wish.get("thread"))
            case "act":
                message = self._message(user, wish)
                return await self._gestures.act(user, message, wish["action"], wish.get("value"), wish.get("block"))
            case "act_in_view":
                return await self._gestures.act_in_view(
                    user,
                    self._view(wish),
                    wish["action"],
                    wish.get("value"),
                    block_id=wish.get("block"),
                    values=wish.get("values"),
                )
            case "shortcut":
                return await self._gestures.shortcut(user, wish["callback"], self._message(user, wish))
            case "submit":
                return await self._modals.submit(user, self._view(wish), wish["values"])
            case "close":
                await self._modals.close(user, self._view(wish))
            case "home":
                self._gestures.open_home(user)
            case _:
                raise BadGesture("the page asked for something unknown")
        return None

    def _message(self, user: User, wish: Json) -> Message:
        channel = self._world.workspace.channel(wish["channel"])
        message = self._world.workspace.note(user.id, wish["ts"]) or channel.messages.get(wish["ts"])
        if message is None:
            raise BadGesture("this message is gone")
        return message

    def _view(self, wish: Json) -> View:
        views = self._world.views
        for view in [*(v for stack in views.stacks.values() for v in stack), *views.homes.values()]:
            if view.id == wish["view"]:
                return view
        raise BadGesture("this view is closed")
