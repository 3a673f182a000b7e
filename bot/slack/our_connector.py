"""Our own connector beside an explanation: its state now, its buttons, and the note for a partner. Pure."""

from __future__ import annotations

from bot.core.forecast import plain_span as span
from bot.core.undialled import undialled
from bot.core.views import ConnectorView
from bot.services.destination import Fit, OurConnector
from bot.slack.blocks import Block, actions, button, preformatted, section
from bot.slack.text import Mrkdwn, code, joined, lines, literal, message_link, mrkdwn, num, prose
from bot.slack.warning import kind_words
from bot.slack.wording import KIND_WORDS, ago, bounce, count, emoji, state_words
from knowledge.explanation import Explanation
from knowledge.partner_note import partner_note
from storage.records import ConnectorKind, Incident

PROBE, INCIDENT, ALSO, PASTE = "mfi.explain.probe", "mfi.explain.incident", "mfi.explain.also", "mfi.explain.paste"
"""Action ids of the buttons below an explanation; ALSO is followed by a number."""

FIT_WORDS = {
    Fit.SERVER: "the error names its smart host",
    Fit.DOMAIN: "it carries the recipient's domain",
}


def connector_blocks(ours: OurConnector, code_of_error: str | None, workspace: str) -> list[Block | None]:
    """What it is, how it does, and what can be done about it from here."""
    told = first_incident(ours.view, code_of_error)
    opened = button(f"Open incident #{told.id}", INCIDENT, str(told.id)) if told else None
    probe = button("Probe it", PROBE, str(ours.connector.id), hint="Test this connector's server now")
    return [section(connector_lines(ours, code_of_error, workspace)), actions(probe, opened)]


def connector_lines(ours: OurConnector, code_of_error: str | None, workspace: str) -> Mrkdwn:
    """The connector with its live state, in three or four lines."""
    view = ours.view
    head = joined(
        [
            mrkdwn("*Your connector* {}", code(view.connector.name, 100)),
            prose(KIND_WORDS[view.connector.kind]),
            prose(FIT_WORDS[ours.fit]),
        ]
    )
    shown = _told_first(view, code_of_error)[:3]
    return lines(head, *(_incident(i, workspace) for i in shown), joined([_queue(view), _probe(view)]))


def first_incident(view: ConnectorView, code_of_error: str | None) -> Incident | None:
    """The open incident that the error belongs to, else the first open one."""
    return next(iter(_told_first(view, code_of_error)), None)


def _told_first(view: ConnectorView, code_of_error: str | None) -> list[Incident]:
    """Its open incidents: the one of this code, other outages, then warnings."""
    outages = sorted(view.incidents, key=lambda i: (i.code != code_of_error, i.id))
    return [*outages, *view.warnings]


def _incident(incident: Incident, workspace: str) -> Mrkdwn:
    number = f"#{incident.id}"
    linked = message_link(workspace, incident.channel, incident.ts, number) if incident.ts else None
    what = kind_words(incident) if incident.is_warning else incident.code
    return mrkdwn(
        "{} *{}* {} · {}", emoji(incident), linked or mrkdwn("#{}", num(incident.id)), what, state_words(incident)
    )


def _queue(view: ConnectorView) -> Mrkdwn:
    queue = view.queue
    if not queue.total:
        return Mrkdwn("📬 nothing waits")
    oldest = queue.oldest_received_at
    age = f", the oldest for {span(view.now - oldest)}" if oldest else ""
    first = bounce(queue.first_expiry_at, view.now)
    return mrkdwn("📬 *{} waiting*{}, {}", count(queue.total, "message"), age, first)


def _probe(view: ConnectorView) -> Mrkdwn:
    if not view.connector.enabled:
        return Mrkdwn("⏸️ the connector is disabled")
    if told := undialled(view.connector):
        return prose(told.short)
    if view.probe is None:
        return Mrkdwn("not probed yet")
    when = ago(view.probe.at, view.now)
    if view.probe.nothing_probed:
        return mrkdwn("nothing to dial, {}", when)
    if view.probe.ok:
        return mrkdwn("last probe ✅ fine, {}", when)
    return mrkdwn("last probe ❌ {}, {}", view.probe.code or "failed", when)


def note_blocks(said: Explanation, ours: OurConnector | None) -> list[Block | None]:
    """A mail to the partner's postmaster, to copy; nothing where no partner is concerned."""
    if not for_partner(said, ours):
        return []
    contact = ours.connector.partner_contact if ours else None
    to = mrkdwn(" Their contact: {}.", code(contact, 120)) if contact else Mrkdwn("")
    head = mrkdwn("*For the partner's postmaster, ready to copy*{}", to)
    note = partner_note(said, connector=ours.connector.name if ours else None)
    return [section(head), preformatted(literal(note))]


def for_partner(said: Explanation, ours: OurConnector | None) -> bool:
    """Is it a partner who must act: by our connector's kind, else as the article says?"""
    if ours is not None:
        return ours.connector.kind is ConnectorKind.PARTNER
    return said.owner[:1] == ("partner",) and not looked_up(said)


def looked_up(said: Explanation) -> bool:
    """Was something looked up by its words, without an error that says what became of a message?"""
    d = said.diagnosis
    return d.reported is None and d.reply is None and not d.expired and d.evidence[1] <= LOOKED_UP


LOOKED_UP = 80
"""A text this short, without any code or reply, is a search."""
