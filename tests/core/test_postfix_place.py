"""Postfix's commands name the instance that is meant, and the machine where that is known."""

from __future__ import annotations

import re

import pytest

from bot.core.advice import fitting
from bot.core.capabilities import Family, Place
from bot.core.postfix_place import at_place, on_host, tool
from knowledge.articles import articles

USUAL = Place(family=Family.POSTFIX)
SECOND = Place(family=Family.POSTFIX, config_dir="/etc/postfix-out")
AFAR = Place(family=Family.POSTFIX, host="relay1.example.org")
TOOLS = r"\b(?:postqueue|postconf|postsuper|postmap|postfix (?:reload|check))\b"


@pytest.mark.parametrize("code", sorted(articles()))
def test_every_step_on_a_default_instance_stays_as_it_is(code: str) -> None:
    for step in fitting(articles()[code], Family.POSTFIX).fixes:
        assert at_place(step, USUAL) == step


@pytest.mark.parametrize("code", sorted(articles()))
def test_no_step_for_another_instance_leads_to_the_default_one(code: str) -> None:
    for step in fitting(articles()[code], Family.POSTFIX).fixes:
        told = at_place(step, SECOND)
        assert not re.search(r"/etc/postfix(?![\w-])", told), told
        assert not re.search(rf"{TOOLS}", re.sub(r"\b(post\w+) -c /etc/postfix-out\b", "", told)), told
        assert not re.search(r"(?<!MAIL_CONFIG=/etc/postfix-out )posttls-finger", told), told
        assert at_place(told, SECOND) == told or "posttls-finger" in told, "nothing is said twice"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("`postqueue -p`", "`postqueue -c /etc/postfix-out -p`"),
        ("`postmap` it, `postfix reload`.", "`postmap -c /etc/postfix-out` it, `postfix -c /etc/postfix-out reload`."),
        ("`postmap -q a.test hash:/etc/postfix/transport`",
         "`postmap -c /etc/postfix-out -q a.test hash:/etc/postfix-out/transport`"),
        ("`posttls-finger -c a`", "`MAIL_CONFIG=/etc/postfix-out posttls-finger -c a`"),
        ("`systemctl status postfix` and postfix-out", "`systemctl status postfix` and postfix-out"),
        ("`postfix check`", "`postfix -c /etc/postfix-out check`"),
    ],
)  # fmt: skip
def test_commands_and_files_are_those_of_the_instance(text: str, told: str) -> None:
    assert at_place(text, SECOND) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("On the Postfix machine: `dig a`.", "On `relay1.example.org`: `dig a`."),
        (
            "`postqueue -p`, `nc -vz a 25` on the Postfix machine.",
            "`postqueue -p`, `nc -vz a 25` on `relay1.example.org`.",
        ),
        ("It moved: `postmap` the table.", "It moved: `postmap` the table. (Type it on `relay1.example.org`.)"),
        ("Look at the server: is it up?", "Look at the server: is it up?"),
    ],
)
def test_a_step_with_a_command_says_on_which_machine(text: str, told: str) -> None:
    assert at_place(text, AFAR) == told


def test_a_directory_is_quoted_for_the_shell() -> None:
    odd = Place(family=Family.POSTFIX, config_dir="/etc/it's")
    assert tool(odd, "postqueue") == "postqueue -c '/etc/it'\"'\"'s'"
    assert (on_host(USUAL), on_host(AFAR)) == ("", " on relay1.example.org")
