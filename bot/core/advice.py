"""What an article advises, made to fit the mail system whose mail waits. Pure.

The articles are written for Exchange Online. On a Postfix relay or an Exchange Server other commands are typed, and
firewalls have to let in that machine's own address. The codes that nearly every outage has are answered in their own
words (bot/core/advice_words.py); of any other article what fits is left, or where to look.

In these texts mail.contoso.com and contoso.com are examples, as in the articles.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bot.core.advice_words import MORE, OWN
from bot.core.capabilities import Family
from knowledge.article import Article

MAIL_PORT = 25

_CLOUD = (
    r"Exchange Online|Microsoft|Office 365|admin\.exchange|endpoint set|Azure|High Volume|[Tt]enant|[Ll]icen[cs]e"
    r"|OutboundConnector|InboundConnector|AcceptedDomain|TlsDomain|\bsteps? \d"
)
_RELAY_LACKS = (
    r"Exchange|admin center|Entra|[Ss]end connector|[Rr]eceive connector|\bTls[A-Z]|\b[A-Z][a-z]+-[A-Z][A-Za-z]+"
    r"|[Hh]ybrid|service principal|Edge subscription|Send As"
)
"""What a Postfix relay neither has nor is set up by."""
_FOREIGN = {
    Family.EXCHANGE_SERVER: re.compile(_CLOUD),
    Family.POSTFIX: re.compile(f"{_CLOUD}|{_RELAY_LACKS}"),
}
"""Words of a text that is about another mail system, or about a step that may be gone."""
_FOREIGN_STEP = {
    Family.EXCHANGE_SERVER: re.compile(
        r"Entra|Defender|[Ii]nbound connector|outbound connector|edge blocking"
        r"|Mail flow, (?:Connectors|Accepted domains)|Reports, Mail flow|Recipients, Groups|RecipientPermission"
        r"|-Hosted|SmtpClientAuth|SendFromAlias|SMTP AUTH|event Transport rule"
    ),
    Family.POSTFIX: re.compile(
        r"[Cc]onnectors?\b|Authoritative|Internal relay|[Ss]hared mailbox|proxy address|Recoverable Items|MaxInbound"
        r"|[Mm]essage trace(?!,? or )|[Mm]ail flow rule|Transport rule|test mode|[Tt]ransport service|X-EXPS|w32tm"
        r"|setspn|[Jj]ournaling recipient|[Ss]ynchronis|[Oo]n-premises|public folder|(?i:support case)|network card"
        r"|computer's store|multi-factor"
    ),
}
"""Besides, what would be done elsewhere: in another system's menus, or with tools that this one has not."""
_OTHER = {Family.EXCHANGE_SERVER: "Postfix", Family.POSTFIX: "Exchange Server"}
_LABEL = re.compile(r"(?:^|(?<=[.?;] ))(Postfix|Exchange Server): ")
"""After it, up to the next one, a step speaks of this mail system alone."""
_ADMIN_PATH = re.compile(r" \(Exchange admin center, [^)]*\)")
_REWORDED = {
    Family.EXCHANGE_SERVER: (
        (re.compile(r"\bmessage trace\b"), "message tracking"),
        (re.compile(r"\bMessage trace\b"), "Message tracking (`Get-MessageTrackingLog`)"),
    ),
    Family.POSTFIX: ((re.compile(r"the connector's smart host"), "the next hop in the transport table"),),
}
_LOOK = {
    Family.POSTFIX: "Read the whole answer: `postqueue -p`, or `grep <queue id>` in the mail log. After `said:` stand "
    "another server's words: ask its administrator, with the time and this relay's address.",
    Family.EXCHANGE_SERVER: "Read the whole answer: `Get-Queue | Format-List Identity,LastError`, and for mail that "
    "has left, `Get-MessageTrackingLog`. Another server's words: ask its administrator, with the time and your "
    "server's address.",
}
"""What can be done about any error, where hardly a step of the article fits."""
FEW = 2
"""Fewer steps than that are hardly any."""
_PARTNER = (
    (re.compile(r"Microsoft 365's address ranges|Exchange Online's addresses"), "our mail server's address"),
    (re.compile(r"Microsoft 365|Exchange Online"), "our mail server"),
    (re.compile(r"TlsDomain"), "name"),
)
_PORT = re.compile(r"(?<=\bTCP )25\b|(?<=[Pp]ort )25\b|(?<=\.com[: ])25\b|(?<=\.com\]:)25\b")


def fitting(about: Article, family: Family, port: int | None = None) -> Article:
    """The article with the causes, steps and partner's note of this mail system. `port`: of the next hop, else 25.

    Exchange Online has the article as it stands.
    """
    if family is Family.EXCHANGE_ONLINE:
        return about
    number, own = str(port or MAIL_PORT), OWN[family].get(about.code)
    if own is not None:
        tags, causes = tuple(frozenset(tags) for tags, _ in own.causes), tuple(words for _, words in own.causes)
        fixes = own.steps
    else:
        told = zip((_own_part(words, family) for words in about.causes), about.cause_tags, strict=True)
        fits = [(words, tags) for words, tags in told if words and _fits(words, family)]
        causes, tags = tuple(words for words, _ in fits), tuple(tags for _, tags in fits)
        steps = (_own_part(step, family) for step in about.fixes)
        fixes = MORE[family].get(about.code, ())
        fixes += tuple(
            step for step in steps if step and _fits(step, family) and not _FOREIGN_STEP[family].search(step)
        )
        fixes = fixes if len(fixes) >= FEW else (_LOOK[family], *fixes)
    return replace(
        about,
        causes=tuple(_with_port(words, number) for words in causes),
        cause_tags=tags,
        fixes=tuple(_with_port(step, number) for step in fixes),
        partner=_with_port(_for_partners(about.partner), number),
    )


def is_own(about: Article, family: Family) -> bool:
    """Has this mail system an answer of its own to this code, so that the article's steps are others?"""
    return family is not Family.EXCHANGE_ONLINE and about.code in OWN[family]


def _own_part(text: str, family: Family) -> str:
    """Without what it says of the other mail system, and in this one's terms; empty where nothing is left."""
    before, *labelled = _LABEL.split(text)
    parts = zip(labelled[::2], labelled[1::2], strict=True)
    kept = before + "".join(f"{label}: {words}" for label, words in parts if label != _OTHER[family])
    kept = _ADMIN_PATH.sub("", re.sub(r";\s*$", ".", kept.strip()))
    other = rf"(?:`[^`]*`|(?:[^,.:;`]|\.(?! ))*) on {_OTHER[family]}"
    kept = re.sub(rf",(?: or)? {other}(?=[.;:])|(?<=: ){other}, ", "", kept)
    for theirs, ours in _REWORDED[family]:
        kept = theirs.sub(ours, kept)
    return kept


def _fits(text: str, family: Family) -> bool:
    return _FOREIGN[family].search(text) is None


def _for_partners(text: str) -> str:
    for theirs, ours in _PARTNER:
        text = theirs.sub(ours, text)
    return text


def _with_port(text: str, number: str) -> str:
    return _PORT.sub(number, text)
