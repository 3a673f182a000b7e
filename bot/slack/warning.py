"""An early warning's one message: what will happen and when, to which server, and what to do before. Pure.

It looks unlike an outage on purpose: no red, no queue, no countdown to a bounce, for mail still flows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.core.forecast import plain_span as span
from bot.core.foresight import WARNED_WORDS, Warned, moment
from bot.core.views import IncidentView
from bot.slack.alert_parts import ack_button, because, history, name_of, reprobe_button, whose
from bot.slack.blocks import Message, actions, context, header, message, section
from bot.slack.evidence import cause_words, is_partner, shown_host
from bot.slack.text import Mrkdwn, code, joined, lines, mrkdwn, num, plain, prose, source, when
from bot.slack.wording import SEEN_FROM_HERE, count, emoji
from knowledge.articles import articles
from storage.records import Incident, IncidentState

Part = Callable[[IncidentView], Mrkdwn]
CERTIFICATE_CODE = "4.7.320"


def render_warning(view: IncidentView, workspace: str) -> Message:
    """The message of this warning as things stand."""
    head = mrkdwn("{} #{} {}", emoji(view.incident), num(view.incident.id), warning_words(view.incident))
    if view.incident.state is IncidentState.RESOLVED:
        return _over(view, head, workspace)
    said, what = headline(view), _of(view, _WHAT)
    return message(
        mrkdwn("{}: {} at {}. {}", head, said, prose(name_of(view), 100), what),
        [
            header(plain(f"{head}: {said}", 150)),
            section(lines(whose(view), Mrkdwn("Mail flows. This is told before it stops."))),
            section(lines(Mrkdwn("*What will happen*"), what)),
            section(_of(view, _EVIDENCE)),
            section(_to_do(view)),
            context(history(view, workspace), SEEN_FROM_HERE, _source(view)),
            actions(ack_button(view.incident), reprobe_button(view.incident)),
        ],
    )


def _over(view: IncidentView, head: Mrkdwn, workspace: str) -> Message:
    why, ended = because(view), view.incident.resolved_at or view.incident.updated_at
    return message(
        mrkdwn("{}: {} at {}.", head, why, prose(name_of(view), 100)),
        [
            header(plain(f"{head}: {why}", 150)),
            section(lines(whose(view), mrkdwn("It was: {}", _of(view, _TITLE)))),
            context(history(view, workspace), mrkdwn("over {}", when(ended))),
        ],
    )


def warning_words(incident: Incident) -> str:
    """ "Warning", "Warning, acknowledged", "Warning over"."""
    if incident.state is IncidentState.RESOLVED:
        return "Warning over"
    return "Warning, acknowledged" if incident.state is IncidentState.ACKNOWLEDGED else "Warning"


def kind_words(incident: Incident) -> str:
    """What it warns of, in two or three words."""
    return WARNED_WORDS.get(incident.code, "something ahead")


def headline(view: IncidentView) -> Mrkdwn:
    """What it warns of, with its figures."""
    return _of(view, _TITLE)


def _of(view: IncidentView, parts: Mapping[str, Part]) -> Mrkdwn:
    part = parts.get(view.incident.code)
    return part(view) if part else prose(kind_words(view.incident))


def threshold(view: IncidentView, mark: object) -> Mrkdwn:
    """The line of the thread for a threshold that was just passed."""
    if view.incident.code == Warned.CERTIFICATE:
        return mrkdwn("⚠️ {}: {}", code(name_of(view), 100), _WHAT[Warned.CERTIFICATE](view))
    if view.incident.code == Warned.TARGET_DOWN:
        return mrkdwn("⚠️ {}: {} is down too; {}.", code(name_of(view), 100), code(mark, 120), _left(view))
    return mrkdwn("⚠️ {}: {} is missing too.", code(name_of(view), 100), code(mark, 120))


# --- certificate ---------------------------------------------------------------------------------------------------
def _certificate_title(view: IncidentView) -> Mrkdwn:
    until = moment(view.told.get("not_after"))
    if until is None or until <= view.now:
        return mrkdwn("the certificate has expired")
    return mrkdwn("the certificate expires in {}", span(until - view.now))


def _certificate_what(view: IncidentView) -> Mrkdwn:
    until = moment(view.told.get("not_after"))
    server = _server(view.told)
    first = (
        mrkdwn("The certificate of {} expires in *{}* ({}).", server, span(until - view.now), when(until))
        if until and until > view.now
        else mrkdwn("The certificate of {} has expired.", server)
    )
    if view.told.get("stops_mail"):
        then = Mrkdwn("This connector demands a valid certificate: from then on its mail waits with 4.7.320.")
    else:
        then = Mrkdwn("This connector accepts any certificate, so its own mail goes on; senders that check will stop.")
    return joined([first, then], " ")


def _certificate_evidence(view: IncidentView) -> Mrkdwn:
    subject, others = view.told.get("subject"), view.told.get("others")
    more = count(others, "more server") if isinstance(others, int) and others > 0 else ""
    return lines(
        mrkdwn("*Certificate* {}", code(subject, 160)) if subject else None,
        mrkdwn("{} with a certificate that expires soon", more) if more else None,
    )


# --- servers -------------------------------------------------------------------------------------------------------
def _down_title(view: IncidentView) -> Mrkdwn:
    if view.told.get("present") is False:
        return Mrkdwn("a server comes and goes")
    return mrkdwn("{} down, mail takes another", count(len(_down(view)), "server is", "servers are"))


def _down_what(view: IncidentView) -> Mrkdwn:
    return mrkdwn("Mail stops when the rest fails too: {}.", _left(view))


def _left(view: IncidentView) -> str:
    up = view.told.get("up")
    return f"{count(up, 'server')} left" if isinstance(up, int) else "others are left"


def _down_evidence(view: IncidentView) -> Mrkdwn:
    return lines(Mrkdwn("*Down*"), *(_dead(each) for each in _down(view)))


def _dead(each: Mapping[str, Any]) -> Mrkdwn:
    why = [prose(each["code"], 20)] if each.get("code") else []
    why += [prose(cause_words(str(each["cause"])), 120)] if each.get("cause") else []
    return mrkdwn("• {}: {}", _server(each), joined(why, ", ") or "failed")


def _down(view: IncidentView) -> list[Mapping[str, Any]]:
    return [each for each in _list(view, "down") if isinstance(each, Mapping)]


def _gone_what(view: IncidentView) -> Mrkdwn:
    return mrkdwn("Mail stops when this one fails: {}.", _codes(_list(view, "left")))


def _gone_evidence(view: IncidentView) -> Mrkdwn:
    return mrkdwn("*Before* {}", _codes(_list(view, "before")))


# --- capabilities --------------------------------------------------------------------------------------------------
def _shrunk_title(view: IncidentView) -> Mrkdwn:
    return mrkdwn("the server no longer offers {}", joined([prose(x, 40) for x in _list(view, "lost")], ", "))


def _shrunk_what(view: IncidentView) -> Mrkdwn:
    if "STARTTLS" in _list(view, "lost"):
        return Mrkdwn("Mail travels unencrypted now; a connector that demands TLS would stop.")
    return Mrkdwn(
        "Mail that needs it may be returned or slow down. Often a new server or a firewall's mail inspection."
    )


def _shrunk_evidence(view: IncidentView) -> Mrkdwn:
    return mrkdwn("*No longer in its EHLO answer* {}", _codes(_list(view, "lost")))


_TITLE: Mapping[str, Part] = {
    Warned.CERTIFICATE: _certificate_title,
    Warned.TARGET_DOWN: _down_title,
    Warned.TARGET_GONE: lambda view: Mrkdwn("only one address is left"),
    Warned.CAPABILITIES: _shrunk_title,
}
_WHAT: Mapping[str, Part] = {
    Warned.CERTIFICATE: _certificate_what,
    Warned.TARGET_DOWN: _down_what,
    Warned.TARGET_GONE: _gone_what,
    Warned.CAPABILITIES: _shrunk_what,
}
_EVIDENCE: Mapping[str, Part] = {
    Warned.CERTIFICATE: _certificate_evidence,
    Warned.TARGET_DOWN: _down_evidence,
    Warned.TARGET_GONE: _gone_evidence,
    Warned.CAPABILITIES: _shrunk_evidence,
}
_STEPS: Mapping[str, tuple[Mrkdwn, ...]] = {
    Warned.CERTIFICATE: (
        Mrkdwn("Renew the certificate and install it on that server, with its intermediate certificates."),
        Mrkdwn("Bind it to SMTP and restart the service if it needs that; then press Re-probe."),
    ),
    Warned.TARGET_DOWN: (
        Mrkdwn("Find out whether that server is meant to be up: host, SMTP service, firewall."),
        Mrkdwn("If it is gone for good, take it out of the connector's smart hosts or out of DNS."),
    ),
    Warned.TARGET_GONE: (
        Mrkdwn("Compare the DNS answer with what it should be: a record may have been lost."),
        Mrkdwn("If one address is meant, nothing is to be done: this ends by itself after a week."),
    ),
    Warned.CAPABILITIES: (
        Mrkdwn("Ask who changed the server, or whether a firewall now inspects SMTP and hides extensions."),
        Mrkdwn("If it is meant so, nothing is to be done: this ends by itself after a week."),
    ),
}


def _to_do(view: IncidentView) -> Mrkdwn:
    steps: Sequence[Mrkdwn] = _STEPS.get(view.incident.code, ())
    if is_partner(view.connector):
        contact = view.connector.partner_contact if view.connector else None
        whom = mrkdwn(" Contact: {}", code(contact, 120)) if contact else Mrkdwn("")
        steps = [mrkdwn("It is the partner's server: send them this before mail stops.{}", whom), *steps]
    numbered = [mrkdwn("{}. {}", num(number), step) for number, step in enumerate(steps, 1)]
    return lines(Mrkdwn("*What to do*"), *numbered) if numbered else Mrkdwn("")


def _source(view: IncidentView) -> Mrkdwn | None:
    if view.incident.code != Warned.CERTIFICATE:
        return None
    about = articles().for_code(CERTIFICATE_CODE)
    return source(about.source_url, f"Source, {about.source_published}")


def _server(facts: Mapping[str, Any]) -> Mrkdwn:
    return shown_host(str(facts.get("host") or facts.get("ip") or "?"), str(facts.get("ip") or "") or None)


def _codes(items: Sequence[Any]) -> Mrkdwn:
    return joined([code(item, 80) for item in items], ", ")


def _list(view: IncidentView, key: str) -> Sequence[Any]:
    found = view.told.get(key)
    return found[:8] if isinstance(found, list) else ()
