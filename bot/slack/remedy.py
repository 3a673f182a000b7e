"""What an article says to do and why, told of this very incident: its own server, its own evidence. Pure.

Articles name example hosts and list causes and steps for everybody. Here the example hosts become the incident's own,
the cause that the evidence points to comes first, and what is left out is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.core.advice import MAIL_PORT, fitting, is_own
from bot.core.capabilities import Family
from bot.core.evidence import REFUSED
from bot.core.own_names import Known, host_name, with_known
from bot.core.postfix_place import at_place
from bot.core.views import IncidentView
from bot.slack.evidence import relevant, targets
from bot.slack.text import Mrkdwn, article, code, mrkdwn, num
from knowledge.article import Article
from knowledge.codes import OTHER
from knowledge.diagnose import diagnose, explain

SHOWN = 3
"""So many steps are shown, and beyond them those that open another branch."""
STEP = 700
"""Characters of a step: a command that is cut off is worse than none, and names make steps longer."""
NOTHING_LISTENS = (
    "Nothing listens on port {port} of that server any more (it is off, its mail service is stopped, or it was shut "
    "down for good), or a firewall rejects everybody: not only the mail system but this bot, too, is refused."
)


def likely_causes(view: IncidentView, about: Article) -> tuple[str, ...]:
    """The causes that fit this mail system; those first that the queue's own words, else the probe's, point to."""
    group, probe, port = relevant(view), view.probe, _port(view)
    about = fitting(about, view.family, port)
    if not about.causes:
        return ()
    if group is not None and group.reason and view.family is Family.EXCHANGE_ONLINE:
        causes = _as_explained(group.reason, about)
    elif group is not None and group.reason and (told := diagnose(group.reason).cause):
        causes = _by_tag(about, told)
    else:
        causes = _by_tag(about, None if probe is None else probe.cause)
    both = about.code == REFUSED and group is not None and group.code == REFUSED
    if both and probe is not None and not probe.ok and probe.code == REFUSED:
        return (NOTHING_LISTENS.format(port=port), *causes)
    return causes


def _as_explained(reason: str, about: Article) -> tuple[str, ...]:
    said = explain(reason)
    return said.causes if said.article.code == about.code and said.causes else about.causes


def _by_tag(about: Article, cause: str | None) -> tuple[str, ...]:
    every = zip(about.causes, about.cause_tags, strict=True)
    return tuple(words for words, tags in sorted(every, key=lambda one: cause not in one[1]))


def own_steps(view: IncidentView, about: Article) -> list[str]:
    """All steps that fit this mail system, with this incident's own names."""
    connector, about = view.connector, fitting(about, view.family, _port(view))
    domains = [d.removeprefix("*.") for d in connector.recipient_domains] if connector else []
    known = Known(
        host=_server(view),
        domain=next((d for d in domains if host_name(d)), None),
        connector=connector.name if connector else None,
        family=view.family,
    )
    return with_known([_at_place(step, view) for step in about.fixes], known)


def _at_place(step: str, view: IncidentView) -> str:
    return at_place(step, view.place) if view.family is Family.POSTFIX else step


def partners_note(view: IncidentView, about: Article) -> str:
    """What to tell the partner whose server it is."""
    return fitting(about, view.family, _port(view)).partner


def shown_steps(
    steps: Sequence[str], about: Article, first: Sequence[Mrkdwn] = (), family: Family = Family.EXCHANGE_ONLINE
) -> list[Mrkdwn]:
    """The first steps, numbered, with the opening of every branch that they mention; then where the rest stands.

    `first`: what comes before them. Steps that explain cannot show are shown all:
    those of no article, and those of the general one, which no word or code asks for.
    """
    most = len(steps) if is_own(about, family) or about.code == OTHER else SHOWN - len(first)
    shown = set(range(min(most, len(steps))))
    openings = {_opening(steps[place]) for place in shown}
    shown |= {place for place, step in enumerate(steps) if _opening(step) in openings}
    every = [*first, *(article(steps[place], STEP) for place in sorted(shown))]
    told = [mrkdwn("{}. {}", num(number), step) for number, step in enumerate(every, 1)]
    if len(shown) < len(steps):
        told.append(mrkdwn("{} has all {} steps.", code(f"/mfi explain {about.status}"), num(len(about.fixes))))
    return told


def _opening(step: str) -> tuple[str, ...] | str:
    """What tells the branches of one question: "There is: …", "There is none …". Other steps are their own."""
    words = tuple(re.findall(r"[a-z]+", step.lower())[:2])
    return words if words == ("there", "is") else step


def _port(view: IncidentView) -> int:
    """The next hop's: as the connector names it, else as the probe met it, else the usual one."""
    met = targets(view.probe) if view.probe else ()
    probed = next((t.port for t in sorted(met, key=lambda t: t.ok) if t.port), MAIL_PORT)
    return (view.connector.port if view.connector else None) or probed


def _server(view: IncidentView) -> str | None:
    """The destination server's name, else its address."""
    group, connector = relevant(view), view.connector
    met = targets(view.probe) if view.probe else ()
    known = [group.remote_host, group.remote_ip] if group else []
    known += [t.host for t in sorted(met, key=lambda t: t.ok)] + list(connector.smart_hosts if connector else ())
    return next((name for name in known if host_name(name)), None)
