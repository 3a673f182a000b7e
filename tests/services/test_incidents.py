"""Acknowledging: once, by name, and only what is open."""

from __future__ import annotations

from typing import Any

import pytest

from bot.services.incidents import acknowledge
from storage import incidents, outbox
from storage.connection import Store
from storage.records import Incident, IncidentState, OutboxKind


async def test_the_first_who_acknowledges_is_named_and_told(store: Store, incident: Incident, clock: Any) -> None:
    after = await store.write(lambda db: acknowledge(db, incident.id, "U0ADMIN1", clock()))
    assert isinstance(after, Incident)
    assert (after.state, after.acknowledged_by, after.acknowledged_at) == (
        IncidentState.ACKNOWLEDGED,
        "U0ADMIN1",
        clock(),
    )
    assert [i.kind for i in await store.read(lambda db: outbox.recent(db, 9))] == [OutboxKind.REPLY, OutboxKind.ROOT]


async def test_the_second_is_told_who_was_first(store: Store, incident: Incident, clock: Any) -> None:
    for actor in ("U0ADMIN1", "U0ADMIN2"):
        answer = await store.write(lambda db, a=actor: acknowledge(db, incident.id, a, clock()))
    assert answer == "#1 was acknowledged already by <@U0ADMIN1>."
    assert len(await store.read(lambda db: incidents.events(db, incident.id))) == 1


@pytest.mark.parametrize(
    ("state", "words"),
    [("resolved", "is resolved already"), ("fixing", "Fix now is fixing"), ("verifying", "verifying")],
)
async def test_what_is_over_or_being_fixed_needs_no_acknowledgement(
    store: Store, incident: Incident, clock: Any, state: str, words: str
) -> None:
    await store.write(lambda db: incidents.change(db, incident.id, state=state))
    answer = await store.write(lambda db: acknowledge(db, incident.id, "U0ADMIN1", clock()))
    assert isinstance(answer, str)
    assert words in answer


async def test_an_unknown_number_is_said_so(store: Store, clock: Any) -> None:
    assert await store.write(lambda db: acknowledge(db, 12, "U0ADMIN1", clock())) == "There is no incident #12."
