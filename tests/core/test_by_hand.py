"""What people are told to type: the real names, harmless in the shell that they are typed into."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.by_hand import command_in, instructions
from bot.core.capabilities import Family, Place
from bot.core.fix_plan import PlanStep
from bot.core.quoting import powershell_string, shell_word
from storage.records import StepKind
from tests.core.fix_world import SITE, connector


def step(kind: StepKind, refs: int = 0, domains: tuple[str, ...] = ()) -> PlanStep:
    messages = tuple((f"EX01\\15\\{n}", f"gone{n}@onprem.test") for n in range(refs))
    return PlanStep(kind=kind, title="", effect="", count=0, refs=messages, domains=domains)


RELAY = Place(family=Family.POSTFIX)
SECOND = Place(family=Family.POSTFIX, config_dir="/etc/postfix-out", host="relay1.example.org")
EVERY = (
    step(StepKind.REJECT_INVALID, refs=5),
    step(StepKind.DOMAIN_AUTHORITATIVE, domains=("a.test", "b.test")),
    step(StepKind.DISABLE_CONNECTOR),
    step(StepKind.RETRY_QUEUE),
)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("plain", "'plain'"),
        ("it's", "'it''s'"),
        ("a\u2019; Remove-Mailbox", "'a\u2019\u2019; Remove-Mailbox'"),
        ("$(evil)`n\r\n", "('$(evil)' + [char]96 + 'n ')"),
        ("`\u2019", "('' + [char]96 + '\u2019\u2019')"),
        ("a\u1fef; Remove-Mailbox", "('a' + [char]96 + '; Remove-Mailbox')"),
    ],
)
def test_foreign_names_cannot_leave_their_powershell_string(text: str, literal: str) -> None:
    assert powershell_string(text) == literal


@given(st.text(max_size=60))
def test_foreign_names_cannot_leave_their_word_in_a_posix_shell(text: str) -> None:
    word = shell_word(text)
    words = shlex.split(word.replace("$(printf '\\140')", "`"))
    assert len(words) == 1
    assert "\n" not in words[0]
    assert "`" not in word, "Slack shows it as an apostrophe, which ends a quoted word"


@pytest.mark.parametrize("text", ["a`b", 'it\'s `id` $(id) "x"', "``", "x y", ""])
def test_a_posix_shell_reads_the_very_name(text: str) -> None:
    done = subprocess.run(["/bin/sh", "-c", f"printf %s {shell_word(text)}"], check=True, capture_output=True)
    assert done.stdout.decode() == text


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (
            Family.EXCHANGE_ONLINE,
            (
                "accepteddomains): Mail flow → Accepted domains → a.test → Authoritative",
                "Set-AcceptedDomain -Identity 'b.test' -DomainType Authoritative",
                "Set-OutboundConnector -Identity 'To on-prem' -Enabled $false",
                "retries by itself",
            ),
        ),
        (
            Family.EXCHANGE_SERVER,
            (
                r"Remove-Message -Identity 'EX01\15\0' -WithNDR $true",
                "The same (and so on for the other 2): only messages of which every recipient is invalid",
                "Set-AcceptedDomain -Identity 'a.test' -DomainType Authoritative",
                "Set-SendConnector -Identity 'To on-prem' -Enabled $false",
                "{$_.NextHopConnector -eq 'k1'} | Retry-Queue",
            ),
        ),
        (
            Family.POSTFIX,
            (
                r"printf '%s error:5.1.1 Recipient not found in the directory\n' gone0@onprem.test",
                "List the valid addresses of a.test",
                r"printf '%s retry:4.3.2 Connector disabled\n' onprem.test",
                "postqueue -f",
            ),
        ),
    ],
)
def test_each_mail_system_has_its_own_way_for_every_step(family: Family, expected: tuple[str, ...]) -> None:
    told = "\n".join(instructions(Place(family=family), SITE, EVERY))
    assert [line for line in expected if line not in told] == []


def test_only_the_steps_asked_for_are_told() -> None:
    assert instructions(Place(family=Family.EXCHANGE_ONLINE), SITE, ()) == ()
    few = instructions(
        Place(family=Family.EXCHANGE_SERVER), connector(name="it's"), (step(StepKind.REJECT_INVALID, refs=1),)
    )
    assert few == (r"Exchange Management Shell: Remove-Message -Identity 'EX01\15\0' -WithNDR $true",)
    assert "'it''s'" in instructions(Place(family=Family.EXCHANGE_SERVER), connector(name="it's"), EVERY[2:3])[1]


def test_a_relay_with_few_invalid_recipients_names_them_all() -> None:
    told = instructions(RELAY, SITE, (step(StepKind.REJECT_INVALID, refs=2),))
    assert "gone1@onprem.test" in told[0] and "and so on" not in "".join(told)


POSTFIX = pytest.mark.skipif(not shutil.which("postmap", path="/usr/sbin:/usr/bin"), reason="Postfix isn't installed")


def relay(directory: Path) -> Path:
    """A Postfix instance that has only tables: the domains are in its transport table already."""
    (directory / "main.cf").write_text("transport_maps = hash:$config_directory/transport\n")
    (directory / "master.cf").touch()
    (directory / "transport").write_text("onprem.test relay:[127.0.0.1]:25\n.onprem.test relay:[127.0.0.1]:25\n")
    typed("postmap hash:transport", directory)
    return directory


def typed(command: str, directory: Path, *, told: bool = True) -> str:
    """Run it. `told`: by the environment which instance is meant; else the command has to say it itself."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | ({"MAIL_CONFIG": str(directory)} if told else {})
    done = subprocess.run(["sh", "-c", command], cwd=directory, env=environment, check=True, capture_output=True)
    return done.stdout.decode()


@POSTFIX
@pytest.mark.parametrize(
    ("kind", "looked_up", "wins"),
    [
        (StepKind.DISABLE_CONNECTOR, "onprem.test", "retry:4.3.2 Connector disabled\n"),
        (StepKind.DISABLE_CONNECTOR, ".onprem.test", "retry:4.3.2 Connector disabled\n"),
        (StepKind.DISABLE_CONNECTOR, "four.test", "retry:4.3.2 Connector disabled\n"),
        (StepKind.REJECT_INVALID, "gone2@onprem.test", "error:5.1.1 Recipient not found in the directory\n"),
    ],
)
def test_what_is_typed_wins_over_the_line_that_the_domain_has_already(
    tmp_path: Path, kind: StepKind, looked_up: str, wins: str
) -> None:
    directory = relay(tmp_path)
    site = connector(recipient_domains=("onprem.test", "*.onprem.test", "three.test", "four.test"))
    told = instructions(Place(family=Family.POSTFIX, config_dir=str(directory)), site, (step(kind, refs=5),))
    commands = [found[1] for line in told if (found := command_in(line)) and "reload" not in found[1]]
    for command in commands:
        typed(command, tmp_path, told=False)
    assert typed(f"postmap -q {looked_up} $(postconf -hx transport_maps | tr , ' ')", directory) == wins


@POSTFIX
def test_an_entry_behind_the_domains_own_would_count_nothing(tmp_path: Path) -> None:
    directory = relay(tmp_path)
    typed("echo 'onprem.test retry:4.3.2 off' >> transport && postmap hash:transport", directory)
    assert typed("postmap -q onprem.test hash:transport", directory) == "relay:[127.0.0.1]:25\n"


@pytest.mark.parametrize("place", [RELAY, SECOND])
def test_commands_stand_by_themselves_so_that_they_can_be_shown_as_they_are(place: Place) -> None:
    told = instructions(place, connector(recipient_domains=("onprem.test",)), EVERY)
    assert len([line for line in told if command_in(line)]) >= 8
    for line in told:
        assert "`" not in line
        if command_in(line) is None:
            assert not re.search(r"post(map|conf|queue)|&&|\$", line), line


def test_the_default_instance_is_commanded_by_plain_names() -> None:
    told = "\n".join(instructions(RELAY, SITE, EVERY))
    assert " -c " not in told and "MAIL_CONFIG" not in told
    assert "Shell, as root: cd /etc/postfix && printf" in told
    assert "Shell, as root: postfix reload && postqueue -f" in told


def test_an_instance_of_its_own_is_named_in_every_command_and_the_machine_in_every_line() -> None:
    commands = [found for line in instructions(SECOND, SITE, EVERY) if (found := command_in(line))]
    assert {where.partition(",")[0] for where, _ in commands} == {"Shell on relay1.example.org"}
    for _, command in commands:
        for tool in re.findall(r"\b(?:postqueue|postconf|postmap|postfix)(?= )[^&)]*", command):
            assert " -c /etc/postfix-out" in tool, command
        assert "/etc/postfix/" not in command and "/etc/postfix " not in command


def test_a_directory_with_a_blank_is_quoted() -> None:
    odd = Place(family=Family.POSTFIX, config_dir="/etc/my postfix")
    told = [command for line in instructions(odd, SITE, EVERY) if (found := command_in(line)) and (command := found[1])]
    assert "postqueue -c '/etc/my postfix' -f" in told
    assert told[0].startswith("cd '/etc/my postfix' && ")


def test_the_default_route_of_a_relay_is_not_to_be_disabled() -> None:
    for patterns in ((), ("*",), ("onprem.test", "*")):
        told = instructions(RELAY, connector(recipient_domains=patterns), EVERY[2:3])
        assert len(told) == 1 and "can't be disabled" in told[0]
