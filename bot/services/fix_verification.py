"""Did a fix hold? Looks at everything again and says it in lines; changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.backends.ports import Backend, BackendError, MessageRef
from bot.core.fix_plan import Plan, Ref
from bot.services.fix_look import still_waiting
from bot.services.fix_steps import Reading, ask, work_again
from storage.records import (
    Action,
    ActionStep,
    MessageFacts,
    MessageStatus,
    ProbeRecord,
    QueuedMessage,
    StepKind,
    StepState,
)

log = logging.getLogger(__name__)

Probe = Callable[[int], Awaitable[ProbeRecord]]
PROBE_LIMIT = 90.0
FOLLOWED = frozenset({StepKind.DOMAIN_AUTHORITATIVE, StepKind.RETRY_QUEUE})
"""Steps whose messages end later, by the mail system's own doing."""
NAMED = 5
"""So many recipients that still wait are named; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`holds`: everything that was done reads back as set. `readable`: False if the mail system couldn't be asked.

    `retired`: the connector is off because this fix switched it off, so its incident is over. `conclusive`: not only
    the settings read as set, their effect was seen, so there is no need to wait longer.
    """

    holds: bool
    readable: bool
    retired: bool
    lines: tuple[str, ...]
    conclusive: bool = False
    seen: tuple[MessageFacts, ...] = ()
    """The messages that it was about as they are now, so that our own list shows them so at once."""


async def verify(
    plan: Plan,
    action: Action,
    steps: Sequence[ActionStep],
    waiting: Sequence[QueuedMessage],
    *,
    unseen: int,
    backend: Backend,
    probe: Probe | None,
) -> Verdict:
    """1. Read back every step that was done. 2. The fate of the messages that it was about. 3. The mail that still
    waits. 4. Probe, unless the connector is off, or `probe` is None.

    `unseen`: so much more mail waited at the last sync than is listed in `waiting`.
    """
    done = [step for step in steps if step.state is StepState.DONE]
    kinds = {step.kind for step in done}
    try:
        readings = [(step.kind, await work_again(backend, plan, step).read()) for step in done]
        followed = [ref for kind in kinds & FOLLOWED if (step := plan.step(kind)) for ref in step.refs]
        found, fate = await _fate(backend, followed)
        rest = await _rest(backend, waiting)
    except BackendError as error:
        return Verdict(holds=False, readable=False, retired=False, lines=(f"The settings can't be read back: {error}",))
    retired = any(kind is StepKind.DISABLE_CONNECTOR and reading.done for kind, reading in readings)
    lines = [_line(reading) for _, reading in readings]
    lines += [_fate_line(fate)] if followed else []
    lines.append(_waiting_line(rest, unseen))
    if retired:
        lines.append("The connector is off: it is no longer probed.")
    elif probe is not None:
        lines.append(await _probe_line(probe, action.connector_id))
    holds = all(reading.done for _, reading in readings) and not fate[MessageStatus.QUEUED]
    settings = bool(kinds & {StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR})
    return Verdict(
        holds=holds,
        readable=True,
        retired=retired,
        lines=tuple(lines),
        conclusive=holds and (bool(followed) if settings else bool(kinds)),
        seen=tuple(found),
    )


async def _fate(backend: Backend, followed: Sequence[Ref]) -> tuple[Sequence[MessageFacts], Counter[MessageStatus]]:
    """How these messages stand now; one that the mail system doesn't know any more has left."""
    refs = [MessageRef(key=key, recipient=recipient) for key, recipient in dict.fromkeys(followed)]
    found = await ask(backend.messages(refs)) if refs else ()
    counts = Counter(m.status for m in found)
    counts[MessageStatus.GONE] += len(refs) - len(found)
    return found, counts


def _fate_line(fate: Mapping[MessageStatus, int]) -> str:
    words = {
        MessageStatus.REJECTED: "rejected",
        MessageStatus.EXPIRED: "bounced because their time was up",
        MessageStatus.DELIVERED: "delivered",
        MessageStatus.GONE: "no longer known to the mail system",
        MessageStatus.QUEUED: "still waiting",
    }
    told = [f"{fate[status]} {said}" for status, said in words.items() if fate.get(status)]
    return f"Of the {sum(fate.values())} messages that this was about: {', '.join(told)}."


async def _rest(backend: Backend, waiting: Sequence[QueuedMessage]) -> tuple[MessageFacts, ...]:
    refs = [MessageRef(key=m.key, recipient=m.recipient) for m in waiting]
    return still_waiting(await ask(backend.messages(refs))) if refs else ()


def _line(reading: Reading) -> str:
    return f"{'As set' if reading.done else 'Not as set'}: {reading.detail}."


def _waiting_line(rest: Sequence[MessageFacts], unseen: int) -> str:
    more_mail = f"; and {unseen} more that were not looked at one by one" if unseen else ""
    if not rest:
        return (
            "No mail waits at this connector any more." if not unseen else f"{unseen} messages waited at the last sync."
        )
    names = list(dict.fromkeys(m.recipient for m in rest))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"Not rejected and still waiting: {len(rest)} for {', '.join(names[:NAMED])}{more}; "
        f"the first bounces at {_minute(rest[0].expires_at)}{more_mail}."
    )


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


async def _probe_line(probe: Probe, connector_id: int) -> str:
    try:
        async with asyncio.timeout(PROBE_LIMIT):
            record = await probe(connector_id)
    except Exception:
        # The probe is only evidence here: whatever broke it must not cost the verification.
        log.exception("the probe of connector %d broke while its fix was verified", connector_id)
        return "The probe couldn't be run."
    if record.ok:
        return "Probe: the smart host takes connections again."
    return f"Probe: {record.status or record.code or 'failed'}; the error is still there."
