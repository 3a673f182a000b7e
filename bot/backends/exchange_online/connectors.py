"""Outbound connectors: three reads united by Guid, because each hides some of them; rows into ConnectorFacts.

What a key does not tell is not taken for false. An enumeration's value that we don't know is told in a note, and the
connector is kept: one that vanished from our list would look as if it had been removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from bot.backends.exchange_online.invoke import CmdletError, Invoker
from bot.backends.exchange_online.rows import Json, flag, text, texts
from bot.backends.ports import Unreachable
from storage.records import Caution, ConnectorFacts, ConnectorKind, TlsSetting

GET = "Get-OutboundConnector"
READS: tuple[Mapping[str, Any], ...] = ({}, {"IncludeTestModeConnectors": True}, {"IsTransportRuleScoped": True})
NOT_FOUND = "ManagementObjectNotFoundException"
_KINDS = {"onpremises": ConnectorKind.ON_PREMISES, "partner": ConnectorKind.PARTNER}
_TLS = {
    "encryptiononly": TlsSetting.ENCRYPTION,
    "certificatevalidation": TlsSetting.CERTIFICATE,
    "domainvalidation": TlsSetting.DOMAIN,
}
CAUTIONS = {
    "RouteAllMessagesViaOnPremises": Caution.ROUTES_ALL_MAIL,
    "IsTransportRuleScoped": Caution.RULE_SCOPED,
    "AllAcceptedDomains": Caution.ALL_ACCEPTED_DOMAINS,
    "TestMode": Caution.TEST_MODE,
}
"""What makes switching a connector off more than it looks, by the row's key."""


async def read_connectors(invoker: Invoker) -> list[Json]:
    """The rows of all outbound connectors, each once."""
    return united([row for asked in READS for row in (await invoker.read(GET, asked)).every("outbound connectors")])


async def read_connector(invoker: Invoker, guid: str) -> Json | None:
    """The row of exactly this connector: an Identity that Exchange doesn't know may give all of them."""
    try:
        rows = (await invoker.read(GET, {"Identity": guid})).rows
    except CmdletError as error:
        if error.type != NOT_FOUND:
            raise
        rows = []
    mine = [row for row in united(rows) if key_of(row) == key_of({"Guid": guid})]
    if not mine:
        mine = [row for row in await read_connectors(invoker) if key_of(row) == key_of({"Guid": guid})]
    return mine[0] if mine else None


def united(rows: Iterable[Json]) -> list[Json]:
    """Each connector once. Raises Unreachable for a row without a Guid: nobody could say which one it is."""
    try:
        return list({key_of(row): row for row in rows}.values())
    except ValueError as error:
        raise Unreachable(f"Exchange gave a connector that can't be read: {error}") from None


def key_of(row: Mapping[str, Any]) -> str:
    """The Guid, which stays when names change."""
    found = text(row, "Guid", 100) or ""
    try:
        return str(UUID(found))
    except ValueError:
        raise ValueError("Guid is no GUID") from None


def connector_facts(backend: str, row: Json) -> tuple[ConnectorFacts, tuple[str, ...]]:
    """(what a row says, notes about what was odd in it). Raises ValueError where it can't be used at all."""
    notes: list[str] = []
    name = text(row, "Name", 200)
    if name is None:
        raise ValueError("Name is empty")
    enabled = flag(row, "Enabled")
    if enabled is None:
        raise ValueError("Enabled is not told")
    hosts, bad = _hosts(texts(row, "SmartHosts"))
    notes += [f"{bad} of its smart hosts can't be read"] if bad else []
    use_mx = flag(row, "UseMXRecord")
    facts = ConnectorFacts(
        backend=backend,
        key=key_of(row),
        name=name,
        kind=_kind(row, notes),
        enabled=enabled,
        use_mx=not hosts if use_mx is None else use_mx,
        smart_hosts=hosts,
        recipient_domains=_recipient_domains(row),
        tls_setting=_tls(row, notes),
        tls_domain=text(row, "TlsDomain", 255),
        cautions=frozenset(caution for key, caution in CAUTIONS.items() if flag(row, key) is not False),
    )
    return facts, tuple(f"connector {name}: {note}" for note in notes)


def _kind(row: Json, notes: list[str]) -> ConnectorKind:
    """A kind that we don't know gets the partner's advice: nothing is ever switched off for a partner."""
    found = text(row, "ConnectorType", 60) or ""
    if found.lower() not in _KINDS:
        notes.append(f"its type {found or 'nothing'!r} is not known to mfi; it is treated like a partner's")
    return _KINDS.get(found.lower(), ConnectorKind.PARTNER)


def _tls(row: Json, notes: list[str]) -> TlsSetting:
    found = text(row, "TlsSettings", 60)
    if found is None or found.lower() == "none":
        if "TlsSettings" not in row:
            notes.append("its TLS setting is not told; it is probed with TLS where offered")
        return TlsSetting.OPPORTUNISTIC
    if found.lower() not in _TLS:
        notes.append(f"its TLS setting {found!r} is not known to mfi; it is probed with TLS where offered")
    return _TLS.get(found.lower(), TlsSetting.OPPORTUNISTIC)


def _recipient_domains(row: Json) -> tuple[str, ...]:
    """Which recipients take this way by themselves. One that only mail-flow rules choose takes none, and one in test
    mode carries test messages: beside the connector that it stands for, it would leave all mail without an owner.
    """
    if flag(row, "IsTransportRuleScoped") or flag(row, "TestMode"):
        return ()
    patterns = [pattern.lower() for pattern in texts(row, "RecipientDomains")]
    if flag(row, "RouteAllMessagesViaOnPremises"):
        patterns.append("*")
    return tuple(dict.fromkeys(patterns))


def _hosts(found: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    hosts = [one.strip("[]").rstrip(".").lower() for one in found]
    good = [host for host in hosts if _is_host(host)]
    return tuple(dict.fromkeys(good)), len(hosts) - len(good)


def _is_host(host: str) -> bool:
    """A name, an address or an address range."""
    try:
        ip_network(host, strict=False)
    except ValueError:
        labels = host.split(".")
        return len(host) <= 253 and all(
            0 < len(x) <= 63 and x.replace("-", "").replace("_", "").isalnum() for x in labels
        )
    return True
