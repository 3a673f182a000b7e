"""The second person's yes or no to a fix, and the retry of what waits: clicks that act at once.

Permission is asked of Slack itself at the click; what is decided, and on which facts, is bot.services.fix's. Whoever
clicks is answered; everybody else reads it in the thread.
"""

from __future__ import annotations

from bot.core.fix_plan import Plan
from bot.core.permissions import Verb
from bot.services.fix import Claimed, Refusal
from bot.slack.alert_parts import APPROVE, DECLINE
from bot.slack.intake import Intake, Request
from bot.slack.text import Mrkdwn, lines, mrkdwn, prose, sentence
from storage import actions
from storage.records import StepKind


class Approving:
    """Carries out these clicks."""

    def __init__(self, intake: Intake) -> None:
        self._intake, self._deps = intake, intake.deps

    async def approve(self, request: Request, action_id: str) -> None:
        """Claim and run what somebody else asked for."""
        if await self._intake.allowed(request, Verb.APPROVE, await self._target(action_id)):
            result = await self._deps.fix.approve(action_id, request.person.user_id)
            if not isinstance(result, Refusal):
                await self._intake.spent(request, APPROVE, DECLINE)
            await self._run(request, result)

    async def decline(self, request: Request, action_id: str) -> None:
        """Say no to it."""
        if not await self._intake.allowed(request, Verb.APPROVE, await self._target(action_id)):
            return
        result = await self._deps.fix.decline(action_id, request.person.user_id)
        self._deps.nudge()
        if isinstance(result, Refusal):
            await self._refuse(request, result)
        else:
            await self._intake.spent(request, APPROVE, DECLINE)
            await self._intake.tell(request, Mrkdwn("Declined: nothing was done. The thread says so."))

    async def retry(self, request: Request, incident_id: int) -> None:
        """Have the mail system try an incident's waiting mail again."""
        target, actor = f"#{incident_id}", request.person.user_id
        if not await self._intake.allowed(request, Verb.RETRY, target):
            return
        offer = await self._deps.fix.offer_retry(incident_id, actor)
        if isinstance(offer, Refusal):
            await self._intake.refused(request, Verb.RETRY, target, offer.reason)
            await self._refuse(request, offer)
            return
        name = Plan.from_json(offer.plan).connector_name
        await self._run(request, await self._deps.fix.submit(offer.id, actor, (StepKind.RETRY_QUEUE,), name))

    async def _run(self, request: Request, result: Claimed | Refusal) -> None:
        if isinstance(result, Refusal):
            await self._refuse(request, result)
            return
        self._deps.nudge()
        if result.dry_run:
            would = [mrkdwn("• {}", prose(line, 400)) for line in result.lines]
            head = Mrkdwn("🧪 *Dry run*: nothing was changed. With `MFI_ACTIONS=on`, mfi would:")
            await self._intake.tell(request, lines(head, *would))
            return
        await self._intake.tell(request, Mrkdwn("🛠️ It runs: the thread tells each step."))
        await self._deps.fix.execute(result.action.id)
        self._deps.nudge()

    async def _refuse(self, request: Request, refusal: Refusal) -> None:
        await self._intake.tell(request, mrkdwn("🚫 {}", sentence(refusal.reason, (refusal.actor,))))

    async def _target(self, action_id: str) -> str:
        action = await self._deps.store.read(lambda db: actions.get(db, action_id))
        return f"#{action.incident_id}" if action else "an unknown fix"
