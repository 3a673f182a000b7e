"""What the buttons do. A button carries an id; what it means is read from storage at the click, and asked for again."""

from __future__ import annotations

import re

from bot.core.permissions import Verb
from bot.services.views import incident_view
from bot.slack.alert import ACK, FIX_NOW, REPROBE, UNDO
from bot.slack.alert_parts import APPROVE, DECLINE, RETRY
from bot.slack.approving import Approving
from bot.slack.commands import Commands
from bot.slack.fixing import Fixing
from bot.slack.intake import Intake, Request
from bot.slack.replies import PICK
from bot.slack.text import Mrkdwn, mrkdwn, num
from storage.records import Connector, Incident, IncidentState

_PICKED = re.compile(re.escape(PICK) + r"\.(?P<share>share-)?(?P<word>probe|queue|bounced)\.\d{1,3}")
NO_LONGER = Mrkdwn("This button is of another time: what it belonged to is not there any more.")


class Interactions:
    """Carries out clicks."""

    def __init__(self, intake: Intake, commands: Commands, fixing: Fixing, approving: Approving) -> None:
        self._intake, self._deps = intake, intake.deps
        self._commands, self._fixing, self._approving = commands, fixing, approving

    async def clicked(self, request: Request, action_id: str, value: str, trigger_id: str) -> None:
        """One click on one of our buttons."""
        if not await self._intake.welcome(request):
            return
        opaque = {UNDO: self._fixing.undo, APPROVE: self._approving.approve, DECLINE: self._approving.decline}
        if action_id in opaque:
            await opaque[action_id](request, value)
        elif picked := _PICKED.fullmatch(action_id):
            await self._picked(request, picked, value)
        elif (number := _number(value)) is None:
            await self._intake.tell(request, NO_LONGER)
        elif action_id == FIX_NOW:
            await self._fixing.open_plan(request, number, trigger_id)
        else:
            act = {ACK: self._ack, REPROBE: self._reprobe, RETRY: self._approving.retry}.get(action_id)
            await (self._intake.tell(request, NO_LONGER) if act is None else act(request, number))

    async def _picked(self, request: Request, picked: re.Match[str], value: str) -> None:
        number = _number(value)
        if number is None:
            await self._intake.tell(request, NO_LONGER)
        else:
            await self._commands.picked(request, picked["word"], number, share=bool(picked["share"]))

    async def _ack(self, request: Request, number: int) -> None:
        if await self._intake.allowed(request, Verb.ACK, f"#{number}"):
            await self._commands.acknowledge(request, number)

    async def _reprobe(self, request: Request, number: int) -> None:
        if not await self._intake.allowed(request, Verb.PROBE, f"#{number}"):
            return
        incident, connector = await self._about(number)
        if incident is None or connector is None:
            await self._intake.tell(request, NO_LONGER)
        elif incident.state is IncidentState.RESOLVED:
            await self._intake.tell(request, mrkdwn("#{} is resolved: nothing to probe again.", num(number)))
        else:
            await self._commands.probe_and_tell(request, connector)

    async def _about(self, number: int) -> tuple[Incident | None, Connector | None]:
        now = self._deps.clock()
        view = await self._deps.store.read(
            lambda db: incident_view(
                db, number, self._deps.policy, now, self._deps.capabilities, places=self._deps.places
            )
        )
        return (view.incident, view.connector) if view else (None, None)


def _number(value: str) -> int | None:
    return int(value) if re.fullmatch(r"\d{1,9}", value) else None
