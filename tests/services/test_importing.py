"""`mfi import`: files become rows, messages find their connectors, and the same file again changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.backends.files import UnreadableFile
from bot.services.importing import ImportKind, ImportReport, import_file
from storage import connectors, domains, messages, recipients, syncs
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind, SyncCounts
from tests.services.import_scene import CONNECTORS, HEADER, LED, NOW, row, take, tracked


async def test_every_kind_twice_adds_and_changes_nothing(store: Store, path: Path) -> None:
    contents = {
        ImportKind.CONNECTORS: json.dumps(CONNECTORS),
        ImportKind.DOMAINS: "DomainName,DomainType\nonprem.contoso.com,InternalRelay\n",
        ImportKind.MESSAGES: HEADER + row("1", "user@onprem.contoso.com", detail=LED) + row("2", "user@other.test"),
        ImportKind.RECIPIENTS: "# complete: onprem.contoso.com\nuser@onprem.contoso.com\n",
    }
    added = {"connectors": 3, "domains": 1, "messages": 2, "recipients": 1}
    for kind, content in contents.items():
        first, again = [await take(store, path, kind, content) for _ in range(2)]
        assert first == ImportReport(kind=kind, counts=SyncCounts(added=added[kind]))
        assert again == ImportReport(kind=kind, counts=SyncCounts(unchanged=added[kind]))
    assert [c.name for c in await store.read(connectors.every)] == ["Hub", "To Fabrikam", "To on-prem"]
    assert len(await store.read(lambda db: domains.every(db, "files"))) == 1
    assert await store.read(lambda db: recipients.complete(db, "files")) == {"onprem.contoso.com": NOW}


async def test_a_reason_becomes_code_words_and_server(store: Store, path: Path) -> None:
    await take(store, path, "messages", HEADER + row("1", "user@onprem.contoso.com", detail=LED))
    (found,) = await tracked(store, ("1", "user@onprem.contoso.com"))
    assert (found.code, found.remote_host, found.remote_ip) == ("4.4.316", "mail.contoso.com", "203.0.113.10")
    assert found.reason is not None
    assert found.reason.startswith("450 4.4.316 Connection refused [Message=Socket error")
    assert found.reason.endswith("[LastAttemptedIP=203.0.113.10:25]")
    assert found.expires_at == found.received_at + timedelta(hours=24)


@pytest.mark.parametrize(
    ("detail", "code", "reason"),
    [
        ("450 4.4.315 Connection timed out", "4.4.315", "450 4.4.315 Connection timed out"),
        ("Reason: [{LED=450 4.4.317 cut off [Message=x", "4.4.317", "450 4.4.317 cut off [Message=x"),
        ("no idea", None, "no idea"),
        ("", None, None),
    ],
)
async def test_reasons_in_other_forms_are_kept_too(
    store: Store, path: Path, detail: str, code: str | None, reason: str | None
) -> None:
    await take(store, path, "messages", HEADER + row("1", "user@other.test", detail=detail))
    (found,) = await tracked(store, ("1", "user@other.test"))
    assert (found.code, found.reason) == (code, reason)


async def test_messages_are_assigned_to_their_connectors(store: Store, path: Path) -> None:
    await take(store, path, "connectors", CONNECTORS)
    await take(store, path, "domains", "DomainName,DomainType\nrelay.contoso.com,InternalRelay\n")
    content = HEADER + row("1", "a@elsewhere.test", detail=LED) + row("2", "b@mail.fabrikam.com")
    content += row("3", "c@elsewhere.test", connector="to fabrikam") + row("4", "d@relay.contoso.com")
    content += row("5", "e@elsewhere.test", connector="Default frontend of EX01")
    await take(store, path, "messages", content)
    names = {c.id: c.name for c in await store.read(connectors.every)}
    found = await store.read(lambda db: {k: s.total for k, s in messages.summaries(db).items()})
    assert {names.get(k): n for k, n in found.items()} == {"To on-prem": 1, "To Fabrikam": 2, "Hub": 1, None: 1}
    (stated, inbound) = await tracked(store, ("3", "c@elsewhere.test"), ("5", "e@elsewhere.test"))
    assert (stated.connector_key, inbound.connector_key) == ("to fabrikam", None)


async def test_a_connector_that_comes_while_messages_are_taken_gets_its_own(store: Store, path: Path) -> None:
    class Meddled:
        """The store, but other hands import connectors right after the first look."""

        async def read(self, work: Callable[[Any], Any]) -> Any:
            seen = await store.read(work)
            facts = ConnectorFacts(
                backend="files", key="k", name="New", kind=ConnectorKind.PARTNER, recipient_domains=("other.test",)
            )
            await store.write(lambda db: connectors.sync(db, "files", [facts], NOW, complete=False))
            return seen

        async def write(self, work: Callable[[Any], Any]) -> Any:
            return await store.write(work)

    await asyncio.to_thread(path.write_text, HEADER + row("1", "user@other.test"))
    meddled: Any = Meddled()
    await import_file(meddled, "messages", path, NOW)
    (found,) = await tracked(store, ("1", "user@other.test"))
    assert found.connector_id == 1


@pytest.mark.parametrize("order", ["connectors first", "messages first"])
async def test_the_order_of_the_imports_does_not_matter(store: Store, path: Path, order: str) -> None:
    content = HEADER + row("1", "a@onprem.contoso.com") + row("2", "b@relay.contoso.com") + row("3", "c@other.test")
    steps = [("connectors", CONNECTORS), ("messages", content)]
    for kind, what in steps if order == "connectors first" else reversed(steps):
        await take(store, path, kind, what)
    await take(store, path, "domains", "DomainName,DomainType\nrelay.contoso.com,InternalRelay\n")
    names = {c.id: c.name for c in await store.read(connectors.every)}
    found = await store.read(lambda db: {k: s.total for k, s in messages.summaries(db).items()})
    assert {names.get(k): n for k, n in found.items()} == {"To on-prem": 1, "Hub": 1, None: 1}


async def test_what_a_file_lacks_stays_as_it_was(store: Store, path: Path) -> None:
    await take(store, path, "connectors", CONNECTORS)
    await take(store, path, "messages", HEADER + row("1", "a@x.test") + row("2", "b@x.test"))
    await take(store, path, "connectors", CONNECTORS[:1])
    await take(store, path, "messages", HEADER + row("2", "b@x.test"))
    assert len(await store.read(connectors.every)) == 3
    assert (await store.read(lambda db: messages.summary(db, None))).total == 2


async def test_bad_rows_are_in_the_report(store: Store, path: Path) -> None:
    report = await take(store, path, "messages", HEADER + row("1", "nobody") + row("2", "b@x.test"))
    assert report.counts == SyncCounts(added=1)
    assert [p.line for p in report.problems] == [2]


async def test_an_import_of_messages_tells_how_fresh_the_queue_is(store: Store, path: Path) -> None:
    await take(store, path, "connectors", CONNECTORS)
    assert await store.read(lambda db: syncs.last_success(db, "files")) is None
    await take(store, path, "messages", HEADER + row("1", "a@x.test"))
    run = (await store.read(syncs.latest))["files"]
    assert (run.finished_at, run.error) == (NOW, None)
    assert run.counts == {"added": 1, "changed": 0, "unchanged": 0}


async def test_an_unreadable_file_changes_nothing(store: Store, path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        await import_file(store, ImportKind.MESSAGES, path, NOW)
    with pytest.raises(UnreadableFile, match="has no column"):
        await take(store, path, "messages", "a,b\n1,2\n")
    assert await store.read(syncs.latest) == {}


async def test_an_unknown_kind_is_refused(store: Store, path: Path) -> None:
    with pytest.raises(ValueError, match="pictures"):
        await import_file(store, "pictures", path, NOW)


async def test_mail_from_the_future_is_a_mistake_and_not_taken(store: Store, path: Path) -> None:
    far = row("<1@c>", "r@onprem.contoso.com").replace("2026-11-24", "2027-11-24")
    report = await take(store, path, "messages", HEADER + far + row("<2@c>", "r@onprem.contoso.com"))
    assert report.counts.added == 1
    assert [problem.text for problem in report.problems] == ["1 rows are dated in the future"]


async def test_connectors_that_a_later_export_lacks_are_named(store: Store, path: Path) -> None:
    assert (await take(store, path, "connectors", CONNECTORS)).notes == ()
    report = await take(store, path, "connectors", CONNECTORS[:1])
    assert report.notes == ("2 known before and not in this file, still watched: Hub, To Fabrikam",)


async def test_one_document_of_an_exchange_server_gives_all_four_kinds(store: Store, path: Path) -> None:
    at, guid = "2026-11-24T04:00:00.000Z", "4520e633-d83d-411a-bbe4-6a84648674ee"
    document = {
        "format": "mfi-exchange",
        "version": 1,
        "server": "EX01",
        "acts": False,
        "started_at": at,
        "finished_at": at,
        "queues": [
            {
                "Identity": "EX01\\15",
                "DeliveryType": "SmartHostConnectorDelivery",
                "MessageCount": 1,
                "NextHopConnector": guid,
                "LastError": LED,
                "Complete": True,
            }
        ],
        "messages": [
            {
                "Identity": "EX01\\15\\7",
                "Queue": "EX01\\15",
                "FromAddress": "app@contoso.com",
                "Recipients": [{"Address": "user@onprem.contoso.com", "Status": "Retry", "LastError": ""}],
                "DateReceived": at,
            }
        ],
        "connectors": [
            {
                "Name": "Hub",
                "Guid": guid,
                "Enabled": True,
                "AddressSpaces": ["SMTP:onprem.contoso.com;1"],
                "SmartHosts": ["hub.contoso.com"],
                "DNSRoutingEnabled": False,
                "RequireTLS": False,
            }
        ],
        "domains": [{"DomainName": "onprem.contoso.com", "DomainType": "InternalRelay", "MatchSubDomains": False}],
        "directory": {
            "read_at": at,
            "complete": True,
            "count": 1,
            "domains": ["onprem.contoso.com"],
            "addresses": ["user@onprem.contoso.com"],
        },
        "counts": {"queues": 1, "messages": 1, "connectors": 1, "domains": 1},
        "errors": [],
        "truncated": False,
    }
    for kind in ImportKind:
        report = await take(store, path, kind, document)
        assert (report.counts.added, report.problems) == (1, ())
    (message,) = await tracked(store, ("EX01\\15\\7", "user@onprem.contoso.com"))
    (hub,) = await store.read(connectors.every)
    assert (message.connector_id, message.code, hub.key) == (hub.id, "4.4.316", guid)
    assert message.reason is not None
    assert message.reason.startswith("450 4.4.316 Connection refused")


async def test_how_a_date_was_read_that_can_be_read_in_two_ways_is_in_a_note(store: Store, path: Path) -> None:
    at = datetime(2026, 12, 5, 6, tzinfo=UTC)
    await asyncio.to_thread(path.write_text, HEADER + "05/12/2026 04:00:00,a@x.test,b@y.test,Pending,1,,\n")
    report = await import_file(store, "messages", path, at)
    (found,) = await tracked(store, ("1", "b@y.test"))
    assert found.received_at == datetime(2026, 12, 5, 4, tzinfo=UTC)
    assert "day/month/year" in report.notes[0]
