"""The app that Slack talks to: which listener takes what, and a catch-all for everything else.

Promises: every command, click, submission and event is noted and acknowledged before anything else happens; nothing
that arrives goes unacknowledged, known or not; starting needs no Slack (no auth.test); whatever a listener raises is
logged under a short number and told to the person.
"""

from __future__ import annotations

import logging
import re
import secrets
from typing import Any

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult

from bot.core.permissions import Verb
from bot.services.views import status_view
from bot.slack.alert import ACK, FIX_NOW, REPROBE, UNDO
from bot.slack.alert_parts import APPROVE, DECLINE, RETRY
from bot.slack.approving import Approving
from bot.slack.client import make_client
from bot.slack.commands import Commands
from bot.slack.deps import SlackDeps
from bot.slack.errors import meaning
from bot.slack.explain_modal import PASTE_CALLBACK
from bot.slack.explaining import BUTTONS as EXPLAIN
from bot.slack.explaining import Click, Explaining
from bot.slack.fixing import Fixing
from bot.slack.home import home_view
from bot.slack.intake import Ack, Intake, Request, broken
from bot.slack.interactions import Interactions
from bot.slack.manifest import COMMAND, EXPLAIN_MESSAGE
from bot.slack.payload import Body, action_of, person_of, trigger_of, view_of, where_of
from bot.slack.plan_modal import CALLBACK
from bot.slack.replies import PICK, note
from bot.slack.text import Mrkdwn
from bot.slack.vocabulary import help_lines

LOG = logging.getLogger(__name__)
BOLT = logging.getLogger("mfi.slack.bolt")
"""Bolt's own logger: its debug lines hold whole requests, its warnings advise on ways of starting that we don't use."""
BOLT.setLevel(logging.ERROR)
ANY = re.compile(r"(?s).*")
BUTTONS = frozenset({ACK, REPROBE, FIX_NOW, UNDO, RETRY, APPROVE, DECLINE})


def build_app(deps: SlackDeps) -> AsyncApp:
    """The app with all its listeners. The order matters: the first match runs, so the catch-alls come last."""
    surface = _Surface(deps)

    async def authorize() -> AuthorizeResult:
        """One workspace, one token: nothing to look up, so Slack being down can't swallow a click."""
        home = deps.guard.home
        return AuthorizeResult(
            enterprise_id=home.enterprise_id if home else None,
            team_id=home.team_id if home else None,
            bot_user_id=home.bot_user_id if home else None,
            bot_token=deps.client.token,
        )

    app = AsyncApp(
        name="mfi",
        logger=BOLT,
        client=make_client(None, deps.client.base_url, deps.client.timeout),
        authorize=authorize,
        request_verification_enabled=False,
    )
    app.command(COMMAND)(surface.on_command)
    app.action(ANY)(surface.on_action)
    app.view(CALLBACK)(surface.on_submit)
    app.view(PASTE_CALLBACK)(surface.on_paste)
    app.message_shortcut(EXPLAIN_MESSAGE)(surface.on_explain_message)
    app.event("app_home_opened")(surface.on_home)
    app.command(ANY)(_acknowledge)
    app.view(ANY)(_acknowledge)
    app.view_closed(ANY)(_acknowledge)
    app.shortcut(ANY)(_acknowledge)
    app.options(ANY)(_no_options)
    app.event(ANY)(_ignore)
    app.error(surface.on_error)
    return app


async def _acknowledge(ack: Ack) -> None:
    """Nothing of ours; Slack must not show an error for it."""
    await ack()


async def _no_options(ack: Ack) -> None:
    await ack(options=[])


async def _ignore() -> None:
    """Events are acknowledged before their listener runs."""


class _Surface:
    """The listeners."""

    def __init__(self, deps: SlackDeps) -> None:
        self._deps = deps
        self._intake = Intake(deps)
        self._fixing = Fixing(self._intake)
        self._explaining = Explaining(self._intake)
        self._commands = Commands(self._intake, self._fixing, self._explaining)
        self._interactions = Interactions(self._intake, self._commands, self._fixing, Approving(self._intake))

    async def on_command(self, ack: Ack, body: Body) -> None:
        request = await self._intake.take(body)
        await ack()
        if request is not None:
            text = str(body.get("text") or "")
            self._intake.work(request, "a command", self._commands.run(request, text, trigger_of(body)))

    async def on_action(self, ack: Ack, body: Body) -> None:
        action_id, value = action_of(body)
        if action_id not in BUTTONS and not action_id.startswith((PICK, EXPLAIN)):
            await ack()
            return
        request = await self._intake.take(body)
        await ack()
        if request is None:
            return
        trigger = trigger_of(body)
        if action_id.startswith(EXPLAIN):
            click = Click(request=request, action_id=action_id, value=value, trigger_id=trigger, view=view_of(body))
            job = self._explaining.clicked(click)
        else:
            job = self._interactions.clicked(request, action_id, value, trigger)
        self._intake.work(request, f"a click on {action_id[:40]}", job)

    async def on_submit(self, ack: Ack, body: Body, view: Body) -> None:
        request = await self._intake.take(body)
        if request is None:
            await ack()
        else:
            await self._fixing.submit(ack, request, view)

    async def on_paste(self, ack: Ack, body: Body, view: Body) -> None:
        request = await self._intake.take(body)
        if request is None:
            await ack()
        else:
            await self._explaining.submit(ack, request, view)

    async def on_explain_message(self, ack: Ack, body: Body) -> None:
        request = await self._intake.take(body)
        await ack()
        if request is not None:
            job = self._explaining.read_message(request, body.get("message"), trigger_of(body))
            self._intake.work(request, "a message to explain", job)

    async def on_home(self, body: Body, event: Body) -> None:
        if event.get("tab") != "home":
            return
        request = await self._intake.take(body)
        if request is not None:
            self._intake.work(request, "the Home tab", self._publish_home(request))

    async def on_error(self, error: Exception, body: dict[str, Any]) -> None:
        """The last net: whatever a listener raised."""
        number = secrets.token_hex(3)
        LOG.error("a listener failed (%s)", number, exc_info=error)
        where = where_of(body)
        if where.user:
            request = Request(person=person_of(body), where=where, certain=False)
            self._intake.work(request, "an apology", self._apologise(request, broken(number)))

    async def _apologise(self, request: Request, text: Mrkdwn) -> None:
        await self._intake.answers.say(request.where, note(text))

    async def _publish_home(self, request: Request) -> None:
        """Nobody asked in words, so trouble is only logged."""
        flood = self._deps.commands.take(request.person.user_id, self._deps.clock())
        if flood or not await self._deps.guard.may(Verb.READ, request.person):
            return
        now = self._deps.clock()
        view = await self._deps.store.read(lambda db: status_view(db, self._deps.policy, now))
        shown = home_view(view, self._deps.socket(), help_lines())
        try:
            await self._deps.client.views_publish(user_id=request.person.user_id, view=shown)
        except Exception as error:
            LOG.warning("a Home tab could not be published (%s)", meaning(error, repeatable=True))
