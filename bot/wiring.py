"""Parts made from settings: what single commands need without the whole bot, and the bot's own building blocks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.backends import registry
from bot.backends.options import BadOptions
from bot.backends.ports import Backend, BackendError
from bot.core.targets import AddressPolicy
from bot.probes.resolver import Resolver, Unresolved, checked
from bot.probes.runner import Prober
from bot.probes.truststore import NoTrustStore
from bot.services import address_ranges
from bot.services.address_ranges import AddressRanges
from bot.services.fix_look import MailExchangers
from bot.services.probing import Probing
from bot.services.syncing import Syncing
from bot.settings import RANGES_URL, Settings, SettingsError
from knowledge.classify import Cause
from storage import syncs
from storage.connection import Store

LOG = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


def make_backends(settings: Settings) -> dict[str, Backend]:
    """The mail systems of MFI_BACKENDS, not yet connected. SettingsError names everything that is wrong."""
    backends: dict[str, Backend] = {}
    problems = []
    for spec in settings.backends or ():
        try:
            backends[spec.name] = registry.make(spec.name, spec.kind, spec.options)
        except BadOptions as bad:
            for option, problem in bad.problems:
                where = "MFI_BACKENDS" if option == registry.KIND else f"MFI_{spec.name.upper()}_{option}"
                problems.append(f"{where} {problem}")
    if problems:
        raise SettingsError(problems)
    return backends


def make_syncing(settings: Settings, store: Store, backends: Mapping[str, Backend]) -> Syncing:
    """What reads these mail systems, each at its own interval."""
    return Syncing(
        store,
        backends,
        settings.policy(),
        utc_now,
        default_channel=settings.alert_channel or "",
        every=settings.sync_interval,
        intervals=own_intervals(settings),
    )


def own_intervals(settings: Settings) -> dict[str, timedelta]:
    """How often a mail system is read, where it has an interval of its own."""
    return {spec.name: spec.interval for spec in settings.backends or () if spec.interval}


def make_prober(settings: Settings) -> Prober:
    """The prober for stored connectors: it keeps to the address policy."""
    try:
        return Prober(
            nameservers=settings.nameservers or (),
            ca_file=settings.ca_file,
            crl_file=settings.crl_file,
            allow=AddressPolicy.parse(settings.probe_allow or ()),
        )
    except NoTrustStore as error:
        raise SettingsError([str(error)]) from None


def make_mail_exchangers(settings: Settings) -> MailExchangers:
    """Where a domain's mail goes by DNS; None, where DNS doesn't tell in time."""
    resolver = Resolver(settings.nameservers or ())

    async def ask(domain: str) -> Sequence[str] | None:
        try:
            return [exchanger.name for exchanger in await resolver.exchangers(checked(domain))]
        except Unresolved as error:
            LOG.debug("no mail exchangers of %s: %s", domain, error)
            return () if error.cause in (Cause.NXDOMAIN, Cause.NULL_MX) else None

    return ask


def make_probing(settings: Settings, store: Store, prober: Prober, timeout: float | None = None) -> Probing:
    """Probes of stored connectors, with triage of what they see."""
    return Probing(
        store,
        prober,
        settings.policy(),
        utc_now,
        default_port=settings.smtp_port,
        default_channel=settings.alert_channel or "",
        egress=settings.egress_check or (),
        timeout=timeout or settings.probe_timeout.total_seconds(),
    )


def make_address_ranges(settings: Settings, store: Store) -> AddressRanges:
    """The published addresses of the mail systems that have some; trusts what their own connections trust, too."""
    specs = [spec for spec in settings.backends or () if spec.kind == address_ranges.KIND]
    # Ours is the worldwide list. Whoever names another one means it for the clouds that are read.
    elsewhere = {spec.name for spec in specs if spec.options.get("CLOUD", "global").strip().lower() != "global"}
    elsewhere = elsewhere if settings.address_ranges == RANGES_URL else set()
    own = next((spec.options["CA_FILE"] for spec in specs if spec.options.get("CA_FILE")), None)
    return AddressRanges(
        store,
        utc_now,
        backends={spec.name for spec in specs} - elsewhere,
        url=settings.address_ranges or None,
        elsewhere=elsewhere,
        ca_file=Path(own) if own else settings.ca_file,
    )


async def sync_once(settings: Settings, store: Store, names: Sequence[str]) -> list[dict[str, Any]]:
    """Read these mail systems once; one outcome each: backend, counts, error."""
    outcomes = []
    async with closing(make_backends(settings)) as backends:
        syncing = make_syncing(settings, store, backends)
        for name in names:
            try:
                counts = await syncing.sync(name)
                flat = {f"{part} {k}": n for part, c in counts.items() for k, n in asdict(c).items() if n}
                runs = await store.read(syncs.latest)
                outcomes.append({"backend": name, "counts": flat, "error": None, "notes": list(runs[name].notes)})
            except BackendError as error:
                outcomes.append({"backend": name, "counts": {}, "error": str(error), "notes": []})
    return outcomes


@contextlib.asynccontextmanager
async def closing(backends: dict[str, Backend]) -> AsyncIterator[dict[str, Backend]]:
    """Close them all at the end, whatever happens."""
    try:
        yield backends
    finally:
        await asyncio.gather(*(backend.close() for backend in backends.values()), return_exceptions=True)
