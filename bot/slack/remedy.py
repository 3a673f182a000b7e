"""What an article says to do and why, told of this very incident: its own server, its own evidence. Pure.

Articles name example hosts and list causes and steps for everybody. Here the example hosts become the incident's own,
the cause that the evidence points to comes first, and what is left out is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from bot.core.advice import MAIL_PORT, fitting, is_own
from bot.core.capabilities import Family
from bot.core.evidence import REFUSED
from bot.core.views import IncidentView
from bot.slack.evidence import relevant, targets
from bot.slack.text import Mrkdwn, article, code, mrkdwn, num
from knowledge.article import Article
from knowledge.codes import OTHER
from knowledge.diagnose import diagnose, explain

SHOWN = 3
"""So many steps are shown, and beyond them those that open another branch."""
NOTHING_LISTENS = (
    "Nothing listens on port {port} of that server any more (it is off, its mail service is stopped, or it was shut "
    "down for good), or a firewall rejects everybody: not only the mail system but this bot, too, is refused."
)

NO_DOMAIN = "<recipient domain>"
_EXAMPLE_HOST = re.compile(r"(?<!-Fqdn )\bmail\.contoso\.com\b")
_EXAMPLE_DOMAIN = re.compile(r"(?<!-type=TXT )(?<![\w.@-])contoso\.com\b")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+", re.I)


def with_own_names(steps: Iterable[str], host: str | None, domain: str | None = None) -> list[str]:
    """Steps whose commands name this server and this recipient domain in place of the examples.

    Both are foreign: what isn't plainly a host name (or an address) leaves the example as it is, but beside a server's
    own name an example domain would pass for the incident's: a placeholder stands there. The name that a server gives
    itself and the sender's own SPF record are somebody else's, so they keep theirs.
    """
    server = _name(host)
    of = _name(domain) or (NO_DOMAIN if server else None)
    named = [_EXAMPLE_HOST.sub(server, step) if server else step for step in steps]
    return [_EXAMPLE_DOMAIN.sub(of, step) if of else step for step in named]


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
    return with_own_names(about.fixes, _server(view), next((d for d in domains if _name(d)), None))


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
    every = [*first, *(article(steps[place], 280) for place in sorted(shown))]
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
    return next((name for name in known if _name(name)), None)


def _name(text: str | None) -> str | None:
    """A host name or an address, and nothing else."""
    if not text:
        return None
    try:
        return str(ip_address(text))
    except ValueError:
        return text.rstrip(".") if _HOST.fullmatch(text.rstrip(".")) else None
