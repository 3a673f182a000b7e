"""Reading `postconf`, `postmap -s` and the settings of an instance."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.backends.options import BadOptions
from bot.backends.postfix.config import (
    PARAMETERS,
    Table,
    as_table,
    inline_entries,
    lifetime,
    listed_entries,
    members,
    read_services,
    read_settings,
    tables,
)
from bot.backends.postfix.options import OPTIONAL, Options
from tests.backends.postfix.real_postfix import WRAPPER

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("a.test, b.test c.test\n\td.test", ["a.test", "b.test", "c.test", "d.test"]),
        ("hash:/etc/postfix/a,hash:/b", ["hash:/etc/postfix/a", "hash:/b"]),
        ("inline:{ {a = b c}, {d=e} }, hash:/b", ["inline:{ {a = b c}, {d=e} }", "hash:/b"]),
        ("} a }", ["}", "a", "}"]),
        ("{ unclosed, brace", ["{ unclosed, brace"]),
    ],
)
def test_lists_are_split_as_postfix_does(text: str, found: list[str]) -> None:
    assert members(text) == found


@given(st.lists(st.from_regex(r"[a-z0-9.:/]{1,12}", fullmatch=True)), st.sampled_from([",", " ", ", ", "\n "]))
def test_every_member_is_found_again(names: list[str], separator: str) -> None:
    assert members(separator.join(names)) == names


@given(st.text())
def test_no_text_breaks_the_readers(text: str) -> None:
    assert all(members(member) for member in members(text))
    assert read_settings(text).keys() <= set(PARAMETERS)
    assert "" not in listed_entries(text)
    assert isinstance(inline_entries(text), dict) and isinstance(read_services(text), dict)
    assert lifetime(text, DAY) >= timedelta()


def test_tables_have_a_kind_and_a_place() -> None:
    assert tables("/etc/a, lmdb:/b, proxy:hash:/c", "lmdb") == [
        Table("lmdb", "/etc/a"), Table("lmdb", "/b"), Table("hash", "/c"),
    ]  # fmt: skip
    listable = {
        ref: as_table(ref).listable
        for ref in ("texthash:/a", "cdb:/a", "regexp:/a", "ldap:/a", "hash:relative", "hash:/a b")
    }
    assert listable == {
        "texthash:/a": True, "cdb:/a": True,
        "regexp:/a": False, "ldap:/a": False, "hash:relative": False, "hash:/a b": False,
    }  # fmt: skip


def test_entries_are_found_under_their_lower_case_keys() -> None:
    assert listed_entries("Contoso.test\tsmtp:[a]\ncontoso.test\tsmtp:[b]\nno tab\n") == {"contoso.test": "smtp:[a]"}
    assert inline_entries("{ {A.test = smtp:[b] }, c=d, odd }") == {"a.test": "smtp:[b]", "c": "d"}


@pytest.mark.parametrize(
    ("text", "hours"), [("5d", 120), ("1", 24), ("36h", 36), ("0", 0), ("1w", 168), ("90m", 1.5), ("3600s", 1), ("", 7)]
)
def test_lifetimes_have_units(text: str, hours: float) -> None:
    assert lifetime(text, timedelta(hours=7)) == timedelta(hours=hours)


def test_services_are_read_with_their_own_settings() -> None:
    found = read_services(
        "smtp       inet  n - y - - smtpd\nsmtp       unix  - - y - - smtp\n"
        "slow unix - - n - 2 smtp\n    -o smtp_tls_security_level=encrypt -o syslog_name=postfix/slow\nbad unix\n"
    )
    assert {name: s.command for name, s in found.items()} == {"smtp": "smtp", "slow": "smtp"}
    assert found["slow"].options["smtp_tls_security_level"] == "encrypt"


def test_the_wrapper_asks_for_the_same_settings() -> None:
    script = WRAPPER.read_text()
    asked = script.partition('PARAMETERS="')[2].partition('"')[0].split()
    assert sorted(asked) == sorted(PARAMETERS)


def test_options_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "k").touch()
    key = str(tmp_path / "k")
    found = Options.parse({
        "CONFIG_DIR": "/etc/postfix-out/", "SSH": "mfi@relay.contoso.test", "SSH_KEY": key, "ACT": "on",
        "ON_PREMISES": "smtp:[A.test], b.test", "TIMEOUT": "5", "LOG": "off", "RECIPIENTS": " ",
    })  # fmt: skip
    assert found == Options(
        config_dir="/etc/postfix-out", ssh="mfi@relay.contoso.test", ssh_key=key, act=("on",), timeout=5.0, log="off",
        on_premises=frozenset({"smtp:[a.test]", "b.test"}),
    )  # fmt: skip
    assert Options.parse({"ACT": "sudo -n /usr/local/sbin/mfi-postfix"}).act == (
        "sudo", "-n", "/usr/local/sbin/mfi-postfix",
    )  # fmt: skip
    assert Options.parse({"ACT": "off"}) == Options()


@pytest.mark.parametrize(
    ("option", "settings"),
    [
        ("CONFIG_DIR", {"CONFIG_DIR": "etc/postfix"}),
        ("CONFIG_DIR", {"CONFIG_DIR": "/etc/post fix"}),
        ("CONFIG_DIR", {"CONFIG_DIR": "/etc/../root"}),
        ("SSH", {"SSH": "-oProxyCommand=x"}),
        ("SSH", {"SSH": "mfi@host name"}),
        ("SSH_KEY", {"SSH": "mfi@relay.test", "SSH_KEY": "/no/such/key"}),
        ("SSH_KEY", {"SSH": "mfi@relay.test", "SSH_KEY": "-----BEGIN OPENSSH PRIVATE KEY-----" + 300 * "x"}),
        ("LOG", {"LOG": "mail.log"}),
        ("LOG", {"LOG": "/var/log/mail.log", "SSH": "relay.test"}),
        ("ACT", {"ACT": "mfi-postfix"}),
        ("ACT", {"ACT": "'"}),
        ("ACT", {"ACT": "/usr/local/sbin/mfi-postfix", "SSH": "relay.test"}),
        ("TIMEOUT", {"TIMEOUT": "soon"}),
        ("TIMEOUT", {"TIMEOUT": "0"}),
    ],
)
def test_senseless_options_are_named(option: str, settings: dict[str, str]) -> None:
    with pytest.raises(BadOptions) as caught:
        Options.parse(settings)
    assert [name for name, _ in caught.value.problems] == [option] and option in OPTIONAL


def test_all_senseless_options_are_named_together() -> None:
    with pytest.raises(BadOptions) as caught:
        Options.parse({"CONFIG_DIR": "x", "SSH": "a b", "SSH_KEY": "/no/key", "LOG": "x", "ACT": "x", "TIMEOUT": "x"})
    assert [name for name, _ in caught.value.problems] == ["CONFIG_DIR", "SSH", "SSH_KEY", "LOG", "ACT", "TIMEOUT"]
