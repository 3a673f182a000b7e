"""The transactions of delivery: which row comes first, and what each outcome means for it and for its incident."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlite_utils import Database

from bot.core.views import IncidentView
from bot.services.ports import Poster
from storage import incidents, outbox
from storage.records import OutboxItem, OutboxKind, OutboxState

_UNFINISHED = (OutboxState.PENDING, OutboxState.SENDING)


def first_needed(db: Database, head: OutboxItem, now: datetime, *, redraws: bool = True) -> OutboxItem | None:
    """The row to handle for this head of a channel: itself, or its incident's own message, which comes before a reply.

    A message that is there already is redrawn first only if that may happen now (`redraws`): a reply does not need it.
    None: nothing is left to do (it was settled meanwhile, or it can never be sent and is dead now).
    """
    item = outbox.get(db, head.id)
    if item is None or item.state not in _UNFINISHED:
        return None
    incident = incidents.get(db, item.incident_id)
    if item.kind is OutboxKind.ROOT or incident is None:
        return item
    roots = outbox.roots(db, item.incident_id, item.channel)
    waiting = next((root for root in roots if root.state in _UNFINISHED), None)
    if incident.ts is not None:
        first = waiting is not None and redraws and waiting.id < item.id and waiting.next_at <= now
        return waiting if first else item
    return waiting or _message_again(db, item, roots, now)


def _message_again(db: Database, reply: OutboxItem, roots: list[OutboxItem], now: datetime) -> OutboxItem | None:
    """The incident's message, to be posted once more because a reply needs it."""
    last = next((root for root in reversed(roots) if root.state is OutboxState.SENT), None)
    if last is None:
        outbox.bury(db, reply.id, "the incident's own message could not be posted")
        return None
    outbox.renew(db, last.id, now, None)
    return outbox.get(db, last.id)


def find_home(db: Database, item: OutboxItem, fallback: str | None, now: datetime) -> None:
    """An incident that was opened where no channel was known goes to the usual one."""
    if fallback is None:
        outbox.bury(db, item.id, "no alert channel is set (MFI_ALERT_CHANNEL)")
        return
    outbox.move(db, item, fallback, now)
    incidents.change(db, item.incident_id, channel=fallback)


def with_event(db: Database, view: IncidentView, item: OutboxItem) -> IncidentView:
    """The view with the event that this row tells, however long the timeline has become."""
    if item.event_id is None or any(line.id == item.event_id for line in view.events):
        return view
    line = incidents.event(db, item.event_id)
    return replace(view, events=(line, *view.events)) if line else view


def is_redraw(item: OutboxItem, view: IncidentView) -> bool:
    """Does it draw a message that is there already? That may be repeated without harm."""
    return item.kind is OutboxKind.ROOT and view.incident.ts is not None


async def transmit(poster: Poster, item: OutboxItem, view: IncidentView) -> str | None:
    """Hand it to Slack: the present state of the incident, as a new message or into the one that is there."""
    if is_redraw(item, view):
        await poster.redraw(item, view)
        return view.incident.ts
    return await poster.post(item, view)


def delivered(db: Database, item: OutboxItem, revision: int, ts: str | None, now: datetime) -> None:
    """It is in Slack. An incident's own message is remembered, and the redraws that it makes needless are settled.

    `revision`: what the message certainly shows. One that was found later shows no more than its own row promised.
    """
    outbox.sent(db, item.id, now, ts)
    if item.kind is OutboxKind.ROOT:
        incidents.change(db, item.incident_id, ts=ts)
        outbox.settle(db, item, revision, now, ts)


def start_anew(db: Database, item: OutboxItem, now: datetime, error: str) -> None:
    """The incident's message is gone from Slack: it is posted again, and then this row."""
    incidents.change(db, item.incident_id, ts=None)
    outbox.renew(db, item.id, now, error)


def has_elsewhere(item: OutboxItem, fallback: str | None) -> bool:
    """Is there another channel that could take it?"""
    return fallback is not None and fallback != item.channel


def give_up(db: Database, item: OutboxItem, fallback: str | None, now: datetime, error: str) -> None:
    """This channel will never take it: the whole incident goes on in the fallback channel, or the row is dead.

    There it needs its own message first, whatever is left of those that it owed here.
    """
    incident = incidents.get(db, item.incident_id)
    if fallback is None or incident is None or not has_elsewhere(item, fallback):
        outbox.bury(db, item.id, error)
        return
    outbox.move(db, item, fallback, now)
    outbox.entomb(db, item, now, error)
    incidents.change(db, item.incident_id, channel=fallback, ts=None)
    outbox.enqueue(
        db, incident_id=incident.id, revision=incident.revision, channel=fallback, kind=OutboxKind.ROOT, now=now
    )
