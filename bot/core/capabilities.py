"""What a mail system lets us read and do. A Fix now plan offers only what is declared here; nothing pretends."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """One thing that a backend really can do."""

    READ_CONNECTORS = "read_connectors"
    READ_DOMAINS = "read_domains"
    READ_QUEUE = "read_queue"
    READ_RECIPIENTS = "read_recipients"
    REJECT_MESSAGES = "reject_messages"
    SET_DOMAIN_TYPE = "set_domain_type"
    SET_CONNECTOR_ENABLED = "set_connector_enabled"
