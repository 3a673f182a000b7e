"""The waiting mail as a plan sees it: for whom it is, as far as directory and accepted domains tell. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from storage.records import DomainFacts, MessageFacts, MessageStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """`invalid`: what may be rejected. `unknown`: all that is neither valid nor invalid. Among these: `unanswered`: of
    ours, but the directory said nothing; `elsewhere`: not in the directory, yet they got mail before. `shared`:
    messages to an invalid recipient that would be lost for others if they were rejected as a whole.
    `unseen`: so many more wait that nobody looked at.
    """

    every: tuple[MessageFacts, ...]
    valid: tuple[MessageFacts, ...]
    invalid: tuple[MessageFacts, ...]
    unknown: tuple[MessageFacts, ...]
    unanswered: tuple[MessageFacts, ...]
    elsewhere: tuple[MessageFacts, ...]
    shared: tuple[MessageFacts, ...]
    unseen: int

    @property
    def partial(self) -> bool:
        """Did the directory give no answer for some of ours?"""
        return bool(self.unanswered)

    @property
    def total(self) -> int:
        """All that waits."""
        return len(self.every) + self.unseen


def sort_mail(
    waiting: Iterable[MessageFacts],
    domains: Collection[DomainFacts],
    *,
    valid: frozenset[str],
    invalid: frozenset[str],
    delivered_before: frozenset[str] = frozenset(),
    mixed: frozenset[str] = frozenset(),
    whole_messages: bool = False,
    unseen: int = 0,
) -> Mail:
    """Invalid: only what the directory says it doesn't have, in a domain of ours, and what never got mail before.

    whole_messages: a message can only be rejected for all its recipients at once, so only where all are invalid;
    `mixed`: keys of messages of which another recipient waits at another connector.
    """
    every = tuple(m for m in waiting if m.status is MessageStatus.QUEUED)
    addresses = {m.recipient.lower() for m in every}
    ours = {address for address in addresses if _is_ours(address, domains)}
    valid, absent = valid & addresses, (invalid & ours) - valid
    bad = absent - delivered_before
    kept = mixed | {m.key for m in every if m.recipient.lower() not in bad} if whole_messages else frozenset()
    return Mail(
        every=every,
        valid=tuple(m for m in every if m.recipient.lower() in valid),
        invalid=tuple(m for m in every if m.recipient.lower() in bad and m.key not in kept),
        unknown=tuple(m for m in every if m.recipient.lower() not in valid | bad),
        unanswered=tuple(m for m in every if m.recipient.lower() in ours - valid - absent),
        elsewhere=tuple(m for m in every if m.recipient.lower() in absent & delivered_before),
        shared=tuple(m for m in every if m.recipient.lower() in bad and m.key in kept),
        unseen=unseen,
    )


def _is_ours(recipient: str, domains: Iterable[DomainFacts]) -> bool:
    domain = domain_of(recipient)
    return any(domain == d.name or (d.match_subdomains and domain.endswith(f".{d.name}")) for d in domains)


def domain_of(recipient: str) -> str:
    """The part after the @."""
    return recipient.rpartition("@")[2].lower()


def mail_notes(mail: Mail) -> tuple[str, ...]:
    """What is left alone, and why."""
    notes: list[str] = []
    if mail.unseen:
        notes.append(
            f"{mail.total} messages wait, and only the {len(mail.every)} oldest were looked at one by one: who the "
            f"other {mail.unseen} are for isn't known."
        )
    if mail.elsewhere:
        notes.append(
            f"{messages_of(mail.elsewhere)} for {recipients_of(mail.elsewhere)} that the directory lacks, but that got "
            "mail through this connector before: left alone."
        )
    if mail.shared:
        notes.append(
            f"{messages_of(mail.shared)} to invalid recipients also have others, and this mail system can only reject "
            "whole messages: left alone."
        )
    rest = [m for m in mail.unknown if m not in mail.unanswered and m not in mail.elsewhere]
    if rest:
        notes.append(f"{messages_of(rest)} for {recipients_of(rest)} outside our domains: left alone.")
    return tuple(notes)


def messages_of(mail: Sequence[MessageFacts]) -> str:
    """How many messages, in words."""
    return plural(len(mail), "message")


def recipients_of(mail: Iterable[MessageFacts], noun: str = "recipient") -> str:
    """How many different recipients, in words."""
    return plural(len({m.recipient.lower() for m in mail}), noun)


def plural(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
