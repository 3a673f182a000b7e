"""All articles, by code: one Markdown file per code or range under articles/, read once, when first asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources

from knowledge.article import Article, ArticleError, FixNowRule, read_article
from knowledge.codes import OTHER, EnhancedStatus, family_of, parse
from knowledge.search import Index

__all__ = ["Article", "ArticleError", "Articles", "FixNowRule", "articles", "load", "read_article"]

Span = tuple[EnhancedStatus, EnhancedStatus, Article]


class Articles(Mapping[str, Article]):
    """All articles, by key (`4.4.316`, `5.4.1-dbeb`). Always holds "other"."""

    def __init__(self, every: Iterable[Article]) -> None:
        self._by_key = {article.code: article for article in every}
        if OTHER not in self._by_key:
            raise ArticleError("other.md:1: the article for all other codes is missing")
        self._spans = _spans(self._by_key.values())
        self._index: Index | None = None

    def __getitem__(self, code: str) -> Article:
        return self._by_key[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def for_code(self, code: str | None, text: str = "") -> Article:
        """The article that helps with this code (or its family): its own, one that covers it, or "other".

        Where a code has several meanings, the words of `text` decide; a span of fewer codes goes before a wider one.
        """
        status = parse(family_of(code) or "")
        low = text.lower()
        for first, last, article in self._spans:
            if status is not None and first <= status <= last and (not article.when or _said(article, low)):
                return article
        return self._by_key.get(code or OTHER, self._by_key[OTHER])

    def search(self, words: str) -> list[Article]:
        """The articles that these words are about, best first; [] if the words say nothing."""
        if self._index is None:
            self._index = Index(self._by_key.values())
        return self._index.search(words)


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


def _said(article: Article, low: str) -> bool:
    return any(words in low for words in article.when)


def _spans(every: Iterable[Article]) -> list[Span]:
    """Every span of every article: single codes first, those that need certain words before those that don't."""
    parsed = [(parse(first), parse(last), article) for article in every for first, last in article.spans]
    known = [(first, last, article) for first, last, article in parsed if first is not None and last is not None]
    return sorted(known, key=lambda span: (span[0] != span[1], not span[2].when, _width(span), span[0]))


def _width(span: Span) -> tuple[int, int, int]:
    first, last, _ = span
    return last.kind - first.kind, last.subject - first.subject, last.detail - first.detail
