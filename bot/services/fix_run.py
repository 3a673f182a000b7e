"""Carries a claimed fix out, step by step; settles what a kill or a lost answer left behind; takes a fix back.

Promises: before a step is touched its intent is on the disk; it counts as done only when it was read back; what was
begun is never begun again. Whatever raises here leaves the action as it is on the disk, to be settled later.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlite_utils import Database

from bot.backends.ports import Backend, BackendError, OutcomeUnknown, Unreachable
from bot.core.clock import Clock
from bot.core.fix_plan import Plan, Ref
from bot.core.fix_planning import reconsider
from bot.core.policy import Policy
from bot.services import fix_records as records
from bot.services import fix_undo as undoing
from bot.services.fix_look import MailExchangers, Ready, known, look_again, no_mail_exchangers, situation
from bot.services.fix_steps import Reading, Restored, Work, work_again
from storage import actions
from storage.connection import Store
from storage.records import Action, ActionState, ActionStep, StepState

log = logging.getLogger(__name__)

READS = 3
"""So often a step is read back before it counts as not done."""

UNREADABLE_FOR = timedelta(hours=24)
"""So long after the claim an outcome that can't be read is given up, so that its connector can be fixed anew."""

MayFix = Callable[[str], Awaitable[bool]]
"""May the person with this id (still) fix? What can't be found out is a no."""


async def everybody(_user_id: str) -> bool:
    """The answer where nobody else is asked: whoever calls has seen to it."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """One at a time per action: the caller sees to that. `settle`: seconds between two readings of a step.

    What acts asks first, each time: are actions on, and may the person whose will it is still fix?
    """

    store: Store
    backends: Mapping[str, Backend]
    policy: Policy
    clock: Clock
    settle: float
    mark: Callable[[str], None]
    may_fix: MayFix = everybody
    mail_exchangers: MailExchangers = no_mail_exchangers

    def backend(self, plan: Plan) -> Backend:
        """The mail system of a plan; Unreachable if it isn't configured any more."""
        backend = self.backends.get(plan.backend)
        if backend is None:
            raise Unreachable(f"the mail system “{plan.backend}” isn't among MFI_BACKENDS any more")
        return backend

    async def execute(self, action_id: str) -> None:
        """Run a claimed action from its first step on; anything else is left alone."""
        action = await self._to(action_id, ActionState.CLAIMED, ActionState.EXECUTING)
        if action is None:
            return
        self.mark("executing")
        if why := await self._forbidden(action.claimed_by, action.requested_by):
            await self.store.write(lambda db: records.forbid(db, action, why, self.clock()))
            return
        ready = await self._look(Plan.from_json(action.plan), action)
        if isinstance(ready, str):
            await self.store.write(lambda db: records.fail(db, action, f"Nothing was done: {ready}.", self.clock()))
            return
        self.mark("looked")
        for work in ready.works:
            if not await self._step(action, work):
                return
        await self.store.write(lambda db: records.finish(db, action, self.policy, self.clock()))
        self.mark("finished")

    async def settle_left(self, action_id: str) -> None:
        """Begun steps are read; if none was begun, the action runs now, for the first time, unless it is too old."""
        action, steps = await self.store.read(lambda db: (actions.get(db, action_id), actions.steps(db, action_id)))
        if action is None or action.state not in records.AT_WORK:
            return
        if action.undone_by:
            await self.undo(action)
        elif all(step.state is StepState.PLANNED for step in steps):
            await self._run_late(action)
        else:
            await self._decide(action, steps)

    async def undo(self, action: Action) -> list[Restored]:
        """Last step first; each restored one is noted at once."""
        if why := await self._forbidden(action.undone_by):
            refused = [Restored(False, f"{why}; nothing more was done.")]
            await self.store.write(lambda db: undoing.forbid_undo(db, action, refused, self.clock()))
            return refused
        plan = Plan.from_json(action.plan)
        steps = await self.store.read(lambda db: actions.steps(db, action.id))
        left = [step for step in steps if step.before and step.state is not StepState.UNDONE]
        results = [await self._restore(action, plan, step) for step in reversed(left)]
        await self.store.write(lambda db: undoing.end_undo(db, action, results, self.clock()))
        self.mark("undone")
        return results

    async def _forbidden(self, actor: str | None, first: str | None = None) -> str | None:
        """Why nothing may be done now: asked again right before it, because a restart may lie in between.

        `first`: who asked for it, where a second person had to approve.
        """
        if not self.policy.actions_on:
            return "Actions were switched off (MFI_ACTIONS)"
        if actor is None or not await self.may_fix(actor) or (first is not None and not await self.may_fix(first)):
            return "Whoever confirmed this may not fix any more, or Slack can't tell now whether they may"
        return None

    # Steps

    async def _look(self, plan: Plan, action: Action) -> Ready | str:
        try:
            backend = self.backend(plan)
            return await look_again(plan, action.chosen, backend, partial(self._reconsider, action, backend))
        except BackendError as error:
            return f"the facts could not be read again ({error})"

    async def _reconsider(self, action: Action, backend: Backend) -> frozenset[Ref] | str:
        """The guards once more, on the whole situation as it is now."""
        facts = await self.store.read(lambda db: known(db, action.incident_id, self.clock()))
        if isinstance(facts, str):
            return facts
        seen = await situation(facts, backend, self.store, self.mail_exchangers)
        return reconsider(seen, action.chosen, self.policy, self.clock())

    async def _step(self, action: Action, work: Work) -> bool:
        """Intent, act, read back, result. False: the action is over, or unknown."""
        await self.store.write(lambda db: records.intend(db, action, work, self.clock()))
        self.mark(f"intended {work.kind}")
        trouble: BackendError | None = None
        try:
            await work.act()
        except BackendError as error:
            log.warning("fix %s: %s: %s", action.id, work.kind, error)
            trouble = error
        if isinstance(trouble, OutcomeUnknown):
            await self._to(action.id, ActionState.EXECUTING, ActionState.UNKNOWN)
        self.mark(f"acted {work.kind}")
        done = await self._judge(action, work, trouble)
        self.mark(f"judged {work.kind}")
        return done

    async def _judge(self, action: Action, work: Work, trouble: BackendError | None) -> bool:
        """What is read decides; only a step that surely didn't happen fails without having been read."""
        reading = await self._read_back(work)
        if reading is None and (trouble is None or isinstance(trouble, OutcomeUnknown)):
            await self._to(action.id, ActionState.EXECUTING, ActionState.UNKNOWN)
            return False
        if reading is not None and reading.done:
            await self.store.write(lambda db: records.step_over(db, action, work, reading, self.clock()))
            await self._to(action.id, ActionState.UNKNOWN, ActionState.EXECUTING)
            return True
        await self.store.write(lambda db: self._give_up(db, action, work, reading=reading, trouble=trouble))
        return False

    def _give_up(
        self, db: Database, action: Action, work: Work, *, reading: Reading | None, trouble: BackendError | None
    ) -> None:
        now = self.clock()
        if reading is not None:
            records.step_over(db, action, work, reading, now)
        else:
            records.step_failed(db, action, work.kind, str(trouble), now)
        why = f" ({trouble})" if trouble else ""
        records.fail(db, action, f"Stopped{why}. {records.so_far(db, action)}.", now)

    async def _read_back(self, work: Work) -> Reading | None:
        """The first of a few readings that says done, else the last one; None if it can't be read."""
        reading: Reading | None = None
        for again in range(READS):
            if again:
                await asyncio.sleep(self.settle)
            try:
                reading = await work.read()
            except BackendError as error:
                log.warning("fix: %s can't be read back: %s", work.kind, error)
                continue
            if reading.done:
                break
        return reading

    # What was left behind

    async def _run_late(self, action: Action) -> None:
        if self.clock() - (action.claimed_at or action.offered_at) > self.policy.offer_expires:
            late = "Nothing was done: the bot was down for too long since the confirmation."
            await self.store.write(lambda db: records.fail(db, action, late, self.clock()))
            return
        await self._to(action.id, action.state, ActionState.CLAIMED)
        await self.execute(action.id)

    async def _decide(self, action: Action, steps: Sequence[ActionStep]) -> None:
        """Read each begun step: all done → verifying, else failed. Unreadable: it stays unknown, for a day at most."""
        await self._to(action.id, ActionState.EXECUTING, ActionState.UNKNOWN)
        plan = Plan.from_json(action.plan)
        for step in [s for s in steps if s.state is StepState.INTENDED]:
            try:
                work = work_again(self.backend(plan), plan, step)
            except BackendError as error:
                await self._unreadable(action, step, f"{error}")
                return
            reading = await self._read_back(work)
            if reading is None:
                await self._unreadable(action, step, "the mail system can't be read")
                return
            await self.store.write(self._over(action, work, reading))
        await self.store.write(lambda db: self._conclude(db, action))

    async def _unreadable(self, action: Action, step: ActionStep, why: str) -> None:
        """Told once, then quiet until it can be read, or until that has lasted too long."""
        until = (action.claimed_at or action.offered_at) + UNREADABLE_FOR
        log.warning("fix %s stays unknown: %s", action.id, why)
        if self.clock() >= until:
            await self.store.write(lambda db: records.give_up_reading(db, action, step, why, self.clock()))
        elif action.result is None:
            await self.store.write(lambda db: records.unreadable(db, action, step, why, until=until, now=self.clock()))

    def _over(self, action: Action, work: Work, reading: Reading) -> Callable[[Database], None]:
        return lambda db: records.step_over(db, action, work, reading, self.clock())

    def _conclude(self, db: Database, action: Action) -> None:
        if all(step.state is StepState.DONE for step in actions.steps(db, action.id)):
            records.finish(db, action, self.policy, self.clock())
        else:
            said = f"It was interrupted and is not continued. {records.so_far(db, action)}."
            records.fail(db, action, said, self.clock())

    async def _restore(self, action: Action, plan: Plan, step: ActionStep) -> Restored:
        try:
            work = work_again(self.backend(plan), plan, step)
            restored = await work.restore(json.loads(step.after or "{}"))
        except BackendError as error:
            return Restored(False, f"{step.kind}: {error}.")
        self.mark(f"restored {step.kind}")
        await self.store.write(lambda db: undoing.step_restored(db, action, work, restored, self.clock()))
        return restored

    async def _to(self, action_id: str, expected: ActionState, new: ActionState) -> Action | None:
        return await self.store.write(lambda db: actions.set_state(db, action_id, (expected,), new))
