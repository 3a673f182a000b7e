"""Mail systems that are known from before and no longer configured: renamed, or taken out of MFI_BACKENDS.

Promises: nobody watches their connectors any more, their figures are shown nowhere, and their incidents end. What was
recorded stays, and one that is configured again is taken up where its next read finds it. Imported files are none.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime

from sqlite_utils import Database

from bot.backends.files import BACKEND as IMPORTED
from bot.core.clock import Clock
from bot.services import unreadable
from bot.services.queue_taking import compare
from storage import connectors, domains, incidents, syncs
from storage.connection import Store
from storage.records import Connector

LOG = logging.getLogger(__name__)


async def let_go(store: Store, configured: Collection[str], clock: Clock) -> list[str]:
    """Call it at the start, before anything is read; returns the names of those that are gone."""
    gone = sorted(await store.read(_known) - {*configured, IMPORTED})
    for name in gone:
        await _let_go(store, name, clock())
        LOG.info("mail system %s is no longer configured: its connectors are no longer watched", name)
    return gone


def left(db: Database, connector: Connector) -> bool:
    """Is it watched no more because its mail system isn't configured any more, and not because that lacks it?"""
    return connector.missing_since is not None and connector.backend not in {IMPORTED, *syncs.latest(db)}


async def _let_go(store: Store, name: str, now: datetime) -> None:
    taking = await compare(store, name, (), now)

    def leave(db: Database) -> None:
        taking.finish(db)
        connectors.sync(db, name, (), now, complete=True)
        domains.sync(db, name, (), now, complete=True)
        unreadable.note_gone(db, name, now)
        syncs.forget(db, name)

    await store.write(leave)


def _known(db: Database) -> set[str]:
    told = {i.code.removeprefix(unreadable.PREFIX) for i in incidents.open_at(db, None) if unreadable.is_one(i)}
    return {c.backend for c in connectors.every(db)} | set(syncs.latest(db)) | told
