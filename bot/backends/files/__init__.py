"""The files backend: mail systems that we know only through the files that an administrator exports.

It reads; it can't act. Every function returns the good rows and one problem per bad one (with its line), and raises
nothing but UnreadableFile, whose one line says what is wrong and how to export the file right.
"""

from __future__ import annotations

from bot.backends.files.connectors import CONNECTORS_COMMAND, DOMAINS_COMMAND, read_connectors, read_domains
from bot.backends.files.messages import MESSAGES_HINT, read_messages
from bot.backends.files.parsed import MessageIds, Parsed, ParsedMessages, ParsedRecipients, Problem, UnreadableFile
from bot.backends.files.recipients import read_recipients

BACKEND = "files"
"""The name under which everything from files is kept."""

__all__ = [
    "BACKEND",
    "CONNECTORS_COMMAND",
    "DOMAINS_COMMAND",
    "MESSAGES_HINT",
    "MessageIds",
    "Parsed",
    "ParsedMessages",
    "ParsedRecipients",
    "Problem",
    "UnreadableFile",
    "read_connectors",
    "read_domains",
    "read_messages",
    "read_recipients",
]
