"""Advice that fits the mail system: own words for Postfix and Exchange Server, and nothing of another system."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bot.core.advice import fitting, is_own
from bot.core.advice_words import OWN
from bot.core.capabilities import Family
from knowledge.articles import articles
from knowledge.signals import TAGS

OUTAGES = ("4.4.312", "4.4.315", "4.4.316", "4.4.317", "4.4.318", "4.7.320")
CLOUD = r"Microsoft 365|Exchange Online|Office 365|endpoint set|AcceptedDomain|OutboundConnector"
EXCHANGE = rf"{CLOUD}|Exchange|\b(Get|Set|Test)-[A-Z]|admin center|TlsDomain"


def test_exchange_online_has_the_articles_as_they_stand() -> None:
    for about in articles().values():
        assert fitting(about, Family.EXCHANGE_ONLINE, 2525) is about
        assert not is_own(about, Family.EXCHANGE_ONLINE)


@pytest.mark.parametrize(("family", "foreign"), [(Family.POSTFIX, EXCHANGE), (Family.EXCHANGE_SERVER, CLOUD)])
def test_no_cause_and_no_step_of_another_mail_system_is_left(family: Family, foreign: str) -> None:
    for about in articles().values():
        fits = fitting(about, family)
        assert len(fits.causes) == len(fits.cause_tags)
        texts = (*fits.causes, *fits.fixes, *([fits.partner] if about.code in OUTAGES else []))
        assert not [text for text in texts if re.search(foreign, text)], about.code


def test_every_code_of_an_outage_has_own_words_for_postfix() -> None:
    assert sorted(OWN[Family.POSTFIX]) == sorted(OUTAGES)
    for code in OUTAGES:
        about = articles().for_code(code)
        assert is_own(about, Family.POSTFIX)
        assert len(fitting(about, Family.POSTFIX).fixes) >= 4


@pytest.mark.parametrize("family", sorted(OWN))
def test_own_words_are_short_enough_for_an_alert_and_name_known_details(family: Family) -> None:
    for code, advice in OWN[family].items():
        assert {tag for tags, _ in advice.causes for tag in tags} <= TAGS, code
        for text in (*advice.steps, *(words for _, words in advice.causes)):
            assert len(text) <= 250, text
            assert text.count("`") % 2 == 0, text


def test_an_article_without_own_words_keeps_the_steps_that_fit() -> None:
    about = articles().for_code("4.4.2")
    about = replace(
        about, fixes=("Use `Get-Queue`.", "Allow TCP 25 in.", "See step 1."), partner="Ask about TlsDomain."
    )
    fits = fitting(about, Family.POSTFIX, 2525)
    assert not is_own(about, Family.POSTFIX)
    assert (fits.fixes, fits.partner) == (("Allow TCP 2525 in.",), "Ask about name.")
    assert fits.causes == about.causes


@pytest.mark.parametrize("family", sorted(OWN))
def test_the_next_hops_own_port_is_named(family: Family) -> None:
    for code in OWN[family]:
        fits = fitting(articles().for_code(code), family, 2525)
        texts = (*fits.causes, *fits.fixes, fits.partner)
        assert not [text for text in texts if re.search(r"\b25\b", text)], code
    told = " ".join(fitting(articles().for_code("4.4.316"), family, None).fixes)
    assert "TCP 25 " in told
