"""What `mfi explain` prints: complete, within 80 columns, harmless whatever was pasted."""

from __future__ import annotations

import pytest

from bot.terminal.explain import OWNER_WORDS, render_explanation
from knowledge.article import OWNERS
from knowledge.articles import articles
from knowledge.diagnose import explain
from knowledge.registry import OWNERS as REGISTRY_OWNERS


def shown(text: str, width: int = 80) -> str:
    return render_explanation(explain(text), width)


@pytest.mark.parametrize("code", sorted(articles()))
def test_every_article_fits_80_columns(code: str) -> None:
    long = [line for line in shown(f"450 {code if code != 'other' else '4.1.99'} x").splitlines() if len(line) > 80]
    assert all("https://" in line for line in long)


def test_a_waiting_refusal_reads_from_what_happened_to_the_source() -> None:
    text = shown(
        "450 4.4.316 Connection refused [Message=Socket error code 10061] "
        "[LastAttemptedServerName=mx.contoso.com] [LastAttemptedIP=203.0.113.8:25]"
    )
    order = [
        "450 4.4.316  Connection refused",
        "Reason given: Socket error code 10061",
        "mx.contoso.com [203.0.113.8]",
        "Who must act",
        "Likely causes",
        "What to do",
        "  1. ",
        "Has it bounced already?",
        "Not yet",
        "\nFix now\n",
        "How to verify",
        "If it is a partner's server",
        "Source: https://",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_an_expired_error_is_named_as_reported_and_said_to_have_bounced() -> None:
    text = shown("550 5.4.317 Message expired\n450 4.4.315 earlier")
    assert "\n550 5.4.317  Cannot connect to remote server\n====" in text
    assert "the expired form of 4.4.317" in text
    assert "Also named:   4.4.315" in text
    assert "Yes: it waited out" in text
    assert "Fix now\n" not in text


def test_an_inferred_code_says_so() -> None:
    assert "found by the meaning" in shown("connect to mx.contoso.com[203.0.113.8]:25: Connection refused")


def test_a_code_without_article_says_so() -> None:
    text = shown("550 5.7.18 Domain owner discourages this")
    assert text.startswith("550 5.7.18  Something about security")
    assert "no article for exactly this" in text


def test_a_bare_reply_is_not_printed_twice() -> None:
    assert shown("421").startswith("421  Another delivery error\n")


def test_nothing_found_says_what_to_paste_with_an_example() -> None:
    text = shown("good morning")
    assert text.startswith("No delivery error was recognised")
    assert "450 4.4.316 Connection refused [Message=" in text


def test_control_characters_of_a_paste_never_reach_the_terminal() -> None:
    text = shown("450 4.4.316 x [Message=\x1b[31mred\x07] {LRT=\x1b]0;title\x07 1}")
    assert not any(ord(letter) < 32 and letter != "\n" for letter in text)


def test_every_owner_has_words() -> None:
    assert set(OWNER_WORDS) == OWNERS
    assert {owner for owners in REGISTRY_OWNERS.values() for owner in owners} <= OWNERS


def test_several_errors_are_a_short_table_with_the_main_one_first() -> None:
    text = shown(
        "to=<a@b.test> 450 4.4.316 Connection refused [LastAttemptedServerName=mx.b.test]\n"
        "to=<a@b.test> 550 5.1.1 User unknown [LastAttemptedServerName=mx.b.test]"
    )
    assert "2 different errors stand in this text" in text
    table = [line for line in text.splitlines() if line.startswith(("  4.4.316", "  5.1.1"))]
    assert table == [
        "  4.4.316  1    Connection refused   mx.b.test",
        "  5.1.1    1    Recipient not found  mx.b.test",
    ]
    assert "They disagree: 5.1.1 is final, but 4.4.316 is still tried again" in " ".join(text.split())


def test_a_search_names_what_else_it_found() -> None:
    text = " ".join(shown("dane").split())
    assert "Found by these words too: 4.7.322 DANE: the certificate has expired" in text


def test_several_errors_stand_in_a_table_before_the_main_one() -> None:
    text = shown(
        "to=<a@contoso.test>, 450 4.4.316 Connection refused [LastAttemptedServerName=mx.contoso.test]\n"
        "to=<b@contoso.test>, 550 5.1.10 RecipientNotFound; Recipient not found"
    )
    assert text.startswith("2 different errors stand in this text; the first is explained below.\n")
    assert text.index("5.1.10") < text.index("450 4.4.316  Connection refused\n====")


def test_what_contradicts_is_said_below_the_facts() -> None:
    text = shown("450 5.4.1 Relay access denied")
    assert "They disagree: 450 says try again later" in text


def test_other_articles_that_fit_the_words_are_named() -> None:
    assert "Found by these words too:" in shown("relay denied")


def test_a_partners_postmaster_gets_a_note_where_a_person_reads_and_a_partner_must_act() -> None:
    error = explain("550 5.7.1 Relay access denied by mx.fabrikam.test")
    assert error.owner[0] == "partner"
    assert "Dear postmaster" in render_explanation(error, note=True)
    assert "Dear postmaster" not in render_explanation(error)
    assert "Dear postmaster" not in render_explanation(explain("450 4.4.316"), note=True)


def test_other_is_told_to_be_no_code_and_where_its_words_stand() -> None:
    text = " ".join(shown("other").split())
    assert "“other” is no code of a mail system" in text and "mfi queue" in text
    assert "How sure" not in text and "No delivery error" not in text


def test_commands_name_the_server_and_the_recipient_of_the_error() -> None:
    text = shown("to=<jo@fabrikam.com>, 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found")
    assert "smtp:jo@fabrikam.com" in text
    text = shown("450 4.4.312 DNS query failed [Message=x] [LastAttemptedServerName=mx.fabrikam.com]")
    assert "mx.fabrikam.com" in text.partition("What to do")[2] and "contoso" not in text
