"""An incident's one message, drawn from what is stored now. Pure: view and article in, Message out.

Read at 3 a.m. on a phone: first what is broken, how much waits and how long until mail bounces; then the evidence;
then what to do; then the buttons that make sense in this state and that the mail system can really carry out.
"""

from __future__ import annotations

from bot.core.fix_situation import NEEDS
from bot.core.forecast import plain_span as span
from bot.core.views import IncidentView
from bot.slack.alert_parts import (
    ACK,
    DEFAULT_WORKSPACE,
    FIX_NOW,
    REPROBE,
    RESOLUTIONS,
    UNDO,
    ack_button,
    answers_again,
    because,
    history,
    left_behind,
    name_of,
    reprobe_button,
    retry_button,
    stays_behind,
    waiting,
    whose,
)
from bot.slack.blocks import Block, Message, actions, button, context, fields, header, message, section
from bot.slack.countdown import overview, stale_words
from bot.slack.evidence import (
    SAY_NO_MORE,
    cause_words,
    changes,
    conclusion,
    destination,
    is_partner,
    probe_line,
    queue_line,
    relevant,
)
from bot.slack.remedy import likely_causes, own_steps, partners_note, shown_steps
from bot.slack.text import (
    Mrkdwn,
    article,
    code,
    joined,
    lines,
    mrkdwn,
    num,
    plain,
    prose,
    source,
    when,
)
from bot.slack.unassigned import render_unassigned
from bot.slack.unreadable import is_unassigned, is_unreadable, render_unreadable
from bot.slack.warning import render_warning
from bot.slack.wording import (
    KIND_WORDS,
    emoji,
    state_words,
)
from knowledge.article import Article
from storage.records import Incident, IncidentState, StepKind

__all__ = [
    "ACK",
    "DEFAULT_WORKSPACE",
    "FIX_NOW",
    "REPROBE",
    "RESOLUTIONS",
    "UNDO",
    "fix_is_offered",
    "name_of",
    "render_alert",
    "waiting",
]

BLIND = Mrkdwn(
    "Probes from this host fail in a way that points to its own network, so they say nothing about the mail servers. "
    "No alerts are opened on them until this is over. What the mail systems' own queues report still counts."
)
BLIND_BECAUSE = {
    "egress": Mrkdwn(
        "None of the addresses of `MFI_EGRESS_CHECK` can be reached. *Check* this host's network, and its way out "
        "on port 25."
    ),
    "port25": Mrkdwn(
        "Mail servers of many unrelated networks stay silent on the mail port, while the same addresses answer on "
        "other ports. *Outbound port 25 is blocked* where the bot runs, as many cloud providers do by default: have "
        "it opened, or run the bot where it is open. `mfi doctor --online` checks it."
    ),
    "4.4.312": Mrkdwn(
        "Names of many servers stopped resolving at once. *Check* this host's DNS resolver (`MFI_NAMESERVERS`)."
    ),
    "4.4.315": Mrkdwn(
        "Many servers stopped answering at once. *Check* this host's network and its way out on port 25."
    ),
}
SEEING = Mrkdwn("The monitor can see again: probes count as evidence.")


def render_alert(view: IncidentView, about: Article, workspace: str = DEFAULT_WORKSPACE) -> Message:
    """The message of this incident as things stand."""
    if view.connector is None:
        return _monitor(view, workspace)
    if view.incident.is_warning:
        return render_warning(view, workspace)
    if view.incident.state is IncidentState.RESOLVED:
        return _resolved(view, about, workspace)
    return message(
        sentence(view, about),
        [
            header(plain(_headline(view, about), 150)),
            section(_subject(view)),
            fields(
                lines(Mrkdwn("*The queue says*"), queue_line(view)),
                lines(Mrkdwn("*Our probe says*"), probe_line(view.probe, view)),
            ),
            section(conclusion(view)),
            section(changes(view.differences)),
            section(lines(mrkdwn("*Destination server* {}", destination(view)), _likely(view, about))),
            section(_what_to_do(view, about)),
            context(history(view, workspace), source(about.source_url, _source_label(about))),
            buttons(view, about),
        ],
    )


def title_of(incident: Incident, about: Article) -> str:
    """ "4.4.316 Connection refused"; mail that waits for a reason without any code has the title alone."""
    return about.title if incident.code == about.code == "other" else f"{incident.code} {about.title}"


def _headline(view: IncidentView, about: Article) -> str:
    picture, _, words = _state(view).partition(" ")
    return f"{picture} #{view.incident.id} {words}: {title_of(view.incident, about)}"


def _state(view: IncidentView) -> str:
    """Picture and words. An end that leaves mail behind is no good news."""
    if view.incident.state is IncidentState.RESOLVED and stays_behind(view):
        return "⚠️ Resolved, but mail still waits"
    return f"{emoji(view.incident)} {state_words(view.incident)}"


def sentence(view: IncidentView, about: Article) -> Mrkdwn:
    """The whole alert as one or two sentences, for notifications, search and screen readers."""
    incident = view.incident
    start = mrkdwn(
        "{} #{}: {} at {}. ", _state(view), num(incident.id),
        title_of(incident, about), prose(name_of(view), 100),
    )  # fmt: skip
    if incident.state is IncidentState.RESOLVED:
        return joined([mrkdwn("{}{}.", start, because(view).capitalize()), left_behind(view)], " ")
    return mrkdwn("{}{}. {}", start, waiting(view), _next_step(view, about))


def _next_step(view: IncidentView, about: Article) -> Mrkdwn:
    state = view.incident.state
    if state is IncidentState.FIXING:
        return Mrkdwn("A fix is running: its steps are in the thread.")
    if state is IncidentState.VERIFYING:
        return Mrkdwn("The fix is done and will be verified.")
    if answers_again(view):
        return _again(view)
    if is_partner(view.connector):
        contact = view.connector.partner_contact if view.connector else None
        return mrkdwn("Next: contact the partner{}.", mrkdwn(" ({})", prose(contact, 100)) if contact else Mrkdwn(""))
    steps = own_steps(view, about)
    return mrkdwn("Next: {}", article(steps[0], 400)) if steps else Mrkdwn("Next: see the evidence.")


def _subject(view: IncidentView) -> Mrkdwn:
    connector, first = view.connector, view.queue.first_expiry_at
    assert connector is not None
    what = mrkdwn("*{}* · {} connector", code(connector.name, 120), KIND_WORDS[connector.kind])
    missing = mrkdwn("⚠️ {}", _why_missing(view)) if connector.missing_since else Mrkdwn("")
    flapping = Mrkdwn("🔁 flapping: it keeps failing and recovering") if view.incident.flapping else Mrkdwn("")
    deadline = mrkdwn(" ({})", when(first)) if first else Mrkdwn("")
    stale = stale_words(view.queue_read_at, view.now, stale=view.queue_stale)
    return lines(what, mrkdwn("*{}*{}", waiting(view), deadline), stale, *overview(view.clock), missing, flapping)


def _why_missing(view: IncidentView) -> Mrkdwn:
    if view.unconfigured and view.connector is not None:
        return mrkdwn("its mail system {} isn't configured any more", code(view.connector.backend, 60))
    return Mrkdwn("the mail system no longer lists it")


def _again(view: IncidentView) -> Mrkdwn:
    """It was repaired; a flapping one has to stay quiet for longer."""
    when_over = "it is resolved once this lasts" if view.incident.flapping else "one more good probe resolves this"
    return mrkdwn("Nothing now: the server answers again; {}.", when_over)


def _likely(view: IncidentView, about: Article) -> Mrkdwn:
    probe = view.probe
    if answers_again(view):
        return Mrkdwn("")
    if probe is not None and not probe.ok and probe.cause not in SAY_NO_MORE and (said := cause_words(probe.cause)):
        return mrkdwn("*Likely cause* {}", said)
    group = relevant(view)
    causes = likely_causes(view, about)
    hint = article(causes[0], 300) if causes else code(group.reason, 160) if group and group.reason else ""
    return mrkdwn("*Likely cause* {}", hint) if hint else Mrkdwn("")


def _what_to_do(view: IncidentView, about: Article) -> Mrkdwn:
    if view.incident.state is IncidentState.FIXING:
        return lines(Mrkdwn("*What to do*"), Mrkdwn("Nothing now: a fix is running, its steps are in the thread."))
    if view.incident.state is IncidentState.VERIFYING:
        due = view.action.verify_at if view.action else None
        checked = mrkdwn("it is verified {}", when(due)) if due else Mrkdwn("it will be verified")
        return lines(Mrkdwn("*What to do*"), mrkdwn("Nothing now: the fix is done, and {}.", checked))
    if answers_again(view):
        return lines(Mrkdwn("*What to do*"), _again(view))
    first = [_partner_step(view, about)] if is_partner(view.connector) else []
    numbered = shown_steps(own_steps(view, about), about, first, view.family)
    return lines(Mrkdwn("*What to do*"), *numbered) if numbered else Mrkdwn("")


def _partner_step(view: IncidentView, about: Article) -> Mrkdwn:
    contact = view.connector.partner_contact if view.connector else None
    whom = mrkdwn("*Contact the partner* ({}).", code(contact, 120)) if contact else Mrkdwn("*Contact the partner.*")
    told = partners_note(view, about)
    return joined([whom, article(told, 240) if told else Mrkdwn("Send the evidence above.")], " ")


def _source_label(about: Article) -> str:
    return f"Source, {about.source_published}"


def _resolved(view: IncidentView, about: Article, workspace: str) -> Message:
    incident = view.incident
    lasted = (incident.resolved_at or incident.updated_at) - incident.opened_at
    return message(
        sentence(view, about),
        [
            header(plain(_headline(view, about), 150)),
            section(
                lines(
                    whose(view),
                    mrkdwn("{}. It was open for {}.", because(view).capitalize(), span(lasted)),
                    left_behind(view),
                )
            ),
            context(history(view, workspace), mrkdwn("resolved {}", when(incident.resolved_at or incident.updated_at))),
        ],
    )


def _monitor(view: IncidentView, workspace: str) -> Message:
    """The bot can't see: said once, instead of one false alert per connector."""
    incident = view.incident
    if is_unreadable(incident):
        return render_unreadable(view, workspace)
    if is_unassigned(incident):
        return render_unassigned(view, workspace)
    resolved = incident.state is IncidentState.RESOLVED
    head = f"{emoji(incident)} #{incident.id} {state_words(incident)}: the monitor is blind"
    why = BLIND_BECAUSE.get(str(view.told.get("seen")), BLIND_BECAUSE["4.4.315"])
    said = SEEING if resolved else lines(why, BLIND)
    return message(
        mrkdwn("{}. {}", head, SEEING if resolved else why),
        [
            header(plain(head, 150)),
            section(said),
            context(history(view, workspace)),
            None if resolved else actions(ack_button(incident)),
        ],
    )


def buttons(view: IncidentView, about: Article) -> Block | None:
    """Only what makes sense in this state."""
    incident = view.incident
    ready = incident.state in (IncidentState.FIRING, IncidentState.ACKNOWLEDGED)
    return actions(
        ack_button(incident),
        reprobe_button(incident),
        retry_button(view) if ready else None,
        _fix_button(incident) if ready and fix_is_offered(view, about) else None,
    )


def fix_is_offered(view: IncidentView, about: Article) -> bool:
    """Does the article allow Fix now for this connector, which fails still, and can the mail system do a step of it?"""
    rule, connector = about.fix_now, view.connector
    if answers_again(view) or rule is None or connector is None or connector.kind not in rule.kinds:
        return False
    return any(NEEDS[StepKind(step)] <= view.capabilities for step in rule.steps)


def _fix_button(incident: Incident) -> Block:
    return button(
        "Fix now…", FIX_NOW, str(incident.id), style="danger", hint=f"See and choose the fix for incident {incident.id}"
    )
