"""The coverage table of the articles: what each answers, who acts, how it is reached. And what is wrong with it.

`python -m knowledge` prints it and fails if an article can't be reached by any code or alias of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from knowledge.article import Article
from knowledge.articles import Articles
from knowledge.codes import OTHER, parse
from knowledge.diagnose import explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table."""

    codes: str
    title: str
    owner: str
    reached: str
    file: str


def table(known: Articles) -> list[Line]:
    """A row for every article, in the order of the codes."""
    return [
        Line(
            codes=_codes(article),
            title=article.title,
            owner=", ".join(article.owner),
            reached="queue only" if article.queue_only else "probe and queue",
            file=f"{article.code}.md",
        )
        for article in sorted(known.values(), key=_order)
    ]


def unreachable(known: Articles) -> list[str]:
    """One sentence for every code, range end or alias that does not lead to the article that claims it."""
    return [problem for article in known.values() for problem in _problems(known, article)]


def _problems(known: Articles, article: Article) -> Iterator[str]:
    words = article.when[0] if article.when else ""
    ends = dict.fromkeys(end for span in article.spans for end in span) if article.code != OTHER else {}
    for code in ends:
        reached = known.for_code(code, words)
        if reached.code != article.code:
            yield f"{article.code}.md: {code} leads to {reached.code}.md"
    for alias in article.aliases:
        if (found := explain(alias).article.code) != article.code:
            yield f"{article.code}.md: the alias {alias!r} leads to {found}.md"


def _codes(article: Article) -> str:
    spans = [first if first == last else f"{first}–{last}" for first, last in article.spans]
    asked = f" ({' / '.join(article.when)})" if article.when else ""
    return ", ".join(dict.fromkeys(spans)) + asked


def _order(article: Article) -> tuple[int, int, int, str]:
    status = parse(article.status)
    return (*((status.kind, status.subject, status.detail) if status else (9, 0, 0)), article.code)
