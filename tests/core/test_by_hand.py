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

from bot.core.by_hand import instructions, powershell_string, shell_word
from bot.core.capabilities import Family
from bot.core.fix_plan import PlanStep
from storage.records import StepKind
from tests.core.fix_world import SITE, connector


def step(kind: StepKind, refs: int = 0, domains: tuple[str, ...] = ()) -> PlanStep:
    messages = tuple((f"EX01\\15\\{n}", f"gone{n}@onprem.test") for n in range(refs))
    return PlanStep(kind=kind, title="", effect="", count=0, refs=messages, domains=domains)


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
        ("$(evil)`n\r\n", "'$(evil)`n '"),
    ],
)
def test_foreign_names_cannot_leave_their_powershell_string(text: str, literal: str) -> None:
    assert powershell_string(text) == literal


@given(st.text(max_size=60))
def test_foreign_names_cannot_leave_their_word_in_a_posix_shell(text: str) -> None:
    words = shlex.split(shell_word(text))
    assert len(words) == 1
    assert "\n" not in words[0]


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
                "Remove-Message (and so on for the other 2), only where every recipient is invalid",
                "Set-AcceptedDomain -Identity 'a.test' -DomainType Authoritative",
                "Set-SendConnector -Identity 'To on-prem' -Enabled $false",
                "{$_.NextHopConnector -eq 'k1'} | Retry-Queue",
            ),
        ),
        (
            Family.POSTFIX,
            (
                r"printf '%s error:5.1.1 Recipient not found in the directory\n' gone0@onprem.test",
                "list the valid addresses of a.test",
                r"printf '%s retry:4.3.2 Connector disabled\n' onprem.test",
                "postqueue -f",
            ),
        ),
    ],
)
def test_each_mail_system_has_its_own_way_for_every_step(family: Family, expected: tuple[str, ...]) -> None:
    told = "\n".join(instructions(family, SITE, EVERY))
    assert [line for line in expected if line not in told] == []


def test_only_the_steps_asked_for_are_told() -> None:
    assert instructions(Family.EXCHANGE_ONLINE, SITE, ()) == ()
    few = instructions(Family.EXCHANGE_SERVER, connector(name="it's"), (step(StepKind.REJECT_INVALID, refs=1),))
    assert few == (r"Exchange Management Shell: Remove-Message -Identity 'EX01\15\0' -WithNDR $true",)
    assert "'it''s'" in instructions(Family.EXCHANGE_SERVER, connector(name="it's"), EVERY[2:3])[1]


POSTFIX = pytest.mark.skipif(not shutil.which("postmap", path="/usr/sbin:/usr/bin"), reason="Postfix isn't installed")


def relay(directory: Path) -> Path:
    """A Postfix instance that has only tables: the domains are in its transport table already."""
    (directory / "main.cf").write_text("transport_maps = hash:$config_directory/transport\n")
    (directory / "master.cf").touch()
    (directory / "transport").write_text("onprem.test relay:[127.0.0.1]:25\n.onprem.test relay:[127.0.0.1]:25\n")
    typed("postmap hash:transport", directory)
    return directory


def typed(command: str, directory: Path) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG": str(directory)}
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
    lines = [line for line in instructions(Family.POSTFIX, site, (step(kind, refs=5),)) if "reload" not in line]
    commands = [re.sub(r"^Shell[^:]*(?:: its directory\))?: ", "", line) for line in lines]
    typed("\n".join(commands).replace("/etc/postfix", str(directory)), directory)
    assert typed(f"postmap -q {looked_up} $(postconf -hx transport_maps | tr , ' ')", directory) == wins


@POSTFIX
def test_an_entry_behind_the_domains_own_would_count_nothing(tmp_path: Path) -> None:
    directory = relay(tmp_path)
    typed("echo 'onprem.test retry:4.3.2 off' >> transport && postmap hash:transport", directory)
    assert typed("postmap -q onprem.test hash:transport", directory) == "relay:[127.0.0.1]:25\n"


def test_what_is_typed_on_a_relay_is_shown_as_it_is_and_fits_into_the_list() -> None:
    site = connector(recipient_domains=("onprem.test",))
    told = instructions(Family.POSTFIX, site, EVERY)
    assert not [line for line in told if len(line) > 400 or re.search(r"[|*~`]", line)]


def test_the_default_route_of_a_relay_is_not_to_be_disabled() -> None:
    for patterns in ((), ("*",), ("onprem.test", "*")):
        told = instructions(Family.POSTFIX, connector(recipient_domains=patterns), EVERY[2:3])
        assert len(told) == 1 and "can't be disabled" in told[0]
