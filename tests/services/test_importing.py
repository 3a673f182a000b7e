"""`mfi import`: files become rows, messages find their connectors, and the same file again changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.backends.files import UnreadableFile
from bot.services.importing import ImportKind, ImportReport, import_file
from bot.services.queue_adding import SLICE
from storage import connectors, domains, messages, meta, recipients, syncs
from storage.connection import Busy, Store
from storage.records import ConnectorFacts, ConnectorKind, MessageStatus, QueuedMessage, SyncCounts

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


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "mfi.db", sole=True) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export"


def row(key: str, to: str, status: str = "Pending", detail: str = "", connector: str = "") -> str:
    return f'2026-11-24T04:00:00Z,app@contoso.com,{to},{status},{key},"{detail}",{connector}\n'


async def take(store: Store, path: Path, kind: str, content: str | object) -> ImportReport:
    text = content if isinstance(content, str) else json.dumps(content)
    await asyncio.to_thread(path.write_text, text)
    return await import_file(store, kind, path, NOW)


async def tracked(store: Store, *refs: tuple[str, str]) -> list[QueuedMessage]:
    return await store.read(lambda db: messages.get_refs(db, "files", refs))


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


@pytest.mark.parametrize(
    ("status", "detail", "ends"),
    [
        ("Delivered", "", MessageStatus.DELIVERED),
        ("Failed", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", MessageStatus.REJECTED),
        ("Failed", "550 5.4.316 Message expired, connection refused(Socket error code 10061)", MessageStatus.EXPIRED),
        ("Expired", "", MessageStatus.EXPIRED),
        ("Quarantined", "", MessageStatus.GONE),
    ],
)
async def test_mail_that_we_know_ends_and_other_ended_mail_is_not_kept(
    store: Store, path: Path, status: str, detail: str, ends: MessageStatus
) -> None:
    await take(store, path, "messages", HEADER + row("1", "a@x.test"))
    content = HEADER + row("1", "a@x.test", status, detail) + row("2", "b@x.test", status, detail)
    report = await take(store, path, "messages", content)
    assert report.counts == SyncCounts(changed=1)
    (found,) = await tracked(store, ("1", "a@x.test"), ("2", "b@x.test"))
    assert found.status is ends
    again = await take(store, path, "messages", HEADER + row("1", "a@x.test"))
    assert again.counts == (SyncCounts(changed=1) if ends is MessageStatus.GONE else SyncCounts(unchanged=1))


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


async def test_a_large_export_is_taken_without_holding_up_the_loop(store: Store, path: Path) -> None:
    lines = [row(f"{i:032x}", f"user{i % 500}@onprem.contoso.com", detail=LED) for i in range(20_000)]
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - before)

    watching = asyncio.create_task(watch())
    began = asyncio.get_running_loop().time()
    report = await take(store, path, "messages", HEADER + "".join(lines))
    watching.cancel()
    assert report.counts == SyncCounts(added=20_000)
    took = asyncio.get_running_loop().time() - began
    assert longest < took / 4, "the import is a small part of what the loop did meanwhile"


async def test_mail_from_the_future_is_a_mistake_and_not_taken(store: Store, path: Path) -> None:
    far = row("<1@c>", "r@onprem.contoso.com").replace("2026-11-24", "2027-11-24")
    report = await take(store, path, "messages", HEADER + far + row("<2@c>", "r@onprem.contoso.com"))
    assert report.counts.added == 1
    assert [problem.text for problem in report.problems] == ["1 rows are dated in the future"]


async def test_mail_that_ended_unknown_to_us_is_counted_in_a_note(store: Store, path: Path) -> None:
    report = await take(store, path, "messages", HEADER + row("<1@c>", "r@onprem.contoso.com", "Delivered"))
    assert report.notes == ("1 are not waiting and never were here: not needed",)


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


MANY = 2 * SLICE + 500


def many(status: str = "Pending", detail: str = "") -> str:
    return HEADER + "".join(row(f"{i:032x}", f"u{i}@x.test", status, detail) for i in range(MANY))


async def total(store: Store) -> int:
    return sum(s.total for s in (await store.read(messages.summaries)).values())


class Watched:
    """The store, noting what each write changed; it is cut off when a write is one too many."""

    def __init__(self, store: Store, most: int = 1000) -> None:
        self._store = store
        self._most = most
        self.changed: list[int] = []
        self.read = store.read

    async def write(self, work: Callable[[Any], Any]) -> Any:
        if len(self.changed) == self._most:
            raise Busy("somebody writes")

        def counted(db: Any) -> Any:
            before = db.conn.total_changes
            result = work(db)
            self.changed.append(db.conn.total_changes - before)
            return result

        return await self._store.write(counted)


async def test_the_bot_has_its_turn_while_a_long_list_is_imported(store: Store, path: Path) -> None:
    seen: set[int] = set()

    async def the_bot_writes() -> None:
        while True:
            await store.write(lambda db: meta.put(db, "turn", "mine"))
            seen.add(await total(store))
            await asyncio.sleep(0.005)

    async with await Store.open(store.path) as beside:
        bot = asyncio.create_task(the_bot_writes())
        await take(beside, path, "messages", many())
        bot.cancel()
    assert {SLICE, 2 * SLICE} & seen, "it wrote between two slices"


async def test_new_changed_and_ended_mail_is_written_in_slices(store: Store, path: Path) -> None:
    for content, counts in (
        (many(), SyncCounts(added=MANY)),
        (many(detail=LED), SyncCounts(changed=MANY)),
        (many("Delivered"), SyncCounts(changed=MANY)),
    ):
        watched: Any = Watched(store)
        assert (await take(watched, path, "messages", content)).counts == counts
        assert len(watched.changed) == 3
    assert await total(store) == 0


async def test_an_import_that_is_cut_off_is_completed_by_the_next(store: Store, path: Path) -> None:
    cut_off: Any = Watched(store, most=1)
    with pytest.raises(Busy):
        await take(cut_off, path, "messages", many())
    assert await total(store) == SLICE
    assert await store.read(syncs.latest) == {}, "the figures are not as fresh as the file"
    assert (await take(store, path, "messages", many())).counts == SyncCounts(added=MANY - SLICE, unchanged=SLICE)
    assert (await take(store, path, "messages", many())).counts == SyncCounts(unchanged=MANY)
    assert await total(store) == MANY


async def test_connectors_adopt_a_long_queue_in_slices(store: Store, path: Path) -> None:
    await take(store, path, "messages", many())
    watched: Any = Watched(store)
    await take(watched, path, "connectors", [CONNECTORS[1] | {"RecipientDomains": ["x.test"]}])
    assert len(watched.changed) == 1 + 3
    assert {k: s.total for k, s in (await store.read(messages.summaries)).items()} == {1: MANY}


async def test_how_a_date_was_read_that_can_be_read_in_two_ways_is_in_a_note(store: Store, path: Path) -> None:
    at = datetime(2026, 12, 5, 6, tzinfo=UTC)
    await asyncio.to_thread(path.write_text, HEADER + "05/12/2026 04:00:00,a@x.test,b@y.test,Pending,1,,\n")
    report = await import_file(store, "messages", path, at)
    (found,) = await tracked(store, ("1", "b@y.test"))
    assert found.received_at == datetime(2026, 12, 5, 4, tzinfo=UTC)
    assert "day/month/year" in report.notes[0]


NETWORK = "4451a06248cbe80de8c0196330437ae6"
REPORT = "origin_timestamp_utc,sender_address,recipient_status,message_id,network_message_id\n"
WARNING = (
    "mail is named by its {} here and by its {} in an earlier import: "
    "what is in both counts twice, so keep to one kind of export"
)


def reported(network: str, message_id: str, to: str, status: str = "Defer") -> str:
    return f'2026-11-24T04:00:00Z,app@contoso.com,"{to}##Receive, {status}",<{message_id}>,{network}\n'


async def test_mail_known_by_its_message_id_keeps_it_when_a_report_tells_both_ids(store: Store, path: Path) -> None:
    await take(store, path, "messages", HEADER + row("<1@c>", "a@x.test") + row("<2@c>", "b@x.test"))
    report = REPORT + reported(NETWORK, "1@c", "a@x.test") + reported("0" * 32, "3@c", "c@x.test")
    first = await take(store, path, "messages", report)
    assert (first.counts, first.notes) == (SyncCounts(added=1, unchanged=1), ())
    assert (await take(store, path, "messages", report)).counts == SyncCounts(unchanged=2)
    assert await total(store) == 3
    gone = REPORT + reported(NETWORK, "1@c", "a@x.test", "Deliver")
    assert (await take(store, path, "messages", gone)).counts == SyncCounts(changed=1)
    assert (await take(store, path, "messages", report)).counts == SyncCounts(unchanged=2)
    assert await total(store) == 2


async def test_two_messages_of_one_message_id_are_not_taken_for_one(store: Store, path: Path) -> None:
    await take(store, path, "messages", HEADER + row("<1@c>", "a@x.test"))
    report = REPORT + reported(NETWORK, "1@c", "a@x.test") + reported("0" * 32, "1@c", "a@x.test")
    assert (await take(store, path, "messages", report)).counts == SyncCounts(added=2)


async def test_mail_that_is_known_by_both_ids_is_left_so(store: Store, path: Path) -> None:
    report = REPORT + reported(NETWORK, "1@c", "a@x.test")
    await take(store, path, "messages", report)
    await take(store, path, "messages", HEADER + row("<1@c>", "a@x.test"))
    assert (await take(store, path, "messages", report)).counts == SyncCounts(unchanged=1)


async def test_kinds_of_exports_that_count_mail_twice_are_warned_of(store: Store, path: Path) -> None:
    async def notes(content: str) -> tuple[str, ...]:
        return (await take(store, path, "messages", content)).notes

    await take(store, path, "messages", REPORT + reported(NETWORK, "1@c", "a@x.test"))
    by_message_id = HEADER + row("<1@c>", "a@x.test")
    by_network_id = HEADER.replace("Message ID", "Message Trace ID") + row(NETWORK, "a@x.test")
    listing_of_a_server = [
        {
            "Identity": "EX01\\15\\7",
            "FromAddress": "a@x.test",
            "DateReceived": "2026-11-24T04:00:00Z",
            "Recipients": ["b@y.test"],
        }
    ]
    assert await notes(by_message_id) == (WARNING.format("Message ID", "network message id"),)
    assert await notes(by_message_id) == ()
    assert await notes(json.dumps(listing_of_a_server)) == ()
    assert await notes(by_network_id) == (WARNING.format("network message id", "Message ID"),)
