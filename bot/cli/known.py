"""Which known connectors `mfi probe` means, and whether their servers may be asked about a recipient now."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from bot.cli.frame import now

if TYPE_CHECKING:
    from sqlite_utils import Database

    from bot.probes.request import ProbeRequest
    from storage.connection import Store
    from storage.records import Connector


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A connector's name or part of it, or "all", as typed, and what else was said with it."""

    word: str
    timeout: float | None = None
    rcpt: str | None = None
    partner_ok: bool = False

    def connectors(self, db: Database) -> list[Connector]:
        """The connectors that are meant: one, or all of them. Raises UsageError if that is not clear."""
        from storage import connectors

        shown, every = repr(self.word[:60]), self.word.casefold() == "all"
        if every and self.rcpt:
            raise click.UsageError("--rcpt asks at one connector: name it instead of “all”")
        found = connectors.every(db) if every else connectors.find(db, self.word)
        if every and not found:
            raise click.UsageError("there are no connectors yet: “mfi import connectors FILE” or “mfi sync” adds them")
        if not found:
            raise click.UsageError(f"no connector {shown}. “mfi connectors” lists them; “mfi import connectors” adds")
        if len(found) > 1 and not every:
            raise click.UsageError(f"{shown} fits {len(found)}: " + ", ".join(c.name for c in found[:10]))
        return found


async def allow(store: Store, request: ProbeRequest, *, partner_ok: bool, connector: Connector | None = None) -> None:
    """Count a question about a recipient. Raises UsageError where it must not be asked, or not yet."""
    from bot.services import asking
    from storage.records import ConnectorKind

    def claimed(db: Database) -> timedelta:
        partner = asking.partner_of(db, request.hosts, request.mx_domain)
        if connector is not None and connector.kind is ConnectorKind.PARTNER:
            partner = connector
        if partner is not None and not partner_ok:
            raise click.UsageError(
                f"{partner.name[:60]!r} leads to a partner, who may mind being asked about recipients: "
                "add --partner-ok if the partner agreed"
            )
        return asking.claim(db, filter(None, (*request.hosts, request.mx_domain)), now())

    if wait := await store.write(claimed):
        seconds = math.ceil(wait.total_seconds())
        raise click.UsageError(f"enough recipients were asked for at this host within a minute: again in {seconds} s")
