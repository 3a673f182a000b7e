"""`mfi import` of exports that name the same mail in two ways: it counts once where that is sure."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from sqlite_utils import Database

from storage import messages
from storage.connection import Store
from storage.records import SyncCounts
from tests.services.import_scene import HEADER, NOW, row, take, total

NETWORK = "4451a06248cbe80de8c0196330437ae6"


REPORT = "origin_timestamp_utc,sender_address,recipient_status,message_id,network_message_id\n"


BY_NETWORK_ID = HEADER.replace("Message ID", "Message Trace ID")
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
    await take(store, path, "messages", BY_NETWORK_ID + row(NETWORK, "a@x.test"))
    await take(store, path, "messages", HEADER + row("<1@c>", "a@x.test"))
    for content in (REPORT + reported(NETWORK, "1@c", "a@x.test"), HEADER + row("<1@c>", "a@x.test")) * 2:
        report = await take(store, path, "messages", content)
        assert (report.counts, report.notes) == (SyncCounts(unchanged=1), ())


async def test_mail_of_a_report_that_told_both_ids_is_found_by_its_message_id(store: Store, path: Path) -> None:
    report = REPORT + reported(NETWORK, "1@c", "a@x.test").replace("04:00:00Z", "04:00:00.731Z")
    listed = HEADER + row("<1@c>", "a@x.test") + row("<2@c>", "b@x.test")
    await take(store, path, "messages", report)
    for counts in (SyncCounts(added=1, unchanged=1), SyncCounts(unchanged=2)):
        found = await take(store, path, "messages", listed)
        assert (found.counts, found.notes) == (counts, ())
    assert await total(store) == 2
    gone = await take(store, path, "messages", HEADER + row("<1@c>", "a@x.test", "Delivered"))
    assert gone.counts == SyncCounts(changed=1)
    assert (await take(store, path, "messages", report)).counts == SyncCounts(unchanged=1)
    assert await total(store) == 1


async def test_what_may_be_another_mail_of_the_same_message_id_is_added_with_a_warning(
    store: Store, path: Path
) -> None:
    """Come in at another time, or two that it may be: which one it is would be a guess."""
    report = REPORT + reported(NETWORK, "1@c", "a@x.test").replace("T04:00", "T03:00")
    report += reported("0" * 32, "2@c", "b@x.test") + reported("1" * 32, "2@c", "b@x.test")
    await take(store, path, "messages", report)
    listed = HEADER + row("<1@c>", "a@x.test") + row("<2@c>", "b@x.test") + row("<3@c>", "c@x.test")
    found = await take(store, path, "messages", listed)
    assert found.counts == SyncCounts(added=3)
    assert [note.partition(":")[0] for note in found.notes] == ["2 may count twice"]
    assert (await take(store, path, "messages", listed)).notes == ()


async def test_the_second_id_of_mail_is_forgotten_with_it(store: Store, path: Path) -> None:
    def left(db: Database) -> int:
        return int(db["message_names"].count)

    await take(store, path, "messages", REPORT + reported(NETWORK, "1@c", "a@x.test"))
    assert await store.read(left) == 1
    await take(store, path, "messages", REPORT + reported(NETWORK, "1@c", "a@x.test", "Deliver"))
    await store.write(lambda db: messages.prune(db, NOW + timedelta(days=1)))
    assert await store.read(left) == 0


async def test_kinds_of_exports_that_count_mail_twice_are_warned_of(store: Store, path: Path) -> None:
    async def notes(content: str) -> tuple[str, ...]:
        return (await take(store, path, "messages", content)).notes

    by_message_id = HEADER + row("<1@c>", "a@x.test")
    by_network_id = BY_NETWORK_ID + row(NETWORK, "a@x.test")
    await take(store, path, "messages", by_network_id)
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
