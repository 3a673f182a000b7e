"""The answer to `/mfi explain`. Pure: an Explanation in, a Message out."""

from __future__ import annotations

from bot.slack.blocks import Message, context, fields, header, message, section
from bot.slack.text import Mrkdwn, article, code, joined, lines, mrkdwn, num, plain, prose, source
from bot.slack.wording import OWNER_WORDS
from knowledge.diagnosis import Confidence
from knowledge.explanation import EXAMPLE, Explanation

CONFIDENCE_WORDS = {
    Confidence.EXACT: "the code stands in the text",
    Confidence.INFERRED: "found by the meaning of the words",
    Confidence.CLASS: "only the structure of the code is known",
}


def explain_reply(said: Explanation) -> Message:
    """What the error means, why, and what to do; for an unrecognised text, what to paste instead."""
    if not said.found:
        return paste_reply(Mrkdwn("I found no delivery error in this text."))
    code_and_title = f"{said.diagnosis.code} {said.title}"
    first = article(said.fixes[0], 240) if said.fixes else Mrkdwn("See the source.")
    return message(
        mrkdwn("{}: {} First step: {}", code_and_title, article(said.meaning, 300), first),
        [
            header(plain(code_and_title, 150)),
            section(article(said.meaning, 1200)),
            section(mrkdwn("*Bounced already?* {}", said.bounced)),
            fields(*_named(said)),
            section(_causes(said)),
            section(_fixes(said)),
            section(_fix_now(said)),
            context(_footer(said), source(said.article.source_url, f"Source, {said.article.source_published}")),
        ],
    )


def paste_reply(first: Mrkdwn) -> Message:
    """What to paste, with an example."""
    how = Mrkdwn(
        "Paste the whole error after `/mfi explain`: the code with the words after it, from the bounce message, the "
        "message trace, the queue viewer's last error or the mail log."
    )
    example = mrkdwn("For example: {}", code(f"/mfi explain {EXAMPLE}", 240))
    return message(lines(first, how, example), [section(lines(first, how)), section(example)])


def _named(said: Explanation) -> list[Mrkdwn]:
    """What the text itself names."""
    d = said.diagnosis
    found = (
        ("Server", d.smart_host),
        ("Address", d.ip),
        ("Recipient", d.recipient),
        ("Reason", d.reason),
        ("Details", d.detail if d.detail not in (d.reason, f"{d.reply} {d.code}", d.code) else None),
        ("Next try", d.retry_at),
    )
    return [lines(mrkdwn("*{}*", name), code(value, 300)) for name, value in found if value]


def _causes(said: Explanation) -> Mrkdwn:
    told = [mrkdwn("• *{}* (the text says so)", prose(said.because, 200))] if said.because else []
    shown = [mrkdwn("• {}", article(cause, 300)) for cause in said.causes[:6]]
    return lines(Mrkdwn("*Why*"), *told, *shown) if told or shown else Mrkdwn("")


def _fixes(said: Explanation) -> Mrkdwn:
    shown = [mrkdwn("{}. {}", num(n), article(fix, 420)) for n, fix in enumerate(said.fixes[:8], 1)]
    return lines(Mrkdwn("*What to do*"), *shown) if shown else Mrkdwn("")


def _fix_now(said: Explanation) -> Mrkdwn:
    if not said.fix_now:
        return Mrkdwn("")
    return mrkdwn("🛠️ mfi can do part of this after you confirm: *Fix now…* in the alert, or {}.", code("/mfi fix <id>"))


def _footer(said: Explanation) -> Mrkdwn:
    owners = ", ".join(OWNER_WORDS.get(owner, owner) for owner in said.owner)
    parts = [mrkdwn("Who can act: {}", owners) if owners else Mrkdwn("")]
    parts.append(prose(CONFIDENCE_WORDS[said.diagnosis.confidence]))
    if said.diagnosis.others:
        parts.append(mrkdwn("also in the text: {}", ", ".join(said.diagnosis.others[:6])))
    return joined(parts)
