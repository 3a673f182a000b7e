"""Search by words: which articles are a few typed words about? A small scored index over title, aliases and texts.

Words count by their stem, so that "looping" finds "loop". An article is found if half of the words stand in it, one of
them in its title or aliases; the rarer a word, the more it counts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

from knowledge.article import Article
from knowledge.codes import FAMILY

_WORD = re.compile(r"[^\W_]+(?:\.[0-9]+)*")
_STOP = frozenset(
    {"a", "an", "and", "are", "at", "be", "by", "can", "do", "email", "error", "for", "from", "get", "has", "have"}
    | {
        "how",
        "i",
        "in",
        "is",
        "it",
        "mail",
        "message",
        "my",
        "no",
        "not",
        "of",
        "on",
        "or",
        "our",
        "s",
        "t",
        "that",
        "the",
    }
    | {"hello"}  # a greeting, though one error says it: "send hello first"
    | {"this", "to", "was", "we", "what", "when", "why", "with", "you", "your", "does", "there", "any", "code"}
)
_ENDINGS = ("ing", "ed", "es", "s", "e")
_TITLE, _ALIAS, _TEXT = 5.0, 4.0, 1.0


class Index:
    """The words of a set of articles."""

    def __init__(self, every: Iterable[Article]) -> None:
        self._articles = tuple(every)
        self._fields = [_fields(article) for article in self._articles]
        self._spread = Counter(word for fields in self._fields for word in fields)

    def search(self, words: str) -> list[Article]:
        """The articles that these words are about, best first."""
        wanted = stems(words)
        numbered = enumerate(self._fields)
        scored = [(score, number) for number, fields in numbered if (score := self._score(wanted, fields)) > 0]
        ranked = sorted((-score - _phrase(self._articles[n], wanted), self._articles[n].code, n) for score, n in scored)
        return [self._articles[number] for _, _, number in ranked]

    def _score(self, wanted: set[str], fields: dict[str, float]) -> float:
        """0 unless half of the words are there, one of them in title or alias."""
        found = [word for word in wanted if word in fields]
        if 2 * len(found) < len(wanted) or not any(fields[word] > _TEXT for word in found):
            return 0.0
        rarity = {word: math.log(1 + len(self._articles) / self._spread[word]) for word in found}
        return sum(fields[word] * rarity[word] for word in found) * len(found) / len(wanted)


def stems(text: str) -> set[str]:
    """The telling words of a text, each without its ending."""
    return {_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP and len(word) > 1}


def covers(article: Article, words: str) -> bool:
    """Do title, aliases and code hold all of these words, or all but one of at least three?"""
    wanted = stems(words)
    missing = wanted - stems(" ".join((article.title, article.status, *article.aliases)))
    return len(missing) <= (len(wanted) >= 3) and bool(wanted)


def _fields(article: Article) -> dict[str, float]:
    """Word → how much it counts in this article: by the best place where it stands."""
    places = (
        (_TEXT, " ".join((article.meaning, *article.causes))),
        (_ALIAS, " ".join(article.aliases)),
        (_TITLE, f"{article.title} {article.status}"),
    )
    return {word: weight for weight, text in places for word in stems(text)}


def _phrase(article: Article, wanted: set[str]) -> float:
    """A bonus for words that are just the title or an alias; a small one for the codes that connectors meet most."""
    common = 3.0 if article.code in FAMILY else 0.0
    if wanted == stems(article.title):
        return common + 40.0
    return common + (30.0 if any(wanted == stems(alias) for alias in article.aliases) else 0.0)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
