"""All articles, by code: one Markdown file per code under articles/, read once, when first asked for."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources

from knowledge.article import Article, ArticleError, FixNowRule, read_article
from knowledge.codes import OTHER, family_of, parse

__all__ = ["Article", "ArticleError", "Articles", "FixNowRule", "articles", "load", "read_article"]

_WORD = re.compile(r"[^\W_]+(?:\.[0-9]+)*")
_STOP = frozenset(
    {"a", "an", "and", "are", "at", "be", "by", "can", "do", "error", "for", "i", "in", "is", "it", "mail", "my", "not"}
    | {"of", "on", "or", "our", "s", "t", "that", "the", "to", "was", "what", "why", "with"}
)


class Articles(Mapping[str, Article]):
    """All articles, by code. Always holds "other"."""

    def __init__(self, every: Iterable[Article]) -> None:
        self._by_code = {article.code: article for article in every}
        if OTHER not in self._by_code:
            raise ArticleError("other.md:1: the article for all other codes is missing")

    def __getitem__(self, code: str) -> Article:
        return self._by_code[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_code)

    def __len__(self) -> int:
        return len(self._by_code)

    def for_code(self, code: str | None) -> Article:
        """The article that helps with this code: its own, its family's, that of its range, or "other"."""
        own = self._by_code.get(family_of(code) or OTHER)
        return own or next((a for a in self.values() if _within(code, a.range)), self._by_code[OTHER])

    def search(self, words: str) -> list[Article]:
        """Articles whose title or an alias holds every word, best first; [] if the words say nothing."""
        wanted = _words(words)
        if not wanted:
            return []
        ranked = sorted(((_score(a, wanted), a.code) for a in self.values()), key=lambda s: (-s[0], s[1]))
        return [self._by_code[code] for score, code in ranked if score > 0]


@functools.cache
def articles() -> Articles:
    """The articles that come with the program, read once."""
    folder = resources.files("knowledge") / "articles"
    files = sorted((f.name, f.read_bytes()) for f in folder.iterdir() if f.name.endswith(".md"))
    return load(files)


def load(files: Iterable[tuple[str, bytes]]) -> Articles:
    """Read (name, content) pairs; raises one ArticleError with every problem of every file."""
    read, problems = [], []
    for name, content in files:
        try:
            read.append(read_article(name, content))
        except ArticleError as error:
            problems.append(str(error))
    if problems:
        raise ArticleError("\n".join(problems))
    return Articles(read)


def _within(code: str | None, ends: tuple[str, str] | None) -> bool:
    status = parse(code or "")
    if status is None or ends is None:
        return False
    low, high = parse(ends[0]), parse(ends[1])
    return low is not None and high is not None and low <= status <= high


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.lower()) if word not in _STOP and len(word) > 1}


def _score(article: Article, wanted: set[str]) -> int:
    """3 for all words in the title, 2 for all in one alias, 1 for all in title and aliases together, else 0."""
    title, aliases = _words(article.title), [_words(alias) for alias in article.aliases]
    if wanted <= title:
        return 3
    if any(wanted <= alias for alias in aliases):
        return 2
    return int(wanted <= title.union(*aliases))
