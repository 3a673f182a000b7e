"""Code, article, classification and words tie up: what we emit has an article, and none is unreachable."""

from __future__ import annotations

import pytest

from knowledge.articles import articles
from knowledge.causes import CAUSE_WORDS
from knowledge.classify import TABLE
from knowledge.codes import FAMILY
from knowledge.diagnose import diagnose, explain
from knowledge.words import ROWS
from storage.records import ConnectorKind, StepKind

EVERY = sorted(articles())


def test_every_code_that_a_probe_can_find_has_an_article_and_is_of_the_family() -> None:
    assert {code for code, _ in TABLE} == set(FAMILY) == {a.code for a in articles().values() if not a.queue_only}


@pytest.mark.parametrize("code", EVERY)
def test_every_article_is_of_a_classifiable_code_or_marked_queue_only(code: str) -> None:
    assert articles()[code].queue_only == (code not in {emitted for emitted, _ in TABLE})


@pytest.mark.parametrize("code", FAMILY)
def test_article_and_code_table_agree_on_the_name(code: str) -> None:
    assert (articles()[code].title, articles()[code].reply) == (FAMILY[code], "450")


@pytest.mark.parametrize(("code", "alias"), [(a.code, alias) for a in articles().values() for alias in a.aliases])
def test_every_alias_leads_to_its_article(code: str, alias: str) -> None:
    assert explain(alias).article.code == code


@pytest.mark.parametrize("code", FAMILY)
def test_the_title_alone_is_diagnosed_as_its_code(code: str) -> None:
    assert diagnose(FAMILY[code]).code == code


def test_fix_now_is_offered_for_refused_connections_to_our_own_servers_only() -> None:
    offering = {a.code: a.fix_now for a in articles().values() if a.fix_now is not None}
    assert set(offering) == {"4.4.316"}
    assert offering["4.4.316"].kinds == (ConnectorKind.ON_PREMISES,)


def test_every_step_that_an_article_offers_is_one_that_exists() -> None:
    offered = {step for a in articles().values() if a.fix_now is not None for step in a.fix_now.steps}
    assert offered == set(StepKind) - {StepKind.RETRY_QUEUE}, "a retry follows a repair, whatever the code was"


@pytest.mark.parametrize("code", EVERY)
def test_every_advised_article_exists(code: str) -> None:
    assert set(articles()[code].advice) <= set(articles())


def test_every_row_of_words_means_a_code_and_its_cause_has_words() -> None:
    assert all(row.code and row.triggers and all(row.triggers) for row in ROWS)
    assert {row.cause for row in ROWS} - {None} <= set(CAUSE_WORDS)


@pytest.mark.parametrize("code", EVERY)
def test_every_article_names_causes_fixes_and_a_source(code: str) -> None:
    article = articles()[code]
    assert len(article.causes) >= 2
    assert len(article.fixes) >= 4
    assert article.owner
    assert article.source_url.startswith(("https://learn.microsoft.com/", "https://www.rfc-editor.org/"))
