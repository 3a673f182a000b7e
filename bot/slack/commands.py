"""`/mfi …`: one method per word. Reads are answered from one consistent read; acts are checked, audited, then done."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from sqlite_utils import Database

from bot.core.mail_clock import BOUNCES_OVER
from bot.core.permissions import Verb
from bot.core.views import IncidentView
from bot.services.incidents import acknowledge
from bot.services.queue_views import means_unassigned, stale_sources, unassigned_queue
from bot.services.views import connector_views, incident_view, one_queue, queue_view, status_view
from bot.slack import queues, replies
from bot.slack.alert import DEFAULT_WORKSPACE
from bot.slack.blocks import Message
from bot.slack.explaining import Explaining
from bot.slack.fixing import Fixing
from bot.slack.intake import Intake, Request
from bot.slack.text import Mrkdwn, code, lines, mrkdwn, num
from bot.slack.vocabulary import BY_NAME, Line, help_reply, parse, too_long, unescaped, unknown_word
from storage import connectors, incidents, queue
from storage.records import Connector, Incident, ProbeRecord

MOST_PROBED = 50
"""So many connectors are probed at most by one `/mfi probe all`."""
AT_ONCE = 8
MOST_BOUNCED = 5000
"""So many bounces are counted at most for one answer."""

Handler = Callable[["Call"], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One typed command and the trigger that may open a dialog for it."""

    request: Request
    line: Line
    trigger_id: str = ""

    @property
    def argument(self) -> str:
        """What stands after the word."""
        return self.line.argument


class Commands:
    """Carries out what is typed."""

    def __init__(self, intake: Intake, fixing: Fixing, explaining: Explaining) -> None:
        self._intake, self._deps, self._fixing, self._explaining = intake, intake.deps, fixing, explaining
        self._words: dict[str, Handler] = {
            "explain": self._explain,
            "probe": self._probe,
            "status": self._status,
            "connectors": self._connectors,
            "queue": self._queue,
            "incident": self._incident,
            "ack": self._ack,
            "fix": self._fix,
            "whoami": self._whoami,
            "help": self._help,
        }

    async def run(self, request: Request, text: str, trigger_id: str) -> None:
        """Carry out one typed line."""
        line = parse(unescaped(text))
        if not await self._intake.welcome(request):
            return
        if too_long(line):
            await self._intake.tell(request, Mrkdwn("That is too long. `/mfi help` shows what can be typed."))
            return
        call = Call(request=request, line=line, trigger_id=trigger_id)
        handler = self._words.get(line.word or "help")
        if handler is None:
            await self._private(call, unknown_word(line.word))
        else:
            await handler(call)

    async def picked(self, request: Request, word: str, connector_id: int, *, share: bool) -> None:
        """One of several candidates was chosen."""
        found = await self._deps.store.read(lambda db: connectors.get(db, connector_id))
        if found is None:
            await self._intake.tell(request, Mrkdwn("That connector is not known any more."))
            return
        call = Call(request=request, line=Line(word, found.name, share))
        if word == "queue":
            await self._queue_of(call, found)
        elif word == "bounced":
            await self._bounced_of(call, found)
        else:
            await self._probe_one(call, found)

    # --- reading -----------------------------------------------------------------------------------------------
    async def _help(self, call: Call) -> None:
        asked = bool(call.line.word)  # what was not asked for, as after `/mfi share` alone, is nothing for the channel
        await (self._answer if asked else self._private)(call, help_reply())

    async def _explain(self, call: Call) -> None:
        if call.argument:
            await self._answer(call, await self._explaining.answer(call.argument))
        else:
            await self._explaining.ask(call.request, call.trigger_id, share=call.line.share)

    async def _status(self, call: Call) -> None:
        now = self._deps.clock()
        view = await self._deps.store.read(lambda db: status_view(db, self._deps.policy, now))
        await self._answer(call, replies.status_reply(view, self._deps.socket()))

    async def _connectors(self, call: Call) -> None:
        now = self._deps.clock()
        policy = self._deps.policy
        views, old = await self._deps.store.read(
            lambda db: (connector_views(db, now, policy), stale_sources(db, policy, now))
        )
        await self._answer(call, replies.connectors_reply(views, [s for s in old if s.read_at is None]))

    async def _queue(self, call: Call) -> None:
        word, _, rest = call.argument.partition(" ")
        if word.casefold() == "bounced":
            await self._bounced(replace(call, line=replace(call.line, argument=rest.strip())))
        elif not call.argument:
            now = self._deps.clock()
            view = await self._deps.store.read(lambda db: queue_view(db, self._deps.policy, now))
            await self._answer(call, queues.queue_reply(view))
        elif await self._means_unassigned(call.argument):
            await self._queue_of_none(call)
        elif found := await self._one_connector(call, "queue"):
            await self._queue_of(call, found)

    async def _queue_of(self, call: Call, connector: Connector) -> None:
        now = self._deps.clock()
        one = await self._deps.store.read(lambda db: one_queue(db, connector.id, self._deps.policy, now))
        if one is None:
            await self._intake.tell(call.request, Mrkdwn("That connector is not known any more."))
        else:
            await self._answer(call, queues.one_queue_reply(one))

    async def _queue_of_none(self, call: Call) -> None:
        now = self._deps.clock()
        view = await self._deps.store.read(lambda db: unassigned_queue(db, self._deps.policy, now))
        await self._answer(call, queues.unassigned_reply(view))

    async def _bounced(self, call: Call) -> None:
        if await self._means_unassigned(call.argument):
            await self._bounced_of(call, None, unassigned=True)
            return
        found = await self._one_connector(call, "bounced") if call.argument else None
        if call.argument and found is None:
            return
        await self._bounced_of(call, found)

    async def _bounced_of(self, call: Call, connector: Connector | None, *, unassigned: bool = False) -> None:
        now = self._deps.clock()
        bounces = await self._deps.store.read(
            lambda db: queue.bounced(
                db,
                connector_id=connector.id if connector else None,
                unassigned=unassigned,
                since=now - BOUNCES_OVER,
                limit=MOST_BOUNCED,
            )
        )
        name = connector.name if connector else None
        told = queues.bounced_reply(bounces, BOUNCES_OVER, name, most=MOST_BOUNCED, unassigned=unassigned)
        await self._answer(call, told)

    async def _incident(self, call: Call) -> None:
        view = await self._view(call)
        if view is not None:
            about = self._deps.articles.for_code(view.incident.code)
            workspace = self._deps.guard.workspace_url() or DEFAULT_WORKSPACE
            await self._answer(call, replies.incident_reply(view, about, workspace))

    async def _whoami(self, call: Call) -> None:
        person = call.request.person
        decision = await self._deps.guard.may(Verb.PROBE, person)
        await self._private(call, replies.whoami_reply(person.user_id, decision, self._deps.guard.admins))

    # --- acting ------------------------------------------------------------------------------------------------
    async def _probe(self, call: Call) -> None:
        if not await self._intake.allowed(call.request, Verb.PROBE, call.argument or "?"):
            return
        if call.argument.casefold() == "all":
            await self._probe_all(call)
        elif found := await self._one_connector(call, "probe"):
            await self.probe_and_tell(call.request, found, public=call.line.share)

    async def _probe_one(self, call: Call, connector: Connector) -> None:
        if await self._intake.allowed(call.request, Verb.PROBE, connector.name):
            await self.probe_and_tell(call.request, connector, public=call.line.share)

    async def probe_and_tell(self, request: Request, connector: Connector, *, public: bool = False) -> None:
        """Say so at once, probe, say what came of it. Permission was checked."""
        if not await self._intake.within_rate(request, self._deps.probes):
            return
        await self._intake.answers.say(request.where, replies.probing(connector))
        probe = await self._deps.probing.probe(connector.id, actor=request.person.user_id)
        self._deps.nudge()
        await self._intake.answers.say(request.where, replies.probe_reply(connector, probe), public=public)

    async def _probe_all(self, call: Call) -> None:
        every = await self._deps.store.read(connectors.every)
        wanted = [connector for connector in every if connector.enabled]
        if not wanted or len(wanted) > MOST_PROBED:
            limit = mrkdwn("{} connectors are more than the {} that can be probed at once.", len(wanted), MOST_PROBED)
            none = Mrkdwn("No enabled connector is known yet.")
            await self._intake.tell(call.request, limit if wanted else none)
            return
        if not await self._intake.within_rate(call.request, self._deps.probes):
            return
        await self._intake.answers.say(call.request.where, replies.probing_many(len(wanted)))
        results = await self._probed(wanted)
        self._deps.nudge()
        await self._answer(call, replies.probes_reply(results))

    async def _probed(self, wanted: Sequence[Connector]) -> list[tuple[Connector, ProbeRecord]]:
        some = asyncio.Semaphore(AT_ONCE)

        async def one(connector: Connector) -> tuple[Connector, ProbeRecord]:
            async with some:
                return connector, await self._deps.probing.probe(connector.id)

        return list(await asyncio.gather(*map(one, wanted)))

    async def _ack(self, call: Call) -> None:
        incident = await self._known(call)
        if incident is not None and await self._intake.allowed(call.request, Verb.ACK, f"#{incident.id}"):
            await self.acknowledge(call.request, incident.id)

    async def acknowledge(self, request: Request, incident_id: int) -> None:
        """Acknowledge, or say who did. Permission was checked."""
        now, actor = self._deps.clock(), request.person.user_id

        def work(db: Database) -> tuple[Incident | str, Incident | None]:
            return acknowledge(db, incident_id, actor, now), incidents.get(db, incident_id)

        done, after = await self._deps.store.write(work)
        if isinstance(done, str):
            await self._intake.refused(request, Verb.ACK, f"#{incident_id}", done)
            await self._intake.tell(request, mrkdwn("🚫 {}", replies.already(done, after)))
            return
        self._deps.nudge()
        await self._intake.tell(request, mrkdwn("👀 #{} is yours. The thread says so.", num(incident_id)))

    async def _fix(self, call: Call) -> None:
        incident = await self._known(call)
        if incident is not None:
            await self._fixing.open_plan(call.request, incident.id, call.trigger_id)

    # --- finding what is meant ---------------------------------------------------------------------------------
    async def _means_unassigned(self, typed: str) -> bool:
        return await self._deps.store.read(lambda db: means_unassigned(db, typed))

    async def _one_connector(self, call: Call, word: str) -> Connector | None:
        """The connector that is meant, or None after showing the candidates."""
        found, every = await self._deps.store.read(
            lambda db: (connectors.find(db, call.argument) if call.argument else [], connectors.every(db))
        )
        if len(found) == 1:
            return found[0]
        if found or (every and not call.argument):
            answer = replies.candidates(word, call.argument, found or every, share=call.line.share)
        else:
            near = replies.nearest_connectors(call.argument, every)
            answer = replies.unknown_connector(word, call.argument, near, share=call.line.share)
        await self._private(call, answer)
        return None

    async def _known(self, call: Call) -> Incident | None:
        """The incident whose number was typed, or None after saying what there is."""
        view = await self._view(call)
        return view.incident if view else None

    async def _view(self, call: Call) -> IncidentView | None:
        number = re.fullmatch(r"#?(\d{1,9})", call.argument)
        now = self._deps.clock()
        view = None
        if number:
            view = await self._deps.store.read(
                lambda db: incident_view(
                    db, int(number[1]), self._deps.policy, now, self._deps.capabilities, places=self._deps.places
                )
            )
        if view is None:
            open_ones, own = await self._deps.store.read(
                lambda db: (connector_views(db, now), incidents.open_at(db, None))
            )
            missing = mrkdwn("There is no incident {}.", code(call.argument, 40)) if call.argument else None
            listed = replies.open_incidents(open_ones, own)
            await self._private(call, replies.note(lines(missing, _how_to_write(call), listed)))
        return view

    async def _answer(self, call: Call, answer: Message) -> None:
        await self._intake.answers.say(call.request.where, answer, public=call.line.share)

    async def _private(self, call: Call, answer: Message) -> None:
        await self._intake.answers.say(call.request.where, answer)


def _how_to_write(call: Call) -> Mrkdwn | None:
    """How a word is written that lacks its number; `incident` alone is right as it is."""
    if call.line.word == "incident" and not call.argument:
        return None
    return mrkdwn("Write {}.", code(f"/mfi {BY_NAME[call.line.word].usage}"))
