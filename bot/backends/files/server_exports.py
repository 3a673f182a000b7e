"""Exports of an on-premises Exchange Server: the documents of mfi-exchange.ps1, `Get-Message`, `Get-SendConnector`.

The documents are read as strictly as from the drop folder. The cmdlets' own JSON and CSV is taken where its values are
text; nested .NET objects are refused with the command that writes text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bot.backends.exchange_server.document import FORMAT, Document, understood
from bot.backends.exchange_server.queue_facts import LIFETIME, read_queues
from bot.backends.exchange_server.settings_facts import Ownership, Settings, read_settings
from bot.backends.files import cells
from bot.backends.files.dates import SlashedDates
from bot.backends.files.parsed import BadRow, Problems, UnreadableFile
from storage.records import ConnectorFacts, MessageFacts

QUEUE_COMMAND = (
    "Get-TransportService | ForEach-Object { Get-Queue -Server $_.Name -ResultSize Unlimited } | "
    "Get-Message -IncludeRecipientInfo -ResultSize Unlimited | Select-Object @{n='Identity';e={[string]$_.Identity}},"
    "FromAddress,@{n='DateReceived';e={$_.DateReceived.ToUniversalTime().ToString('o')}},"
    "@{n='ExpirationTime';e={$_.ExpirationTime.ToUniversalTime().ToString('o')}},@{n='LastError';e={[string]$_.LastError}},"
    "@{n='Recipients';e={@($_.Recipients | ForEach-Object { [string]$_.Address })}} | ConvertTo-Json -Depth 4 | "
    "Set-Content queue.json -Encoding UTF8"
)
SEND_CONNECTORS_COMMAND = (
    "Get-SendConnector | Select-Object Name,@{n='Guid';e={[string]$_.Guid}},Enabled,DNSRoutingEnabled,Port,RequireTLS,"
    "@{n='TlsAuthLevel';e={[string]$_.TlsAuthLevel}},@{n='TlsDomain';e={[string]$_.TlsDomain}},"
    "@{n='AddressSpaces';e={@($_.AddressSpaces | ForEach-Object { [string]$_ })}},"
    "@{n='SmartHosts';e={@($_.SmartHosts | ForEach-Object { [string]$_ })}} | ConvertTo-Json -Depth 4 | "
    "Set-Content connectors.json -Encoding UTF8"
)
_TUPLE = re.compile(r"\{([^{}]*)\}")
_COST = re.compile(r"\d{1,3}")
_KINDS = {"onpremises": "on_premises", "partner": "partner"}


def is_document(row: Mapping[str, Any]) -> bool:
    """Is this the one object of a document that the script wrote?"""
    return row.get("format") == FORMAT


def document_of(row: Mapping[str, Any], path: Path) -> Document:
    """The document. `row` has folded names. Raises UnreadableFile."""
    names = {"startedat": "started_at", "finishedat": "finished_at"}
    try:
        return understood(path.name, {names.get(name, name): value for name, value in row.items()}, signed=False)
    except ValueError as error:
        raise UnreadableFile(f"{path} can't be used: {error}") from None


def document_settings(document: Document, path: Path, backend: str, problems: Problems) -> Settings:
    """Its send connectors and accepted domains. Raises UnreadableFile."""
    try:
        found = read_settings(backend, document.connectors, document.domains, Ownership())
    except ValueError as error:
        raise UnreadableFile(f"{path} can't be used: {error}") from None
    for line in _faults(document, ("connectors", "domains")):
        problems.remark(0, line)
    return found


def document_messages(document: Document, path: Path, backend: str, problems: Problems) -> list[MessageFacts]:
    """What waits, and a problem for each part that was not listed whole. Raises UnreadableFile."""
    connectors = document_settings(document, path, backend, Problems()).connectors
    try:
        found = read_queues(backend, document.queues, document.messages, {one.key for one in connectors})
    except ValueError as error:
        raise UnreadableFile(f"{path} can't be used: {error}") from None
    for line in (*_faults(document, ("servers", "queues", "messages")), *found.notes):
        problems.remark(0, line)
    if document.cut_short:
        problems.remark(
            0, f"{len(document.cut_short)} queues were not listed whole: give the script a larger -MaxMessages"
        )
    return list(found.messages.values())


def _faults(document: Document, parts: Iterable[str]) -> list[str]:
    return [f"the script could not read all {part}: {line}" for part in parts for line in document.faults.get(part, ())]


# Get-Message


def is_queue_message(columns: Iterable[str]) -> bool:
    """Are these the (folded) columns of Get-Message?"""
    return {"fromaddress", "datereceived"} <= set(columns)


def refuse_queues(columns: Iterable[str], path: Path) -> None:
    """Get-Queue alone tells of no message."""
    if {"deliverytype", "messagecount"} <= set(columns):
        raise UnreadableFile(f"{path} lists queues, not the messages in them; export with: {QUEUE_COMMAND}")


def queue_messages(row: Mapping[str, Any], backend: str, dates: SlashedDates) -> list[MessageFacts]:
    """What one row of Get-Message says, per recipient that still waits. Raises BadRow."""
    identity = cells.text(row.get("identity"), 600)
    if identity is None or identity.count("\\") != 2:
        raise BadRow(f"Identity is no text like EX01\\15\\7864320; export with: {QUEUE_COMMAND}")
    received = cells.moment(row.get("datereceived"), "DateReceived", dates=dates)
    if received is None:
        raise BadRow("DateReceived is empty")
    waiting = _recipients(row.get("recipients"))
    if not waiting:
        raise BadRow("Recipients is empty: Get-Message tells them with -IncludeRecipientInfo only")
    expires = cells.moment(row.get("expirationtime"), "ExpirationTime", dates=dates) or received + LIFETIME
    reason = cells.text(row.get("lasterror"), cells.MAX_REASON)
    return [
        MessageFacts(
            backend=backend,
            key=identity,
            recipient=recipient,
            sender=cells.address(row.get("fromaddress"), "FromAddress") or "",
            received_at=received,
            expires_at=expires,
            size=cells.size(row.get("size")),
            reason=own or reason,
        )
        for recipient, own in waiting
    ]


def _recipients(value: Any) -> list[tuple[str, str | None]]:
    """(address, its own last error) of each that is not complete: objects, addresses, or `{address;2;2;error;…}`."""
    if isinstance(value, dict) and isinstance(value.get("value"), list):
        value = value["value"]
    if isinstance(value, str):
        value = _TUPLE.findall(value) or value.split(",")
    found = [_recipient(one) for one in (value if isinstance(value, list) else [value] if value else [])]
    return [one for one in found if one is not None]


def _recipient(value: Any) -> tuple[str, str | None] | None:
    if isinstance(value, dict):
        if cells.text(value.get("Status")) == "Complete":
            return None
        address, own = value.get("Address"), cells.text(value.get("LastError"), cells.MAX_REASON)
    else:
        parts = (cells.text(value, cells.MAX_REASON) or "").strip("{} ").split(";")
        address, own = parts[0], ";".join(parts[3:-3]) if len(parts) >= 7 else None
    recipient = cells.address(address, "a recipient")
    if recipient is None:
        raise BadRow("a recipient is empty")
    return recipient, own or None


# Get-SendConnector


def is_send_connector(columns: Iterable[str]) -> bool:
    """Are these the (folded) columns of Get-SendConnector?"""
    return "addressspaces" in set(columns)


def send_connector(row: Mapping[str, Any], backend: str) -> ConnectorFacts:
    """One row of Get-SendConnector. A column ConnectorType (OnPremises, Partner) may say whose server it is."""
    spaces = [s for s in cells.several(row.get("addressspaces"), "AddressSpaces") if not _COST.fullmatch(s)]
    if not spaces:
        raise BadRow(f"AddressSpaces is empty or no text; export with: {SEND_CONNECTORS_COMMAND}")
    name = cells.text(row.get("name"), 200) or ""
    kind = _KINDS.get((cells.text(row.get("connectortype"), 40) or "").lower())
    stated = {name.lower()}
    ownership = Ownership(
        on_premises=stated if kind == "on_premises" else (), partner=stated if kind == "partner" else ()
    )
    strict = {
        "Name": name,
        "Guid": cells.text(row.get("guid"), 60) or "",
        "Enabled": cells.boolean(row.get("enabled"), "Enabled") is not False,
        "AddressSpaces": spaces,
        "SmartHosts": list(cells.several(row.get("smarthosts"), "SmartHosts")),
        "DNSRoutingEnabled": cells.boolean(row.get("dnsroutingenabled"), "DNSRoutingEnabled") or False,
        "Port": cells.text(row.get("port"), 10),
        "RequireTLS": cells.boolean(row.get("requiretls"), "RequireTLS") or False,
        "IgnoreSTARTTLS": cells.boolean(row.get("ignorestarttls"), "IgnoreSTARTTLS") or False,
        "TlsAuthLevel": cells.text(row.get("tlsauthlevel"), 40),
        "TlsDomain": cells.text(row.get("tlsdomain"), 255),
    }
    try:
        (found,) = read_settings(backend, [strict], [], ownership).connectors
    except ValueError as error:
        raise BadRow(str(error)) from None
    if not found.smart_hosts and not found.use_mx:
        raise BadRow(f"{name!r} has neither SmartHosts nor DNSRoutingEnabled, so that there is nothing to probe")
    return found
