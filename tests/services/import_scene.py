"""Exports as the tests of `mfi import` write them, and how one is taken over."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from bot.services.importing import ImportReport, import_file
from storage import messages
from storage.connection import Store
from storage.records import QueuedMessage

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
CONNECTORS = [
    {
        "Name": "To on-prem",
        "Guid": "d0d71cb9-0000-4000-8000-000000000001",
        "ConnectorType": "OnPremises",
        "SmartHosts": ["mail.contoso.com"],
        "RecipientDomains": ["onprem.contoso.com"],
    },
    {"Name": "To Fabrikam", "ConnectorType": "Partner", "UseMXRecord": True, "RecipientDomains": ["*.fabrikam.com"]},
    {"Name": "Hub", "ConnectorType": "OnPremises", "SmartHosts": ["hub.contoso.com"]},
]
LED = (
    "Reason: [{LED=450 4.4.316 Connection refused [Message=Socket error code 10061] "
    "[LastAttemptedServerName=mail.contoso.com] [LastAttemptedIP=203.0.113.10:25]};{MSG=};{FQDN=};{IP=};{LRT=}]"
)
HEADER = "Date,Sender,Recipient,Status,Message ID,Detail,Connector\n"


def row(key: str, to: str, status: str = "Pending", detail: str = "", connector: str = "") -> str:
    return f'2026-11-24T04:00:00Z,app@contoso.com,{to},{status},{key},"{detail}",{connector}\n'


async def take(store: Store, path: Path, kind: str, content: str | object) -> ImportReport:
    text = content if isinstance(content, str) else json.dumps(content)
    await asyncio.to_thread(path.write_text, text)
    return await import_file(store, kind, path, NOW)


async def tracked(store: Store, *refs: tuple[str, str]) -> list[QueuedMessage]:
    return await store.read(lambda db: messages.get_refs(db, "files", refs))


async def total(store: Store) -> int:
    return sum(s.total for s in (await store.read(messages.summaries)).values())
