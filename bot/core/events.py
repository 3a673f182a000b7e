"""What can happen to an incident, and who is told of it.

The kinds are the words of the timeline (storage.records.IncidentEvent.kind). TELL says what each one owes Slack besides
a redraw of the incident's own message: nothing, a reply in its thread, or a reply that the channel sees too.
"""

from __future__ import annotations

from enum import StrEnum

from storage.records import OutboxKind


class EventKind(StrEnum):
    """One kind of timeline entry. The comment names the keys of its `data`."""

    OPENED = "opened"  # code, by: "probe" | "queue" | "both"; previous_id on a re-open
    EVIDENCE = "evidence"  # redraw only: counts or probe verdict changed
    CRITICAL = "critical"  # reason
    ESCALATED = "escalated"  # mark: "4 h" …, waiting, first_bounce_at
    WARNED = "warned"  # an early warning passed its next threshold; mark
    FLAPPING = "flapping"  # times
    ACKNOWLEDGED = "acknowledged"
    REPROBED = "reprobed"  # ok, code, status, stage, elapsed_ms
    FIX_REQUESTED = "fix_requested"  # action_id, steps: [lines], expires_at: it waits for a second person
    FIX_DECLINED = "fix_declined"  # action_id, requested_by
    FIX_LAPSED = "fix_lapsed"  # action_id, requested_by: nobody approved it in time
    FIX_CLAIMED = "fix_claimed"  # action_id, steps: [titles], dry_run, requested_by, retry: that is all of it
    FIX_STEP = "fix_step"  # step, state, detail
    FIX_FINISHED = "fix_finished"  # action_id, verify_at, retry
    FIX_FAILED = "fix_failed"  # action_id, detail, what: "fix", "verification" or "undo"
    FIX_VERIFIED = "fix_verified"  # action_id, detail: [lines], retry
    FIX_NOT_YET = "fix_not_yet"  # action_id, detail: [lines], next_at, retry
    FIX_UNDONE = "fix_undone"  # action_id, detail: [lines]
    RESOLVED = "resolved"  # reason: a resolution, such as "delivering", "retired", "renewed"


TELL: dict[EventKind, OutboxKind | None] = {
    EventKind.OPENED: None,
    EventKind.EVIDENCE: None,
    EventKind.CRITICAL: OutboxKind.BROADCAST,
    EventKind.ESCALATED: OutboxKind.BROADCAST,
    EventKind.WARNED: OutboxKind.BROADCAST,
    EventKind.FLAPPING: OutboxKind.REPLY,
    EventKind.ACKNOWLEDGED: OutboxKind.REPLY,
    EventKind.REPROBED: OutboxKind.REPLY,
    EventKind.FIX_REQUESTED: OutboxKind.BROADCAST,
    EventKind.FIX_DECLINED: OutboxKind.REPLY,
    EventKind.FIX_LAPSED: OutboxKind.REPLY,
    EventKind.FIX_CLAIMED: OutboxKind.REPLY,
    EventKind.FIX_STEP: OutboxKind.REPLY,
    EventKind.FIX_FINISHED: OutboxKind.REPLY,
    EventKind.FIX_FAILED: OutboxKind.REPLY,
    EventKind.FIX_VERIFIED: OutboxKind.REPLY,
    EventKind.FIX_NOT_YET: OutboxKind.REPLY,
    EventKind.FIX_UNDONE: OutboxKind.REPLY,
    EventKind.RESOLVED: OutboxKind.REPLY,
}
