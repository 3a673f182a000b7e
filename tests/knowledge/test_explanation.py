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
    assert sorted(document["causes"]) == sorted(articles()["4.7.320"].causes)
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


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("450 4.4.317 x [Message=SubjectMismatch Expected Subject: a]", "Its names"),
        ("450 4.4.317 x [Message=UntrustedRoot]", "Its chain"),
        ("450 4.4.317 x [Message=451 5.7.3 STARTTLS is required to send mail]", "The connector requires TLS"),
        ("450 4.4.317 x [Message=451 4.4.0 TLS negotiation failed with error SocketError]", "The TLS handshake fails"),
        ("450 4.4.312 DNS query failed [Message=InfoDomainNonexistent]", "The domain's registration"),
        ("450 4.4.312 DNS query failed [Message=InfoNoRecords]", "The MX or address record"),
        ("450 4.4.312 DNS query failed [Message=ErrorRetry]", "The DNS servers that hold"),
        ("connect to mx.b.test[203.0.113.7]:25: No route to host", "Routing between"),
        ("550 5.7.1 Unable to relay", "Unable to relay"),
        ("550 5.7.1 blocked, see the block list", "Your sending address is on a block list"),
        ("550 5.7.51 TenantInboundAttribution; RestrictDomainsToCertificate set", "The certificate isn't the expected"),
    ],
)
def test_the_causes_that_the_details_point_to_come_first(text: str, first: str) -> None:
    assert explain(text).causes[0].startswith(first)


def test_details_of_codes_outside_the_family_give_a_because_too() -> None:
    assert explain("550 5.1.1 <a@b.test>: User unknown").because == "the receiver does not know this recipient"
    assert explain("450 4.4.316").because is None


def test_an_expired_error_says_that_the_next_messages_expire_too() -> None:
    assert "expires likewise" in explain("550 5.4.316 Message expired").bounced


def test_a_code_without_article_begins_with_what_its_subject_says_to_look_at() -> None:
    assert explain("550 5.7.18 no").fixes[0].startswith("Find the rule or policy")
    assert explain("421").fixes == articles()["other"].fixes


def test_a_search_keeps_what_else_it_found() -> None:
    said = explain("dane")
    assert said.article is said.matches[0]
    assert all(article.code.startswith("4.7.32") for article in said.matches)
    assert explain("450 4.4.316").matches == ()
    assert explain("edge blocking").article.code == "5.4.1-dbeb"
    assert explain("edge blocking").document()["code"] == "5.4.1"


def test_words_in_other_languages_are_understood_where_no_code_survived() -> None:
    for text, code in (
        ("Verbindungsaufbau abgelehnt", "4.4.316"),
        ("Der angegebene Host ist unbekannt", "4.4.312"),  # codespell:ignore
        ("H\u00f4te inconnu", "4.4.312"),
        ("Expir\u00f3 el tiempo de conexi\u00f3n", "4.4.315"),
        ("certificato scaduto", "4.7.320"),
        ("het certificaat is verlopen", "4.7.320"),
        ("Conex\u00e3o recusada", "4.4.316"),
        ("Zeit\u00fcberschreitung der Verbindung", "4.4.315"),
        ("le certificat a expir\u00e9", "4.7.320"),  # codespell:ignore
        ("el host no existe", "4.4.312"),
    ):
        assert explain(text).diagnosis.code == code, text


def test_a_report_of_success_is_no_error_and_asks_nothing_of_anybody() -> None:
    told = explain("to=<a@b.test>, relay=mx.b.test[192.0.2.1]:25, dsn=2.0.0, status=sent (250 2.0.0 OK)")
    assert (told.title, told.delivered, told.because) == ("Delivered", True, None)
    assert (told.owner, told.causes, told.fixes) == ((), (), ())
    assert "no error" in told.meaning
    assert told.bounced.startswith("No:")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("450 4.4.316 Connection refused", "Exchange Online gives up 24 hours"),
        ("connect to mail.b.test[192.0.2.7]:25: Connection refused", "Postfix 5 days"),
        ("451 4.7.1 greylisted, try again", "Postfix 5 days"),
    ],
)
def test_when_it_bounces_depends_on_whose_words_they_are(text: str, says: str) -> None:
    assert says in explain(text).bounced


def test_what_was_refused_for_good_is_headed_by_a_final_reply() -> None:
    text = "dsn=5.4.4, status=bounced (Host or domain name not found. Name service error for name=b.test type=AAAA)"
    assert explain(text).document()["reply"] == "550"


@pytest.mark.parametrize("typed", ["other", "Other", ' "other" ', "`other`", "code other"])
def test_what_the_bot_calls_other_is_explained_in_words(typed: str) -> None:
    said = explain(typed)
    document = said.document()
    assert (said.found, document["code"], document["confidence"]) == (True, "other", "class")
    assert document["meaning"].startswith("“other” is no code of a mail system")
    assert "`/mfi queue <connector>`" in said.fixes[0] and "`/mfi explain`" in said.fixes[0]
    assert document["fixes"][1:] == list(articles()["other"].fixes)
    assert document["owner"] == list(articles()["other"].owner)


@pytest.mark.parametrize("typed", ["another", "other words", "others"])
def test_words_that_hold_other_are_searched_for_as_before(typed: str) -> None:
    assert explain(typed).diagnosis.code != "other"


def test_the_words_of_exchange_servers_unreachable_queue_lead_to_the_missing_connector() -> None:
    said = explain("A matching connector cannot be found to route the external recipient")
    assert (said.diagnosis.code, said.title) == ("4.4.4", "No route for this mail")
    assert said.causes[0].startswith("No Send connector covers the domain")
    assert any("Retry-Queue -Identity Unreachable -Resubmit $true" in step for step in said.fixes)
