"""A mail to a partner's postmaster, ready to copy: what fails, the evidence, and what to check on their side.

Plain text, at most LIMIT characters. Whatever comes from the error is cut and reduced to printable single lines, so
that it can't add lines, headers or markup of its own.
"""

from __future__ import annotations

import textwrap
import unicodedata

from knowledge.codes import family_of
from knowledge.explanation import Explanation

LIMIT = 4000
_LINE = 300
_WIDTH = 76


def partner_note(explanation: Explanation, *, when: str | None = None, connector: str | None = None) -> str:
    """The note. `when`: the time of the last failure in words; `connector`: our connector's name. Both are optional."""
    d = explanation.diagnosis
    server = " ".join(part for part in (d.smart_host, f"[{d.ip}]" if d.ip else None) if part)
    facts = {
        "Time": when or d.retry_at,
        "From": f"our connector {one_line(connector, 80)}" if connector else "our mail system",
        "To your server": server,
        "Recipient": d.recipient,
        "Code": _code(explanation),
        "Exact words": d.detail or d.reason,
        "That means": explanation.because,
    }
    told = [f"  {name + ':':<16}{one_line(value, _LINE)}" for name, value in facts.items() if value]
    about = d.advice[0] if d.advice else family_of(d.code) or ""
    checks = CHECKS.get(about, CHECKS[""])
    listed = [_wrapped(f"{number}. {check}", "   ") for number, check in enumerate(checks, 1)]
    state = BOUNCED if explanation.already_bounced else WAITING
    whose = one_line(d.smart_host, 120) if d.smart_host else "your mail server"
    paragraphs = [
        f"Subject: Mail to {whose} fails: {explanation.title}",
        "Dear postmaster,",
        _wrapped(f"our mail system can't deliver mail to your server. {state}"),
        "What we see:\n" + "\n".join(told),
        "Could you please check:\n" + "\n".join(listed),
        _wrapped(
            "If something changed on your side (address, firewall, certificate, DNS), please tell us the new values. "
            "We try again automatically, and will gladly test with you."
        ),
        "Kind regards",
    ]
    return "\n\n".join(paragraphs)[: LIMIT - 1] + "\n"


WAITING = "The messages are waiting on our side and are tried again until their time is over (24 hours)."
BOUNCED = "Messages have already gone back to their senders."

CHECKS: dict[str, tuple[str, ...]] = {
    "4.4.312": (
        "Do all authoritative name servers of your domain answer, with the same MX and address records?",
        "Were the domain, its MX or its DNS host changed or renewed lately?",
        "If you use DNSSEC: do the signatures and the DS record hold?",
    ),
    "4.4.315": (
        "Is the address above still your mail server's, and is the server up?",
        "Do firewall and provider let TCP port 25 through from outside, from all of our provider's addresses?",
    ),
    "4.4.316": (
        "Does your mail service run and listen on TCP port 25 of the address above?",
        "Does your firewall or load balancer reject our addresses? Mail from Microsoft 365 comes from many; the list:"
        " https://learn.microsoft.com/microsoft-365/enterprise/urls-and-ip-address-ranges (endpoint set 10).",
    ),
    "4.4.317": (
        "Which greeting does your server give, and does it offer STARTTLS with TLS 1.2 or newer?",
        "Did the TLS set-up, the certificate or a filter in front of the server change?",
        "Is our sending system blocked or limited on your side?",
    ),
    "4.4.318": (
        "Does your log show our sessions, and who ends them?",
        "Does a firewall inspect SMTP (fixup, ESMTP inspection) on port 25?",
        "Was the server short of memory, disk or connections at the time?",
    ),
    "4.7.320": (
        "Is the certificate on your mail server valid, and does every server behind the name show the same one?",
        "Does it name the host above, and is the intermediate certificate sent along?",
        "If it was renewed: which name should we expect now?",
    ),
    "": (
        "What does your mail log say about our attempts at that time?",
        "Does a rule, filter or limit on your side refuse them, and may it be changed for our mail?",
    ),
}
"""Family code → what the partner should look at; "" for every other code."""


def one_line(text: object, limit: int) -> str:
    """Foreign text as one printable line of at most `limit` characters."""
    spaced = " ".join(str(text)[: 8 * limit].split())
    shown = "".join(letter for letter in spaced if letter.isprintable() and unicodedata.category(letter) != "Cf")
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _code(explanation: Explanation) -> str:
    d = explanation.diagnosis
    reported = d.reported or d.code or ""
    reply = f"{d.reply} " if d.reply and d.reply != reported else ""
    return f"{reply}{reported} ({explanation.title})"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
