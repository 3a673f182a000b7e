"""Mail that an ended incident leaves behind is named, and while a fix is at work nothing else is asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.core.capabilities import Capability
from bot.slack.alert import render_alert
from knowledge.articles import articles
from storage.records import Action, ActionState, IncidentState, QueueSummary
from tests.slack.alert_text import shown

ABOUT = articles().for_code("4.4.316")
CAN = Capability


@pytest.mark.parametrize("resolution", ["retired", "delivering"])
def test_mail_that_still_waits_when_it_is_over_is_named(world: Any, resolution: str) -> None:
    incident = world.incident(IncidentState.RESOLVED, resolution=resolution, resolved_at=world.now)
    drawn = render_alert(world.view(incident=incident), ABOUT)
    assert "Still in the queue: 42 messages wait" in shown(drawn)
    assert "Still in the queue: 42 messages wait" in drawn.text
    assert drawn.text.startswith("✅ Resolved")


@pytest.mark.parametrize(
    ("gone", "how"),
    [({"enabled": False}, "disabled"), ({"missing_since": datetime(2026, 3, 1, tzinfo=UTC)}, "removed")],
)
def test_an_end_that_leaves_mail_behind_is_no_green_tick(world: Any, gone: dict[str, Any], how: str) -> None:
    incident = world.incident(IncidentState.RESOLVED, resolution="retired", resolved_at=world.now)
    view = world.view(incident=incident, connector=world.connector(**gone))
    said = shown(render_alert(view, ABOUT))
    assert said.startswith("⚠️ #12 Resolved, but mail still waits: 4.4.316")
    assert f"⚠️ *42 messages still wait behind the {how} connector; they bounce from <!date^" in said
    assert "on* unless rerouted or the connector is enabled again." in said
    action = Action(
        id="a", incident_id=12, connector_id=7, state=ActionState.VERIFIED, offered_at=world.now,
        expires_at=world.now, plan="{}",
    )  # fmt: skip
    fixed = shown(render_alert(replace(view, action=action), ABOUT))
    assert "*42 messages that the fix did not reject still wait" in fixed
    assert "is enabled again (*Undo* in the thread)." in fixed
    empty = replace(view, queue=QueueSummary())
    assert shown(render_alert(empty, ABOUT)).startswith("✅ #12 Resolved: 4.4.316")


def test_while_a_fix_is_at_work_nothing_else_is_asked_for(world: Any) -> None:
    running = shown(render_alert(world.view(IncidentState.FIXING), ABOUT))
    assert "*What to do*\nNothing now: a fix is running" in running
    verifying = shown(render_alert(world.view(IncidentState.VERIFYING), ABOUT))
    assert "Nothing now: the fix is done, and it will be verified." in verifying
    action = Action(
        id="a", incident_id=12, connector_id=7, state=ActionState.VERIFYING, offered_at=world.now,
        expires_at=world.now, plan="{}", verify_at=world.now + timedelta(hours=1),
    )  # fmt: skip
    due = shown(render_alert(world.view(IncidentState.VERIFYING, action=action), ABOUT))
    assert "it is verified <!date^" in due
