"""An alert in the sandbox's channel to click on, and what the clicker is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot.slack.client import SlackPoster
from knowledge.articles import articles
from storage.records import OutboxItem, OutboxKind, OutboxState

CHANNEL = "C0MAILALERTS"


def shown(messages: list[Any]) -> str:
    return "\n".join(m.visible for m in messages)


async def posted(live: Any, outbox: OutboxKind = OutboxKind.ROOT, *, probe: Any = None, **event: Any) -> Any:
    """The alert of incident #1 as it stands in the channel (or one reply, told as `event`)."""
    connector = await live.connector()
    incident = await live.incident(connector)
    view = live.world.view(
        incident=replace(live.world.incident(), id=incident.id, channel=CHANNEL, ts=None),
        events=(live.world.event(**event),) if event else (),
    )
    view = replace(view, probe=probe) if probe else view
    poster = SlackPoster(live.client, articles())
    item = OutboxItem(
        id=1, uid="u1", incident_id=incident.id, revision=1, channel=CHANNEL, kind=OutboxKind.ROOT,
        state=OutboxState.SENDING, created_at=live.now, next_at=live.now, event_id=5,
    )  # fmt: skip
    ts = await poster.post(item, view)
    if outbox is not OutboxKind.ROOT:
        under = replace(view, incident=replace(view.incident, ts=ts))
        await poster.post(replace(item, uid="u2", kind=outbox), under)
        return live.slack.thread(CHANNEL, ts)[0]
    return live.slack.messages(CHANNEL)[0]


async def notes(live: Any, user: str, number: int = 1) -> str:
    """What this user was told in private, once so many answers have come."""
    await live.slack.wait_for(lambda: len(live.slack.ephemerals(user, CHANNEL)) >= number)
    await live.deps.tasks.settled(5)
    return shown(live.slack.ephemerals(user, CHANNEL))
