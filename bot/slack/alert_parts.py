"""What an alert and an early warning have in common: whose it is, its story in one line, its buttons. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bot.core.fix_situation import NEEDS
from bot.core.forecast import plain_span as span
from bot.core.incidents import UNDONE
from bot.core.unassigned import CLEARED, UNASSIGNED, UNWATCHED
from bot.core.views import IncidentView
from bot.slack.blocks import Block, button, confirm
from bot.slack.text import Mrkdwn, code, joined, message_link, mrkdwn, plain, prose, user, when
from bot.slack.wording import KIND_WORDS, MONITOR_NAME, bounce, count
from storage.records import ActionState, Incident, IncidentState, StepKind

ACK, REPROBE, FIX_NOW, UNDO = "mfi.ack", "mfi.reprobe", "mfi.fix_now", "mfi.undo"
RETRY, APPROVE, DECLINE = "mfi.retry", "mfi.approve", "mfi.decline"

DEFAULT_WORKSPACE = "https://slack.com/"

RESOLUTIONS = {
    "delivering": "mail flows again",
    "retired": "the connector was switched off, so it is no longer watched",
    UNDONE: "the fix was undone, so the connector is on again and watched anew",
    "removed": "the mail system no longer lists the connector",
    "drained": "nothing waits with this code any more",
    "renewed": "the certificate was renewed",
    "expired": "the certificate has expired",
    "unused": "that certificate is no longer in use",
    "back": "what was missing is back",
    "read again": "the mail system can be read again",
    "not configured": "the mail system is no longer configured, so it is no longer read",
    CLEARED: "little of the mail that belongs to no known connector is stuck any more",
    UNWATCHED: "mail that belongs to no known connector is not watched any more",
    "settled": "it has been so for a while, or the connector was changed: taken as meant",
}


def name_of(view: IncidentView) -> str:
    """The connector's name as the mail system has it (foreign); in our words where there is none."""
    if view.connector is None and view.incident.code == UNASSIGNED:
        return "no known connector"
    return view.connector.name if view.connector else MONITOR_NAME


def whose(view: IncidentView) -> Mrkdwn:
    """The connector and its kind."""
    assert view.connector is not None
    return mrkdwn("*{}* · {} connector", code(view.connector.name, 120), KIND_WORDS[view.connector.kind])


def history(view: IncidentView, workspace: str) -> Mrkdwn:
    """When it began, who looks after it, which one it follows."""
    incident = view.incident
    parts = [mrkdwn("opened {}", when(incident.opened_at))]
    if incident.first_failure_at < incident.opened_at:
        parts.append(mrkdwn("failing since {}", when(incident.first_failure_at)))
    if incident.acknowledged_by and incident.acknowledged_at:
        parts.append(mrkdwn("acknowledged by {} {}", user(incident.acknowledged_by), when(incident.acknowledged_at)))
    if view.previous is not None:
        parts.append(mrkdwn("again after {}", _other(view.previous, workspace)))
    return joined([*parts, *_taken_back(view, workspace)])


def _taken_back(view: IncidentView, workspace: str) -> Iterator[Mrkdwn]:
    """Who undid the fix that had ended it, and which incident goes on from there."""
    action = view.action
    if view.incident.resolution != UNDONE:
        return
    if action is not None and action.undone_by and action.finished_at:
        yield mrkdwn("fix undone by {} {}", user(action.undone_by), when(action.finished_at))
    if view.following is not None:
        yield mrkdwn("*opened anew as {}*", _other(view.following, workspace))


def _other(incident: Incident, workspace: str) -> Mrkdwn:
    label = f"#{incident.id}"
    return message_link(workspace, incident.channel, incident.ts, label) if incident.ts else prose(label)


def because(view: IncidentView) -> str:
    """Why it is over, as the end of a sentence."""
    reason = view.incident.resolution or ""
    if reason == "removed" and view.unconfigured:
        reason = "not configured"
    return RESOLUTIONS.get(reason, "mail flows again")


def waiting(view: IncidentView) -> Mrkdwn:
    """ "42 messages wait, the oldest for 5 h 10 min; first bounce in 18 h 50 min"."""
    oldest = view.queue.oldest_received_at
    if oldest is None:
        return Mrkdwn("Nothing waits")
    waits = count(view.queue.total, "message waits", "messages wait")
    return mrkdwn(
        "{}, the oldest for {}; {}", waits, span(view.now - oldest), bounce(view.queue.first_expiry_at, view.now)
    )


def stays_behind(view: IncidentView) -> bool:
    """Does mail wait that nothing will take away: behind a connector that is off or no longer there?"""
    connector = view.connector
    off = connector is not None and (not connector.enabled or connector.missing_since is not None)
    return off and view.queue.total > 0


def left_behind(view: IncidentView) -> Mrkdwn:
    """What still waits although the incident is over, and what becomes of it; empty when nothing does."""
    connector, first = view.connector, view.queue.first_expiry_at
    if connector is None or first is None:
        return Mrkdwn("")
    if not stays_behind(view):
        return mrkdwn("Still in the queue: {}.", waiting(view))
    number = view.queue.total
    fixed = view.action is not None and view.action.state is ActionState.VERIFIED
    what = Mrkdwn(" that the fix did not reject") if fixed else Mrkdwn("")
    return mrkdwn(
        "⚠️ *{}{} still {} behind the {} connector; {} from {} on* unless rerouted or the connector is enabled again{}.",
        count(number, "message"), what, "waits" if number == 1 else "wait",
        "removed" if connector.missing_since else "disabled", "it bounces" if number == 1 else "they bounce",
        when(first), Mrkdwn(" (*Undo* in the thread)") if fixed else Mrkdwn(""),
    )  # fmt: skip


def ack_button(incident: Incident) -> Block | None:
    """Only until somebody acknowledged it."""
    if incident.state is not IncidentState.FIRING:
        return None
    return button("Acknowledge", ACK, str(incident.id), style="primary", hint=f"Acknowledge incident {incident.id}")


def reprobe_button(incident: Incident) -> Block:
    """Probe again, in any state."""
    return button("Re-probe", REPROBE, str(incident.id), hint=f"Probe the server of incident {incident.id} again now")


def answers_again(view: IncidentView) -> bool:
    """Is the newest probe good, and does nothing wait with this code any more: is it all but over?"""
    probe = view.probe
    alive = probe is not None and probe.ok and not probe.nothing_probed
    return alive and view.queue.for_code(view.incident.code) is None


def retry_button(view: IncidentView) -> Block | None:
    """Where mail waits, the probe is good and the mail system can be told to try again."""
    probe, connector = view.probe, view.connector
    alive = probe is not None and probe.ok and not probe.nothing_probed
    if not alive or connector is None or not connector.enabled or not view.queue.total:
        return None
    if not NEEDS[StepKind.RETRY_QUEUE] <= view.capabilities or view.queue_stale:
        return None
    question = plain(
        f"The mail system tries {count(view.queue.total, 'waiting message')} at {connector.name} again at once. "
        "Nothing else is changed.",
        290,
    )
    number = str(view.incident.id)
    asked = confirm("Retry now?", question, "Retry now")
    return button("Retry now", RETRY, number, confirm=asked, hint=f"Try the waiting mail of incident {number} again")
