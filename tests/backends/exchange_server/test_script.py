"""mfi-exchange.ps1 as text: it parses, it uses nothing but what it is allowed to, and every call that may fail stops.

No Exchange server and no Windows takes part here: what the script does is only argued, not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from bot.backends.exchange_server.document import FORMAT, VERSION

READS = {
    "Get-AcceptedDomain",
    "Get-Message",
    "Get-Queue",
    "Get-Recipient",
    "Get-SendConnector",
    "Get-TransportService",
}
ACTS = {
    "Remove-Message",
    "Resume-Message",
    "Retry-Queue",
    "Set-AcceptedDomain",
    "Set-SendConnector",
    "Suspend-Message",
}
EXCHANGE = READS | ACTS | {"Connect-ExchangeServer", "Set-ADServerSettings"}
PLAIN = {
    *("ConvertFrom-Json", "ConvertTo-Json", "ForEach-Object", "Get-Acl", "Get-ChildItem", "Get-Command", "Get-Item"),
    *("Join-Path", "Move-Item", "New-Item", "New-Object", "Remove-Item", "Sort-Object", "Start-Sleep", "Test-Path"),
    "Where-Object",
}
ACTING = {
    "Invoke-Rejection": {"Suspend-Message", "Remove-Message", "Resume-Message"},
    "Invoke-SetConnectorEnabled": {"Set-SendConnector"},
    "Invoke-SetDomainType": {"Set-AcceptedDomain"},
    "Invoke-RetryQueue": {"Retry-Queue"},
}
"""Which function may change what."""


@pytest.fixture(scope="module")
def source() -> bytes:
    return files("bot.backends.exchange_server").joinpath("mfi-exchange.ps1").read_bytes()


@pytest.fixture(scope="module")
def tree(source: bytes) -> Node:
    return Parser(Language(tree_sitter_powershell.language())).parse(source).root_node


def every(node: Node, *kinds: str) -> Iterator[Node]:
    if node.type in kinds:
        yield node
    for child in node.children:
        yield from every(child, *kinds)


def text(node: Node) -> str:
    return (node.text or b"").decode()


def names(node: Node) -> set[str]:
    return {text(found) for found in every(node, "command_name")}


def functions(tree: Node) -> dict[str, Node]:
    found = every(tree, "function_statement")
    return {text(next(every(node, "function_name"))): node for node in found}


def test_it_parses_without_an_error(tree: Node) -> None:
    assert not tree.has_error
    assert [text(node) for node in every(tree, "ERROR")] == []


def test_it_is_plain_ascii_as_powershell_5_reads_files_without_a_mark(source: bytes) -> None:
    assert source.isascii()


def test_every_command_is_on_the_allow_list(tree: Node) -> None:
    assert names(tree) <= EXCHANGE | PLAIN | functions(tree).keys()
    assert names(tree) >= EXCHANGE


def test_every_function_is_used(tree: Node) -> None:
    used = names(tree) | {"Get-RecipientRow"}
    assert functions(tree).keys() <= used


def test_only_the_step_functions_change_anything(tree: Node) -> None:
    for name, node in functions(tree).items():
        assert names(node) & ACTS == ACTING.get(name, set()), name
    outside = [node for node in tree.children if node.type != "function_statement"]
    assert all(not names(node) & ACTS or list(every(node, "function_statement")) for node in outside)


def test_steps_are_reached_from_a_checked_order_only(tree: Node) -> None:
    callers = {
        wanted: {name for name, node in functions(tree).items() if wanted in names(node) and name != wanted}
        for wanted in (*ACTING, "Invoke-RejectMessages", "Invoke-Step")
    }
    assert callers == {
        "Invoke-Rejection": {"Invoke-RejectMessages"},
        "Invoke-RejectMessages": {"Invoke-Step"},
        "Invoke-SetConnectorEnabled": {"Invoke-Step"},
        "Invoke-SetDomainType": {"Invoke-Step"},
        "Invoke-RetryQueue": {"Invoke-Step"},
        "Invoke-Step": {"Invoke-Order"},
    }
    order = text(functions(tree)["Invoke-Order"])
    assert order.index("Read-Order") < order.index("$null -ne $order") < order.index("Invoke-Step")
    assert order.index("done\\$Id") < order.index("Invoke-Step")


def commands(tree: Node) -> Iterator[tuple[str, str]]:
    for node in every(tree, "command"):
        name = next(every(node, "command_name"), None)
        if name is not None:
            yield text(name), text(node)


def test_every_exchange_command_says_what_happens_when_it_fails(tree: Node) -> None:
    """Remoting's commands don't see $ErrorActionPreference: without -ErrorAction a part would pass for the whole."""
    for name, call in commands(tree):
        if name in EXCHANGE - {"Connect-ExchangeServer"}:
            action = re.search(r"-ErrorAction (\w+)", call)
            assert action is not None, call
            assert action[1] == ("SilentlyContinue" if name == "Resume-Message" else "Stop"), call


def test_nothing_asks_a_question_and_nothing_is_dropped_silently(tree: Node) -> None:
    for name, call in commands(tree):
        if name in ACTS:
            assert "-Confirm:$false" in call, call
        if name == "Remove-Message":
            assert "-WithNDR $true" in call
        if name in ("Remove-Message", "Suspend-Message", "Resume-Message"):
            assert "-Identity $Wanted.identity" in call
            assert "-Filter" not in call


def test_lists_are_never_cut_at_the_default_of_a_thousand(tree: Node) -> None:
    for name, call in commands(tree):
        if name in ("Get-Queue", "Get-Recipient") or (name == "Get-Message" and "-Identity" not in call):
            assert "-ResultSize" in call, call


def test_nothing_newer_than_powershell_5_is_used(source: bytes) -> None:
    script = source.decode()
    for new in (r"\?\?", r"\?\.", r"&&", r"\|\|", r"-AsHashtable", r"-AsUTC", r"-Parallel", r"::new\("):
        assert not re.search(new, script), new
    for evil in ("Invoke-Expression", "iex ", "DownloadString", "Start-Process", "Add-Type", "Invoke-WebRequest"):
        assert evil not in script


def test_it_speaks_the_version_that_the_reader_understands(source: bytes) -> None:
    script = source.decode()
    assert f"$FormatVersion = {VERSION}\n" in script
    assert f'"format":"{FORMAT}"' in script


@pytest.mark.parametrize(
    ("function", "fields"),
    [
        ("Get-MessageRow", ("Identity", "Queue", "FromAddress", "Recipients", "DateReceived", "ExpirationTime")),
        ("Get-QueueRow", ("Identity", "DeliveryType", "Status", "MessageCount", "NextHopDomain", "NextHopConnector",
                          "LastError", "LastRetryTime", "Complete")),
        ("Get-ConnectorRow", ("Name", "Guid", "Enabled", "AddressSpaces", "SmartHosts", "DNSRoutingEnabled", "Port",
                              "RequireTLS", "IgnoreSTARTTLS", "TlsAuthLevel", "TlsDomain")),
        ("Get-DomainRow", ("DomainName", "DomainType", "MatchSubDomains")),
        ("Get-RecipientRow", ("Address", "Status", "LastError")),
    ],
)  # fmt: skip
def test_it_writes_every_field_that_the_reader_wants(tree: Node, function: str, fields: tuple[str, ...]) -> None:
    body = text(functions(tree)[function])
    assert [field for field in fields if not re.search(rf"\b{field} +=", body)] == []
