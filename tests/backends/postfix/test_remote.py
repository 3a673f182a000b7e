"""Over ssh, with the wrapper as the key's forced command: the same answers, and nothing but the listed requests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bot.backends.ports import MessageRef, OutcomeUnknown, Refused, Unreachable
from bot.backends.postfix import Options, PostfixBackend
from bot.backends.postfix.host import SSH, LogPosition, PostfixHost
from storage.records import MessageStatus
from tests.backends.postfix.real_postfix import ENVIRONMENT, RealPostfix, until


def host_over_ssh(postfix: RealPostfix, options: Options, wrapper: Path | None = None) -> PostfixHost:
    """A stand-in for ssh and sshd: the words of the request become SSH_ORIGINAL_COMMAND of the forced command."""
    ssh = postfix.home / "ssh"
    ssh.write_text(f'#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND="$*" exec {wrapper or postfix.wrapper}\n')
    ssh.chmod(0o755)
    return PostfixHost(options, ssh=[str(ssh)])


def options_over_ssh(postfix: RealPostfix, **settings: str) -> Options:
    return Options.parse({"CONFIG_DIR": postfix.config_dir, "SSH": "mfi@relay.test", "ACT": "on", **settings})


def over_ssh(postfix: RealPostfix, wrapper: Path | None = None, **settings: str) -> PostfixBackend:
    options = options_over_ssh(postfix, **settings)
    return PostfixBackend("relay", options, host=host_over_ssh(postfix, options, wrapper))


async def test_it_reads_and_acts_as_it_does_here(postfix: RealPostfix) -> None:
    here, there = postfix.backend(), over_ssh(postfix)
    await postfix.send("games@senders.test", ["gone@refused.test", "valid@refused.test"])
    first = await until(here.snapshot, lambda s: len(s.messages or ()) == 2 and all(m.reason for m in s.messages or ()))
    second = await there.snapshot()
    assert set(second.messages or ()) == set(first.messages or ())
    assert (second.connectors, second.domains, second.notes) == (first.connectors, first.domains, ())
    assert there.capabilities == here.capabilities
    (gone,) = [m for m in second.messages or () if m.recipient.startswith("gone")]
    await there.reject([MessageRef(key=gone.key, recipient=gone.recipient)], "not known")
    (ended,) = await there.messages([MessageRef(key=gone.key, recipient=gone.recipient)])
    assert (ended.status, ended.reason) == (MessageStatus.REJECTED, "5.1.1 not known")
    assert {f.level for f in await there.check()} == {"ok", "note"}


async def test_a_cdb_table_is_read_through_its_text_here_and_there(postfix: RealPostfix) -> None:
    """Postfix looks such a table up but lists none."""
    etc = postfix.config_dir
    postfix.write(f"{etc}/mfi_overrides", "good.test\tretry:4.3.2 disabled by an administrator\n")
    maps = f"transport_maps = cdb:{etc}/mfi_overrides, cdb:{etc}/transport, proxy:cdb:{etc}/gone"
    postfix.command("postconf", "default_database_type = cdb", maps)
    for backend in (postfix.backend(), over_ssh(postfix)):
        found = await backend.connector(postfix.key("good"))
        assert found is not None and not found.enabled
        other = await backend.connector(postfix.key("busy"))
        assert other is not None and other.enabled
        says = " ".join(f.says for f in await backend.check())
        assert f"cdb:{etc}/transport is read from its text: after a change of that, run postmap -c {etc}" in says
        assert f"cdb:{etc}/gone can't be listed, so its entries are not seen" in says


async def test_without_our_own_tables_text_nothing_is_taken_for_enabled(postfix: RealPostfix) -> None:
    etc = postfix.config_dir
    postfix.command("postconf", "default_database_type = cdb", f"transport_maps = cdb:{etc}/mfi_overrides")
    postfix.shell(f"rm {etc}/mfi_overrides")
    for backend in (postfix.backend(), over_ssh(postfix)):
        with pytest.raises(Unreachable, match="mfi_overrides: No such file"):
            await backend.connector(postfix.key("good"))


async def test_a_refused_login_is_told_with_its_fix(postfix: RealPostfix) -> None:
    denied = postfix.home / "denied"
    denied.write_text("#!/bin/sh\necho 'mfi@relay.test: Permission denied (publickey).' >&2\nexit 255\n")
    denied.chmod(0o755)
    backend = over_ssh(postfix, denied)
    with pytest.raises(Unreachable, match="Permission denied"):
        await backend.snapshot()
    (fault,) = await backend.check()
    assert fault.level == "fault" and fault.fix.startswith("check MFI_RELAY_SSH: ")


async def test_how_far_an_act_came_decides_what_its_failure_means(postfix: RealPostfix) -> None:
    failing = postfix.home / "failing"
    for script, error in (
        ("exit 255", OutcomeUnknown),
        ("echo 'mfi-postfix: no' >&2; exit 64", Refused),
        ("echo 'sudo: a password is required' >&2; exit 1", Refused),
        ("echo 'postmap: fatal: disk full' >&2; exit 1", OutcomeUnknown),
        ("sleep 60", OutcomeUnknown),
    ):
        verbs = f'case "$SSH_ORIGINAL_COMMAND" in *-put) {script} ;; *) exec {postfix.wrapper} ;; esac'
        postfix.write(str(failing), f"#!/bin/sh\n{verbs}\n")
        failing.chmod(0o755)
        backend = over_ssh(postfix, failing, TIMEOUT="3")
        with pytest.raises(error):
            await backend.set_connector_enabled(postfix.key("good"), enabled=False)


def test_ssh_never_asks_and_never_waits_for_ever() -> None:
    assert "BatchMode=yes" in SSH and "ConnectTimeout=10" in SSH


# The wrapper by itself


def wrapped(postfix: RealPostfix, *words: str, stdin: str = "", **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [str(postfix.wrapper), *words],
        env={**ENVIRONMENT, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, done.stdout, done.stderr


async def test_the_wrapper_refuses_whatever_is_not_listed(postfix: RealPostfix) -> None:
    etc = postfix.config_dir
    for words in (
        ("-c", etc, "shell"),
        ("-c", etc, "queue", "more"),
        ("-c", etc, "map", "hash:/etc/shadow"),
        ("-c", etc, "map", "texthash:/etc/passwd"),
        ("-c", etc, "map", f"hash:{etc}/../x"),
        ("-c", etc, "log-since", "1", "x"),
        ("-c", "/etc", "queue"),
        ("-c", f"{etc}/", "queue"),
        ("-c", f"/tmp/x\n{etc}", "queue"),
        ("-c", f"{etc}\n/tmp/x", "expire"),
        ("-c", etc, "map", f"texthash:/tmp/x\nhash:{etc}/transport"),
        ("-c", etc, "queue\nconfig"),
        (),
        ("queue",),
    ):
        assert wrapped(postfix, *words)[0] == 64, words
    for command in (f"mfi-postfix -c {etc} queue; id", "id", f"mfi-postfix -c {etc} $(id)", "*"):
        status, out, _ = wrapped(postfix, SSH_ORIGINAL_COMMAND=command)
        assert (status, out) == (64, ""), command


async def test_the_wrapper_takes_only_queue_ids(postfix: RealPostfix) -> None:
    for verb in ("retry", "expire"):
        status, _, _ = wrapped(postfix, "-c", postfix.config_dir, verb, stdin="ALL\n-f\n../x\nABC DEF\n$(id)\n")
        assert status == 0
    status, _, errors = wrapped(postfix, "-c", postfix.config_dir, "expire", stdin="ABCDEF12345\n")
    assert (status, "expired" in errors.split("Force")[0]) == (0, False)


async def test_the_wrapper_lets_no_other_entry_into_the_override_table(postfix: RealPostfix) -> None:
    for line in (
        "a@b.test\tsmtp:[evil.test]",
        "a@b.test error:5.1.1 spaces",
        "b.test\terror:4.7.1 other code",
        "b.test\terror:5.1.1 a whole domain",
        "*\tretry:4.3.2 everything",
        "b.test\tretry:4.3.2 ",
        "# b.test\tretry:4.3.2 x",
        " continued\tretry:4.3.2 x",
    ):
        given = f"ok.test\tretry:4.3.2 x\n{line}\n"
        status, _, errors = wrapped(postfix, "-c", postfix.config_dir, "override-put", stdin=given)
        assert (status, "not allowed" in errors) == (64, True), line
    assert {name: text for name, text in postfix.tables().items() if "mfi" in name} == {
        "mfi_overrides": "",
        "mfi_recipients": postfix.tables()["mfi_recipients"],
    }


async def test_a_table_that_could_not_be_built_has_its_old_text_again(postfix: RealPostfix) -> None:
    """That of a cdb table is what tells its entries: a text that is ahead would be taken for what holds."""
    put = ("-c", postfix.config_dir, "override-put")
    assert wrapped(postfix, *put, stdin="old.test\tretry:4.3.2 x\n")[0] == 0
    postfix.command("postconf", "default_database_type = fail")
    before = postfix.tables()
    status, _, errors = wrapped(postfix, *put, stdin="new.test\tretry:4.3.2 x\n")
    assert (status, "postmap: fatal" in errors) == (1, True)
    assert postfix.tables() == before


async def test_a_rotated_log_is_read_to_its_end_first(postfix: RealPostfix) -> None:
    log = postfix.home / "quiet"  # The running Postfix goes on writing into the other one.
    postfix.write(str(log), "zero\n")
    postfix.command("postconf", f"maillog_file = {log}")
    here, there = Options.parse({"CONFIG_DIR": postfix.config_dir}), options_over_ssh(postfix)
    for host in (PostfixHost(here), host_over_ssh(postfix, there)):
        start = (await host.log_since(LogPosition(), str(log))).position
        log.write_text(log.read_text() + "one\n")
        log.rename(postfix.home / "quiet.1")
        log.write_text("two\nunfinished")
        first = await host.log_since(start, str(log))
        second = await host.log_since(first.position, str(log))
        assert (first.lines, first.more, second.lines, second.more) == ([b"one"], True, [b"two"], False)
        log.write_text("two\nunfinished business\n")
        third = await host.log_since(second.position, str(log))
        assert third.lines == [b"unfinished business"]
        log.write_text("cut\n")
        assert (await host.log_since(third.position, str(log))).lines == [b"cut"]
