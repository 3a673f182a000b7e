"""What the thread says of each event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.core.events import EventKind
from bot.slack.blocks import Message
from bot.slack.thread import LINES, event_line, render_event
from storage.records import QueueSummary

DATE = r"<!date^1772424000^{date_short_pretty} {time}|2026-03-02 04:00 UTC>"
FOUR = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


def button(message: Message) -> dict[str, Any] | None:
    rows = [block["elements"] for block in message.blocks if block["type"] == "actions"]
    return rows[0][0] if rows else None


def test_every_kind_of_event_has_its_words() -> None:
    assert set(LINES) == set(EventKind)


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("opened", {"by": "both"}, "Opened by queue and probe together."),
        ("opened", {}, "Opened by the evidence."),
        ("evidence", {}, "New evidence. 42 messages wait, the oldest for 5 h; first bounce in 19 h."),
        ("critical", {"reason": "200 wait"}, "🔴 `Contoso inbound` is *critical* now: 200 wait. 42 messages wait"),
        ("critical", {}, "is *critical* now. 42"),
        ("escalated", {"mark": "4 h", "waiting": 42, "first_bounce_at": FOUR.isoformat()}, "🔴 4 h: 42 messages still"),
        ("escalated", {"first_bounce_at": FOUR.isoformat()}, f"*first bounce in 1 h* ({DATE})"),
        ("escalated", {}, "🔴 a while: mail still waiting at `Contoso inbound` (4.4.316); *first bounce in 19 h*"),
        ("flapping", {"times": 3}, "failed and recovered 3 times within an hour"),
        ("flapping", {}, "failed and recovered again and again"),
        ("acknowledged", {}, "👀 <@U0ADMIN1> acknowledged this"),
        ("reprobed", {"ok": True, "elapsed_ms": 420}, "🔎 <@U0ADMIN1> re-probed: ✅ gets through in 0.42 s."),
        ("reprobed", {"ok": False, "status": "450 x", "stage": "tls"}, "❌ `450 x`, stopped at the TLS handshake."),
        ("reprobed", {}, "❌ `failed`, stopped at an unknown stage."),
        ("fix_claimed", {"steps": ["A", "B"]}, "🛠️ <@U0ADMIN1> starts the fix:\n• A\n• B"),
        ("fix_claimed", {"steps": "A", "retry": True}, "🔁 <@U0ADMIN1> has the waiting mail tried again:\n• A"),
        (
            "fix_finished",
            {"retry": True, "verify_at": FOUR},
            "🔁 The mail system was told to try again. It will be ver",
        ),
        ("fix_verified", {"retry": True, "detail": ["a"]}, "✅ The mail that was tried again has left.\n• a"),
        ("fix_not_yet", {"retry": True}, "⏳ The mail has not left yet. No more checks are planned."),
        (
            "fix_claimed",
            {"steps": "A", "dry_run": True},
            "🧪 <@U0ADMIN1> ran a *dry run*; nothing was changed. It would:",
        ),
        (
            "fix_step",
            {"step": "Reject", "state": "done", "detail": "7 of 7"},
            "✅ Reject: done, and read back\n• 7 of 7",
        ),
        ("fix_step", {"state": "strange"}, "⚪ A step: strange"),
        (
            "fix_finished",
            {"slow": True, "verify_at": FOUR.timestamp()},
            f"It will be verified {DATE}; changes take 30 to 60 minutes.",
        ),
        ("fix_finished", {"dry_run": True}, "🧪 Dry run finished: nothing was changed."),
        ("fix_finished", {"verify_at": "soon"}, "🛠️ Every step is done. "),
        (
            "fix_failed",
            {"detail": "it timed out"},
            "❌ The fix that <@U0ADMIN1> started has stopped; the remaining steps were not run.\n• it timed out",
        ),
        (
            "fix_failed",
            {"what": "undo", "detail": ["c1 is gone"]},
            "↩️ <@U0ADMIN1> tried to undo the fix. "
            "Not everything could be set back; it can be tried again:\n• c1 is gone",
        ),
        ("fix_failed", {"what": "verification"}, "❌ The fix could not be verified, and it is not looked at again."),
        (
            "fix_finished",
            {"undoable": False, "verify_at": FOUR},
            f"🛠️ Every step is done. It will be verified {DATE}.",
        ),
        ("fix_verified", {"detail": ["a", "b"]}, "✅ Verified: the fix worked.\n• a\n• b"),
        ("fix_not_yet", {"next_at": int(FOUR.timestamp() * 1000)}, f"The next check is {DATE}."),
        ("fix_not_yet", {"next_at": FOUR}, f"The next check is {DATE}."),
        ("fix_not_yet", {"next_at": "2026-03-02T04:00:00"}, f"The next check is {DATE}."),
        ("fix_not_yet", {"next_at": True}, "No more checks are planned."),
        ("fix_not_yet", {"next_at": 1e30}, "No more checks are planned."),
        ("fix_not_yet", {"detail": [str(n) for n in range(14)]}, "• 11\n• and 2 more"),
        ("fix_not_yet", {"detail": 5}, "⏳ Not verified yet."),
        ("fix_undone", {"detail": ["restored"]}, "↩️ <@U0ADMIN1> undid the fix.\n• restored"),
        ("resolved", {"reason": "retired"}, "✅ Resolved: the connector was switched off"),
        ("resolved", {"reason": "other"}, "✅ Resolved: other. Still in the queue: 42 messages wait"),
        ("some_new_kind", {}, "some new kind (<!date^"),
    ],
)
def test_the_thread_tells_it(world: Any, kind: str, data: dict[str, Any], said: str) -> None:
    line = event_line(world.event(kind, **data), world.view())
    assert said in line
    assert not problems(render_event(world.event(kind, **data), world.view()).payload(), "message")


def test_a_resolved_line_is_silent_about_an_empty_queue(world: Any) -> None:
    assert event_line(world.event("resolved"), world.view(queue=QueueSummary())) == "✅ Resolved: mail flows again."


def test_the_bot_itself_is_named_when_nobody_acted(world: Any) -> None:
    assert "mfi undid the fix" in event_line(world.event("fix_undone", actor=None), world.view())


def test_a_finished_fix_can_be_undone_after_a_question(world: Any) -> None:
    found = button(render_event(world.event("fix_finished", action_id="a1b2"), world.view()))
    assert found is not None
    assert (found["action_id"], found["value"]) == ("mfi.undo", "a1b2")
    assert "go back to what they were" in found["confirm"]["text"]["text"]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("fix_finished", {"action_id": "a1b2", "dry_run": True}),
        ("fix_finished", {}),
        ("fix_finished", {"action_id": 7}),
        ("fix_failed", {"action_id": "a1b2", "undoable": False}),
        ("fix_undone", {"action_id": "a1b2"}),
        ("fix_step", {"action_id": "a1b2"}),
    ],
)
def test_what_changed_nothing_has_no_undo(world: Any, kind: str, data: dict[str, Any]) -> None:
    assert button(render_event(world.event(kind, **data), world.view())) is None
