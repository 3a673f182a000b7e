"""How every request comes in: noted once, acknowledged at once, worked on afterwards, and always answered.

1. The delivery is noted in the inbox (committed), so that a redelivery is recognised, also after a kill.
2. It is acknowledged, within the three seconds that Slack gives.
3. The work runs in a task of its own, bounded per person; whatever it raises becomes an answer with a short number that
   also stands in the log.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from bot.core.forecast import plain_span
from bot.core.permissions import Person, Verb
from bot.slack.client import Answers, Where
from bot.slack.deps import SlackDeps
from bot.slack.payload import Body, key_of, message_of, person_of, where_of, without
from bot.slack.rate import RateLimit
from bot.slack.replies import note, refusal
from bot.slack.text import Mrkdwn, code, mrkdwn, prose
from storage import inbox
from storage.connection import StoreError

LOG = logging.getLogger(__name__)

ADMIT_DEADLINE = 1.5
"""Seconds for noting a delivery; then it is acknowledged all the same, and nothing that acts is done."""

TOO_BUSY = Mrkdwn("mfi has too much to do at this moment; nothing was done. Please try again in a minute.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing that somebody asked for. `certain`: it was noted as new, so acting on it can't happen twice.

    `message`: the one in which they pressed a button, as Slack tells it; empty if it was none.
    """

    person: Person
    where: Where
    certain: bool
    message: Body = field(default_factory=dict, repr=False)


class Intake:
    """Takes requests in for the listeners."""

    def __init__(self, deps: SlackDeps) -> None:
        self.deps = deps
        self.answers = Answers(deps.client)

    async def take(self, body: Body) -> Request | None:
        """Note this delivery. None: it was here before, there is nothing to do any more."""
        key, now = key_of(body), self.deps.clock()
        try:
            async with asyncio.timeout(ADMIT_DEADLINE):
                fresh = await self.deps.store.write(lambda db: inbox.admit(db, key, now))
        except (StoreError, TimeoutError) as error:
            LOG.warning("a delivery could not be noted (%s)", type(error).__name__)
            fresh = None
        request = Request(
            person=person_of(body), where=where_of(body), certain=fresh is not None, message=message_of(body)
        )
        return None if fresh is False else request

    def work(self, request: Request, what: str, job: Coroutine[Any, Any, None]) -> None:
        """Do it in the background; the person hears of every failure."""
        if not self.deps.guard.confirmed:
            self.deps.tasks.spawn(self._learn_home(), "learning our workspace")
        if not self.deps.tasks.spawn(self._guarded(request, what, job), what):
            job.close()
            self.deps.tasks.spawn(self.tell(request, TOO_BUSY), "too busy", urgent=True)

    def go_on(self, request: Request, what: str, job: Coroutine[Any, Any, None]) -> None:
        """What the disk promises already: done at once if there is any room, else by the tick that looks for it."""
        if not self.deps.tasks.spawn(self._guarded(request, what, job), what, urgent=True):
            job.close()

    async def tell(self, request: Request, text: Mrkdwn) -> None:
        """A short answer to this person alone."""
        await self.answers.say(request.where, note(text))

    async def spent(self, request: Request, *buttons: str) -> None:
        """These buttons have had their effect: the message shows them no more."""
        await self.answers.redraw(request.where, without(request.message, buttons))

    async def welcome(self, request: Request) -> bool:
        """May this person use mfi at all just now? A refusal is explained; only decisions to act are audited."""
        if not await self.within_rate(request, self.deps.commands):
            return False
        decision = await self.deps.guard.may(Verb.READ, request.person)
        if not decision:
            await self.tell(request, mrkdwn("🚫 {}", prose(decision.reason, 400)))
        return decision.allowed

    async def within_rate(self, request: Request, limit: RateLimit) -> bool:
        """May this person go on? If not, they are told when."""
        wait = limit.take(request.person.user_id, self.deps.clock())
        if wait:
            await self.tell(request, mrkdwn("🐢 Too much at once. Please try again in {}.", plain_span(wait)))
        return not wait

    async def allowed(self, request: Request, verb: Verb, target: str) -> bool:
        """May this person act on this? Audited; a refusal is explained to them."""
        if not request.certain:
            await self.tell(request, Mrkdwn("The database is too busy to note this; nothing was done. Try again."))
            return False
        decision = await self.deps.guard.audited(verb, request.person, target)
        if not decision:
            await self.answers.say(request.where, refusal(decision, self.deps.guard.admins))
        return decision.allowed

    async def refused(self, request: Request, verb: Verb, target: str, reason: str) -> None:
        """A refusal for another reason than permission, on record."""
        await self.deps.guard.record(request.person.user_id, verb, target, allowed=False, detail=reason)

    async def _guarded(self, request: Request, what: str, job: Awaitable[None]) -> None:
        try:
            await job
        except StoreError as error:
            LOG.warning("%s: %s", what, error)
            await self.tell(request, mrkdwn("⚠️ {}", prose(error, 300)))
        except Exception:
            number = secrets.token_hex(3)
            LOG.exception("%s failed (%s)", what, number)
            await self.tell(request, broken(number))

    async def _learn_home(self) -> None:
        await self.deps.guard.learn_home()


def broken(number: str) -> Mrkdwn:
    """Our fault, with the number under which the log has it."""
    return mrkdwn("⚠️ Something went wrong in mfi. The log has it under {}.", code(number, 20))


Ack = Callable[..., Awaitable[Any]]
