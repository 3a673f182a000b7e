"""How a person does by hand what Fix now would do: the way through the admin center and the PowerShell command.

Pure. Names come from the mail system, so they are quoted for PowerShell, where also typographic quotes end a string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from storage.records import StepKind

ADMIN_CENTER = "https://admin.exchange.microsoft.com/#/"
_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def powershell_string(text: str) -> str:
    """A PowerShell string literal that holds exactly this text (control characters become spaces)."""
    return "'" + _QUOTES.sub(r"\1\1", _CONTROL.sub(" ", text)) + "'"


def instructions(connector_name: str, steps: Mapping[StepKind, Sequence[str]]) -> tuple[str, ...]:
    """One line for each way to do a step; `steps`: which ones, with the domains they are about."""
    name = powershell_string(connector_name)
    lines: list[str] = []
    if StepKind.REJECT_INVALID in steps:
        lines.append(
            "Invalid recipients: Exchange Online rejects them itself at its next retry once their domain is "
            "Authoritative; on Exchange Server: Remove-Message -WithNDR $true, only where every recipient is invalid"
        )
    for domain in steps.get(StepKind.DOMAIN_AUTHORITATIVE, ()):
        lines.append(
            f"Admin center ({ADMIN_CENTER}accepteddomains): Mail flow → Accepted domains → {domain} → Authoritative"
        )
        lines.append(f"PowerShell: Set-AcceptedDomain -Identity {powershell_string(domain)} -DomainType Authoritative")
    if StepKind.DISABLE_CONNECTOR in steps:
        lines.append(
            f"Admin center ({ADMIN_CENTER}connectors): Mail flow → Connectors → “{connector_name}” → turn it off"
        )
        lines.append(f"PowerShell: Set-OutboundConnector -Identity {name} -Enabled $false")
    return tuple(lines)
