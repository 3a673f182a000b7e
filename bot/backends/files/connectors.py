"""Connectors as `Get-OutboundConnector` and `Get-SendConnector` export them, and accepted domains."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from bot.backends.exchange_server.settings_facts import Settings
from bot.backends.files import cells
from bot.backends.files.lookalikes import in_passing
from bot.backends.files.parsed import BadRow, Parsed, Problems, UnreadableFile, listing
from bot.backends.files.server_exports import (
    SEND_CONNECTORS_COMMAND,
    document_of,
    document_settings,
    is_document,
    is_send_connector,
    send_connector,
)
from bot.backends.files.table import Row, Table, folded, opened
from storage.records import ConnectorFacts, ConnectorKind, DomainFacts, DomainType, TlsSetting

CONNECTORS_COMMAND = "Get-OutboundConnector | ConvertTo-Json -Depth 4 | Set-Content connectors.json -Encoding UTF8"
DOMAINS_COMMAND = "Get-AcceptedDomain | ConvertTo-Json -Depth 4 | Set-Content domains.json -Encoding UTF8"

_Facts = TypeVar("_Facts", ConnectorFacts, DomainFacts)

_KINDS = {"onpremises": ConnectorKind.ON_PREMISES, "partner": ConnectorKind.PARTNER}
_TLS = {
    "": TlsSetting.OPPORTUNISTIC,
    "none": TlsSetting.OPPORTUNISTIC,
    "encryptiononly": TlsSetting.ENCRYPTION,
    "certificatevalidation": TlsSetting.CERTIFICATE,
    "domainvalidation": TlsSetting.DOMAIN,
}
_DOMAIN_TYPES = {
    "authoritative": DomainType.AUTHORITATIVE,
    "internalrelay": DomainType.INTERNAL_RELAY,
    "externalrelay": DomainType.EXTERNAL_RELAY,
}
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}\.)*[A-Za-z0-9_-]{0,63}")
_DOMAIN = re.compile(r"\*|(\*\.)?[^\s@*,;/]{1,250}")
_CHANNEL = re.compile(r"[A-Z][A-Z0-9]{1,40}")
_LONGEST_INTERVAL = 7 * 86400


def read_connectors(path: Path, backend: str = "files") -> Parsed[ConnectorFacts]:
    """The connectors of an export. Raises UnreadableFile with the command that exports them right."""
    return _read(
        path, backend, _Export(CONNECTORS_COMMAND, ("Name", "ConnectorType")), _any_connector, lambda s: s.connectors
    )


def read_domains(path: Path, backend: str = "files") -> Parsed[DomainFacts]:
    """The accepted domains of an export. Raises UnreadableFile with the command that exports them right."""
    return _read(path, backend, _Export(DOMAINS_COMMAND, ("DomainName", "DomainType")), _domain, lambda s: s.domains)


@dataclass(frozen=True, slots=True)
class _Export:
    """What makes a file of the wanted kind, and the columns that it has to have."""

    command: str
    required: tuple[str, ...]

    def of(self, columns: Iterable[str]) -> _Export:
        """Send connectors have columns of their own."""
        ours = self.command == CONNECTORS_COMMAND and is_send_connector(map(folded, columns))
        return _Export(SEND_CONNECTORS_COMMAND, ("Name", "AddressSpaces")) if ours else self


def _read(
    path: Path,
    backend: str,
    export: _Export,
    convert: Callable[[Row, str], _Facts],
    pick: Callable[[Settings], Sequence[_Facts]],
) -> Parsed[_Facts]:
    problems = Problems()
    with opened(path, problems) as table:
        first = next(table.rows, None)
        if first and is_document(first.cells):
            settings = document_settings(document_of(first.cells, path), path, backend, problems)
            return Parsed(tuple(pick(settings)), problems.all())
        listed = Table(table.columns, chain([first] if first else [], table.rows))
        rows = list(_checked(listed, path, export))
    facts: dict[str, _Facts] = {}
    for row in rows:
        try:
            fact = convert(row, backend)
            key = fact.key if isinstance(fact, ConnectorFacts) else fact.name
            if key in facts:
                raise BadRow(
                    f"{row.cells[folded(export.required[0])]!r} stands in the file twice; the first one was taken"
                )
            facts[key] = fact
        except BadRow as error:
            problems.add(row.line, str(error))
    return Parsed(tuple(facts.values()), problems.all())


def _checked(table: Table, path: Path, export: _Export) -> Iterable[Row]:
    """The rows, after a look at whether the columns are there and were exported as values."""
    export = export.of(table.columns)
    _insist(table.columns, path, export)
    for number, row in enumerate(table.rows):
        if number == 0 and not table.columns:
            export = export.of(row.cells)
            _insist(row.cells, path, export)
        for column in ("SmartHosts", "RecipientDomains", "AddressSpaces"):
            if cells.spoiled(row.cells.get(folded(column))):
                raise UnreadableFile(
                    f"{path}: the column {column} holds a type's name, not the values; export with: {export.command}"
                )
        yield row


def _insist(columns: Iterable[str], path: Path, export: _Export) -> None:
    names = {folded(c) for c in columns}
    lacking = [c for c in export.required if folded(c) not in names]
    if names and lacking:
        odd = in_passing(columns)
        raise UnreadableFile(f"{path} has no column {listing(lacking)}{odd}; export with: {export.command}")


def _any_connector(row: Row, backend: str) -> ConnectorFacts:
    return send_connector(row.cells, backend) if is_send_connector(row.cells) else _connector(row, backend)


def _connector(row: Row, backend: str) -> ConnectorFacts:
    get = _getter(row.cells)
    name = cells.text(get("Name"), 200)
    if name is None:
        raise BadRow("Name is empty")
    hosts = tuple(_host(h) for h in cells.several(get("SmartHosts"), "SmartHosts"))
    use_mx = cells.boolean(get("UseMXRecord"), "UseMXRecord") or False
    if not hosts and not use_mx:
        raise BadRow(f"{name!r} has neither SmartHosts nor UseMXRecord, so that there is nothing to probe")
    interval = cells.whole(get("ProbeInterval"), "ProbeInterval", 1, _LONGEST_INTERVAL)
    return ConnectorFacts(
        backend=backend,
        key=_key(get("Guid"), name),
        name=name,
        kind=_one_of(_KINDS, get("ConnectorType"), "ConnectorType"),
        enabled=cells.boolean(get("Enabled"), "Enabled") is not False,
        use_mx=use_mx,
        smart_hosts=hosts,
        port=cells.whole(get("Port"), "Port", 1, 65535),
        recipient_domains=_recipient_domains(get),
        tls_setting=_one_of(_TLS, get("TlsSettings"), "TlsSettings"),
        tls_domain=cells.text(get("TlsDomain"), 255),
        partner_contact=cells.text(get("PartnerContact"), 300),
        alert_channel=_channel(get("AlertChannel")),
        probe_interval=None if interval is None else timedelta(seconds=interval),
    )


def _getter(row: Mapping[str, Any]) -> Callable[[str], Any]:
    return lambda column: row.get(folded(column))


def _key(guid: Any, name: str) -> str:
    """The Guid; where the export lacks it, a key that stays the same while the name does."""
    stated = cells.text(guid, 100)
    return stated.strip("{}").lower() if stated else f"name:{name.casefold()}"


def _host(text: str) -> str:
    host = text.strip("[]").rstrip(".")
    if not _HOST.fullmatch(host):
        try:
            ip_network(host, strict=False)
        except ValueError as error:
            raise BadRow(f"SmartHosts has {text[:60]!r}, neither a host name nor an address") from error
    return host.lower()


def _recipient_domains(get: Callable[[str], Any]) -> tuple[str, ...]:
    """Which recipients take this way by themselves. One that only mail-flow rules choose takes none."""
    if cells.boolean(get("IsTransportRuleScoped"), "IsTransportRuleScoped"):
        return ()
    patterns = [p.lower() for p in cells.several(get("RecipientDomains"), "RecipientDomains")]
    for pattern in patterns:
        if not _DOMAIN.fullmatch(pattern):
            raise BadRow(f"RecipientDomains has {pattern[:60]!r}, which is not a domain")
    if cells.boolean(get("RouteAllMessagesViaOnPremises"), "RouteAllMessagesViaOnPremises"):
        patterns.append("*")
    return tuple(dict.fromkeys(patterns))


def _channel(value: Any) -> str | None:
    channel = cells.text(value, 100)
    if channel is not None and not _CHANNEL.fullmatch(channel):
        raise BadRow(f"AlertChannel is {channel!r}: give the channel's id, like C0123456789, not its name")
    return channel


_Word = TypeVar("_Word")


def _one_of(words: Mapping[str, _Word], value: Any, column: str) -> _Word:
    found = cells.text(value, 100) or ""
    if folded(found) not in words or (found and not folded(found)):
        raise BadRow(f"{column} is {found!r}, which mfi doesn't know")
    return words[folded(found)]


def _domain(row: Row, backend: str) -> DomainFacts:
    get = _getter(row.cells)
    stated = (cells.text(get("DomainName"), 255) or "").lower()
    name = stated.removeprefix("*.")
    if not _DOMAIN.fullmatch(name):
        raise BadRow(f"DomainName is {name[:60]!r}, which is not a domain")
    return DomainFacts(
        backend=backend,
        name=name,
        type=_one_of(_DOMAIN_TYPES, get("DomainType"), "DomainType"),
        match_subdomains=cells.boolean(get("MatchSubDomains"), "MatchSubDomains") or stated != name,
    )
