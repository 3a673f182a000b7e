"""Which of our connectors an error is about, and how that connector is doing now. Decides nothing about the error.

Promises: reads only, all in the one transaction it is given; where two connectors fit equally well there is no answer,
because a guess would send people to the wrong server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlite_utils import Database

from bot.core.assignment import assign
from bot.core.evidence import folded
from bot.core.views import ConnectorView
from knowledge.diagnosis import Diagnosis
from storage import connectors, domains, incidents, messages, probes
from storage.records import Connector, DomainFacts, MessageFacts


class Fit(StrEnum):
    """Why it is this connector."""

    SERVER = "server"
    """The error names its smart host."""
    DOMAIN = "domain"
    """It carries the mail for the recipient's domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OurConnector:
    """A connector of ours with its live state, and why it is this one."""

    view: ConnectorView
    fit: Fit

    @property
    def connector(self) -> Connector:
        """The connector itself."""
        return self.view.connector


def our_connector(db: Database, error: Diagnosis, now: datetime) -> OurConnector | None:
    """The connector that this error is about: by the server it names, else by its recipient's domain."""
    if not (error.smart_host or error.ip or error.recipient):
        return None
    every = connectors.every(db)
    known = {backend: domains.every(db, backend) for backend in {c.backend for c in every}}
    found = _by_server(error, every, now) or _by_recipient(error, every, known, now)
    if found is None:
        return None
    connector, fit = found
    return OurConnector(view=_view(db, connector, now), fit=fit)


Found = tuple[Connector, Fit]


def _by_server(error: Diagnosis, every: list[Connector], now: datetime) -> Found | None:
    """By the server or address alone; where several share it, the recipient's domain tells them apart."""
    for listed in ([replace(c, recipient_domains=()) for c in every], every):
        hits = _assigned(error, listed, {}, now)
        if len(hits) == 1 and _serves(hits[0], error, now):
            return next((c, Fit.SERVER) for c in every if c.id == hits[0].id)
    return None


def _by_recipient(
    error: Diagnosis, every: list[Connector], known: dict[str, list[DomainFacts]], now: datetime
) -> Found | None:
    if error.recipient is None:
        return None
    hits = _assigned(replace(error, smart_host=None, ip=None), every, known, now)
    return (hits[0], Fit.DOMAIN) if len(hits) == 1 else None


def _serves(connector: Connector, error: Diagnosis, now: datetime) -> bool:
    """Is the server that the error names really a smart host of this connector?"""
    alone = replace(connector, recipient_domains=())
    return bool(_assigned(replace(error, recipient=None), [alone], {}, now))


def _assigned(
    error: Diagnosis, every: list[Connector], known: dict[str, list[DomainFacts]], now: datetime
) -> list[Connector]:
    """What the rules say for each mail system, as if the error were a message waiting there."""
    hits = []
    for backend in sorted({c.backend for c in every}):
        own = [c for c in every if c.backend == backend]
        found = assign(_message(error, backend, now), own, known.get(backend, ()))
        hits += [c for c in own if c.id == found]
    return hits


def _message(error: Diagnosis, backend: str, now: datetime) -> MessageFacts:
    return MessageFacts(
        backend=backend,
        key="",
        recipient=error.recipient or "",
        sender="",
        received_at=now,
        expires_at=now,
        remote_host=error.smart_host,
        remote_ip=error.ip,
    )


def _view(db: Database, connector: Connector, now: datetime) -> ConnectorView:
    open_ones = incidents.open_at(db, connector.id)
    return ConnectorView(
        connector=connector,
        queue=folded(messages.summary(db, connector.id)),
        now=now,
        probe=next(iter(probes.recent(db, connector.id, 1)), None),
        incidents=tuple(i for i in open_ones if not i.is_warning),
        warnings=tuple(i for i in open_ones if i.is_warning),
    )
