"""Commands hold the names that are known, quoted for the shell that they are pasted into."""

from __future__ import annotations

import re

import pytest

from bot.core.advice import fitting
from bot.core.capabilities import Family
from bot.core.own_names import Known, with_known
from knowledge.articles import articles

ONLINE, SERVER = Family.EXCHANGE_ONLINE, Family.EXCHANGE_SERVER


@pytest.mark.parametrize("family", [ONLINE, SERVER])
@pytest.mark.parametrize("code", sorted(articles()))
def test_no_command_about_our_connector_leaves_its_name_open(code: str, family: Family) -> None:
    ours = {ONLINE: "OutboundConnector", SERVER: "SendConnector"}[family]
    for step in with_known(fitting(articles()[code], family).fixes, Known(connector="To O'Hara", family=family)):
        assert not re.search(rf'-{ours} (?:-Identity )?"?<connector>', step), step


@pytest.mark.parametrize(
    ("family", "name", "step", "told"),
    [
        (ONLINE, "It's", 'Set-OutboundConnector -Identity "<connector>"', "Set-OutboundConnector -Identity 'It''s'"),
        (SERVER, r"a\1", "Set-SendConnector -Identity <connector> -X", r"Set-SendConnector -Identity 'a\1' -X"),
        (SERVER, "a`b", 'Set-SendConnector "<connector>" -X', "Set-SendConnector ('a' + [char]96 + 'b') -X"),
        (SERVER, "mail.contoso.com", "Get-SendConnector <connector>", "Get-SendConnector 'mail.contoso.com'"),
        (ONLINE, "ours", 'Set-SendConnector "<connector>"', 'Set-SendConnector "<connector>"'),
        (ONLINE, "ours", 'Set-InboundConnector "<connector>"', 'Set-InboundConnector "<connector>"'),
        (ONLINE, "n" * 121, 'Set-OutboundConnector "<connector>"', 'Set-OutboundConnector "<connector>"'),
        (Family.POSTFIX, "ours", 'Set-SendConnector "<connector>"', 'Set-SendConnector "<connector>"'),
        (None, "ours", 'Set-SendConnector "<connector>"', 'Set-SendConnector "<connector>"'),
        (SERVER, None, 'Set-SendConnector "<connector>"', 'Set-SendConnector "<connector>"'),
    ],
)  # fmt: skip
def test_a_connectors_name_stands_quoted_in_the_commands_about_it(
    family: Family | None, name: str | None, step: str, told: str
) -> None:
    known = Known(host="mx.fabrikam.com", connector=name, family=family)
    assert with_known([step], known) == [told]


@pytest.mark.parametrize(
    ("recipient", "step", "told"),
    [
        ("jo@fabrikam.com", "'smtp:<address>'", "'smtp:jo@fabrikam.com'"),
        ("jo@fabrikam.com", "Get-Recipient <address>", "Get-Recipient jo@fabrikam.com"),
        ("jo@fabrikam.com", "`Get-Mailbox <mailbox> | Format-List MaxReceiveSize`",
         "`Get-Mailbox jo@fabrikam.com | Format-List MaxReceiveSize`"),
        ("jo@fabrikam.com", "`Get-Mailbox <mailbox> | Format-List Forwarding*`",
         "`Get-Mailbox <mailbox> | Format-List Forwarding*`"),
        ("jo@fabrikam.com", "-SenderAddress <address>", "-SenderAddress <address>"),
        ("jo@fabrikam.com", "mta-sts.<domain>", "mta-sts.fabrikam.com"),
        ("jo@fabrikam.com", "-Domain <domain>", "-Domain fabrikam.com"),
        ("$(id)@fabrikam.com", "Get-Recipient <address>", "Get-Recipient <address>"),
        ("o'hara@fabrikam.com", "mta-sts.<domain>", "mta-sts.<domain>"),
        ("jo@fabrikam", "Get-Recipient <address>", "Get-Recipient <address>"),
        (None, "Get-Recipient <address>", "Get-Recipient <address>"),
    ],
)  # fmt: skip
def test_a_recipient_stands_in_the_commands_that_look_for_it(recipient: str | None, step: str, told: str) -> None:
    assert with_known([step], Known(recipient=recipient)) == [told]


def test_the_server_of_the_error_is_the_one_to_probe() -> None:
    step = "`mfi probe --host <server>`, `telnet <server> 25`, `setspn -L <server>`"
    told = "`mfi probe --host mx.fabrikam.com`, `telnet mx.fabrikam.com 25`, `setspn -L <server>`"
    assert with_known([step], Known(host="mx.fabrikam.com")) == [told]
