"""Steps with the names that are known in place of examples and placeholders, fit to be pasted. Pure.

Articles name example hosts (mail.contoso.com, contoso.com) and leave gaps such as <connector>. Names are foreign: a
connector's is quoted for the shell that the command is typed into, hosts and addresses have to look plainly like that;
otherwise the gap stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from bot.core.capabilities import Family
from bot.core.quoting import powershell_string

NO_DOMAIN = "<recipient domain>"
LONGEST_NAME = 120
"""A longer connector's name would push the rest of its command out of sight."""
_EXAMPLE_HOST = re.compile(r"(?<!-Fqdn )\bmail\.contoso\.com\b")
_EXAMPLE_DOMAIN = re.compile(r"(?<!-type=TXT )(?<![\w.@-])contoso\.com\b")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+", re.I)
_LOCAL_PART = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,63}", re.I)
_CONNECTOR = {
    Family.EXCHANGE_ONLINE: re.compile(r'(?<=-OutboundConnector )(-Identity )?(?:"<connector>"|<connector>)'),
    Family.EXCHANGE_SERVER: re.compile(r'(?<=-SendConnector )(-Identity )?(?:"<connector>"|<connector>)'),
}
"""The commands that are about the connector whose mail waits, and not about one at the other end."""
_DOMAIN = re.compile(r"(?<=mta-sts\.)<domain>|(?<=-Domain )<domain>")
_SERVER = re.compile(r"(?<=--host )<server>|(?<=telnet )<server>")
_RECIPIENT = re.compile(
    r"(?<=smtp:)<address>|(?<=Get-Recipient )<address>|(?<=postmap -q )<address>"
    r"|(?<=Get-Mailbox )<mailbox>|(?<=Get-MailboxStatistics )<mailbox>"
)
_FORWARDED = "Forward"
"""A step about forwarding means the mailbox that forwards, which is not the one that the mail was for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an incident or an error, as the mail system or a pasted text has it."""

    host: str | None = None
    domain: str | None = None
    recipient: str | None = None
    connector: str | None = None
    family: Family | None = None
    """Of the mail system that the connector belongs to."""


def with_known(steps: Iterable[str], known: Known) -> list[str]:
    """Steps whose commands name what is known.

    Beside a server's own name an example domain would pass for the incident's: a placeholder stands there. The name
    that a server gives itself and the sender's own SPF record are somebody else's, so they keep theirs.
    """
    return [_named(step, known) for step in steps]


def _named(step: str, known: Known) -> str:
    server, recipient = host_name(known.host), _address(known.recipient)
    domain = host_name(known.domain) or (recipient.rpartition("@")[2] if recipient else None)
    shown = domain or (NO_DOMAIN if server else None)
    told = _EXAMPLE_HOST.sub(server, step) if server else step
    told = _EXAMPLE_DOMAIN.sub(shown, told) if shown else told
    told = _SERVER.sub(server, told) if server else told
    told = _DOMAIN.sub(domain, told) if domain else told
    if recipient and _FORWARDED not in step:
        told = _RECIPIENT.sub(recipient, told)
    return _with_connector(told, known)


def _with_connector(step: str, known: Known) -> str:
    pattern = _CONNECTOR.get(known.family) if known.family else None
    if pattern is None or known.connector is None or len(known.connector) > LONGEST_NAME:
        return step
    name = powershell_string(known.connector)
    return pattern.sub(lambda found: f"{found[1] or ''}{name}", step)


def host_name(text: str | None) -> str | None:
    """A host name or an address, and nothing else."""
    if not text:
        return None
    try:
        return str(ip_address(text))
    except ValueError:
        return text.rstrip(".") if _HOST.fullmatch(text.rstrip(".")) else None


def _address(text: str | None) -> str | None:
    """A mail address that no shell reads anything into."""
    local, _, domain = (text or "").rpartition("@")
    return text if _LOCAL_PART.fullmatch(local) and _HOST.fullmatch(domain) else None
