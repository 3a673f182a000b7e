"""The words for states, kinds, spans and counts. Pure; the same everywhere in Slack."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.core.forecast import plain_span as span
from bot.core.incidents import UNDONE
from bot.slack.text import Mrkdwn
from storage.records import ConnectorKind, Incident, IncidentState, Severity, TlsSetting

STATE_WORDS = {
    IncidentState.FIRING: "Firing",
    IncidentState.ACKNOWLEDGED: "Acknowledged",
    IncidentState.FIXING: "Fixing",
    IncidentState.VERIFYING: "Verifying",
    IncidentState.RESOLVED: "Resolved",
}

SEVERITY_WORDS = {Severity.WARNING: "warning", Severity.CRITICAL: "critical"}

KIND_WORDS = {ConnectorKind.ON_PREMISES: "on-premises", ConnectorKind.PARTNER: "partner"}

OWNER_WORDS = {
    "connector": "whoever looks after the connector",
    "on_premises": "your server, firewall or network team",
    "dns": "the DNS host of the domain",
    "partner": "the partner",
    "sender": "the sender",
    "microsoft": "Microsoft support",
}
"""Owner (as articles name it) → whom that means."""

TLS_WORDS = {
    TlsSetting.NONE: "no TLS",
    TlsSetting.OPPORTUNISTIC: "TLS if offered",
    TlsSetting.ENCRYPTION: "TLS required",
    TlsSetting.CERTIFICATE: "TLS with a trusted certificate",
    TlsSetting.DOMAIN: "TLS with the domain's certificate",
}

STAGE_WORDS = {
    "dns": "DNS",
    "connect": "connecting",
    "banner": "waiting for the greeting",
    "ehlo": "EHLO",
    "starttls": "STARTTLS",
    "tls": "the TLS handshake",
    "done": "done",
}

MONITOR_NAME = "The monitor itself"

SEEN_FROM_HERE = Mrkdwn("seen from the bot's own network")
"""Said beside every probe: the mail system may meet another firewall."""


def emoji(incident: Incident) -> str:
    """One picture for state and severity; a word always stands beside it."""
    if incident.state is IncidentState.FIRING:
        if incident.is_warning:
            return "⚠️"
        return "🔴" if incident.severity is Severity.CRITICAL else "🟠"
    if incident.state is IncidentState.RESOLVED and incident.resolution == UNDONE:
        return "↩️"
    return {
        IncidentState.ACKNOWLEDGED: "👀",
        IncidentState.FIXING: "🛠️",
        IncidentState.VERIFYING: "⏳",
        IncidentState.RESOLVED: "✅",
    }[incident.state]


def state_words(incident: Incident) -> str:
    """ "Firing, critical"; a resolved one has no severity any more."""
    word = STATE_WORDS[incident.state]
    return word if incident.state is IncidentState.RESOLVED else f"{word}, {SEVERITY_WORDS[incident.severity]}"


def ago(moment: datetime, now: datetime) -> str:
    """ "5 min ago", "just now"."""
    return "just now" if now - moment < timedelta(minutes=1) else f"{span(now - moment)} ago"


def count(number: int, one: str, many: str | None = None) -> str:
    """ "1 message", "1,284 messages"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def seconds(milliseconds: float) -> str:
    """ "0.42 s"."""
    return f"{milliseconds / 1000:.2f} s"


def bounce(first_expiry: datetime | None, now: datetime) -> str:
    """When the first waiting message goes back to its sender, as part of a sentence."""
    if first_expiry is None:
        return "no bounce ahead"
    return "first bounces are due now" if first_expiry <= now else f"first bounce in {span(first_expiry - now)}"
