"""An explanation joins diagnosis and article: what people are told, and the JSON document."""

from __future__ import annotations

import json

import pytest

from knowledge.articles import articles
from knowledge.diagnose import explain
from knowledge.explanation import EXAMPLE

KEYS = (
    "code reported reply expired title meaning owner causes fixes fix_now smart_host ip recipient retry_at reason "
    "detail advice evidence others confidence source"
)
NOT_OURS = "550 5.7.18 Domain owner discourages use of this host"


@pytest.mark.parametrize("text", ["450 4.4.316", "nothing known", NOT_OURS, "421", ""])
def test_the_document_has_exactly_the_agreed_keys_and_survives_json(text: str) -> None:
    document = explain(text).document()
    assert list(document) == KEYS.split()
    assert json.loads(json.dumps(document)) == document


def test_an_expired_refusal_is_explained_by_the_familys_article() -> None:
    document = explain("550 5.4.316 Message expired, connection refused(Socket error code 10061)").document()
    assert (document["code"], document["reported"], document["reply"]) == ("4.4.316", "5.4.316", "550")
    assert (document["expired"], document["fix_now"], document["confidence"]) == (True, True, "exact")
    assert document["title"] == "Connection refused"
    assert document["owner"] == ["on_premises", "connector", "partner"]
    assert document["source"].startswith("https://learn.microsoft.com/")


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("4.4.316", "450"),
        ("5.4.316", "550"),
        ("554 5.4.316", "554"),
        ("5.1.1", None),
        ("421", "421"),
        ("nothing", None),
    ],
)
def test_the_usual_reply_stands_in_where_the_text_has_none(text: str, reply: str | None) -> None:
    assert explain(text).document()["reply"] == reply


def test_certificate_reasons_bring_the_certificates_fixes_under_the_reported_code() -> None:
    explanation = explain("450 4.4.317 Cannot connect to remote server [Message=UntrustedRoot]")
    document = explanation.document()
    assert (document["code"], document["advice"]) == ("4.4.317", ["4.7.320"])
    assert document["fixes"] == list(articles()["4.7.320"].fixes)
    assert document["causes"] == list(articles()["4.7.320"].causes)
    assert explanation.because == "the certificate's issuer is not trusted"


def test_a_code_without_article_is_never_a_dead_end() -> None:
    explanation = explain(NOT_OURS)
    document = explanation.document()
    assert (document["code"], document["confidence"], document["fix_now"]) == ("5.7.18", "class", False)
    assert document["title"] == "Something about security or a policy"
    assert "refused for good" in document["meaning"]
    assert document["fixes"] and document["causes"]
    assert document["owner"] == ["sender", "partner"]
    assert not explanation.known and explanation.because is None


def test_a_bare_reply_is_explained_by_its_first_digit() -> None:
    document = explain("421").document()
    assert document["title"] == "Another delivery error"
    assert "421" in document["meaning"]
    assert document["owner"] == list(articles()["other"].owner)


def test_nothing_found_says_what_to_paste_instead() -> None:
    explanation = explain("good morning")
    document = explanation.document()
    assert (document["code"], document["confidence"], document["source"]) == (None, "class", None)
    assert EXAMPLE in document["meaning"]
    assert document["owner"] == document["causes"] == document["fixes"] == []
    assert not explanation.found


def test_the_example_is_one_that_is_understood() -> None:
    assert explain(EXAMPLE).diagnosis.code == "4.4.316"


@pytest.mark.parametrize(
    ("words", "code"),
    [("certificate expired", "4.7.320"), ("connection refused", "4.4.316"), ("smtp inspection", "4.4.318")],
)
def test_words_find_an_article(words: str, code: str) -> None:
    document = explain(words).document()
    assert (document["code"], document["confidence"]) == (code, "inferred")


def test_a_long_text_is_no_search() -> None:
    assert explain("inspection " * 20).diagnosis.code is None


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("550 5.4.316 Message expired", "Yes: it waited out its time"),
        ("550 5.1.1 nobody", "Yes: it was refused for good"),
        ("554", "Yes: it was refused for good"),
        ("450 4.4.316", "Not yet"),
        ("421", "Not yet"),
        ("connection refused", "Not yet"),
    ],
)
def test_it_says_whether_it_has_bounced(text: str, start: str) -> None:
    assert explain(text).bounced.startswith(start)
