"""The tenant: connectors, accepted domains, directory, queue and mailboxes, and the rules that bind them.

Promises: a (message, recipient) ends exactly once; ending it undelivered puts one NDR into its sender's mailbox;
co-recipients are not touched. Knows no network and no clock: `now` is an argument.

What the rules mean here:
* A recipient goes to the connector with the most specific matching recipient domain (exact, longest `*.suffix`, `*`).
  The queue remembers it: changing connectors later does not re-route mail that already waits.
* A disabled connector keeps its mail waiting, untried, until it is enabled again or the mail's lifetime is over.
  (Exchange Online would send it by MX; with the servers gone it would wait there just the same.)
* In an authoritative domain, an address that the directory doesn't hold is rejected at the next retry, 5.1.10,
  also when its connector is disabled.
* Without any connector, an address of the directory has its mailbox here; everything else is rejected.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from email.mime.text import MIMEText
from email.utils import format_datetime

from bot.sandbox.mail_system import led, ndr
from bot.sandbox.mail_system.model import (
    BadRequest,
    DomainType,
    Entry,
    MailboxItem,
    Message,
    Status,
    TenantConnector,
    TenantDomain,
    address,
    domain_of,
    header,
)

Ref = tuple[str, str]
NOT_FOUND = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient {} not found by SMTP address lookup"
NO_ROUTE = "550 5.0.350 No connector carries mail for {}"
MAX_RECIPIENTS = 500
MAX_ENTRIES = 200_000


class Tenant:
    """One organisation's mail system, in memory."""

    def __init__(self, *, lifetime: timedelta = timedelta(hours=24), name: str = "mail.sandbox.test") -> None:
        self.lifetime = lifetime
        self.name = name
        self.connectors: dict[str, TenantConnector] = {}
        self.domains: dict[str, TenantDomain] = {}
        self.directory: dict[str, set[str]] = {}
        self.entries: dict[Ref, Entry] = {}
        self.mailboxes: dict[str, list[MailboxItem]] = {}
        self._planned: list[tuple[datetime, Callable[[datetime], None]]] = []

    # Settings

    def add_connector(self, connector: TenantConnector) -> None:
        """Add it, or replace the one with its key."""
        self.connectors[connector.key] = connector

    def add_domain(self, domain: TenantDomain) -> None:
        """Accept mail for a domain; its directory starts empty."""
        name = domain.name.lower()
        self.domains[name] = replace(domain, name=name)
        self.directory.setdefault(name, set())

    def add_recipients(self, *addresses: str) -> None:
        """Put addresses into the directory; their domains must be accepted ones."""
        for one in map(address, addresses):
            if domain_of(one) not in self.directory:
                raise BadRequest(f"{domain_of(one)} is not an accepted domain")
            self.directory[domain_of(one)].add(one)

    def set_domain_type(self, name: str, to: DomainType) -> TenantDomain:
        """Change an accepted domain's type. Sub-domain matching needs internal relay, as in Exchange."""
        domain = self.domains.get(name.lower())
        if domain is None:
            raise BadRequest(f"{name} is not an accepted domain")
        if domain.match_subdomains and to is not DomainType.INTERNAL_RELAY:
            raise BadRequest(f"{name} matches sub-domains and has to stay internal_relay")
        self.domains[domain.name] = replace(domain, type=to)
        return self.domains[domain.name]

    def set_connector_enabled(self, key: str, enabled: bool, now: datetime) -> TenantConnector:
        """Switch a connector; enabling makes its mail due at once."""
        connector = self.connectors.get(key)
        if connector is None:
            raise BadRequest(f"no connector {key}")
        if enabled and not connector.enabled:
            self.retry(key, now)
        self.connectors[key] = replace(connector, enabled=enabled)
        return self.connectors[key]

    def retry(self, key: str, now: datetime) -> int:
        """Make what waits at a connector due at once; returns how many entries."""
        if key not in self.connectors:
            raise BadRequest(f"no connector {key}")
        waiting = [e for e in self.queued() if e.connector_key == key]
        for entry in waiting:
            self._put(replace(entry, next_attempt_at=now))
        return len(waiting)

    def later(self, at: datetime, change: Callable[[datetime], None]) -> None:
        """Make this change of settings at the first sweep from `at` on; several in the order of their times."""
        self._planned.append((at, change))
        self._planned.sort(key=lambda one: one[0])

    # Mail

    def submit(
        self,
        sender: str,
        recipients: Sequence[str],
        *,
        now: datetime,
        subject: str = "",
        body: str = "",
        received_at: datetime | None = None,
        key: str | None = None,
    ) -> str:
        """Accept one message; it is due at once. `received_at` in the past makes a backlog. Returns its key."""
        to = tuple(dict.fromkeys(map(address, recipients)))
        if not to or len(to) > MAX_RECIPIENTS:
            raise BadRequest(f"a message needs 1 to {MAX_RECIPIENTS} recipients")
        if len(self.entries) + len(to) > MAX_ENTRIES:
            raise BadRequest("the queue is full")
        at = received_at or now
        key = key or uuid.uuid4().hex
        if any((key, one) in self.entries for one in to):
            raise BadRequest(f"message {key} is already here")
        content = _content(key, address(sender), to, subject=subject, body=body, at=at)
        message = Message(
            key=key,
            sender=address(sender),
            subject=subject,
            content=content,
            received_at=at,
            expires_at=at + self.lifetime,
        )
        for one in to:
            route = self.route(one)
            carrier = route.key if route else None
            self._put(Entry(message=message, recipient=one, next_attempt_at=now, connector_key=carrier))
        return key

    def route(self, recipient: str) -> TenantConnector | None:
        """The connector that carries mail for a recipient; enabled ones go before disabled ones."""
        ranked = [(_specificity(c, domain_of(recipient)), c.enabled, c.key) for c in self.connectors.values()]
        best = max((r for r in ranked if r[0] > 0), default=None)
        return self.connectors[best[2]] if best else None

    def known(self, recipient: str) -> bool | None:
        """Is it in the directory? None: not our domain, so we can't say."""
        held = self.directory.get(domain_of(recipient))
        return None if held is None else recipient in held

    def queued(self) -> list[Entry]:
        """Everything that waits."""
        return [e for e in self.entries.values() if e.status is Status.QUEUED]

    def find(self, refs: Iterable[Ref]) -> list[Entry]:
        """These entries, ended ones too; unknown ones are left out."""
        return [self.entries[ref] for ref in refs if ref in self.entries]

    def reject(self, refs: Iterable[Ref], reason: str, now: datetime) -> int:
        """End these with an NDR to each sender; ended ones are left alone. Returns how many were queued.

        An entry that is on the wire right now is rejected as soon as its attempt is over, if it is still queued then.
        """
        waiting = [e for e in self.find(dict.fromkeys(refs)) if e.status is Status.QUEUED]
        for entry in waiting:
            if entry.in_flight:
                self._put(replace(entry, reject_with=reason))
            else:
                self._bounce(entry, Status.REJECTED, _rejection(entry, reason), now)
        return len(waiting)

    # What a retry finds

    def sweep(self, now: datetime) -> None:
        """The part of a retry that needs no network: expire, reject unknown recipients, deliver to local mailboxes."""
        while self._planned and self._planned[0][0] <= now:
            self._planned.pop(0)[1](now)
        for entry in [e for e in self.queued() if not e.in_flight]:
            domain = self.domains.get(domain_of(entry.recipient))
            strict = domain is not None and domain.type is DomainType.AUTHORITATIVE
            if entry.expires_at <= now:
                self._bounce(entry, Status.EXPIRED, led.expired(entry.reason), now)
            elif entry.next_attempt_at > now:
                continue
            elif strict and not self.known(entry.recipient):
                self._bounce(entry, Status.REJECTED, NOT_FOUND.format(entry.recipient), now)
            elif entry.connector_key is None:
                self._deliver_here(entry, now)

    def due(self, now: datetime) -> dict[str, list[Entry]]:
        """What has to be tried now, by connector key; disabled connectors are left out."""
        found: dict[str, list[Entry]] = {}
        for entry in self.queued():
            connector = self.connectors.get(entry.connector_key or "")
            if connector and connector.enabled and not entry.in_flight and entry.next_attempt_at <= now:
                found.setdefault(connector.key, []).append(entry)
        return found

    def take(self, refs: Iterable[Ref]) -> list[Entry]:
        """Mark these as on the wire; those that ended meanwhile, or already are, are left out."""
        taken = [replace(e, in_flight=True) for e in self.find(refs) if e.status is Status.QUEUED and not e.in_flight]
        for entry in taken:
            self._put(entry)
        return taken

    def release(self, refs: Iterable[Ref]) -> None:
        """These are no longer on the wire, whatever became of them."""
        for entry in [e for e in self.find(refs) if e.in_flight]:
            self._put(replace(entry, in_flight=False))

    def delivered(self, ref: Ref, now: datetime, failure: led.Failure) -> None:
        """The next hop took it; `failure` only carries who that was."""
        entry = _seen(self.entries[ref], failure, now)
        self._put(replace(entry, status=Status.DELIVERED, ended_at=now, in_flight=False))

    def deferred(self, ref: Ref, now: datetime, failure: led.Failure, *, until: datetime) -> None:
        """The attempt failed for now; the next one comes at `until`. Mail that ended meanwhile is left alone."""
        entry = self.entries[ref]
        if entry.status is not Status.QUEUED:
            return
        entry = replace(_seen(entry, failure, now), reason=failure.text(), next_attempt_at=until, in_flight=False)
        if entry.reject_with is not None:
            self._bounce(entry, Status.REJECTED, _rejection(entry, entry.reject_with), now)
        else:
            self._put(entry)

    def refused(self, ref: Ref, now: datetime, failure: led.Failure) -> None:
        """The next hop said no for good."""
        entry = replace(_seen(self.entries[ref], failure, now), in_flight=False)
        self._bounce(entry, Status.REJECTED, failure.text(), now)

    # Ends

    def _bounce(self, entry: Entry, status: Status, diagnostic: str, now: datetime) -> None:
        self._put(replace(entry, status=status, reason=diagnostic, ended_at=now, in_flight=False))
        item = MailboxItem(
            at=now,
            subject=f"Undeliverable: {entry.message.subject}",
            content=ndr.report(entry, diagnostic, now, self.name),
            ndr=ndr.enhanced_code(diagnostic),
            failed_recipient=entry.recipient,
        )
        self.mailboxes.setdefault(entry.message.sender, []).append(item)

    def _deliver_here(self, entry: Entry, now: datetime) -> None:
        if not self.known(entry.recipient):
            self._bounce(entry, Status.REJECTED, NO_ROUTE.format(domain_of(entry.recipient)), now)
            return
        self._put(replace(entry, status=Status.DELIVERED, ended_at=now))
        item = MailboxItem(at=now, subject=entry.message.subject, content=entry.message.content)
        self.mailboxes.setdefault(entry.recipient, []).append(item)

    def _put(self, entry: Entry) -> None:
        self.entries[entry.ref] = entry


def _specificity(connector: TenantConnector, domain: str) -> int:
    """0: carries nothing for this domain; more = closer."""
    best = 0
    for pattern in (p.lower() for p in connector.recipient_domains):
        if pattern == domain:
            return len(domain) + 2
        if pattern.startswith("*.") and domain.endswith(pattern[1:]):
            best = max(best, len(pattern))
        elif pattern == "*":
            best = max(best, 1)
    return best


def _seen(entry: Entry, failure: led.Failure, now: datetime) -> Entry:
    return replace(
        entry,
        attempts=entry.attempts + 1,
        remote_host=failure.host or None,
        remote_ip=failure.ip or None,
        evidence_at=now,
    )


def _rejection(entry: Entry, reason: str) -> str:
    return f"{NOT_FOUND.format(entry.recipient)} ({led.clean(reason)})" if reason else NOT_FOUND.format(entry.recipient)


def _content(key: str, sender: str, to: Sequence[str], *, subject: str, body: str, at: datetime) -> bytes:
    mail = MIMEText(body, "plain", "us-ascii" if body.isascii() else "utf-8")
    header(mail, "From", sender)
    mail["To"] = ", ".join(to)
    header(mail, "Subject", subject)
    header(mail, "Date", format_datetime(at))
    header(mail, "Message-ID", f"<{key}@{domain_of(sender)}>")
    return mail.as_bytes()
