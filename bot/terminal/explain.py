"""An explanation as text for a terminal: what happened, who must act, why, and what to do, at a given width.

Foreign text is shown with control characters replaced, so that a pasted error cannot drive the terminal.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from bot.core.own_names import Known, with_known
from knowledge.codes import OTHER
from knowledge.errors import ErrorRow
from knowledge.explanation import EXAMPLE, Explanation
from knowledge.partner_note import partner_note

OWNER_WORDS = {
    "connector": "whoever looks after the connector",
    "on_premises": "your server, firewall or network team",
    "dns": "the DNS hosting service of the domain",
    "partner": "the partner organisation",
    "sender": "the sender, or the sender's organisation",
    "microsoft": "Microsoft support",
}
"""Owner (as articles name it) → whom that means, in a person's words."""


def render_explanation(explanation: Explanation, width: int = 80, *, note: bool = False) -> str:
    """The whole answer, lines at most `width` long where words permit.

    `note`: where a partner must act first, a mail to their postmaster follows, to copy.
    """
    blocks = _answer(explanation, width) if explanation.found else _no_answer(width)
    text = "\n".join(blocks) + "\n"
    return text + _partner(explanation) if note and explanation.owner[:1] == ("partner",) else text


def _partner(e: Explanation) -> str:
    return f"\nReady to send to the partner's postmaster:\n\n{textwrap.indent(partner_note(e), '  ')}"


def _no_answer(width: int) -> Iterator[str]:
    yield "No delivery error was recognised in this text."
    yield ""
    yield _wrapped(
        "Paste the whole error: the status code with the words after it. It is in the bounce message, in the message"
        " trace (the text that begins with {LED=), in the queue viewer's last error, or in the mail log. For example:",
        width,
    )
    yield ""
    yield f"  {EXAMPLE}"
    yield ""
    yield _wrapped("Words work too: mfi explain certificate expired", width)


def _answer(e: Explanation, width: int) -> Iterator[str]:
    yield from _several(e, width)
    heading = _headline(e)
    yield heading
    yield "=" * min(len(heading), width)
    yield from _facts(e, width)
    yield from _contradiction(e, width)
    yield ""
    yield _wrapped(e.meaning, width)
    yield from _section("Who must act", [_sentence(OWNER_WORDS[owner]) for owner in e.owner], width, "-")
    yield from _section("Likely causes", e.causes, width, "-")
    yield from _section("What to do", _steps(e), width)
    yield from _text("Has it bounced already?", e.bounced, width)
    yield from _text("Fix now", e.article.fix_now_text, width) if e.fix_now else ()
    yield from _text("How to verify", e.article.verify, width)
    yield from _text("If it is a partner's server", e.article.partner, width)
    yield ""
    yield f"Source: {e.article.source_url}"
    yield f"        ({e.article.source_published:%d %B %Y}; in our own words)"


def _steps(e: Explanation) -> Sequence[str]:
    """Commands name the server and the recipient of this error in place of examples and gaps."""
    return with_known(e.fixes, Known(host=e.diagnosis.smart_host, recipient=e.diagnosis.recipient))


def _headline(e: Explanation) -> str:
    """What it is, with the code as it was reported if that differs."""
    document = e.document()
    reply = f"{document['reply']} " if document["reply"] and document["reply"] != document["code"] else ""
    return _clean(f"{reply}{e.diagnosis.reported if e.diagnosis.expired else e.diagnosis.code}  {e.title}")


def _facts(e: Explanation, width: int) -> Iterator[str]:
    """What the text itself states, one line each."""
    d = e.diagnosis
    expired = f"the expired form of {d.code}" if d.expired and d.reported not in (None, d.code) else None
    server = " ".join(part for part in (d.smart_host, f"[{d.ip}]" if d.ip else None) if part)
    stated = {
        "This is": expired,
        "Because": e.because if (e.because or "").lower() != e.title.lower() else None,
        "Reason given": d.reason,
        "Server": server,
        "Recipient": d.recipient,
        "Last tried": d.retry_at,
        "Also named": ", ".join(d.others),
        "How sure": _SURE.get(d.confidence.value) if d.code != OTHER else None,
    }
    for label, value in stated.items():
        if value:
            indent = " " * 14
            yield _wrapped(f"{label + ':':<13} {_clean(value)}", width, indent)


_SURE = {
    "inferred": "found by the meaning of the words; no code of this family stands in the text",
    "class": "there is no article for exactly this code; this is what its structure says",
}


def _section(title: str, items: Iterable[str], width: int, bullet: str | None = None) -> Iterator[str]:
    yield from ("", title)
    for number, item in enumerate(items, 1):
        mark = f"  {bullet or f'{number}.'} "
        yield _wrapped(mark + _plain(item), width, " " * len(mark))


def _several(e: Explanation, width: int) -> Iterator[str]:
    """Several errors as a short table, the main one first."""
    if e.errors:
        yield f"{len(e.errors)} different errors stand in this text; the first is explained below."
        yield from (*_table(e.errors, width), "")


def _contradiction(e: Explanation, width: int) -> Iterator[str]:
    """What contradicts what, and what else a search by words found."""
    if e.conflict:
        yield from ("", _wrapped(f"They disagree: {_clean(e.conflict)}", width))
    if len(e.matches) > 1:
        found = ", ".join(f"{article.status} {article.title}" for article in e.matches[1:])
        yield from ("", _wrapped(f"Found by these words too: {found}", width))


def _table(errors: Sequence[ErrorRow], width: int) -> Iterator[str]:
    """Code, recipients, error, server: one line each, cut at the width."""
    rows = [("code", "for", "error", "server")]
    rows += [(r.code, str(r.recipients or "?"), r.title, _clean(r.server or "-")) for r in errors]
    widths = [min(34, max(len(row[column]) for row in rows)) for column in range(3)]
    for row in rows:
        cells = [cell[:size].ljust(size) for cell, size in zip(row[:3], widths, strict=True)]
        yield f"  {'  '.join((*cells, row[3]))}"[:width].rstrip()


def _text(title: str, text: str, width: int) -> Iterator[str]:
    yield from ("", title)
    yield textwrap.indent(_wrapped(_plain(text), width - 2), "  ")


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def _plain(text: str) -> str:
    """Code spans lose their backticks: a terminal needs none."""
    return text.replace("`", "")


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]
