"""Carries due mail to the next hop: one session per connector and retry, many messages in it.

Promises: what an attempt really met becomes the reason of the mail that waits; a connector that can't be reached costs
one attempt per address, not one per message; connectors don't wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from bot.core.clock import Clock
from bot.sandbox.mail_system.led import Failure, Trouble
from bot.sandbox.mail_system.model import Entry, TenantConnector, address, domain_of
from bot.sandbox.mail_system.names import CannotResolve, Names, Target
from bot.sandbox.mail_system.smtp_sender import AttemptFailed, Manner, Reply, Session
from bot.sandbox.mail_system.tenant import Ref, Tenant

UNKNOWN_RECIPIENT = "550 5.1.351 Remote server returned unknown recipient or mailbox unavailable ->"
REMOTE_ERROR = "550 5.0.350 Remote server returned an error ->"


class Courier:
    """Tries what is due, when it is told to."""

    def __init__(
        self, tenant: Tenant, names: Names, clock: Clock, manner: Manner, *, smtp_port: int, retry_interval: timedelta
    ) -> None:
        self._tenant = tenant
        self._names = names
        self._clock = clock
        self._manner = manner
        self._port = smtp_port
        self._retry = retry_interval
        self._busy: set[str] = set()

    def ready(self) -> list[tuple[TenantConnector, list[Entry]]]:
        """Connectors that have due mail and no attempt under way, with that mail."""
        due = self._tenant.due(self._clock())
        return [(self._tenant.connectors[key], mail) for key, mail in due.items() if key not in self._busy]

    async def deliver(self, connector: TenantConnector, entries: Sequence[Entry]) -> None:
        """One attempt for all this mail of one connector."""
        self._busy.add(connector.key)
        try:
            for domain, mail in _by_next_hop(connector, entries).items():
                await self._attempt(connector, domain, mail)
        finally:
            self._busy.discard(connector.key)

    async def try_out(self, connector: TenantConnector, recipients: Sequence[str]) -> list[tuple[str, Failure | None]]:
        """Send each of these a test message past the queue; what was tried and how it failed (None: it worked)."""
        tried: list[tuple[str, Failure | None]] = []
        for recipient in recipients:
            to, sender = address(recipient), f"postmaster@{self._tenant.name}"
            name = f"Send test email to {to}"
            try:
                session = await self._open(connector, domain_of(to))
                try:
                    tried.append((f"Check connectivity for {to}", None))
                    replies = await session.send(sender, [to], b"Subject: Test email for connector validation\r\n\r\n")
                    refused = replies[to].code // 100 != 2
                    tried.append((name, session.failure(Trouble.ANSWERED, replies[to].text) if refused else None))
                finally:
                    await session.quit()
            except (AttemptFailed, CannotResolve) as error:
                tried.append((f"Check connectivity for {to}" if not tried else name, error.failure))
        return tried

    async def _attempt(self, connector: TenantConnector, domain: str, entries: Sequence[Entry]) -> None:
        left = [entry.ref for entry in entries]
        try:
            session = await self._open(connector, domain)
            try:
                while left:
                    await self._send_one(session, left)
            finally:
                await session.quit()
        except (AttemptFailed, CannotResolve) as error:
            self._defer(left, error.failure)

    async def _open(self, connector: TenantConnector, domain: str) -> Session:
        """A session with the first address that is usable; the failure of the last one if none is."""
        manner = replace(self._manner, tls_setting=connector.tls_setting, tls_domain=connector.tls_domain)
        failed = AttemptFailed(Failure(trouble=Trouble.DNS, host=domain))
        for target in await self._names.targets(connector, domain):
            try:
                return await _opened(target, connector.port or self._port, manner)
            except AttemptFailed as error:
                failed = error
        raise failed

    async def _send_one(self, session: Session, left: list[Ref]) -> None:
        """Send the first message of `left`, to all its recipients that are in there, and take them out."""
        key = left[0][0]
        taken = self._tenant.take([ref for ref in left if ref[0] == key])
        try:
            if taken:
                message = taken[0].message
                replies = await session.send(message.sender, [e.recipient for e in taken], message.content)
                for entry in taken:
                    self._settle(entry.ref, session, replies[entry.recipient])
            left[:] = [ref for ref in left if ref[0] != key]
        finally:
            self._tenant.release(entry.ref for entry in taken)

    def _settle(self, ref: Ref, session: Session, reply: Reply) -> None:
        now = self._clock()
        if reply.code // 100 == 2:
            self._tenant.delivered(ref, now, session.failure(Trouble.ANSWERED))
        elif reply.code // 100 == 5:
            head = UNKNOWN_RECIPIENT if any(line.startswith("5.1.") for line in reply.lines) else REMOTE_ERROR
            self._tenant.refused(ref, now, session.failure(Trouble.ANSWERED, f"{head} {reply.text}"))
        else:
            self._defer([ref], session.failure(Trouble.ANSWERED, reply.text))

    def _defer(self, refs: Sequence[Ref], failure: Failure) -> None:
        now = self._clock()
        for ref in refs:
            self._tenant.deferred(ref, now, failure, until=now + self._retry)


async def _opened(target: Target, port: int, manner: Manner) -> Session:
    """A usable session with one address. Opportunistic: when TLS breaks, the same again in clear text."""
    session = Session(*target, port, manner)
    try:
        await session.open()
    except AttemptFailed:
        if not (session.tls_broke and manner.tls_setting == "opportunistic"):
            raise
        session = Session(*target, port, replace(manner, tls_setting="none"))
        await session.open()
    return session


def _by_next_hop(connector: TenantConnector, entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Smart hosts take everything in one session; by MX there is one per recipient domain."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(domain_of(entry.recipient) if connector.use_mx else "", []).append(entry)
    return groups


async def deliver_all(courier: Courier) -> None:
    """One whole retry: everything that is due, all connectors at once."""
    async with asyncio.TaskGroup() as group:
        for connector, entries in courier.ready():
            group.create_task(courier.deliver(connector, entries))
