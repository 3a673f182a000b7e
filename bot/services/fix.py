"""Fix now from the offer to the proof: offer → submit → execute → verify, and undo.

Promises:
* One offer runs at most once, whoever clicks how often: the claim is one compare-and-set, committed together with its
  steps, its event and its audit row before anything is touched.
* Nothing runs on old facts: everything the plan rests on is read again right before the first step.
* Each step is announced (intent), done, read back and noted; a step that fails stops the rest.
* After a kill or a lost answer the state is `unknown`: it is read, and what holds decides. Nothing is repeated.
Trusts the caller to have checked permission for offer, submit and undo; `may_fix` is asked again right before anything
is done, because a restart may lie between the claim and its execution. `mark` is told each point of the saga as it is
passed (for the log, and for tests that kill the process exactly there).
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from bot.backends.ports import Backend, BackendError
from bot.core.clock import Clock
from bot.core.fix_plan import NoPlan, Plan
from bot.core.fix_planning import make_plan, make_retry
from bot.core.fix_situation import Situation
from bot.core.policy import Policy
from bot.services import fix_approval as approval
from bot.services import fix_records as records
from bot.services import fix_undo as undoing
from bot.services import fix_verdict as verdicts
from bot.services.fix_audit import Refusal
from bot.services.fix_look import Known, MailExchangers, known, no_mail_exchangers, situation, waiting_at
from bot.services.fix_records import Claimed
from bot.services.fix_run import MayFix, Runner, everybody
from bot.services.fix_undo import Undone
from bot.services.fix_verification import Probe, Verdict, verify
from storage import actions
from storage.connection import Store
from storage.records import Action, ActionState, IncidentState, StepKind

__all__ = ["Claimed", "Fix", "Refusal", "Undone"]

log = logging.getLogger(__name__)

Planner = Callable[[Situation, Policy, datetime], Plan | NoPlan]


class Fix:
    """The saga over one store. `settle`: seconds between two readings of a step that isn't done yet."""

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, Backend],
        probe: Probe,
        policy: Policy,
        clock: Clock,
        *,
        settle: float = 2.0,
        mark: Callable[[str], None] | None = None,
        may_fix: MayFix = everybody,
        mail_exchangers: MailExchangers = no_mail_exchangers,
    ) -> None:
        self._mail_exchangers = mail_exchangers
        self._store = store
        self._backends = backends
        self._probe = probe
        self._policy = policy
        self._clock = clock
        self._mark = mark or _log
        self._at_work: Counter[str] = Counter()
        self._runner = Runner(
            store=store,
            backends=backends,
            policy=policy,
            clock=clock,
            settle=settle,
            mark=self._mark,
            may_fix=may_fix,
            mail_exchangers=mail_exchangers,
        )

    async def offer(self, incident_id: int, actor: str) -> Action | Refusal:
        """A plan from fresh facts, kept for a while under an opaque id; everybody who asks gets an own one."""
        return await self._offer(incident_id, actor, make_plan)

    async def offer_retry(self, incident_id: int, actor: str) -> Action | Refusal:
        """The same for a retry of what waits, whatever the incident's code."""
        return await self._offer(incident_id, actor, make_retry)

    async def _offer(self, incident_id: int, actor: str, plan_for: Planner) -> Action | Refusal:
        facts = await self._store.read(lambda db: known(db, incident_id, self._clock()))
        if isinstance(facts, str):
            return Refusal(reason=facts)
        if taken := _taken(facts):
            return taken
        backend = self._backends.get(facts.connector.backend)
        try:
            seen = await situation(facts, backend, self._store, self._mail_exchangers)
        except BackendError as error:
            return Refusal(reason=f"No plan can be made now: {error}")
        plan = plan_for(seen, self._policy, self._clock())
        if isinstance(plan, NoPlan):
            return Refusal(reason=plan.reason)
        action = self._action(facts, plan, actor)
        await self._store.write(lambda db: records.offer(db, action, plan))
        return action

    async def submit(self, action_id: str, actor: str, steps: Sequence[StepKind], typed_name: str) -> Claimed | Refusal:
        """Claim the offer, or say why not. Quick, no network: call `execute` afterwards (unless it is a dry run)."""
        outcome = await self._store.write(
            lambda db: records.submit(db, action_id, actor, steps, typed_name, policy=self._policy, now=self._clock())
        )
        self._mark("refused" if isinstance(outcome, Refusal) else "requested" if outcome.waits else "claimed")
        return outcome

    async def approve(self, action_id: str, actor: str) -> Claimed | Refusal:
        """The second person's yes to what `submit` left waiting: call `execute` afterwards."""
        outcome = await self._store.write(
            lambda db: approval.approve(db, action_id, actor, policy=self._policy, now=self._clock())
        )
        self._mark("refused" if isinstance(outcome, Refusal) else "approved")
        return outcome

    async def decline(self, action_id: str, actor: str) -> Action | Refusal:
        """The second person's no, or the first one's second thought."""
        outcome = await self._store.write(lambda db: approval.decline(db, action_id, actor, self._clock()))
        self._mark("refused" if isinstance(outcome, Refusal) else "declined")
        return outcome

    async def execute(self, action_id: str) -> None:
        """Run a claimed action; anything else is left alone. Never raises: what breaks is settled at the next tick."""
        await self._alone(action_id, partial(self._runner.execute, action_id))

    async def verify_due(self) -> None:
        """The tick: verify what is due, settle what was left unknown."""
        for action in await self._store.read(lambda db: actions.due_to_verify(db, self._clock())):
            if not await self._alone(action.id, partial(self._verify, action)):
                await self._verify_later(action)
        for action in await self._store.read(lambda db: actions.due_to_look_at(db, self._clock())):
            await self._alone(action.id, partial(self._look_early, action))
        if await self._store.read(lambda db: actions.lapsed(db, self._clock())):
            await self._store.write(lambda db: approval.lapse(db, self._clock()))
            self._mark("lapsed")
        await self.recover()

    async def recover(self) -> None:
        """What a kill or a lost answer left behind goes on to verifying or failed. Called at start, too."""
        for action in await self._store.read(actions.running):
            await self._alone(action.id, partial(self._runner.settle_left, action.id))

    async def undo(self, action_id: str, actor: str) -> Undone | Refusal:
        """Restore what the action changed, as far as nobody changed it since."""
        with self._holding(action_id):
            begun = await self._store.write(
                lambda db: undoing.begin_undo(db, action_id, actor, policy=self._policy, now=self._clock())
            )
            if isinstance(begun, Refusal):
                return begun
            self._mark("undo begun")
            results = await self._runner.undo(begun)
        lines = tuple(one.line for one in results)
        if all(one.ok for one in results):
            return Undone(lines)
        return Refusal(reason=f"The undo is not complete and can be tried again. {' '.join(lines)}")

    def _action(self, facts: Known, plan: Plan, actor: str) -> Action:
        now = self._clock()
        return Action(
            id=secrets.token_urlsafe(16),
            incident_id=facts.incident.id,
            connector_id=facts.connector.id,
            state=ActionState.OFFERED,
            offered_at=now,
            offered_to=actor,
            expires_at=now + self._policy.offer_expires,
            plan=plan.to_json(),
        )

    async def _verify(self, action: Action) -> None:
        self._mark("verifying")
        verdict = await self._verdict(action, self._probe)
        self._mark("verdict")
        await self._store.write(lambda db: verdicts.judged(db, action, verdict, self._policy, self._clock()))
        self._mark("verified")

    async def _look_early(self, action: Action) -> None:
        """Verified ahead of time where the effect is there to be seen; else silence, and another look."""
        await self._store.write(lambda db: verdicts.look_later(db, action, self._policy, self._clock()))
        self._mark("looking early")
        verdict = await self._verdict(action, None)
        self._mark("looked early")
        if verdict.conclusive:
            await self._store.write(lambda db: verdicts.judged(db, action, verdict, self._policy, self._clock()))

    async def _verdict(self, action: Action, probe: Probe | None) -> Verdict:
        plan = Plan.from_json(action.plan)
        steps = await self._store.read(lambda db: actions.steps(db, action.id))
        waiting, unseen = await self._store.read(lambda db: waiting_at(db, action.connector_id))
        try:
            backend = self._runner.backend(plan)
            return await verify(plan, action, steps, waiting, unseen=unseen, backend=backend, probe=probe)
        except BackendError as error:
            return Verdict(holds=False, readable=False, retired=False, lines=(f"Not verified: {error}.",))

    async def _verify_later(self, action: Action) -> None:
        same = ActionState.VERIFYING
        due = self._clock() + self._policy.verify_after
        await self._store.write(lambda db: actions.set_state(db, action.id, (same,), same, verify_at=due))

    @contextmanager
    def _holding(self, action_id: str) -> Iterator[None]:
        self._at_work[action_id] += 1
        try:
            yield
        finally:
            self._at_work[action_id] -= 1
            self._at_work += Counter()  # forgets those that are zero

    async def _alone(self, action_id: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Do it unless this action is at work here already. False: it broke, and was logged."""
        if self._at_work[action_id]:
            return True
        with self._holding(action_id):
            try:
                await work()
            except Exception:
                # The edge of the saga: the action stays as it is on the disk, and the next tick settles it.
                log.exception("fix %s broke", action_id)
                return False
        return True


def _taken(facts: Known) -> Refusal | None:
    """Somebody's fix of this incident is under way or ended it, or one of another incident at its connector runs."""
    incident, running, latest = facts.incident, facts.running, facts.latest
    if incident.state is IncidentState.RESOLVED:
        return records.resolved(incident.id, latest)
    if running is not None and running.incident_id != incident.id:
        return records.another(facts.connector.name, running)
    busy = running is not None or incident.state in (IncidentState.FIXING, IncidentState.VERIFYING)
    return records.already(latest) if busy and latest is not None else None


def _log(point: str) -> None:
    log.debug("fix: %s", point)
