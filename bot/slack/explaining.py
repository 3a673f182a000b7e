"""explain as people meet it: typed, pasted into a window, or chosen from a message's menu; and the buttons below it.

An explanation never waits for the database: without it, it is only not told whether a connector of ours is meant.
Windows are opened before anything is looked up, because their trigger lives three seconds. What is clicked inside a
window is answered there; what is clicked in a message is answered beside it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from bot.core.forecast import plain_span
from bot.core.permissions import Verb
from bot.services.destination import OurConnector, our_connector
from bot.services.views import incident_view
from bot.slack import replies
from bot.slack.alert import DEFAULT_WORKSPACE
from bot.slack.blocks import Message
from bot.slack.client import Where
from bot.slack.explain_modal import MORE, MOST, NOTHING_THERE, TEXT, answer_view, loading_view, paste_view, pasted
from bot.slack.explained import explain_reply, paste_reply
from bot.slack.intake import Ack, Intake, Request, broken
from bot.slack.message_text import message_text
from bot.slack.our_connector import ALSO, INCIDENT, PASTE, PROBE, looked_up
from bot.slack.payload import Body, typed_of
from bot.slack.remembered import Remembered
from bot.slack.text import Mrkdwn, mrkdwn
from bot.slack.windows import Windows
from knowledge.article import Article
from knowledge.codes import OTHER
from knowledge.diagnose import explain
from knowledge.explanation import Explanation
from storage import connectors
from storage.connection import StoreError

LOG = logging.getLogger(__name__)

BUTTONS = "mfi.explain."
LOOK_UP = 1.0
"""Seconds for finding our connector: a submission must be answered within three."""
GONE = Mrkdwn("This button is of another time: what it belonged to is not there any more.")
BUSY = Mrkdwn("The database is too busy to note this; nothing was done. Try again.")
NO_ERROR = Mrkdwn("I found no delivery error in that message.")
NOT_ANSWERED = Mrkdwn("🚫 This was not answered: mfi's message to you says why.")
NOT_SHARED = Mrkdwn(
    "ℹ️ This window was open for too long: the answer can't be shown to the channel any more. "
    "`/mfi share explain …` can."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """A click below an explanation. `view`: the window in which it was, None for a message."""

    request: Request
    action_id: str
    value: str
    trigger_id: str
    view: str | None = None


class Explaining:
    """Carries out everything about explain."""

    def __init__(self, intake: Intake) -> None:
        self._intake, self._deps = intake, intake.deps
        self._windows = Windows(self._deps.client)
        self._shared = Remembered()
        self._acts: dict[str, Callable[[Click], Awaitable[None]]] = {
            PROBE: self._probe,
            INCIDENT: self._incident,
            ALSO: self._also,
            PASTE: self._paste,
        }

    # --- the answer ------------------------------------------------------------------------------------------------
    async def answer(self, text: str) -> Message:
        """What this text says, with our connector if it is about one."""
        said = await asyncio.to_thread(explain, text)
        return await self._drawn(said, self._others(said, text))

    async def _drawn(self, said: Explanation, also: tuple[Article, ...] = ()) -> Message:
        workspace = self._deps.guard.workspace_url() or DEFAULT_WORKSPACE
        ours = await self._ours(said)
        place = self._deps.places.get(ours.connector.backend) if ours else None
        return explain_reply(said, ours, also, workspace, place.family if place else None)

    async def _ours(self, said: Explanation) -> OurConnector | None:
        now = self._deps.clock()
        try:
            async with asyncio.timeout(LOOK_UP):
                return await self._deps.store.read(lambda db: our_connector(db, said.diagnosis, now))
        except (StoreError, TimeoutError) as error:
            LOG.warning("an explanation could not look for its connector (%s)", type(error).__name__)
            return None

    def _others(self, said: Explanation, text: str) -> tuple[Article, ...]:
        """What else a search by these words finds; nothing for an error that tells its code."""
        if said.found and not looked_up(said):
            return ()
        found = said.matches or self._deps.articles.search(text[:200])
        own = {said.article.code, OTHER} if said.found else {OTHER}
        return tuple(article for article in found if article.code not in own)[:4]

    # --- the window to paste into ----------------------------------------------------------------------------------
    async def ask(self, request: Request, trigger_id: str, *, share: bool = False) -> None:
        """Open the window; say what to paste if Slack does not open it any more."""
        view = paste_view(shared_as=self._shared.keep(request.where, self._deps.clock()) if share else "")
        if await self._windows.open(trigger_id, view) is None:
            await self._intake.answers.say(request.where, paste_reply(Mrkdwn("What shall I explain?")))

    async def submit(self, ack: Ack, request: Request, view: Body) -> None:
        """Answer in the window itself, or in the channel if that was wanted. Quick; a failure is said there, too."""
        try:
            await self._submit(ack, request, view)
        except Exception:
            number = secrets.token_hex(3)
            LOG.exception("a pasted error was not explained (%s)", number)
            await ack(response_action="update", view=answer_view(replies.note(broken(number))))

    async def _submit(self, ack: Ack, request: Request, view: Body) -> None:
        if not await self._intake.welcome(request):
            await ack()
            return
        text = pasted(typed_of(view, TEXT, MOST), typed_of(view, MORE, MOST))
        said = await asyncio.to_thread(explain, text)
        if said.found:
            answer = await self._drawn(said, self._others(said, text))
            await self._answer_paste(ack, request, answer, str(view.get("private_metadata") or ""))
        else:
            await ack(response_action="errors", errors={TEXT: NOTHING_THERE})

    async def _answer_paste(self, ack: Ack, request: Request, answer: Message, token: str) -> None:
        where = self._shared.take(token, self._deps.clock())
        if where is not None:
            await ack()
            self._intake.work(request, "a shared explanation", self._share(where, answer))
            return
        late = replies.note(NOT_SHARED).blocks if token else ()
        await ack(response_action="update", view=answer_view(replace(answer, blocks=(*late, *answer.blocks))))

    async def _share(self, where: Where, answer: Message) -> None:
        await self._intake.answers.say(where, answer, public=True)

    # --- a message's menu ------------------------------------------------------------------------------------------
    async def read_message(self, request: Request, message: object, trigger_id: str) -> None:
        """Explain somebody's message, in a window: that works in channels that the bot is not in, too."""
        opened = await self._windows.open(trigger_id, loading_view())
        if not await self._intake.welcome(request):
            if opened is not None:
                await self._windows.fill(opened, answer_view(replies.note(NOT_ANSWERED)))
            return
        text = message_text(message)
        said = await asyncio.to_thread(explain, text)
        answer = await self._drawn(said, self._others(said, text))
        shown = answer_view(answer) if said.found else paste_view(NO_ERROR)
        if opened is None or not await self._windows.fill(opened, shown):
            await self._intake.answers.say(request.where, answer)

    # --- the buttons -----------------------------------------------------------------------------------------------
    async def clicked(self, click: Click) -> None:
        """One click below an explanation."""
        if not await self._intake.welcome(click.request):
            return
        act = self._acts.get(re.sub(r"\.\d{1,3}\Z", "", click.action_id))
        await (self._tell(click, GONE) if act is None else act(click))

    async def _probe(self, click: Click) -> None:
        number = _number(click.value)
        connector = await self._deps.store.read(lambda db: connectors.get(db, number))
        if connector is None or connector.missing_since is not None:
            await self._tell(click, GONE)
        elif await self._may_probe(click, connector.name):
            opened = await self._show(click, replies.probing(connector))
            probe = await self._deps.probing.probe(connector.id, actor=click.request.person.user_id)
            self._deps.nudge()
            done = replies.probe_reply(connector, probe)
            if opened is None or not await self._windows.fill(opened, answer_view(done)):
                await self._intake.answers.say(click.request.where, done)

    async def _may_probe(self, click: Click, name: str) -> bool:
        """Asked and put on record at every click; a refusal is told where the click was."""
        person = click.request.person
        if not click.request.certain:
            await self._tell(click, BUSY)
            return False
        decision = await self._deps.guard.audited(Verb.PROBE, person, name)
        if not decision:
            await self._show(click, replies.refusal(decision, self._deps.guard.admins))
            return False
        wait = self._deps.probes.take(person.user_id, self._deps.clock())
        if wait:
            await self._tell(click, mrkdwn("🐢 Too much at once. Please try again in {}.", plain_span(wait)))
        return not wait

    async def _incident(self, click: Click) -> None:
        number, now = _number(click.value), self._deps.clock()
        view = await self._deps.store.read(
            lambda db: incident_view(
                db, number, self._deps.policy, now, self._deps.capabilities, places=self._deps.places
            )
        )
        if view is None:
            await self._tell(click, GONE)
            return
        about = self._deps.articles.for_code(view.incident.code)
        workspace = self._deps.guard.workspace_url() or DEFAULT_WORKSPACE
        await self._show(click, replies.incident_reply(view, about, workspace))

    async def _also(self, click: Click) -> None:
        article = self._deps.articles.get(click.value)
        if article is None:
            await self._tell(click, GONE)
            return
        said = await asyncio.to_thread(explain, article.status)
        advised = tuple(self._deps.articles.for_code(code) for code in article.advice)
        await self._show(click, await self._drawn(replace(said, article=article, advised=advised)))

    async def _paste(self, click: Click) -> None:
        await self.ask(click.request, click.trigger_id)

    # --- where it is shown -----------------------------------------------------------------------------------------
    async def _tell(self, click: Click, text: Mrkdwn) -> None:
        await self._show(click, replies.note(text))

    async def _show(self, click: Click, answer: Message) -> str | None:
        """Beside the message, or on top of the window (its id comes back); in its place if Slack stacks no more."""
        if click.view is not None:
            view = answer_view(answer)
            opened = await self._windows.open(click.trigger_id, view, on_top=True)
            if opened is not None or await self._windows.fill(click.view, view):
                return opened or click.view
        await self._intake.answers.say(click.request.where, answer)
        return None


def _number(value: str) -> int:
    """An id of ours; 0, which nothing has, for anything else."""
    return int(value) if re.fullmatch(r"\d{1,9}", value) else 0
