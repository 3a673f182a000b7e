"""A mail system that can't be read: which one, since when, why, what to do, and what is stale meanwhile. Pure.

Also how incidents that belong to no connector are told apart, in a few words.
"""

from __future__ import annotations

from bot.core.foresight import moment
from bot.core.unassigned import UNASSIGNED
from bot.core.views import IncidentView
from bot.slack.alert_parts import ack_button, history
from bot.slack.blocks import Message, actions, context, header, message, section
from bot.slack.text import Mrkdwn, code, lines, mrkdwn, num, plain, when
from bot.slack.wording import emoji
from storage.records import Incident, IncidentState

PREFIX = "sync:"
"""Codes of such incidents begin so; the rest is the mail system's name."""
GONE = "not configured"
"""The resolution of one whose mail system was taken out of the settings."""
STALE = Mrkdwn(
    "Its queue, and what comes and goes there, are shown as they were then. While they are stale, Fix now doesn't act "
    "on them. Probes go on, and so do the other mail systems."
)
FIX = Mrkdwn("*Do* what the error says. `mfi doctor` tests this mail system and names the exact fix for each fault.")


def is_unreadable(incident: Incident) -> bool:
    """Is it about a mail system that can't be read?"""
    return incident.connector_id is None and incident.code.startswith(PREFIX)


def is_unassigned(incident: Incident) -> bool:
    """Is it about mail that belongs to no connector? Then it is an outage, although it has no connector either."""
    return incident.connector_id is None and incident.code == UNASSIGNED


def monitor_words(incident: Incident) -> Mrkdwn:
    """What an incident without a connector says, in a few words."""
    if is_unassigned(incident):
        return Mrkdwn("mail that belongs to no known connector is stuck")
    if is_unreadable(incident):
        return mrkdwn("mail system {} can't be read", code(incident.code.removeprefix(PREFIX), 60))
    return Mrkdwn("the monitor is blind")


def render_unreadable(view: IncidentView, workspace: str) -> Message:
    """The message of such an incident as things stand."""
    incident = view.incident
    name = code(incident.code.removeprefix(PREFIX), 60)
    number = mrkdwn("{} #{}", emoji(incident), num(incident.id))
    if incident.state is IncidentState.RESOLVED:
        title, said = _ended(incident, name)
        return message(
            mrkdwn("{} Resolved: {}", number, said),
            [header(plain(mrkdwn("{} Resolved: {}", number, title), 150)), section(said),
             context(history(view, workspace))],
        )  # fmt: skip
    since = when(incident.first_failure_at)
    return message(
        mrkdwn("{} Mail system {} can't be read since {}: {}", number, name, since, _error(view)),
        [
            header(plain(mrkdwn("{} A mail system can't be read", number), 150)),
            section(lines(mrkdwn("*{}* · no answer that could be used since {}", name, since), _last_read(view))),
            section(lines(Mrkdwn("*It says*"), _error(view))),
            section(lines(Mrkdwn("*What to do*"), FIX)),
            section(lines(Mrkdwn("*Meanwhile*"), STALE)),
            context(history(view, workspace)),
            actions(ack_button(incident)),
        ],
    )


def _ended(incident: Incident, name: Mrkdwn) -> tuple[str, Mrkdwn]:
    if incident.resolution == GONE:
        return "mail system not configured", mrkdwn(
            "Mail system {} is no longer in `MFI_BACKENDS`: it isn't read, and its connectors aren't watched.", name
        )
    return "mail system read again", mrkdwn("Mail system {} can be read again: its queue is up to date.", name)


def _error(view: IncidentView) -> Mrkdwn:
    return code(view.told.get("error") or "it did not say why", 300)


def _last_read(view: IncidentView) -> Mrkdwn:
    read_at = moment(view.told.get("read_at"))
    return mrkdwn("Its queue was last known {}", when(read_at)) if read_at else Mrkdwn("It was never read yet")
