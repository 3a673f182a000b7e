"""How a person does by hand what Fix now would do: the way through the admin center, or the commands to type.

Pure. Names come from the mail system, so they are quoted for the shell that they are typed into; in PowerShell also
typographic quotes end a string.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from bot.core.capabilities import Family
from bot.core.fix_plan import PlanStep
from storage.records import ConnectorFacts, StepKind

ADMIN_CENTER = "https://admin.exchange.microsoft.com/#/"
MESSAGES_NAMED = 3
_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")

Lines = Iterator[str]
Way = Callable[[ConnectorFacts, PlanStep], Lines]


def powershell_string(text: str) -> str:
    """A PowerShell string literal that holds exactly this text (control characters become spaces)."""
    return "'" + _QUOTES.sub(r"\1\1", _CONTROL.sub(" ", text)) + "'"


def shell_word(text: str) -> str:
    """One word for a POSIX shell that holds exactly this text (control characters become spaces)."""
    return shlex.quote(_CONTROL.sub(" ", text))


def instructions(family: Family, connector: ConnectorFacts, steps: Iterable[PlanStep]) -> tuple[str, ...]:
    """One line for each way to do one of these steps in this kind of mail system."""
    ways = _WAYS[family]
    return tuple(line for step in steps for line in ways[step.kind](connector, step))


def _keys(step: PlanStep) -> Sequence[str]:
    return list(dict.fromkeys(key for key, _ in step.refs))


def _more(step: PlanStep) -> str:
    left = len(_keys(step)) - MESSAGES_NAMED
    return f" (and so on for the other {left})" if left > 0 else ""


# Exchange Online


def _online_reject(_connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield "Invalid recipients: Exchange Online rejects them itself at its next retry once their domain is Authoritative"


def _online_domain(_connector: ConnectorFacts, step: PlanStep) -> Lines:
    for domain in step.domains:
        yield f"Admin center ({ADMIN_CENTER}accepteddomains): Mail flow → Accepted domains → {domain} → Authoritative"
        yield f"PowerShell: Set-AcceptedDomain -Identity {powershell_string(domain)} -DomainType Authoritative"


def _online_disable(connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield f"Admin center ({ADMIN_CENTER}connectors): Mail flow → Connectors → “{connector.name}” → turn it off"
    yield f"PowerShell: Set-OutboundConnector -Identity {powershell_string(connector.name)} -Enabled $false"


def _online_retry(_connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield "Exchange Online retries by itself, about every 15 minutes: wait"


# Exchange Server


def _server_reject(_connector: ConnectorFacts, step: PlanStep) -> Lines:
    for key in _keys(step)[:MESSAGES_NAMED]:
        yield f"Exchange Management Shell: Remove-Message -Identity {powershell_string(key)} -WithNDR $true"
    if more := _more(step):
        yield f"Exchange Management Shell: Remove-Message{more}, only where every recipient is invalid"


def _server_domain(_connector: ConnectorFacts, step: PlanStep) -> Lines:
    for domain in step.domains:
        yield f"Exchange admin center: Mail flow → Accepted domains → {domain} → Authoritative"
        named = powershell_string(domain)
        yield f"Exchange Management Shell: Set-AcceptedDomain -Identity {named} -DomainType Authoritative"


def _server_disable(connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield f"Exchange admin center: Mail flow → Send connectors → “{connector.name}” → Disable"
    named = powershell_string(connector.name)
    yield f"Exchange Management Shell: Set-SendConnector -Identity {named} -Enabled $false"


def _server_retry(connector: ConnectorFacts, _step: PlanStep) -> Lines:
    same = f"{{$_.NextHopConnector -eq {powershell_string(connector.key)}}}"
    yield f"Exchange Management Shell: Get-Queue | Where-Object {same} | Retry-Queue"


# Postfix

KEYS_AT_ONCE = 3
_FRONT = (
    "Shell, only if mfi_overrides isn't first in transport_maps yet: "
    'postconf -e "transport_maps = hash:$PWD/mfi_overrides, $(postconf -h transport_maps)"'
)


def _postfix_reject(_connector: ConnectorFacts, step: PlanStep) -> Lines:
    named = list(dict.fromkeys(recipient for _, recipient in step.refs))[:MESSAGES_NAMED]
    yield from _postfix_entries(named, "error:5.1.1 Recipient not found in the directory")
    yield f"Shell: postfix reload && postqueue -f{_more(step)}; take these lines out once the mail has bounced"


def _postfix_entries(keys: Sequence[str], entry: str) -> Lines:
    """A table in front: behind the domain's own line in the same table, an entry is a duplicate that counts nothing.

    MAIL_CONFIG takes the commands to the instance. No |, * or backtick: the text shows those as look-alikes.
    """
    for start in range(0, len(keys), KEYS_AT_ONCE):
        words = " ".join(map(shell_word, keys[start : start + KEYS_AT_ONCE]))
        where = "export MAIL_CONFIG=/etc/postfix; cd $MAIL_CONFIG" if not start else ""
        first = f"Shell, as root (an instance of its own: its directory): {where} && " if where else "Shell: "
        lines = shell_word(f"%s {entry}\\n")
        yield f"{first}printf {lines} {words} >> mfi_overrides && postmap hash:mfi_overrides"
    yield _FRONT


def _postfix_domain(_connector: ConnectorFacts, step: PlanStep) -> Lines:
    for domain in step.domains:
        yield f"Shell: list the valid addresses of {domain} in the table that relay_recipient_maps names, postmap it"
    yield "Shell: postconf -e 'relay_recipient_maps = hash:/etc/postfix/relay_recipients' && postfix reload"


def _postfix_disable(connector: ConnectorFacts, _step: PlanStep) -> Lines:
    domains = [domain.removeprefix("*") for domain in connector.recipient_domains if domain != "*"]
    if len(domains) < len(connector.recipient_domains) or not domains:
        yield "The default route can't be disabled: it carries bounces too. Correct its next hop (relayhost) instead"
        return
    yield from _postfix_entries(domains, "retry:4.3.2 Connector disabled")
    yield "Shell: postfix reload (to undo it, take these lines out, postmap hash:mfi_overrides and reload)"


def _postfix_retry(_connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield "Shell: postqueue -f"


_WAYS: Mapping[Family, Mapping[StepKind, Way]] = {
    Family.EXCHANGE_ONLINE: {
        StepKind.REJECT_INVALID: _online_reject,
        StepKind.DOMAIN_AUTHORITATIVE: _online_domain,
        StepKind.DISABLE_CONNECTOR: _online_disable,
        StepKind.RETRY_QUEUE: _online_retry,
    },
    Family.EXCHANGE_SERVER: {
        StepKind.REJECT_INVALID: _server_reject,
        StepKind.DOMAIN_AUTHORITATIVE: _server_domain,
        StepKind.DISABLE_CONNECTOR: _server_disable,
        StepKind.RETRY_QUEUE: _server_retry,
    },
    Family.POSTFIX: {
        StepKind.REJECT_INVALID: _postfix_reject,
        StepKind.DOMAIN_AUTHORITATIVE: _postfix_domain,
        StepKind.DISABLE_CONNECTOR: _postfix_disable,
        StepKind.RETRY_QUEUE: _postfix_retry,
    },
}
