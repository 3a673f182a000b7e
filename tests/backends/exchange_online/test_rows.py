"""Values from outside are read as what they are, or named as unreadable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.backends.exchange_online import rows
from bot.backends.exchange_online.trace_rows import (
    Listing,
    TraceRow,
    Whose,
    cmdlet_rows,
    graph_events,
    graph_rows,
    mep,
    oldest,
)
from storage.records import MessageStatus


@pytest.mark.parametrize("body", [b"\0" * 300, b"<html>", b"", b'{"value": [', b"[1]", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_object_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError, match="it is no"):
        rows.document(body)


def test_notes_beside_the_fields_are_dropped() -> None:
    answer = {"value": [{"Received": "x", "Received@data.type": "System.DateTime", "@odata.type": "y"}]}
    assert rows.listed(answer) == [{"Received": "x"}]


@pytest.mark.parametrize("answer", [{}, {"value": None}, {"value": {}}, {"value": ["row"]}])
def test_an_answer_without_rows_is_no_empty_list(answer: rows.Json) -> None:
    with pytest.raises(ValueError, match="no list"):
        rows.listed(answer)


def test_an_absent_flag_is_not_false() -> None:
    assert rows.flag({}, "Enabled") is None
    assert rows.flag({"Enabled": None}, "Enabled") is None
    assert rows.flag({"Enabled": False}, "Enabled") is False
    assert rows.flag({"Enabled": "True"}, "Enabled") is True
    with pytest.raises(ValueError, match="Enabled"):
        rows.flag({"Enabled": 1}, "Enabled")


def test_texts_and_numbers() -> None:
    assert rows.text({"Name": " a "}, "Name") == "a"
    assert rows.text({"Name": ""}, "Name") is None
    assert rows.texts({"A": "one"}, "A") == ("one",)
    assert rows.texts({"A": ["one", " "]}, "A") == ("one",)
    assert rows.texts({}, "A") == ()
    assert rows.number({"Size": 5}, "Size") == 5
    assert rows.number({"Size": True}, "Size") is None
    assert rows.number({"Size": -1}, "Size") is None
    for read in (rows.text, rows.texts):
        with pytest.raises(ValueError, match="Name"):
            read({"Name": 7}, "Name")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-07-24T19:01:54.0000000Z", datetime(2026, 7, 24, 19, 1, 54, tzinfo=UTC)),
        ("2026-07-24T18:59:12.0000000", datetime(2026, 7, 24, 18, 59, 12, tzinfo=UTC)),
        ("2026-07-24T18:59:12.5Z", datetime(2026, 7, 24, 18, 59, 12, 500_000, tzinfo=UTC)),
        ("2026-07-24T20:00:00+02:00", datetime(2026, 7, 24, 18, 0, tzinfo=UTC)),
    ],
)
def test_moments_in_each_form_that_the_services_write(text: str, found: datetime) -> None:
    assert rows.moment(text, "Received") == found


def test_what_is_no_moment_is_named() -> None:
    for bad in ("yesterday", None, 5):
        with pytest.raises(ValueError, match="Received is no moment"):
            rows.moment(bad, "Received")


@pytest.mark.parametrize(
    ("text", "found"),
    [("1.00:00:00", timedelta(days=1)), ("12:00:00", timedelta(hours=12)), ("soon", None), (5, None), (None, None)],
)
def test_time_spans(text: object, found: timedelta | None) -> None:
    assert rows.span(text) == found


def test_a_trace_id_is_the_same_however_it_is_written() -> None:
    wanted = "4451a062-48cb-e80d-e8c0-196330437ae6"
    for form in (wanted, wanted.upper(), wanted.replace("-", ""), "{" + wanted + "}"):
        assert rows.trace_id(form) == wanted
    for bad in ("", "x", None):
        with pytest.raises(ValueError, match="id is no"):
            rows.trace_id(bad)


ONE = "4451a062-48cb-e80d-e8c0-196330437ae6"
GOOD = {
    "id": "4451a06248cbe80de8c0196330437ae6",
    "recipientAddress": "Bob@Onprem.test",
    "senderAddress": "",
    "receivedDateTime": "2026-11-24T04:30:00Z",
    "status": "Pending",
}


def test_a_row_of_the_trace_is_normalised() -> None:
    (row,) = graph_rows([GOOD])
    assert isinstance(row, TraceRow)
    assert row.ref == ("4451a062-48cb-e80d-e8c0-196330437ae6", "bob@onprem.test")
    assert (row.sender, row.status, row.size) == ("<>", "pending", None)


@pytest.mark.parametrize(
    ("lacking", "whose"),
    [
        (["id"], (None, "bob@onprem.test")),
        (["recipientAddress"], (ONE, None)),
        (["receivedDateTime"], (ONE, "bob@onprem.test")),
        (["status"], (ONE, "bob@onprem.test")),
        (["id", "recipientAddress"], (None, None)),
    ],
)
def test_of_a_row_that_lacks_what_matters_only_whose_it_is_can_be_told(lacking: list[str], whose: Whose) -> None:
    assert graph_rows([{**GOOD, **dict.fromkeys(lacking)}]) == [whose]


def test_a_row_that_cannot_be_read_may_be_any_message_that_it_does_not_rule_out() -> None:
    listing = Listing()
    listing.take([(ONE, None), (None, "eve@onprem.test"), ("another", "tom@onprem.test")])
    assert listing.may_hide((ONE, "bob@onprem.test"))
    assert listing.may_hide(("any", "eve@onprem.test"))
    assert listing.may_hide(("another", "tom@onprem.test"))
    assert not listing.may_hide(("another", "bob@onprem.test"))
    listing.take([(None, None)])
    assert listing.may_hide(("another", "bob@onprem.test"))
    assert (listing.skipped, listing.whole) == (4, False)


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        ("pending", MessageStatus.QUEUED),
        ("GettingStatus", MessageStatus.QUEUED),
        ("delivered", MessageStatus.DELIVERED),
        ("filteredAsSpam", MessageStatus.DELIVERED),
        ("failed", MessageStatus.REJECTED),
        ("quarantined", MessageStatus.GONE),
        ("recalled", MessageStatus.GONE),
        ("unknownFutureValue", MessageStatus.GONE),
        ("something new", MessageStatus.GONE),
    ],
)
def test_every_status_means_something_also_one_that_is_new(status: str, ending: MessageStatus) -> None:
    (row,) = graph_rows([{**GOOD, "status": status}])
    assert isinstance(row, TraceRow) and row.ending is ending


def test_the_cmdlets_rows_read_the_same() -> None:
    row = {
        "MessageTraceId": GOOD["id"],
        "RecipientAddress": "bob@onprem.test",
        "SenderAddress": "ann@contoso.test",
        "Received": "2026-07-23T22:01:22.0480000Z",
        "Status": "Pending",
        "Size": 12,
    }
    (found,) = cmdlet_rows([row])
    assert isinstance(found, TraceRow) and found.size == 12
    assert oldest([found]) == found.received_at
    assert oldest([]).year == 9999


def test_events_are_sorted_and_unreadable_ones_left_out() -> None:
    late = {"dateTime": "2026-11-24T05:00:00Z", "event": "Defer", "description": "late", "data": ""}
    soon = {"dateTime": "2026-11-24T04:00:00Z", "event": "RECEIVE", "description": None, "data": "<root/>"}
    found = graph_events([late, {"dateTime": "never"}, soon])
    assert [(event.name, event.description) for event in found] == [("receive", ""), ("defer", "late")]


def test_details_in_xml_are_searched_without_growing_an_entity() -> None:
    data = (
        '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><root>'
        '<MEP Name="ServerHostName" String="mail &amp; &lt;more&gt; &b;" /><MEP Name="Size" Long="5"/>'
        '<MEP Name="Broken" String="no end</root>'
    )
    assert mep(data) == {"ServerHostName": "mail & <more> &b;", "Size": "5"}
    assert mep("x" * 10_000_000) == {}
