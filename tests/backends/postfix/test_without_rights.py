"""A user without rights, truly: the wrapper runs as nobody, and the doctor says which rights are missing."""

from __future__ import annotations

import os

import pytest

from bot.backends.ports import Refused, Unreachable
from bot.backends.postfix import Options, PostfixBackend
from bot.backends.postfix.host import PostfixHost
from bot.core.finding import Finding
from tests.backends.postfix.real_postfix import RealPostfix


def as_nobody(postfix: RealPostfix, **settings: str) -> PostfixBackend:
    """As over ssh, with a user who may do nothing special."""
    ssh = postfix.home / "ssh-as-nobody"
    drop = "setpriv --reuid 65534 --regid 65534 --clear-groups"
    ssh.write_text(f'#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND="$*" exec {drop} {postfix.wrapper}\n')
    ssh.chmod(0o755)
    options = Options.parse({"CONFIG_DIR": postfix.config_dir, "SSH": "nobody@relay.test", "ACT": "on", **settings})
    return PostfixBackend("relay", options, host=PostfixHost(options, ssh=[str(ssh)]))


def fault(found: list[Finding], words: str) -> Finding:
    (line,) = [f for f in found if words in f.says and f.level == "fault"]
    return line


async def test_each_missing_right_is_said_with_its_fix(postfix: RealPostfix) -> None:
    postfix.shell(f"chmod 0600 {postfix.home}/log")
    found = list(await as_nobody(postfix).check())
    assert [f.says.partition(": ")[2] for f in found if f.level == "ok"] == ["5 next hops"]
    queue = fault(found, "the queue can't be read")
    others = "$(postconf -h alternate_config_directories)"
    listed = f'postconf -e "alternate_config_directories = {others} {postfix.config_dir}" (in the default instance)'
    assert queue.fix == f"as root on relay.test: {listed}"
    log = fault(found, f"{postfix.home}/log (root:root 600) can't be read by nobody")
    assert f"as root on relay.test: chgrp adm {postfix.home}/log && chmod 0640 {postfix.home}/log && usermod" in log.fix
    assert f"postconf -c {postfix.config_dir} -e maillog_file_permissions=0644" in log.fix
    act = fault(found, "ready was refused")
    assert act.fix.endswith("nobody ALL=(root) NOPASSWD: /usr/local/sbin/mfi-postfix")


@pytest.mark.parametrize(("name", "user"), [("mfi", "mfi"), ("", "#54321")])
async def test_a_fix_names_the_user_that_ssh_takes_where_none_is_set_even_one_without_a_name(
    postfix: RealPostfix, monkeypatch: pytest.MonkeyPatch, name: str, user: str
) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, name)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    postfix.shell(f"chmod 0600 {postfix.home}/log")
    found = list(await as_nobody(postfix, SSH="relay.test").check())
    assert f"{user} ALL=(root)" in fault(found, "ready was refused").fix
    assert "usermod -aG adm nobody" in fault(found, "can't be read by nobody").fix, "that is who asked there"


async def test_without_rights_nothing_is_read_by_halves_or_done(postfix: RealPostfix) -> None:
    backend = as_nobody(postfix)
    with pytest.raises(Unreachable, match="alternate_config_directories"):
        await backend.snapshot()
    with pytest.raises(Refused, match="sudo"):
        await backend.set_connector_enabled(postfix.key("good"), enabled=False)
    found = await postfix.backend().connector(postfix.key("good"))
    assert found is not None and found.enabled


async def test_an_unreadable_table_fails_the_whole_read(postfix: RealPostfix) -> None:
    postfix.shell(f"chmod 0600 {postfix.config_dir}/transport.db")
    backend = as_nobody(postfix)
    with pytest.raises(Unreachable, match="transport"):
        await backend.connector(postfix.key("good"))
    assert "chmod o+r" in fault(list(await backend.check()), "transport").fix
