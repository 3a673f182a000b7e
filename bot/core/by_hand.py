"""How a person does by hand what Fix now would do: the way through the admin center, or the commands to type.

Pure. Names come from the mail system, so they are quoted for the shell that they are typed into. A line that begins
with the name of a shell and a colon is a command after that and nothing else, to be pasted as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from bot.core.capabilities import Family, Place
from bot.core.fix_plan import PlanStep
from bot.core.postfix_place import on_host, tool
from bot.core.quoting import powershell_string, shell_word
from storage.records import ConnectorFacts, StepKind

ADMIN_CENTER = "https://admin.exchange.microsoft.com/#/"
MESSAGES_NAMED = 3
_COMMAND = re.compile(r"((?:Shell|PowerShell|Exchange Management Shell)\b(?:(?!: ).)*): (.+)")

Lines = Iterator[str]
Way = Callable[[Place, ConnectorFacts, PlanStep], Lines]


def command_in(line: str) -> tuple[str, str] | None:
    """(where it is typed, the command) of one of these lines; None for a line that is only to be read."""
    found = _COMMAND.fullmatch(line)
    return (found[1], found[2]) if found else None


def instructions(place: Place, connector: ConnectorFacts, steps: Iterable[PlanStep]) -> tuple[str, ...]:
    """One line for each way to do one of these steps in this mail system."""
    ways = _WAYS[place.family]
    return tuple(line for step in steps for line in ways[step.kind](place, connector, step))


def _keys(step: PlanStep) -> Sequence[str]:
    return list(dict.fromkeys(key for key, _ in step.refs))


def _more(step: PlanStep) -> str:
    left = len(_keys(step)) - MESSAGES_NAMED
    return f" (and so on for the other {left})" if left > 0 else ""


# Exchange Online


def _online_reject(_place: Place, _connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield "Invalid recipients: Exchange Online rejects them itself at its next retry once their domain is Authoritative"


def _online_domain(_place: Place, _connector: ConnectorFacts, step: PlanStep) -> Lines:
    for domain in step.domains:
        yield f"Admin center ({ADMIN_CENTER}accepteddomains): Mail flow → Accepted domains → {domain} → Authoritative"
        yield f"PowerShell: Set-AcceptedDomain -Identity {powershell_string(domain)} -DomainType Authoritative"


def _online_disable(_place: Place, connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield f"Admin center ({ADMIN_CENTER}connectors): Mail flow → Connectors → “{connector.name}” → turn it off"
    yield f"PowerShell: Set-OutboundConnector -Identity {powershell_string(connector.name)} -Enabled $false"


def _online_retry(_place: Place, _connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield "Exchange Online retries by itself, about every 15 minutes: wait"


# Exchange Server


def _server_reject(_place: Place, _connector: ConnectorFacts, step: PlanStep) -> Lines:
    for key in _keys(step)[:MESSAGES_NAMED]:
        yield f"Exchange Management Shell: Remove-Message -Identity {powershell_string(key)} -WithNDR $true"
    if more := _more(step):
        yield f"The same{more}: only messages of which every recipient is invalid"


def _server_domain(_place: Place, _connector: ConnectorFacts, step: PlanStep) -> Lines:
    for domain in step.domains:
        yield f"Exchange admin center: Mail flow → Accepted domains → {domain} → Authoritative"
        named = powershell_string(domain)
        yield f"Exchange Management Shell: Set-AcceptedDomain -Identity {named} -DomainType Authoritative"


def _server_disable(_place: Place, connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield f"Exchange admin center: Mail flow → Send connectors → “{connector.name}” → Disable"
    named = powershell_string(connector.name)
    yield f"Exchange Management Shell: Set-SendConnector -Identity {named} -Enabled $false"


def _server_retry(_place: Place, connector: ConnectorFacts, _step: PlanStep) -> Lines:
    same = f"{{$_.NextHopConnector -eq {powershell_string(connector.key)}}}"
    yield f"Exchange Management Shell: Get-Queue | Where-Object {same} | Retry-Queue"


# Postfix

KEYS_AT_ONCE = 3


def _postfix_reject(place: Place, _connector: ConnectorFacts, step: PlanStep) -> Lines:
    named = list(dict.fromkeys(recipient for _, recipient in step.refs))[:MESSAGES_NAMED]
    yield from _postfix_entries(place, named, "error:5.1.1 Recipient not found in the directory")
    yield f"{_shell(place)}: {tool(place, 'postfix')} reload && {tool(place, 'postqueue')} -f"
    if more := _more(step):
        yield f"The same for the other recipients{more}"
    yield _undo(place, "once the mail has bounced")


def _shell(place: Place) -> str:
    return f"Shell{on_host(place)}, as root"


def _undo(place: Place, when: str) -> str:
    built = f"cd {shell_word(place.config_dir)} && {tool(place, 'postmap')} hash:mfi_overrides"
    first = f"{when}, take these lines out of {place.config_dir}/mfi_overrides first"
    return f"{_shell(place)}, {first}: {built} && {tool(place, 'postfix')} reload"


def _postfix_entries(place: Place, keys: Sequence[str], entry: str) -> Lines:
    """A table in front: behind the domain's own line in the same table, an entry is a duplicate that counts nothing.

    Each command goes to the directory itself, so that it may be typed in a shell of its own.
    """
    directory, postmap, postconf = shell_word(place.config_dir), tool(place, "postmap"), tool(place, "postconf")
    lines = shell_word(f"%s {entry}\\n")
    for start in range(0, len(keys), KEYS_AT_ONCE):
        words = " ".join(map(shell_word, keys[start : start + KEYS_AT_ONCE]))
        added = f"printf {lines} {words} >> mfi_overrides"
        yield f"{_shell(place)}: cd {directory} && {added} && {postmap} hash:mfi_overrides"
    yield (
        f"{_shell(place)}, only if mfi_overrides isn't first in transport_maps yet: cd {directory} && "
        f'{postconf} -e "transport_maps = hash:$PWD/mfi_overrides, $({postconf} -h transport_maps)"'
    )


def _postfix_domain(place: Place, _connector: ConnectorFacts, step: PlanStep) -> Lines:
    for domain in step.domains:
        yield f"List the valid addresses of {domain} in {place.config_dir}/relay_recipients, one line “address OK” each"
    directory, postmap, postconf = shell_word(place.config_dir), tool(place, "postmap"), tool(place, "postconf")
    yield f"{_shell(place)}: cd {directory} && {postmap} hash:relay_recipients"
    yield (
        f"{_shell(place)}, only if relay_recipient_maps is empty (else use its table): cd {directory} && "
        f'{postconf} -e "relay_recipient_maps = hash:$PWD/relay_recipients" && {tool(place, "postfix")} reload'
    )


def _postfix_disable(place: Place, connector: ConnectorFacts, _step: PlanStep) -> Lines:
    domains = [domain.removeprefix("*") for domain in connector.recipient_domains if domain != "*"]
    if len(domains) < len(connector.recipient_domains) or not domains:
        yield "The default route can't be disabled: it carries bounces too. Correct its next hop (relayhost) instead"
        return
    yield from _postfix_entries(place, domains, "retry:4.3.2 Connector disabled")
    yield f"{_shell(place)}: {tool(place, 'postfix')} reload"
    yield _undo(place, "to undo it")


def _postfix_retry(place: Place, _connector: ConnectorFacts, _step: PlanStep) -> Lines:
    yield f"{_shell(place)}: {tool(place, 'postqueue')} -f"


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
