"""The answer to `/mfi explain`. Pure: an Explanation (and our connector, if it is about one) in, a Message out.

Read at 3 a.m.: what happened in one sentence, who must act, has it bounced; then our connector as it is now; then why
and what to do; then the source, and for a partner a note to copy. Several errors come first, as a short table.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.core.capabilities import Family
from bot.core.own_names import Known, with_known
from bot.services.destination import OurConnector
from bot.slack.alert import DEFAULT_WORKSPACE
from bot.slack.blocks import Block, Message, actions, button, context, header, message, section, table
from bot.slack.evidence import shown_host
from bot.slack.our_connector import (
    ALSO,
    PASTE,
    connector_blocks,
    connector_lines,
    first_incident,
    for_partner,
    looked_up,
    note_blocks,
)
from bot.slack.remedy import STEP
from bot.slack.text import Mrkdwn, article, code, joined, lines, mrkdwn, num, plain, prose, source
from bot.slack.wording import OWNER_WORDS, count
from knowledge.article import Article
from knowledge.codes import OTHER
from knowledge.diagnosis import Confidence
from knowledge.explanation import EXAMPLE, Explanation
from storage.records import ConnectorKind

CONFIDENCE_WORDS = {
    Confidence.EXACT: "the code stands in the text",
    Confidence.INFERRED: "found by the meaning of the words",
    Confidence.CLASS: "only the structure of the code is known",
}


def explain_reply(
    said: Explanation,
    ours: OurConnector | None = None,
    also: Sequence[Article] = (),
    workspace: str = DEFAULT_WORKSPACE,
    family: Family | None = None,
) -> Message:
    """What the error means, why, and what to do; for an unrecognised text, what to paste instead.

    `ours`: the connector that it is about, of a mail system of this `family`. `also`: what else the words may mean,
    best first.
    """
    if not said.found:
        return paste_reply(Mrkdwn("I found no delivery error in this text."), also)
    steps = _steps(said, ours, family)
    live = connector_blocks(ours, said.diagnosis.code, workspace) if ours else []
    return message(
        _spoken(said, ours, workspace, steps),
        [
            *_several(said),
            header(plain(_name(said), 150)),
            section(lines(_happened(said), article(said.meaning, 1200))),
            section(lines(_who(said, ours), _bounced(said), _conflict(said))),
            *live,
            *_also(also),
            section(_causes(said)),
            section(_fixes(said, ours, steps)),
            section(_fix_now(said, ours)),
            context(
                *_evidence(said),
                _footer(said),
                source(said.article.source_url, f"Source, {said.article.source_published}"),
            ),
            *note_blocks(said, ours),
        ],
    )


def paste_reply(first: Mrkdwn, also: Sequence[Article] = ()) -> Message:
    """What to paste, with an example, and a button that opens a window for it."""
    said = lines(first, HOW_TO_PASTE)
    window = actions(button("Paste it in a window…", PASTE, "paste", style="primary"))
    return message(lines(said, example()), [section(said), section(example()), window, *_also(also)])


HOW_TO_PASTE = Mrkdwn(
    "Paste the whole error after `/mfi explain`: the code with the words after it, from the bounce message, the "
    "message trace, the queue viewer's last error or the mail log."
)


def example() -> Mrkdwn:
    """What a useful line looks like."""
    return mrkdwn("For example: {}", code(f"/mfi explain {EXAMPLE}", 240))


def _name(said: Explanation) -> str:
    """The big line: the code as everybody looks it up, what it is called, and the expired form if that was given."""
    d = said.diagnosis
    expired = f" (expired: {d.reported})" if d.expired and d.reported not in (None, d.code) else ""
    return f"{d.code} {said.title}{expired}"


def _spoken(said: Explanation, ours: OurConnector | None, workspace: str, steps: Sequence[str]) -> Mrkdwn:
    """Everything that matters in words, for notifications, screen readers and search."""
    first = next((article(step, 400) for step in steps), Mrkdwn("See the source."))
    rows = [mrkdwn("{} {} {}", row.code, row.title, code(row.server, 80) if row.server else "") for row in said.errors]
    several = lines(mrkdwn("{} different errors:", len(rows)), *rows) if rows else None
    mine = connector_lines(ours, said.diagnosis.code, workspace) if ours else None
    main = mrkdwn("{}: {} First step: {}", _name(said), article(said.meaning, 300), first)
    return lines(several, main, mine)


def _several(said: Explanation) -> list[Block | None]:
    """Several errors as a short table; the first of them is explained below it."""
    if not said.errors:
        return []
    intro = mrkdwn("*{} different errors stand in this text.* The first one is explained below.", len(said.errors))
    columns = {
        "Code": [row.code for row in said.errors],
        "What it says": [row.title for row in said.errors],
        "Server": [row.server or "" for row in said.errors],
        "For": [count(row.recipients, "recipient") if row.recipients else "" for row in said.errors],
    }
    told = [(name, *cells) for name, cells in columns.items() if any(cells)]
    return [section(intro), table([[plain(cell, 80) for cell in row] for row in zip(*told, strict=True)])]


def _happened(said: Explanation) -> Mrkdwn:
    """What happened to this mail, in one sentence; nothing if it was only looked up."""
    d = said.diagnosis
    if looked_up(said):
        return Mrkdwn("")
    where = shown_host(d.smart_host or d.ip or "", d.ip) if d.smart_host or d.ip else None
    whom = code(d.recipient, 120) if d.recipient else None
    to = mrkdwn(" for {}", whom) if whom else Mrkdwn("")
    via = mrkdwn("; at {}", where) if where else Mrkdwn("")
    state = "went back to its sender" if said.already_bounced else "waits"
    return mrkdwn("*Mail{} {}{}: {}.*", to, state, via, _lowered(said.because or said.title))


def _lowered(title: str) -> str:
    """A title inside a sentence; DNS, TLS and the like stay as they are."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def _who(said: Explanation, ours: OurConnector | None) -> Mrkdwn:
    """Who must act, as our connector's kind tells it; the likeliest first."""
    first, *others = [OWNER_WORDS.get(owner, owner) for owner in owners(said, ours)] or [""]
    rest = mrkdwn(" (or {})", "; ".join(others)) if others else Mrkdwn("")
    return mrkdwn("*Who must act?* {}{}", _raised(first), rest) if first else Mrkdwn("")


def owners(said: Explanation, ours: OurConnector | None) -> tuple[str, ...]:
    """The owners; whose server it is, ours or a partner's, is known once the connector is."""
    if ours is None:
        return said.owner
    partner = ours.connector.kind is ConnectorKind.PARTNER
    theirs, never = ("partner", "on_premises") if partner else ("on_premises", "partner")
    return tuple(dict.fromkeys(theirs if owner == never else owner for owner in said.owner))


def _raised(words: str) -> str:
    return words[:1].upper() + words[1:]


def _bounced(said: Explanation) -> Mrkdwn:
    if looked_up(said):
        told = "The code that you got tells: 4.x.x still waits and is tried again, 5.x.x has gone back to its sender."
        return mrkdwn("*Bounced already?* {}", told)
    return mrkdwn("*Bounced already?* {}", said.bounced)


def _conflict(said: Explanation) -> Mrkdwn:
    return mrkdwn("⚠️ *Two things disagree.* {}", prose(said.conflict, 600)) if said.conflict else Mrkdwn("")


def _evidence(said: Explanation) -> list[Mrkdwn | None]:
    """What the text itself states beyond the sentence on top."""
    d = said.diagnosis
    words = d.reason if d.detail in (f"{d.reply} {d.code}", d.code) else d.detail
    exact = mrkdwn("exact words: {}", code(words, 300)) if words and not looked_up(said) else None
    return [exact, mrkdwn("last tried: {}", code(d.retry_at, 60)) if d.retry_at else None]


def _causes(said: Explanation) -> Mrkdwn:
    clear = said.because if said.because and said.because.lower() != said.title.lower() else None
    told = [mrkdwn("• *{}* (the text says so)", _raised(clear))] if clear and not looked_up(said) else []
    shown = [mrkdwn("• {}", article(cause, 300)) for cause in said.causes[:6]]
    return lines(Mrkdwn("*Why* (likeliest first)"), *told, *shown) if told or shown else Mrkdwn("")


def _fixes(said: Explanation, ours: OurConnector | None, steps: Sequence[str]) -> Mrkdwn:
    shown = [mrkdwn("{}. {}", num(n), article(step, STEP)) for n, step in enumerate(steps, 1)]
    check = mrkdwn("*Then check:* {}", article(said.article.verify, 300))
    theirs = for_partner(said, ours)
    ask = mrkdwn("*It is the partner's server:* {}", article(said.article.partner, 400)) if theirs else None
    return lines(Mrkdwn("*What to do*"), ask, *shown, check) if shown else Mrkdwn("")


def _steps(said: Explanation, ours: OurConnector | None, family: Family | None) -> list[str]:
    """What to do; commands name the server, recipient and connector of this error in place of examples and gaps."""
    error = said.diagnosis
    named = ours.connector.name if ours else None
    known = Known(host=error.smart_host, recipient=error.recipient, connector=named, family=family)
    return with_known(said.fixes[:8], known)


def _fix_now(said: Explanation, ours: OurConnector | None) -> Mrkdwn:
    """What mfi itself can do, for the kinds of connector that the article allows it for."""
    rule = said.article.fix_now if said.fix_now else None
    if rule is None or (ours is not None and ours.connector.kind not in rule.kinds):
        return Mrkdwn("")
    told = first_incident(ours.view, said.diagnosis.code) if ours else None
    command = code(f"/mfi fix {told.id}" if told and told.code == said.diagnosis.code else "/mfi fix <id>")
    return mrkdwn("🛠️ mfi can do part of this after you confirm: *Fix now…* in the alert, or {}.", command)


def _also(also: Sequence[Article]) -> list[Block | None]:
    """Other articles that the words fit, each a button."""
    picks = [button(plain(f"{a.status} {a.title}", 70), f"{ALSO}.{n}", a.code) for n, a in enumerate(also[:5])]
    return [section(Mrkdwn("*These words fit too:*")), actions(*picks)] if picks else []


def _footer(said: Explanation) -> Mrkdwn:
    sure = said.diagnosis.code != OTHER
    parts = [prose(CONFIDENCE_WORDS[said.diagnosis.confidence])] if sure else []
    if said.diagnosis.others and not said.errors:
        parts.append(mrkdwn("also in the text: {}", ", ".join(said.diagnosis.others[:6])))
    return joined(parts)
