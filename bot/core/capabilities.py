"""What a mail system lets us read and do. A Fix now plan offers only what is declared here; nothing pretends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Capability(StrEnum):
    """One thing that a backend really can do."""

    READ_CONNECTORS = "read_connectors"
    READ_DOMAINS = "read_domains"
    READ_QUEUE = "read_queue"
    READ_REASONS = "read_reasons"
    """Why a message waits, at least of a sample."""
    READ_RECIPIENTS = "read_recipients"
    REJECT_MESSAGES = "reject_messages"
    """End a queued message with an NDR, right away."""
    REJECT_SINGLE_RECIPIENTS = "reject_single_recipients"
    """Rejecting one recipient leaves the same message's other recipients waiting."""
    REJECTS_AT_RETRY = "rejects_at_retry"
    """Nobody can reject what waits; but it rejects invalid recipients by itself once their domain is authoritative."""
    RETRY_QUEUE = "retry_queue"
    """Try a connector's waiting mail again now."""
    SET_DOMAIN_TYPE = "set_domain_type"
    SET_CONNECTOR_ENABLED = "set_connector_enabled"


class Family(StrEnum):
    """Which kind of mail system it is, for what people do there by hand."""

    EXCHANGE_ONLINE = "exchange_online"
    EXCHANGE_SERVER = "exchange_server"
    POSTFIX = "postfix"


POSTFIX_DIRECTORY = "/etc/postfix"
"""Where Postfix has its configuration unless it is told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where people type what they do by hand: in which kind of mail system, and on which machine if mfi knows it.

    `config_dir`: Postfix's configuration directory. `host`: where mfi itself goes by ssh; None is this machine, or
    nobody knows.
    """

    family: Family = Family.EXCHANGE_ONLINE
    config_dir: str = POSTFIX_DIRECTORY
    host: str | None = None
