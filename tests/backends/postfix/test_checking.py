"""What the doctor says of a Postfix: each missing right with the fix that gives it."""

from __future__ import annotations

from pathlib import Path

from bot.backends.postfix import Options, PostfixBackend
from bot.backends.postfix.host import PostfixHost
from tests.backends.postfix.real_postfix import RealPostfix

Lines = dict[str, tuple[str, str]]


async def findings(backend: PostfixBackend) -> Lines:
    """What is said, and its level and fix."""
    return {f.says: (f.level, f.fix) for f in await backend.check()}


def about(found: Lines, words: str) -> tuple[str, str]:
    (line,) = [answer for says, answer in found.items() if words in says]
    return line


async def test_a_sound_instance_has_no_fault(postfix: RealPostfix, tmp_path: Path) -> None:
    listed = tmp_path / "recipients.txt"
    listed.write_text("# complete: good.test\nalice@good.test\n")
    found = await findings(postfix.backend(RECIPIENTS=str(listed)))
    assert {level for level, _ in found.values()} == {"ok"}
    assert about(found, "Postfix 3.") and about(found, "5 next hops")
    assert about(found, "1 recipients listed, whole for good.test")


async def test_what_an_instance_lacks_is_noted_with_the_way_to_get_it(postfix: RealPostfix) -> None:
    postfix.command("postconf", f"transport_maps = hash:{postfix.config_dir}/transport", "relay_recipient_maps =")
    found = await findings(postfix.backend(LOG="off"))
    level, fix = about(found, "is not first in transport_maps")
    assert (level, f"hash:{postfix.config_dir}/mfi_overrides, hash:{postfix.config_dir}/transport" in fix) == (
        "note",
        True,
    )
    assert about(found, "mfi_recipients is not in relay_recipient_maps")[0] == "note"
    assert "MFI_RELAY_LOG" in about(found, "without the mail log")[1]
    assert "MFI_RELAY_RECIPIENTS" in about(found, "which recipients exist")[1]
    assert "MFI_RELAY_ACT" in about(await findings(postfix.backend(act=False)), "read only")[1]


async def test_the_set_up_that_is_advised_gives_the_ability(postfix: RealPostfix) -> None:
    etc = postfix.config_dir
    theirs = f"proxy:hash:{etc}/transport, inline:{{{{x.test = error:it's gone}}}}, {etc}/transport"
    postfix.command("postconf", f"transport_maps = {theirs}")
    postfix.shell(f"rm {postfix.config_dir}/mfi_overrides*")
    backend = postfix.backend()
    _, fix = about(await findings(backend), "is not first in transport_maps")
    postfix.shell(fix.removeprefix("as root: "))
    assert postfix.command("postconf", "-h", "transport_maps").strip() == f"hash:{etc}/mfi_overrides, {theirs}"
    assert "is not first" not in " ".join(await findings(backend))
    await backend.set_connector_enabled(postfix.key("good"), enabled=False)
    found = await backend.connector(postfix.key("good"))
    assert found is not None and not found.enabled


async def test_a_wrong_directory_is_told(postfix: RealPostfix) -> None:
    found = await findings(PostfixBackend("relay", Options.parse({"CONFIG_DIR": "/etc/nowhere-at-all"})))
    level, fix = about(found, "open /etc/nowhere-at-all/main.cf")
    assert (level, "MFI_RELAY_CONFIG_DIR" in fix) == ("fault", True)


async def test_an_unreadable_log_is_told(postfix: RealPostfix) -> None:
    found = await findings(postfix.backend(LOG="/nowhere/mail.log"))
    level, fix = about(found, "/nowhere/mail.log can't be read")
    assert (level, fix) == ("fault", "set MFI_RELAY_LOG to the file, or to auto (off: do without)")
    postfix.shell(f"rm {postfix.home}/log")
    level, fix = about(await findings(postfix.backend()), "only known to be gone")
    assert (level, "maillog_file=" in fix) == ("note", True)


async def test_a_wrapper_that_is_not_there_or_does_not_know_the_instance_is_told(postfix: RealPostfix) -> None:
    found = await findings(postfix.backend(ACT="/nowhere/mfi-postfix"))
    assert "install -o root" in about(found, "can't be started")[1]
    (Path(postfix.config_dir) / "instances").write_text("/etc/other\n")
    assert "mfi-postfix.instances" in about(await findings(postfix.backend()), "not listed in")[1]


async def test_a_stopped_postfix_is_told(postfix: RealPostfix) -> None:
    postfix.command("postfix", "stop")
    backend = postfix.backend(act=False)
    level, fix = about(await findings(backend), "Mail system is down")
    assert (level, fix) == ("fault", f"start it: postfix -c {postfix.config_dir} start")
    assert any("Mail system is down" in note for note in (await backend.snapshot()).notes)


async def test_leftover_rejections_are_a_fault(postfix: RealPostfix) -> None:
    (Path(postfix.config_dir) / "mfi_overrides").write_text("gone@good.test\terror:5.1.1 not known\n")
    postfix.command("postmap", f"hash:{postfix.config_dir}/mfi_overrides")
    backend = postfix.backend()
    level, fix = about(await findings(backend), "still rejects 1 addresses")
    assert (level, "mfi_overrides" in fix) == ("fault", True)
    assert any("still rejects 1" in note for note in (await backend.snapshot()).notes)
    await backend.set_connector_enabled(postfix.key("good"), enabled=False)
    assert "error:" not in (Path(postfix.config_dir) / "mfi_overrides").read_text()


async def test_an_ssh_that_gets_no_answer_is_told_in_time(tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nsleep 60\n")
    ssh.chmod(0o755)
    options = Options.parse({"SSH": "mfi@relay.test", "TIMEOUT": "0.3"})
    found = await findings(PostfixBackend("relay", options, host=PostfixHost(options, ssh=[str(ssh)])))
    assert [level for level, _ in found.values()] == ["fault"]
    assert "did not end within 0.3 s" in next(iter(found))


async def test_a_host_that_ssh_cannot_reach_leads_to_the_setting_that_names_it(tmp_path: Path) -> None:
    ssh, key = tmp_path / "ssh", tmp_path / "key"
    ssh.write_text("#!/bin/sh\necho 'ssh: connect to host 192.0.2.9 port 22: Network is unreachable' >&2\nexit 255\n")
    ssh.chmod(0o755)
    key.touch()
    options = Options.parse({"SSH": "mfi@192.0.2.9", "SSH_KEY": str(key)})
    found = await findings(PostfixBackend("relay", options, host=PostfixHost(options, ssh=[str(ssh)])))
    ((level, fix),) = found.values()
    assert (level, "MFI_RELAY_SSH and MFI_RELAY_SSH_KEY" in fix) == ("fault", True)
    assert f"`ssh -i {key} mfi@192.0.2.9`" in fix
