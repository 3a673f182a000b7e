"""The ports that a mail system's module implements.

Adding one = one module, its tests, one line in bot/backends/registry.py.

Every method may raise BackendError. Reads return whole answers or raise: a short list is never taken for a whole one.
Acts are desired-state and idempotent: asking for what already holds succeeds and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from bot.core.capabilities import Capability, Place
from bot.core.finding import Finding
from storage.records import ConnectorFacts, DomainFacts, DomainType, MessageFacts, MessageStatus


class BackendError(Exception):
    """A mail system did not do or tell what was asked. The text is one line that says what to do.

    BackendError
    ├── Unreachable   nothing was received: nothing happened, try later
    ├── Refused       it answered no: nothing happened, trying again won't help
    └── OutcomeUnknown  the request was sent, the answer lost: read the state before anything else
    """


class Unreachable(BackendError):
    """Nothing was received; nothing happened."""


class Refused(BackendError):
    """The mail system answered no; nothing happened."""


class OutcomeUnknown(BackendError):
    """Sent, but no answer: it may have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One whole read of a mail system; None = this backend does not read that part.

    `messages`: everything that waits. `ended`: how messages left that waited before, as far as the mail system tells
    (final statuses). One that is in neither ended as `vanished`: GONE, unless the mail system tells of every failure,
    so that silence means DELIVERED.
    `true_at`: when all this was so, where that isn't the moment of the read (a file that a script wrote earlier).
    `notes`: what was odd, one line each, for people.
    `overdue`: why all this is too old to count as a read, in a line that stays the same while nothing newer comes. It
    is taken over as what was so at `true_at`, and counts as a miss.
    `routed`: the mail system's own routing is known: a message without connector_key is carried by none of its
    connectors, and nobody guesses one for it.
    """

    connectors: Sequence[ConnectorFacts] | None = None
    domains: Sequence[DomainFacts] | None = None
    messages: Sequence[MessageFacts] | None = None
    ended: Sequence[MessageFacts] = ()
    vanished: MessageStatus = MessageStatus.GONE
    true_at: datetime | None = None
    notes: tuple[str, ...] = ()
    overdue: str | None = None
    routed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientAnswer:
    """What the directory says of some addresses (lower case). An address in neither set is unknown, never invalid.

    `true_at`: of when that is, where the directory is a list that somebody made (None: of now).
    """

    valid: frozenset[str] = field(default_factory=frozenset)
    invalid: frozenset[str] = field(default_factory=frozenset)
    true_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRef:
    """One message for one recipient."""

    key: str
    recipient: str


class Backend(Protocol):
    """The read side of one mail system."""

    @property
    def name(self) -> str:
        """The instance's name in MFI_BACKENDS; also the `backend` of everything it reports."""
        ...

    @property
    def place(self) -> Place:
        """Which kind of mail system it is, and where: decides how a person does by hand what the bot can't."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can read and do; methods outside this set are never called."""
        ...

    async def snapshot(self) -> Snapshot:
        """Read everything that it can read."""
        ...

    async def recipients(self, addresses: Iterable[str]) -> RecipientAnswer:
        """READ_RECIPIENTS: which of these exist in the directory."""
        ...

    async def connector(self, key: str) -> ConnectorFacts | None:
        """READ_CONNECTORS: one connector as it is now."""
        ...

    async def domain(self, name: str) -> DomainFacts | None:
        """READ_DOMAINS: one accepted domain as it is now."""
        ...

    async def messages(self, refs: Iterable[MessageRef]) -> Sequence[MessageFacts]:
        """READ_QUEUE: these messages as they are now, ended ones with their final status; unknown ones are absent."""
        ...

    async def check(self) -> Sequence[Finding]:
        """For `mfi doctor`: what it can and can't do with the rights that it has, each fault with its exact fix.

        Never raises BackendError; changes nothing.
        """
        ...

    async def reject(self, refs: Sequence[MessageRef], reason: str) -> None:
        """REJECT_MESSAGES: end each of these with an NDR to its sender. Ended ones are left alone.

        Without REJECT_SINGLE_RECIPIENTS it refuses a message of which a recipient still waits that isn't in `refs`.
        """
        ...

    async def set_domain_type(self, name: str, to: DomainType) -> None:
        """SET_DOMAIN_TYPE."""
        ...

    async def set_connector_enabled(self, key: str, *, enabled: bool) -> None:
        """SET_CONNECTOR_ENABLED."""
        ...

    async def retry(self, connector_key: str) -> None:
        """RETRY_QUEUE: let the mail that waits at this connector be tried again now; harmless when repeated."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
