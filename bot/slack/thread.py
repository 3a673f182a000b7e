"""What an incident's thread says of each event. Pure.

Each kind of event has one function that turns its data into one line of text; `render_event` adds the button where
one belongs. Data may be missing or foreign: a line is always produced and always safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bot.core.events import EventKind
from bot.core.views import IncidentView
from bot.slack.alert import RESOLUTIONS, UNDO, name_of, waiting
from bot.slack.alert_parts import APPROVE, DECLINE, left_behind, stays_behind
from bot.slack.blocks import Message, actions, button, confirm, message, section
from bot.slack.text import Mrkdwn, code, joined, lines, mrkdwn, plain, prose, user, when
from bot.slack.unreadable import is_unassigned
from bot.slack.warning import threshold
from bot.slack.wording import STAGE_WORDS, bounce, count, seconds
from storage.records import IncidentEvent

Data = Mapping[str, Any]
Line = Callable[[IncidentEvent, IncidentView], Mrkdwn]

UNDOABLE = frozenset({EventKind.FIX_FINISHED, EventKind.FIX_VERIFIED, EventKind.FIX_NOT_YET, EventKind.FIX_FAILED})
"""Reports that carry the Undo button, when the fix changed anything."""

BY_WORDS = {"probe": "our probe", "queue": "the queue", "both": "queue and probe together"}

STEP_WORDS = {
    "planned": "planned",
    "intended": "started",
    "done": "done, and read back",
    "failed": "failed",
    "skipped": "skipped",
    "undone": "undone",
}
STEP_EMOJI = {"done": "✅", "failed": "❌", "skipped": "⏭️", "undone": "↩️"}


def render_event(event: IncidentEvent, view: IncidentView) -> Message:
    """The thread's reply for one event."""
    line = event_line(event, view)
    return message(line, [section(line), actions(*_buttons(event, view))])


def _buttons(event: IncidentEvent, view: IncidentView) -> tuple[dict[str, Any] | None, ...]:
    if event.kind == EventKind.FIX_REQUESTED:
        return _decision_buttons(event, view)
    return (_undo_button(event, view) if event.kind in UNDOABLE else None,)


def _decision_buttons(event: IncidentEvent, view: IncidentView) -> tuple[dict[str, Any], ...]:
    """Yes and no to a fix that somebody else asked for; each click is checked again."""
    action_id = event.data.get("action_id")
    if not isinstance(action_id, str) or not action_id:
        return ()
    question = plain(f"The steps above run at {name_of(view)} at once, on facts that are read again first.", 290)
    sure = confirm("Approve this fix?", question, "Approve")
    return (
        button("Approve…", APPROVE, action_id, style="danger", confirm=sure),
        button("Decline", DECLINE, action_id),
    )


def event_line(event: IncidentEvent, view: IncidentView) -> Mrkdwn:
    """One event in words; an unknown kind is named, never dropped."""
    line = LINES.get(event.kind)
    return line(event, view) if line else mrkdwn("{} ({})", event.kind.replace("_", " "), when(event.at))


def _undo_button(event: IncidentEvent, view: IncidentView) -> dict[str, Any] | None:
    action_id = event.data.get("action_id")
    if not isinstance(action_id, str) or event.data.get("dry_run") or event.data.get("undoable") is False:
        return None
    question = plain(
        f"Settings of {name_of(view)} go back to what they were before this fix, unless somebody changed them since. "
        "Rejected messages stay rejected.",
        290,
    )
    return button("Undo…", UNDO, action_id, confirm=confirm("Undo this fix?", question, "Undo"))


def _opened(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    return mrkdwn("Opened by {}.", BY_WORDS.get(str(event.data.get("by")), "the evidence"))


def _evidence(_event: IncidentEvent, view: IncidentView) -> Mrkdwn:
    return mrkdwn("New evidence. {}.", waiting(view))


def _critical(event: IncidentEvent, view: IncidentView) -> Mrkdwn:
    reason = event.data.get("reason")
    why = mrkdwn(": {}", reason) if reason else Mrkdwn("")
    what = Mrkdwn("Mail of no known connector") if is_unassigned(view.incident) else code(name_of(view), 100)
    return mrkdwn("🔴 {} is *critical* now{}. {}.", what, why, waiting(view))


def _escalated(event: IncidentEvent, view: IncidentView) -> Mrkdwn:
    mark = prose(event.data.get("mark") or "a while", 60)
    first = _moment(event.data.get("first_bounce_at")) or view.queue.first_expiry_at
    number = event.data.get("waiting")
    waits = count(number, "message") if isinstance(number, int) else "mail"
    here = mrkdwn("at {} ({})", code(name_of(view), 100), view.incident.code)
    return mrkdwn(
        "🔴 {}: {} still waiting {}; *{}*{}.",
        mark,
        waits,
        Mrkdwn("at no known connector") if is_unassigned(view.incident) else here,
        bounce(first, view.now),
        mrkdwn(" ({})", when(first)) if first else Mrkdwn(""),
    )


def _warned(event: IncidentEvent, view: IncidentView) -> Mrkdwn:
    return threshold(view, event.data.get("mark"))


def _flapping(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    times = event.data.get("times")
    often = f"{count(times, 'time')} within an hour" if isinstance(times, int) else "again and again"
    return mrkdwn("🔁 Flapping: failed and recovered {}. Kept open; said only once.", often)


def _acknowledged(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    return mrkdwn("👀 {} acknowledged this and looks after it.", user(event.actor))


def _reprobed(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    data = event.data
    elapsed = data.get("elapsed_ms")
    took = mrkdwn(" in {}", seconds(elapsed)) if isinstance(elapsed, int | float) else Mrkdwn("")
    if data.get("ok"):
        return mrkdwn("🔎 {} re-probed: ✅ gets through{}.", user(event.actor), took)
    stage = STAGE_WORDS.get(str(data.get("stage")), str(data.get("stage") or "an unknown stage"))
    status = code(data.get("status") or data.get("code") or "failed", 160)
    return mrkdwn("🔎 {} re-probed: ❌ {}, stopped at {}{}.", user(event.actor), status, stage, took)


def _fix_requested(event: IncidentEvent, view: IncidentView) -> Mrkdwn:
    until = _moment(event.data.get("expires_at"))
    head = mrkdwn(
        "🔒 {} asks for a fix of {}. *A second person has to approve it*{}:",
        user(event.actor), code(name_of(view), 100), mrkdwn(" before {}", when(until)) if until else Mrkdwn(""),
    )  # fmt: skip
    return lines(head, *(mrkdwn("• {}", prose(step, 500)) for step in _items(event.data.get("steps"))))


def _fix_declined(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    asked = event.data.get("requested_by")
    if event.actor == asked:
        return mrkdwn("🚫 {} took the fix back: nothing was done.", user(event.actor))
    return mrkdwn("🚫 {} declined the fix that {} asked for: nothing was done.", user(event.actor), user(_id(asked)))


def _fix_lapsed(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    asked = user(_id(event.data.get("requested_by")))
    return mrkdwn("⌛ Nobody approved the fix that {} asked for in time: nothing was done.", asked)


def _id(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _fix_claimed(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    steps = _items(event.data.get("steps"))
    asked = _id(event.data.get("requested_by"))
    if event.data.get("dry_run"):
        head = mrkdwn("🧪 {} ran a *dry run*; nothing was changed. It would:", user(event.actor))
    elif asked:
        head = mrkdwn("🛠️ {} approved the fix that {} asked for. It starts:", user(event.actor), user(asked))
    elif event.data.get("retry"):
        head = mrkdwn("🔁 {} has the waiting mail tried again:", user(event.actor))
    else:
        head = mrkdwn("🛠️ {} starts the fix:", user(event.actor))
    return lines(head, *(mrkdwn("• {}", step) for step in steps))


def _fix_step(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    state = str(event.data.get("state"))
    return lines(
        mrkdwn(
            "{} {}: {}", STEP_EMOJI.get(state, "⚪"), prose(event.data.get("step") or "A step", 160),
            STEP_WORDS.get(state, state),
        ),
        *_details(event),
    )  # fmt: skip


def _fix_finished(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    if event.data.get("dry_run"):
        return lines(Mrkdwn("🧪 Dry run finished: nothing was changed."), *_details(event))
    due = _moment(event.data.get("verify_at"))
    takes = Mrkdwn("; changes take 30 to 60 minutes") if event.data.get("slow") else Mrkdwn("")
    check = mrkdwn("It will be verified {}{}.", when(due), takes) if due else Mrkdwn("")
    head = "🔁 The mail system was told to try again." if event.data.get("retry") else "🛠️ Every step is done."
    return lines(mrkdwn("{} {}", head, check), *_details(event))


def _fix_failed(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    what = event.data.get("what")
    if what == "undo":
        head = mrkdwn(
            "↩️ {} tried to undo the fix. Not everything could be set back; it can be tried again:", user(event.actor)
        )
    elif what == "verification":
        head = Mrkdwn("❌ The fix could not be verified, and it is not looked at again.")
    else:
        head = mrkdwn("❌ The fix that {} started has stopped; the remaining steps were not run.", user(event.actor))
    return lines(head, *_details(event))


def _fix_verified(event: IncidentEvent, view: IncidentView) -> Mrkdwn:
    left = left_behind(view) if stays_behind(view) else Mrkdwn("")
    retry = event.data.get("retry")
    head = Mrkdwn("✅ The mail that was tried again has left." if retry else "✅ Verified: the fix worked.")
    return lines(head, left, *_details(event))


def _fix_not_yet(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    again = _moment(event.data.get("next_at"))
    next_check = mrkdwn("The next check is {}.", when(again)) if again else Mrkdwn("No more checks are planned.")
    head = "⏳ The mail has not left yet." if event.data.get("retry") else "⏳ Not verified yet."
    return lines(mrkdwn("{} {}", head, next_check), *_details(event))


def _fix_undone(event: IncidentEvent, _view: IncidentView) -> Mrkdwn:
    return lines(mrkdwn("↩️ {} undid the fix.", user(event.actor)), *_details(event))


def _resolved(event: IncidentEvent, view: IncidentView) -> Mrkdwn:
    reason = str(event.data.get("reason") or "delivering")
    left = Mrkdwn("") if view.incident.is_warning else left_behind(view)
    picture = "⚠️" if stays_behind(view) else "✅"
    if reason == "removed" and view.unconfigured:
        reason = "not configured"
    return joined([mrkdwn("{} Resolved: {}.", picture, RESOLUTIONS.get(reason, reason)), left], " ")


LINES: dict[str, Line] = {
    EventKind.OPENED: _opened,
    EventKind.EVIDENCE: _evidence,
    EventKind.CRITICAL: _critical,
    EventKind.ESCALATED: _escalated,
    EventKind.WARNED: _warned,
    EventKind.FLAPPING: _flapping,
    EventKind.ACKNOWLEDGED: _acknowledged,
    EventKind.REPROBED: _reprobed,
    EventKind.FIX_REQUESTED: _fix_requested,
    EventKind.FIX_DECLINED: _fix_declined,
    EventKind.FIX_LAPSED: _fix_lapsed,
    EventKind.FIX_CLAIMED: _fix_claimed,
    EventKind.FIX_STEP: _fix_step,
    EventKind.FIX_FINISHED: _fix_finished,
    EventKind.FIX_FAILED: _fix_failed,
    EventKind.FIX_VERIFIED: _fix_verified,
    EventKind.FIX_NOT_YET: _fix_not_yet,
    EventKind.FIX_UNDONE: _fix_undone,
    EventKind.RESOLVED: _resolved,
}


def _details(event: IncidentEvent) -> list[Mrkdwn]:
    return [mrkdwn("• {}", prose(item, 300)) for item in _items(event.data.get("detail"))]


def _items(value: object) -> list[str]:
    """A stored text or list of texts, at most 12 shown."""
    if isinstance(value, str):
        return [value] if value else []
    if not isinstance(value, Sequence):
        return []
    shown = [str(item) for item in value[:12]]
    return [*shown, f"and {len(value) - 12} more"] if len(value) > 12 else shown


def _moment(value: object) -> datetime | None:
    """A moment as stored in an event: ISO text, milliseconds or seconds since 1970, or a datetime; else None."""
    try:
        if isinstance(value, datetime):
            return value
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
