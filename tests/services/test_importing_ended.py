"""`mfi import` of mail that waits no longer: what came back is kept, the rest only ends what we know."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from storage import messages, queue
from storage.connection import Store
from storage.queue_records import Bounce
from storage.records import MessageStatus, SyncCounts
from tests.services.import_scene import HEADER, LED, NOW, row, take, tracked

EXPIRED = "550 5.4.316 Message expired, connection refused(Socket error code 10061)"
UNKNOWN = "550 5.1.10 RESOLVER.ADR.RecipientNotFound"
DETAILED = "date_time_utc,sender_address,recipient_address,event_id,message_id,network_message_id,reason\n"


async def bounced(store: Store) -> list[Bounce]:
    return await store.read(lambda db: queue.bounced(db, since=NOW - timedelta(days=90), limit=100))


def told(found: list[Bounce]) -> list[tuple[str, MessageStatus, datetime]]:
    return [(one.recipient, one.status, one.ended_at) for one in found]


@pytest.mark.parametrize(
    ("status", "detail", "ends"),
    [
        ("Delivered", "", MessageStatus.DELIVERED),
        ("Failed", UNKNOWN, MessageStatus.REJECTED),
        ("Failed", EXPIRED, MessageStatus.EXPIRED),
        ("Expired", "", MessageStatus.EXPIRED),
        ("Quarantined", "", MessageStatus.GONE),
    ],
)
async def test_mail_that_we_know_ends(store: Store, path: Path, status: str, detail: str, ends: MessageStatus) -> None:
    await take(store, path, "messages", HEADER + row("1", "a@x.test"))
    report = await take(store, path, "messages", HEADER + row("1", "a@x.test", status, detail))
    assert report.counts == SyncCounts(changed=1)
    (found,) = await tracked(store, ("1", "a@x.test"))
    assert found.status is ends
    again = await take(store, path, "messages", HEADER + row("1", "a@x.test"))
    assert again.counts == (SyncCounts(changed=1) if ends is MessageStatus.GONE else SyncCounts(unchanged=1))


@pytest.mark.parametrize("status", ["Delivered", "Quarantined"])
async def test_mail_that_ended_well_unknown_to_us_is_not_kept_but_counted_in_a_note(
    store: Store, path: Path, status: str
) -> None:
    report = await take(store, path, "messages", HEADER + row("<1@c>", "r@onprem.contoso.com", status))
    assert (report.counts, await tracked(store, ("1@c", "r@onprem.contoso.com"))) == (SyncCounts(), [])
    assert report.notes == ("1 are not waiting and never were here: not needed",)


async def test_mail_that_came_back_without_ever_waiting_here_is_listed_once_however_often_it_is_imported(
    store: Store, path: Path
) -> None:
    content = HEADER + row("1", "a@x.test", "Failed", UNKNOWN) + row("2", "b@x.test")
    first, again = [await take(store, path, "messages", content) for _ in range(2)]
    assert (first.counts, again.counts) == (SyncCounts(added=2), SyncCounts(unchanged=2))
    assert first.notes == again.notes == ("1 came back: mfi queue --bounced lists them",)
    (found,) = await bounced(store)
    assert (found.sender, found.recipient, found.reason) == ("app@contoso.com", "a@x.test", UNKNOWN)
    assert (await store.read(lambda db: messages.summary(db, None))).total == 1
    assert (await store.read(lambda db: queue.flow(db, None, NOW - timedelta(days=9), NOW))).bounced == 0


async def test_yesterdays_failures_are_dated_when_they_happened_and_the_note_says_how_to_list_them(
    store: Store, path: Path
) -> None:
    """The admin center's list tells when mail came in; what expired bounced at the end of its time."""
    content = HEADER + row("1", "a@x.test", "Failed", EXPIRED) + row("2", "b@x.test", "Failed", UNKNOWN)
    report = await take(store, path, "messages", content.replace("2026-11-24T04", "2026-11-22T04"))
    assert report.notes == ("2 came back: mfi queue --bounced --since 3d lists them",)
    came_in = datetime.fromisoformat("2026-11-22T04:00:00Z")
    assert told(await bounced(store)) == [
        ("a@x.test", MessageStatus.EXPIRED, came_in + timedelta(days=1)),
        ("b@x.test", MessageStatus.REJECTED, came_in),
    ]


async def test_a_failure_that_has_its_own_event_is_dated_by_it(store: Store, path: Path) -> None:
    events = (("04:00", "RECEIVE", ""), ("04:10", "DEFER", LED), ("05:30", "FAIL", UNKNOWN))
    lines = [
        f'2026-11-24T{at}:00Z,app@contoso.com,a@x.test,{event},<1@c>,{"0" * 32},"{reason}"\n'
        for at, event, reason in events
    ]
    await take(store, path, "messages", DETAILED + "".join(lines))
    assert told(await bounced(store)) == [
        ("a@x.test", MessageStatus.REJECTED, datetime.fromisoformat("2026-11-24T05:30:00Z"))
    ]


async def test_what_expires_later_than_now_came_back_by_now(store: Store, path: Path) -> None:
    await take(store, path, "messages", HEADER + row("1", "a@x.test", "Expired"))
    assert told(await bounced(store)) == [("a@x.test", MessageStatus.EXPIRED, NOW)]


async def test_an_older_list_does_not_let_mail_wait_that_came_back(store: Store, path: Path) -> None:
    await take(store, path, "messages", HEADER + row("1", "a@x.test", "Failed", UNKNOWN))
    again = await take(store, path, "messages", HEADER + row("1", "a@x.test"))
    assert again.counts == SyncCounts(unchanged=1)
    assert len(await bounced(store)) == 1
