"""What an article advises, made to fit the mail system whose mail waits. Pure.

The articles are written for Exchange Online. On a Postfix relay or an Exchange Server other commands are typed, and
firewalls have to let in that machine's own address. The codes that nearly every outage has are answered in their own
words (bot/core/advice_words.py); of any other article only what fits is left.

In these texts mail.contoso.com and contoso.com are examples, as in the articles.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bot.core.advice_words import OWN
from bot.core.capabilities import Family
from knowledge.article import Article

MAIL_PORT = 25

_CLOUD = (
    r"Exchange Online|Microsoft|Office 365|admin\.exchange|endpoint set"
    r"|OutboundConnector|InboundConnector|AcceptedDomain"
)
_FOREIGN = {
    Family.EXCHANGE_SERVER: re.compile(rf"{_CLOUD}|tenant|TlsDomain|\bsteps? \d"),
    Family.POSTFIX: re.compile(
        rf"{_CLOUD}|Exchange|admin center|Entra|tenant|\bTls[A-Z]|\b[A-Z][a-z]+-[A-Z][A-Za-z]+|\bsteps? \d"
    ),
}
"""Words of a text that is about another mail system, or about a step that may be gone."""
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
        fits = [
            (words, tags) for words, tags in zip(about.causes, about.cause_tags, strict=True) if _fits(words, family)
        ]
        causes, tags = tuple(words for words, _ in fits), tuple(tags for _, tags in fits)
        fixes = tuple(step for step in about.fixes if _fits(step, family))
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


def _fits(text: str, family: Family) -> bool:
    return _FOREIGN[family].search(text) is None


def _for_partners(text: str) -> str:
    for theirs, ours in _PARTNER:
        text = theirs.sub(ours, text)
    return text


def _with_port(text: str, number: str) -> str:
    return _PORT.sub(number, text)
