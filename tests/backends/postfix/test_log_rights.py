"""Owner, group and mode of a mail log decide what lets a user read it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.backends.postfix.log_rights import log_fix, rights_of
from bot.core.capabilities import Family, Place

HERE = Place(family=Family.POSTFIX)
AFAR = Place(family=Family.POSTFIX, config_dir="/etc/postfix-out", host="relay1.example.org")


def said(rights: str, user: str = "") -> str:
    return f"the mail log /var/log/mail.log{rights} can't be read{f' by {user}' if user else ': Permission denied'}"


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (said(" (syslog:adm 640)"), "as root: usermod -aG adm mfi, then restart mfi"),
        (said(" (root:logs 0640)"), "as root: usermod -aG logs mfi, then restart mfi"),
        (said(" (root:logs 640)", "relay"), "as root: usermod -aG logs relay, then restart mfi"),
    ],
)
def test_a_log_that_its_group_may_read_opens_by_that_group(error: str, fix: str) -> None:
    assert log_fix(error, "mfi", HERE, by_postfix=False) == fix


@pytest.mark.parametrize("rights", [" (root:root 600)", " (root:root 640)", " (syslog:adm 600)"])
def test_a_log_that_no_group_opens_gets_another_group_and_mode(rights: str) -> None:
    fix = log_fix(said(rights), "mfi", HERE, by_postfix=False)
    opened = "chgrp adm /var/log/mail.log && chmod 0640 /var/log/mail.log && usermod -aG adm mfi"
    assert fix.startswith(f"as root: {opened}, then restart mfi; so that it lasts: “create 0640 root adm”")


def test_a_log_that_postfix_writes_itself_is_set_in_postfix_of_that_instance_and_machine() -> None:
    fix = log_fix(said(" (root:root 600)", "mfi"), "?", AFAR, by_postfix=True)
    assert fix.startswith("as root on relay1.example.org: chgrp adm ")
    assert "postconf -c /etc/postfix-out -e maillog_file_permissions=0644" in fix


def test_a_user_without_a_name_gets_a_right_of_its_own() -> None:
    assert "setfacl -m u:1000:r /var/log/mail.log" in log_fix(said(" (a:b 640)"), "#1000", HERE, by_postfix=False)


def test_where_the_rights_are_not_seen_the_way_to_see_them_is_told() -> None:
    assert "namei -l /var/log/mail.log" in log_fix(said(""), "mfi", HERE, by_postfix=False)
    assert log_fix("anything", "mfi", AFAR, by_postfix=False) == "let mfi read the mail log on relay1.example.org"


def test_owner_group_and_mode_are_those_of_the_file(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.touch(mode=0o600)
    assert rights_of(log).endswith(" 600)") and ":" in rights_of(log)
    assert rights_of(tmp_path / "none") == ""
    if os.geteuid() == 0:
        os.chown(log, 54321, 54322)
        assert rights_of(log) == " (54321:54322 600)"
