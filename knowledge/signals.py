"""Details in an error's own words that tell which cause is the likely one: a table of plain substrings.

Faults that the probe knows too (refused, certificate expired …) are Causes, found by the table in words. This table
holds the rest: what receivers and policies say beside codes that have no family.
"""

from __future__ import annotations

from knowledge.causes import CAUSE_WORDS
from knowledge.diagnosis import Diagnosis

SIGNALS: dict[str, tuple[str, tuple[str, ...]]] = {
    "greylist": ("the receiver greylists unknown senders", ("greylist", "graylist", "grey-list")),
    "relay": (
        "the server does not relay for this sender or domain",
        ("relay access", "relaying", "to relay", "relay denied", "not relay", "relay not", "not local"),
    ),
    "dbeb": ("the recipient isn't in the receiving organisation's directory", ("rejected: access denied",)),
    "no_user": (
        "the receiver does not know this recipient",
        ("user unknown", "unknown user", "no such user", "not found by smtp", "recipientnotfound", "recipnotfound"),
    ),
    "restrict_ip": ("the connector accepts listed addresses only", ("restrictdomainstoipaddresses",)),
    "restrict_certificate": ("the connector asks for a certificate", ("restrictdomainstocertificate",)),
    "reputation": (
        "the sending address has a bad reputation or is on a block list",
        ("reputation", "blocklist", "block list", "blacklist", "spamhaus", "banned sending ip", "dnsbl"),
    ),
    "busy": ("the server is busy", ("server busy", "too busy", "too many concurrent", "maximum number of concurrent")),
    "spf": ("SPF does not allow the sending address", ("spf",)),
    "dkim": ("the DKIM signature is missing or wrong", ("dkim",)),
    "dmarc": ("the sender's domain fails DMARC", ("dmarc",)),
    "no_rdns": ("the sending address has no reverse DNS name", ("reverse dns", "ptr", "rdns")),
    "full": ("there is no space left", ("mailbox full", "mailbox is full", "over quota", "quota exceeded", "useddisk")),
    "size": ("the message is too large", ("message size", "size limit", "too large", "messagetoolarge")),
    "proxy": ("the frontend could not pass the session on", ("prx", "proxy session")),
    "thread_limit": ("too many deliveries to one mailbox at once", ("thread limit",)),
    "attr36": ("no inbound connector of the tenant matches the sending server", ("attr36", "tenantattribution")),
    "not_signed_in": ("the client did not sign in", ("not authenticated", "authentication required")),
    "rule": ("a mail flow rule refused it", ("transport.rules", "rejectmessage", "mail flow rule")),
    "queue_full": ("the receiving organisation's queue is full", ("queue quota",)),
    "secure_domain": ("mutual TLS with this domain is blocked", ("secure domain",)),
}
"""Name → (phrase that fits after "because", substrings of lower-case text that tell it)."""

TAGS = frozenset(SIGNALS) | {cause.value for cause in CAUSE_WORDS}
"""Every detail that an article may tie a cause to."""


def told(diagnosis: Diagnosis) -> tuple[str, ...]:
    """The names of the details that this diagnosis holds, most certain first."""
    low = f"{diagnosis.reason or ''} {diagnosis.detail or ''}".lower()
    named = [diagnosis.cause.value] if diagnosis.cause is not None else []
    return (*named, *(name for name, (_, words) in SIGNALS.items() if any(word in low for word in words)))


def phrase(name: str) -> str:
    """What this detail means, in words that fit after "because"."""
    return SIGNALS[name][0] if name in SIGNALS else next(w for cause, w in CAUSE_WORDS.items() if cause.value == name)
