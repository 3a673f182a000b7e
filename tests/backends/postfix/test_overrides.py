"""The tables that belong to the bot."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.backends.ports import Refused
from bot.backends.postfix import overrides
from storage.records import DomainType
from tests.backends.postfix.real_postfix import WRAPPER

HELD = {"a.test": overrides.HOLD}


def allowed(table: str) -> re.Pattern[str]:
    """The lines that the wrapper lets through."""
    pattern = re.search(rf"put {table} '(.*)'", WRAPPER.read_text())
    assert pattern
    return re.compile(pattern[1].replace("[[:print:]]", "[ -~]").replace("[:space:]", r"\s"))


def test_rejections_stand_beside_what_is_held_and_go_alone() -> None:
    found = overrides.with_rejections({**HELD, "old@a.test": "error:5.1.1 left over"}, ["b@a.test"], "not\nknown")
    assert found == {**HELD, "b@a.test": "error:5.1.1 not known"}
    assert overrides.lasting(found) == HELD


def test_holding_and_releasing_touch_their_own_patterns_only() -> None:
    held = overrides.with_held(HELD, ["b.test", ".b.test"], held=True)
    assert held == {**HELD, "b.test": overrides.HOLD, ".b.test": overrides.HOLD}
    assert overrides.with_held(held, ["b.test", ".b.test"], held=False) == HELD


def test_a_domain_is_open_or_has_its_addresses() -> None:
    open_to_all = {"@a.test": "OK", "x@b.test": "OK"}
    closed = overrides.with_domain(open_to_all, "a.test", DomainType.AUTHORITATIVE, ["y@a.test"])
    assert closed == {"x@b.test": "OK", "y@a.test": "OK"}
    assert overrides.with_domain(closed, "a.test", DomainType.INTERNAL_RELAY, []) == open_to_all


@pytest.mark.parametrize("address", ["no address", "a#b@c.test", "@c.test", "a@b@c.test", "a@c.test\tsmtp:[evil.test]"])
def test_what_can_not_stand_in_a_table_is_refused(address: str) -> None:
    with pytest.raises(Refused, match="can't stand in a table"):
        overrides.with_rejections({}, [address], "x")


def test_an_odd_directory_address_is_refused() -> None:
    with pytest.raises(Refused, match="can't stand in a table"):
        overrides.with_domain({}, "a.test", DomainType.AUTHORITATIVE, ["a#b@a.test"])


@given(st.lists(st.from_regex(r"[^\s#@]{1,20}@[a-z.]{1,20}", fullmatch=True)), st.text())
def test_the_wrapper_lets_through_what_we_write(addresses: list[str], reason: str) -> None:
    lines = overrides.text(overrides.with_rejections(HELD, addresses, reason)).decode().split("\n")
    assert all(allowed("mfi_overrides").search(line) for line in lines if line)
    assert len(lines) == len(set(addresses)) + 2
