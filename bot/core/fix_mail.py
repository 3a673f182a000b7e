"""The waiting mail as a plan sees it: for whom it is, as far as directory and accepted domains tell. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from storage.records import DomainFacts, MessageFacts, MessageStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """Partial: the directory gave no answer for some of ours. `unseen`: so many more wait that nobody looked at."""

    every: tuple[MessageFacts, ...]
    valid: tuple[MessageFacts, ...]
    invalid: tuple[MessageFacts, ...]
    unknown: tuple[MessageFacts, ...]
    partial: bool
    unseen: int

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
    unseen: int,
) -> Mail:
    """Invalid: only what the directory says it doesn't have, in a domain of ours. Partial: ours, but no answer."""
    every = tuple(m for m in waiting if m.status is MessageStatus.QUEUED)
    addresses = {m.recipient.lower() for m in every}
    ours = {address for address in addresses if _is_ours(address, domains)}
    valid, invalid = valid & addresses, (invalid & ours) - valid
    return Mail(
        every=every,
        valid=tuple(m for m in every if m.recipient.lower() in valid),
        invalid=tuple(m for m in every if m.recipient.lower() in invalid),
        unknown=tuple(m for m in every if m.recipient.lower() not in valid | invalid),
        partial=bool(ours - valid - invalid),
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
            f"{mail.total} messages wait, and only the {len(mail.every)} oldest were looked at one by one. Who the "
            f"other {mail.unseen} are for isn't known, so no domain is changed: look again when fewer wait."
        )
    if mail.partial:
        notes.append(
            f"The directory didn't answer for {recipients_of(mail.unknown)}. On a partial answer nothing is rejected "
            "and no domain is changed: check the directory first."
        )
    elif mail.unknown:
        notes.append(f"{messages_of(mail.unknown)} for {recipients_of(mail.unknown)} outside our domains: left alone.")
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
