"""The coverage table: every code, range end and alias leads to its article; `python -m knowledge` fails if not."""

from __future__ import annotations

import dataclasses

import pytest

from knowledge.__main__ import main
from knowledge.articles import Articles, articles
from knowledge.codes import parse
from knowledge.coverage import table, unreachable
from knowledge.diagnose import explain

SHARED = sorted((code, key) for key, a in articles().items() if a.status != "other" for code in sum(a.spans, ()))


def test_everything_is_reachable() -> None:
    assert unreachable(articles()) == []


def test_what_cannot_be_reached_is_named() -> None:
    alone = dataclasses.replace(articles()["5.7.64"], code="5.7.51", aliases=("certificate expired",))
    told = unreachable(Articles([alone, dataclasses.replace(alone, also=("5.7.1-5.7.9",)), articles()["other"]]))
    assert told == ["5.7.51.md: the alias 'certificate expired' leads to 4.7.320.md"]
    hidden = dataclasses.replace(articles()["5.1.351"], also=("5.7.64",), aliases=())
    assert unreachable(Articles([articles()["5.7.64"], hidden, articles()["other"]])) == [
        "5.1.351.md: 5.7.64 leads to 5.7.64.md"
    ]


def test_the_table_holds_every_article_once_in_the_order_of_codes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = table(articles())
    assert sorted(line.file for line in lines) == sorted(f"{key}.md" for key in articles())
    assert lines[-1].file == "other.md"
    assert next(line.codes for line in lines if line.file == "5.7.606.md") == "5.7.606, 5.7.606–5.7.649"
    assert main(articles()) == 0
    shown = capsys.readouterr().out
    assert "5.4.1 (recipient address rejected)" in shown
    assert shown.endswith(f"{len(articles())} articles; 0 problems\n")


def test_the_command_fails_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    lost = dataclasses.replace(articles()["5.7.64"], aliases=("certificate expired",))
    assert main(Articles([lost, articles()["other"]])) == 1
    assert capsys.readouterr().err == "5.7.64.md: the alias 'certificate expired' leads to 4.7.320.md\n"


@pytest.mark.parametrize(("code", "key"), SHARED)
def test_every_covered_code_is_explained_by_its_article(code: str, key: str) -> None:
    words = articles()[key].when[0] if articles()[key].when else ""
    said = explain(f"{'550' if code[0] == '5' else '450'} {code} {words}")
    assert said.diagnosis.code in (code, "4.7.320") or parse(code) is not None
    if said.diagnosis.code == code:
        assert said.article.code == key
        assert said.known and said.document()["confidence"] in ("exact", "inferred")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("550 5.7.520 Access denied, Your organization does not allow external forwarding. AS(7555)", "5.7.520"),
        ("550 5.7.30 Basic authentication is not supported for Client Submission.", "5.7.30-basic-auth"),
        ("550 5.7.30 REQUIRETLS support required", "5.7.10"),
        ("554 5.7.10 REQUIRETLS failure", "5.7.10"),
        ("550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "5.4.1-dbeb"),
        ("554 5.4.1 Relay Access Denied", "5.4.1"),
        ("550 5.7.5 Remote certificate failed MTA-STS validation. Reason: CertificateExpired", "4.7.5-mta-sts"),
        ("454 4.7.5 The certificate specified in TlsCertificateName could not be found", "4.7.5"),
        ("454 4.7.0 Failed to establish appropriate TLS channel: Access Denied", "4.7.0-attr41"),
        ("451 4.7.0 Temporary server error. Please try again later. PRX5", "4.7.0"),
        ("432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", "4.3.2-thread-limit"),
        ("421 4.3.2 Service not active", "4.3.2"),
        ("450 4.2.0 Greylisted, see postgrey", "4.7.1-greylisting"),
        ("552 5.2.2 Mailbox full", "5.2.2"),
        (
            "451 4.4.4 Mail received as unauthenticated, hosted tenant which has no mail-enabled subscriptions. ATTR5",
            None,
        ),
        ("550 5.7.322 certificate-expired", "4.7.322"),
        ("550 5.4.8 MX hosts of 'fabrikam.com' failed MTA-STS validation", "4.4.8"),
        ("550 5.7.650 out of the range", "other"),
        ("451 4.7.651 rate limited due to IP reputation", "4.7.500"),
        ("550 5.7.649 Access denied, banned sending IP", "5.7.606"),
    ],
)
def test_the_words_decide_where_one_code_has_several_meanings(text: str, key: str | None) -> None:
    assert explain(text).article.code == (key or "4.4.4-no-licence")
