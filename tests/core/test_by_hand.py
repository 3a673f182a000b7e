"""What people are told to type: the real names, harmless in the shell that they are typed into."""

from __future__ import annotations

import shlex

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
                "echo 'gone0@onprem.test error:5.1.1 Recipient not found in the directory'",
                "list the valid addresses of a.test",
                "echo 'onprem.test retry:4.3.2 Connector disabled'",
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
