"""MTA-STS records and policies out of text, good and hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.mta_sts import LONGEST_AGE, NoPolicy, Policy, parse_policy, policy_id

GOOD = "version: STSv1\r\nmode: enforce\r\nmx: mx1.contoso.test\r\nmx: *.contoso.test\r\nmax_age: 86400\r\n"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], None),
        (["v=spf1 -all"], None),
        (["v=STSv1; id=20260101T0000;", "v=spf1"], "20260101T0000"),
        (["v=STSv1; id=a"], "a"),
        (["v=STSv1;x=y; id = b1 ;z=w"], "b1"),
    ],
)
def test_the_record_names_the_policy(texts: list[str], found: str | None) -> None:
    assert policy_id(texts) == found


@pytest.mark.parametrize(
    "texts", [["v=STSv1; id=a", "v=STSv1; id=b"], ["v=STSv1"], ["v=STSv1; id=a-b"], ["v=STSv1; id="]]
)
def test_a_broken_record_is_no_policy(texts: list[str]) -> None:
    with pytest.raises(NoPolicy):
        policy_id(texts)


def test_a_good_policy_is_read_with_either_line_end() -> None:
    policy = Policy("enforce", ("mx1.contoso.test", "*.contoso.test"), 86400)
    assert parse_policy(GOOD) == parse_policy(GOOD.replace("\r\n", "\n")) == policy
    assert parse_policy("version: STSv1\nmode: none\nmax_age: 9999999999") == Policy("none", (), LONGEST_AGE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        GOOD.replace("STSv1", "STSv2"),
        "mode: enforce\n" + GOOD,
        GOOD.replace("enforce", "strict"),
        GOOD.replace("86400", "long"),
        GOOD.replace("86400", ""),
        "version: STSv1\nmode: enforce\nmax_age: 1",
        GOOD.replace("mx1.contoso.test", "<!channel>"),
        GOOD + "just words\n",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(NoPolicy):
        parse_policy(text)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mx1.contoso.test", True),
        ("MX1.contoso.test.", True),
        ("mx2.contoso.test", True),
        ("a.mx2.contoso.test", False),
        ("contoso.test", False),
        ("mx1.fabrikam.test", False),
    ],
)
def test_a_wildcard_stands_for_one_label(host: str, allowed: bool) -> None:
    assert parse_policy(GOOD).allows(host) == allowed


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    for parse in (parse_policy, lambda t: policy_id([t])):
        try:
            parse(text)
        except NoPolicy as error:
            assert str(error)
