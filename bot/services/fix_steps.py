"""The things that Fix now does, each as: image before, act, read back, restore.

Promises: acting is asking for a state, so it is harmless when that state holds already; `read` only looks; `restore`
first looks whether somebody changed it since: that is whatever differs from the image before, except what we asked for
ourselves, which may take effect long after it was read back. Every call to the mail system has a deadline: a read that
gets no answer is Unreachable, an act that gets none is OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlite_utils import Database

from bot.backends.ports import Backend, MessageRef, OutcomeUnknown, Unreachable
from bot.core.fix_plan import REJECT_REASON, Plan, Ref, connector_facts
from bot.core.fix_words import domain_state
from storage import connectors, domains, messages
from storage.records import Action, ActionStep, DomainType, MessageFacts, MessageStatus, StepKind, StepState

READ_LIMIT = 30.0
ACT_LIMIT = 60.0
T = TypeVar("T")
Image = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How it is now. `done`: as the step wants it. `detail`: in words. `after`: the image, for a later comparison."""

    done: bool
    detail: str
    after: Image


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of an undo. `ok`: the image before holds again, or could never be restored and the line says so."""

    ok: bool
    line: str


class Work(Protocol):
    """One step on one mail system."""

    @property
    def kind(self) -> StepKind:
        """Which one."""
        ...

    @property
    def before(self) -> Image:
        """What it will touch, as it was; enough to make this object again."""
        ...

    async def act(self) -> None:
        """Ask for the wanted state."""
        ...

    async def read(self) -> Reading:
        """Look how it is."""
        ...

    async def restore(self, after: Image, /) -> Restored:
        """Bring the image before back where nobody else changed it; `after`: what was read back last, if anything."""
        ...

    def note(self, db: Database, action: Action, now: datetime, /) -> None:
        """Keep our own records in step with what was read last."""
        ...


async def ask(call: Awaitable[T]) -> T:
    """Await a read within its limit."""
    try:
        async with asyncio.timeout(READ_LIMIT):
            return await call
    except TimeoutError:
        raise Unreachable(f"the mail system gave no answer within {READ_LIMIT:.0f} s") from None


async def act(call: Awaitable[None]) -> None:
    """Await an act within its limit."""
    try:
        async with asyncio.timeout(ACT_LIMIT):
            await call
    except TimeoutError:
        raise OutcomeUnknown(f"the mail system gave no answer within {ACT_LIMIT:.0f} s") from None


class RejectInvalid:
    """End these messages with a bounce to each sender. Done: none of them waits any more. Can't be undone."""

    kind = StepKind.REJECT_INVALID

    def __init__(self, backend: Backend, refs: Sequence[Ref]) -> None:
        self._backend = backend
        self._refs = [MessageRef(key=key, recipient=recipient) for key, recipient in refs]
        self._seen: Sequence[MessageFacts] = ()

    @property
    def before(self) -> Image:
        """The messages, all of which were queued."""
        return {"refs": [[ref.key, ref.recipient] for ref in self._refs]}

    async def act(self) -> None:
        """Reject."""
        if self._refs:
            await act(self._backend.reject(self._refs, REJECT_REASON))

    async def read(self) -> Reading:
        """Count how each of them ended. One that the mail system no longer knows has ended, too."""
        self._seen = await ask(self._backend.messages(self._refs)) if self._refs else ()
        counts = Counter(m.status for m in self._seen)
        forgotten = len(self._refs) - len(self._seen)
        queued = counts.pop(MessageStatus.QUEUED, 0)
        parts = [f"{counts[status]} {status}" for status in sorted(counts)]
        parts += [f"{forgotten} no longer known to the mail system"] if forgotten else []
        parts += [f"{queued} still queued"] if queued else []
        return Reading(
            done=queued == 0,
            detail=f"of {len(self._refs)} messages to invalid recipients: {', '.join(parts) or 'none to reject'}",
            after={"ended": {str(status): count for status, count in counts.items()}, "queued": queued},
        )

    async def restore(self, after: Image) -> Restored:
        """There is no way back."""
        self._seen = await ask(self._backend.messages(self._refs)) if self._refs else ()
        by_now = sum(m.status == MessageStatus.REJECTED for m in self._seen)
        ended = max(by_now, after.get("ended", {}).get(MessageStatus.REJECTED, 0))
        what = "1 rejected message" if ended == 1 else f"{ended} rejected messages"
        return Restored(True, f"{what} can't be brought back; every sender has a bounce.")

    def note(self, db: Database, action: Action, now: datetime, /) -> None:
        """Our list shows them as ended at once."""
        rows = [(m, action.connector_id) for m in self._seen]
        if rows:
            messages.sync(db, rows[0][0].backend, rows, now, complete=False)


class MakeAuthoritative:
    """Turn these accepted domains to Authoritative."""

    kind = StepKind.DOMAIN_AUTHORITATIVE

    def __init__(self, backend: Backend, types: dict[str, str]) -> None:
        self._backend = backend
        self._types = types
        self._seen: dict[str, str] = {}

    @property
    def before(self) -> Image:
        """The type of each domain."""
        return {"domains": self._types}

    async def act(self) -> None:
        """Set them, one after the other."""
        for name in self._types:
            await act(self._backend.set_domain_type(name, DomainType.AUTHORITATIVE))

    async def read(self) -> Reading:
        """Is every one Authoritative?"""
        self._seen = await self._look()
        return Reading(
            done=all(found == DomainType.AUTHORITATIVE for found in self._seen.values()),
            detail=", ".join(f"{name} {self._word(found)}" for name, found in self._seen.items()),
            after={"domains": self._seen},
        )

    async def restore(self, _after: Image) -> Restored:
        """Set back those that are as we asked for."""
        now = await self._look()
        ours = [name for name in self._types if now[name] == DomainType.AUTHORITATIVE != self._types[name]]
        for name in ours:
            await act(self._backend.set_domain_type(name, DomainType(self._types[name])))
        self._seen = await self._look()
        changed = [n for n in self._types if n not in ours and now[n] != self._types[n]]
        words = [
            f"{name} {self._word(self._seen[name])} again" for name in ours if self._seen[name] == self._types[name]
        ]
        words += [f"{name} was changed since: it {self._word(now[name])} now, and is left alone" for name in changed]
        words += [f"{n} {self._word(now[n])} already" for n in self._types if n not in ours and n not in changed]
        failed = [name for name in ours if self._seen[name] != self._types[name]]
        words += [f"{name} couldn't be set back: it {self._word(self._seen[name])}" for name in failed]
        return Restored(not failed, "; ".join(words) + ".")

    def note(self, db: Database, _action: Action, _now: datetime, /) -> None:
        """Our domains have the types that were read last."""
        for name, found in self._seen.items():
            if found in list(DomainType):
                domains.set_type(db, self._backend.name, name, DomainType(found))

    def _word(self, domain_type: str) -> str:
        return domain_state(self._backend.place.family, domain_type)

    async def _look(self) -> dict[str, str]:
        found = {name: await ask(self._backend.domain(name)) for name in self._types}
        return {name: str(facts.type) if facts else "gone" for name, facts in found.items()}


class DisableConnector:
    """Switch the connector off."""

    kind = StepKind.DISABLE_CONNECTOR

    def __init__(self, backend: Backend, key: str, facts: dict[str, str]) -> None:
        self._backend = backend
        self._key = key
        self._facts = facts
        self._seen: dict[str, str] = {}

    @property
    def before(self) -> Image:
        """All that people can set about it."""
        return {"connector": self._facts}

    async def act(self) -> None:
        """Disable."""
        await act(self._backend.set_connector_enabled(self._key, enabled=False))

    async def read(self) -> Reading:
        """Is it off? A connector that is gone carries no mail either, but that is not what was asked for."""
        self._seen = await self._look()
        name = self._facts["name"]
        words = {"no": "is disabled", "yes": "is enabled"}.get(self._seen.get("enabled", ""), "is gone")
        return Reading(done=words == "is disabled", detail=f"“{name}” {words}", after={"connector": self._seen})

    async def restore(self, _after: Image) -> Restored:
        """Enable it again if nothing else about it was changed since."""
        name, now = self._facts["name"], await self._look()
        self._seen = now
        if not now:
            return Restored(True, f"“{name}” is gone from the mail system: nothing to restore.")
        if now["enabled"] == self._facts["enabled"]:
            return Restored(True, f"“{name}” is enabled already.")
        if now | {"enabled": self._facts["enabled"]} != self._facts:
            return Restored(True, f"“{name}” was changed by somebody since and is left alone.")
        await act(self._backend.set_connector_enabled(self._key, enabled=True))
        self._seen = await self._look()
        if self._seen.get("enabled") == "yes":
            return Restored(True, f"“{name}” is enabled again.")
        return Restored(False, f"“{name}” couldn't be enabled again.")

    def note(self, db: Database, action: Action, now: datetime, /) -> None:
        """Our connector is on or off as it was read last."""
        if self._seen:
            connectors.set_enabled(db, action.connector_id, self._seen["enabled"] == "yes", now)

    async def _look(self) -> dict[str, str]:
        facts = await ask(self._backend.connector(self._key))
        return dict(connector_facts(facts)) if facts else {}


class RetryQueue:
    """Let the mail system try again what waits. Done once it took the wish, or when mail has left since; whether the
    rest leaves shows later. After a kill nobody knows of the wish, and only mail that left speaks for it.
    """

    kind = StepKind.RETRY_QUEUE

    def __init__(self, backend: Backend, key: str, refs: Sequence[Ref], *, asked: bool = False) -> None:
        self._backend = backend
        self._key = key
        self._refs = [MessageRef(key=message, recipient=recipient) for message, recipient in refs]
        self._seen: Sequence[MessageFacts] = ()
        self._asked = asked

    @property
    def before(self) -> Image:
        """The messages that waited."""
        return {"refs": [[ref.key, ref.recipient] for ref in self._refs]}

    async def act(self) -> None:
        """Ask for a retry. A lost answer counts as asked: a retry changes nothing, so asking is all there is to it."""
        try:
            await act(self._backend.retry(self._key))
        except OutcomeUnknown:
            self._asked = True
            raise
        self._asked = True

    async def read(self) -> Reading:
        """How many of them have left."""
        self._seen = await ask(self._backend.messages(self._refs)) if self._refs else ()
        waiting = sum(m.status is MessageStatus.QUEUED for m in self._seen)
        left = len(self._refs) - waiting
        doubt = (
            "" if self._asked or left else "; whether the retry was asked for can't be told, and asking again is safe"
        )
        return Reading(
            done=self._asked or left > 0,
            detail=f"of {len(self._refs)} messages that waited, {left} have left by now{doubt}",
            after={"waiting": waiting},
        )

    async def restore(self, _after: Image) -> Restored:
        """There is nothing to restore."""
        return Restored(True, "A retry changes no setting: there is nothing to undo.")

    def note(self, db: Database, action: Action, now: datetime, /) -> None:
        """Our list shows at once what has left."""
        rows = [(m, action.connector_id) for m in self._seen]
        if rows:
            messages.sync(db, rows[0][0].backend, rows, now, complete=False)


def work_again(backend: Backend, plan: Plan, step: ActionStep) -> Work:
    """The work of a step that was begun, from its stored image."""
    before: Image = json.loads(step.before or "{}")
    if step.kind is StepKind.REJECT_INVALID:
        return RejectInvalid(backend, [(key, recipient) for key, recipient in before["refs"]])
    if step.kind is StepKind.DOMAIN_AUTHORITATIVE:
        return MakeAuthoritative(backend, before["domains"])
    if step.kind is StepKind.RETRY_QUEUE:
        asked = step.state is StepState.DONE
        refs = [(key, recipient) for key, recipient in before["refs"]]
        return RetryQueue(backend, plan.connector_key, refs, asked=asked)
    return DisableConnector(backend, plan.connector_key, before["connector"])
