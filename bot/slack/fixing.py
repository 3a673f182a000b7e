"""Fix now as people meet it: button or command → plan in a dialog → submit → reports in the thread → undo.

Permission is asked at the click and, from Slack itself and not from memory, at the submit, which the execution follows
at once; whoever is refused hears why and who may. What is offered, claimed and done is decided by bot.services.fix; the
dialog carries only the action's id.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from slack_sdk.errors import SlackApiError

from bot.core.fix_plan import Plan
from bot.core.permissions import Verb
from bot.services.fix import Refusal
from bot.slack.alert_parts import UNDO
from bot.slack.blocks import View
from bot.slack.errors import error_word
from bot.slack.intake import Ack, Intake, Request, broken
from bot.slack.payload import Body, chosen_of, typed_of
from bot.slack.plan_modal import NAME, STEPS, dry_run_view, loading_view, plan_view, refused_view, waiting_view
from bot.slack.replies import who_may
from bot.slack.text import Mrkdwn, lines, mrkdwn, plain, prose, sentence
from storage import actions
from storage.connection import StoreError
from storage.records import Action, StepKind

LOG = logging.getLogger(__name__)

TOO_LATE = Mrkdwn("Slack's three seconds for opening a dialog were over. Nothing was done; please try again.")


class Fixing:
    """The dialog, its submission, and undo."""

    def __init__(self, intake: Intake) -> None:
        self._intake, self._deps = intake, intake.deps

    async def open_plan(self, request: Request, incident_id: int, trigger_id: str) -> None:
        """Open the dialog at once, then fill it with the plan, or with why there is none."""
        if not await self._intake.allowed(request, Verb.FIX, f"#{incident_id}"):
            return
        opened = await self._open(request, incident_id, trigger_id)
        if opened is None:
            return
        try:
            shown = await self._offer(request, incident_id)
        except Exception as error:
            shown = refused_view(_trouble(f"no fix plan for incident {incident_id}", error))
        await self._update(opened, shown)

    async def submit(self, ack: Ack, request: Request, view: Body) -> None:
        """Claim what was chosen, then close the dialog; or say in the dialog what is wrong.

        Everything before `ack` is quick: it must be over within three seconds. A failure is said in the dialog, too.
        """
        try:
            await self._submit(ack, request, view)
        except Exception as error:
            await ack(response_action="update", view=refused_view(_trouble("a submission failed", error)))

    async def _submit(self, ack: Ack, request: Request, view: Body) -> None:
        action_id = str(view.get("private_metadata") or "")
        action = await self._deps.store.read(lambda db: actions.get(db, action_id))
        wrong = await self._not_allowed(request, action)
        if wrong is not None or action is None:
            await ack(response_action="update", view=refused_view(wrong or Mrkdwn("This offer is not known any more.")))
            return
        plan = Plan.from_json(action.plan)
        chosen = plan.pick(_steps(chosen_of(view, STEPS)))
        typed = typed_of(view, NAME)
        if chosen is None:
            await ack(response_action="errors", errors={STEPS: "Choose at least one step."})
        elif lacking := plan.lacking(chosen):
            needed = f"Choose this one, too: {plain(lacking.title, 120)}"
            await ack(response_action="errors", errors={STEPS: needed})
        elif not plan.accepts_name(typed):
            await ack(response_action="errors", errors={NAME: f"Type exactly: {plain(plan.connector_name, 150)}"})
        else:
            await self._claim(ack, request, action_id, chosen, typed)

    async def undo(self, request: Request, action_id: str) -> None:
        """Restore what the fix changed."""
        if not await self._intake.allowed(request, Verb.UNDO, action_id):
            return
        result = await self._deps.fix.undo(action_id, request.person.user_id)
        self._deps.nudge()
        if isinstance(result, Refusal):
            await self._intake.tell(request, mrkdwn("🚫 {}", _why(result)))
        else:
            await self._intake.spent(request, UNDO)
            told = [mrkdwn("• {}", prose(line, 300)) for line in result.lines]
            await self._intake.tell(request, lines(Mrkdwn("↩️ Undone."), *told))

    async def _open(self, request: Request, incident_id: int, trigger_id: str) -> Mapping[str, Any] | None:
        try:
            answer = await self._deps.client.views_open(trigger_id=trigger_id, view=loading_view(incident_id))
        except SlackApiError as error:
            LOG.warning("a dialog could not be opened: %s", error_word(error))
        except Exception as error:
            LOG.warning("a dialog could not be opened (%s)", type(error).__name__)
        else:
            opened = answer.get("view")
            if isinstance(opened, Mapping) and isinstance(opened.get("id"), str):
                return opened
        await self._intake.tell(request, TOO_LATE)
        return None

    async def _offer(self, request: Request, incident_id: int) -> View:
        offer = await self._deps.fix.offer(incident_id, request.person.user_id)
        if isinstance(offer, Refusal):
            await self._intake.refused(request, Verb.FIX, f"#{incident_id}", offer.reason)
            return refused_view(_why(offer))
        return plan_view(offer, Plan.from_json(offer.plan))

    async def _update(self, opened: Mapping[str, Any], view: View) -> None:
        """`hash`: if the person closed or changed the dialog meanwhile, nothing is overwritten."""
        try:
            await self._deps.client.views_update(view_id=opened["id"], hash=opened.get("hash"), view=view)
        except SlackApiError as error:
            LOG.warning("a dialog could not be filled: %s", error_word(error))
        except Exception as error:
            LOG.warning("a dialog could not be filled (%s)", type(error).__name__)

    async def _not_allowed(self, request: Request, action: Action | None) -> Mrkdwn | None:
        """Why this person may not submit, or None."""
        if not request.certain:
            return Mrkdwn("The database is too busy to note this; nothing was done. Try again.")
        target = f"#{action.incident_id}" if action else "an unknown offer"
        decision = await self._deps.guard.audited(Verb.FIX, request.person, target, fresh=True)
        if decision.allowed:
            return None
        return lines(prose(decision.reason, 400), who_may(self._deps.guard.admins))

    async def _claim(
        self, ack: Ack, request: Request, action_id: str, chosen: tuple[StepKind, ...], typed: str
    ) -> None:
        result = await self._deps.fix.submit(action_id, request.person.user_id, chosen, typed)
        if isinstance(result, Refusal):
            await ack(response_action="update", view=refused_view(_why(result)))
            return
        self._deps.nudge()
        if result.dry_run or result.waits:
            shown = waiting_view(result.action) if result.waits else dry_run_view(result.lines)
            await ack(response_action="update", view=shown)
            return
        await ack()
        self._intake.go_on(request, "a fix", self._execute(action_id))

    async def _execute(self, action_id: str) -> None:
        await self._deps.fix.execute(action_id)
        self._deps.nudge()


def _trouble(what: str, error: Exception) -> Mrkdwn:
    """What a person is told of a failure: the database's own line, or the number under which the log has it."""
    number = secrets.token_hex(3)
    LOG.error("%s (%s)", what, number, exc_info=error)
    return prose(error, 300) if isinstance(error, StoreError) else broken(number)


def _why(refusal: Refusal) -> Mrkdwn:
    """The reason; whoever was first is named as Slack names people."""
    return mrkdwn("{}", sentence(refusal.reason, (refusal.actor,)))


def _steps(values: tuple[str, ...]) -> tuple[StepKind, ...]:
    """The step kinds among what the dialog sent."""
    known = {str(kind): kind for kind in StepKind}
    return tuple(known[value] for value in values if value in known)
