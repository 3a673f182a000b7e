"""Message-trace exports in all their forms."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.backends.files import MESSAGES_HINT, MessageIds, UnreadableFile, read_messages
from bot.backends.files.message_columns import ALIASES, IGNORED, Standing, standing, unknown
from storage.records import MessageFacts, MessageStatus

ID = "4451a06248cbe80de8c0196330437ae6"
DASHED = "4451A062-48cb-e80d-e8c0-196330437ae6"
AT = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
LED = "[{LED=450 4.4.316 Connection refused [LastAttemptedServerName=mail.contoso.com]};{MSG=};{FQDN=};{IP=};{LRT=}]"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def facts(**more: object) -> MessageFacts:
    plain: dict[str, object] = {
        "backend": "files",
        "key": ID,
        "recipient": "user@onprem.contoso.com",
        "sender": "app@contoso.com",
        "received_at": AT,
        "expires_at": AT + timedelta(days=1),
    }
    return MessageFacts(**plain | more)


def test_the_admin_centers_list_is_read(path: Path) -> None:
    content = "Date (UTC),Sender,Recipient,Subject,Status,Message ID\n"
    content += "2026-11-24T04:30:00,app@contoso.com,User@OnPrem.contoso.com,Secret,Pending,<1@contoso.com>\n"
    parsed = read_messages(text(path, content))
    assert parsed.rows == (facts(key="1@contoso.com"),)
    assert parsed.problems == ()
    assert "Secret" not in repr(parsed)


def test_a_list_without_any_id_gets_the_same_key_every_time(path: Path) -> None:
    content = "Date,Sender,Recipient,Status\n" + "2026-11-24T04:30:00Z,a@x.test,b@y.test,Pending\n" * 2
    content += "2026-11-24T04:31:00Z,a@x.test,b@y.test,Pending\n"
    first, again = read_messages(text(path, content)), read_messages(path)
    assert first == again
    assert len({m.key for m in first.rows}) == 2
    assert all(m.key.startswith("row:") for m in first.rows)


def test_the_time_zone_in_a_columns_name_counts(path: Path) -> None:
    content = "Date (UTC+02:00);Sender;Recipient;Status\n2026-11-24 06:30:00;a@x.test;b@y.test;Pending\n"
    assert read_messages(text(path, content)).rows[0].received_at == AT


def test_graphs_json_is_read(path: Path) -> None:
    row = {
        "id": DASHED,
        "senderAddress": "app@contoso.com",
        "recipientAddress": "user@onprem.contoso.com",
        "messageId": "<d968@contoso.com>",
        "receivedDateTime": "2026-11-24T04:30:00Z",
        "subject": "Secret",
        "size": 45678,
        "fromIP": "203.0.113.10",
        "toIP": "",
        "status": "pending",
    }
    done = row | {"recipientAddress": "done@onprem.contoso.com", "status": "delivered"}
    parsed = read_messages(text(path, json.dumps({"value": [row, done, row | {"status": "gettingStatus"}]})))
    assert parsed.rows == (
        facts(size=45678),
        facts(size=45678, recipient="done@onprem.contoso.com", status=MessageStatus.DELIVERED),
    )
    assert parsed.problems == ()


def test_the_summary_report_is_read(path: Path) -> None:
    content = "origin_timestamp_utc,sender_address,Recipient_status,message_subject,total_bytes,message_id,"
    content += "network_message_id,original_client_ip,directionality,connector_id,delivery_priority\r\n"
    content += '2026-11-24T04:30:00.0000000Z,app@contoso.com,"user@onprem.contoso.com##Receive, Defer;'
    content += (
        'b@onprem.contoso.com##Receive, Fail;c@onprem.contoso.com##Receive, Deliver;d@onprem.contoso.com##Receive"'
    )
    content += f",Secret,45678,<x@contoso.com>,{ID},203.0.113.1,Originating,To on-prem,Normal\r\n"
    for encoding in ("utf-8", "utf-16-le", "utf-16"):
        parsed = read_messages(text(path, content, encoding))
        assert parsed.problems == ()
        common = {"size": 45678, "connector_key": "To on-prem"}
        assert parsed.rows == (
            facts(**common),
            facts(**common, recipient="b@onprem.contoso.com", status=MessageStatus.REJECTED),
            facts(**common, recipient="c@onprem.contoso.com", status=MessageStatus.DELIVERED),
        )


EVENTS = (
    "date_time_utc,client_ip,source,event_id,connector_id,network_message_id,recipient_address,recipient_status,"
    "total_bytes,message_subject,sender_address\n"
)


def event(minutes: int, kind: str, to: str = "user@onprem.contoso.com", status: str = "", connector: str = "") -> str:
    at = (AT + minutes * MINUTE).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
    return f'{at},203.0.113.1,SMTP,{kind},{connector},{ID},{to},"{status}",45678,Secret,app@contoso.com\n'


def test_the_detailed_report_tells_the_last_deferral_and_its_reason(path: Path) -> None:
    both = "user@onprem.contoso.com;b@onprem.contoso.com"
    content = (
        EVENTS + event(20, "DEFER", status=LED, connector="To on-prem") + event(0, "RECEIVE", both, connector="In")
    )
    content += event(1, "AGENTINFO") + event(10, "DEFER", status="450 4.4.315 timed out")
    parsed = read_messages(text(path, content, "utf-16-le"))
    assert parsed.problems == ()
    wanted = facts(size=45678, reason=LED, evidence_at=AT + 20 * MINUTE, connector_key="To on-prem")
    assert parsed.rows == (wanted,)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([(0, "RECEIVE")], None),
        ([(0, "RECEIVE"), (1, "DEFER")], MessageStatus.QUEUED),
        ([(0, "RECEIVE"), (1, "DEFER"), (2, "SEND")], MessageStatus.DELIVERED),
        ([(2, "SENDEXTERNAL"), (1, "DEFER"), (0, "RECEIVE")], MessageStatus.DELIVERED),
        ([(0, "SEND"), (1, "RECEIVE"), (2, "DEFER")], MessageStatus.QUEUED),
        ([(1, "DELIVER"), (1, "DEFER")], MessageStatus.DELIVERED),
        ([(1, "DEFER"), (2, "FAIL")], MessageStatus.REJECTED),
        ([(1, "DEFER"), (2, "EXPAND")], MessageStatus.GONE),
    ],
)
def test_the_latest_event_tells_how_the_mail_stands(
    path: Path, events: list[tuple[int, str]], status: MessageStatus | None
) -> None:
    parsed = read_messages(text(path, EVENTS + "".join(event(*e) for e in events)))
    assert [m.status for m in parsed.rows] == ([] if status is None else [status])


def test_every_column_that_we_read_is_read(path: Path) -> None:
    content = (
        "Network Message ID,Received,Sender,Recipient,Status,Last error,Size,Expires,Connector,Remote host,Remote IP\n"
    )
    content += f"{DASHED},11/24/2026 4:30:00 AM,<>,user@onprem.contoso.com,Deferred,450 4.4.316 no,1 KB,"
    content += "2026-11-26T00:00:00Z,To on-prem,mail.contoso.com,203.0.113.10\n"
    assert read_messages(text(path, content)).rows == (
        facts(
            sender="",
            reason="450 4.4.316 no",
            expires_at=datetime(2026, 11, 26, tzinfo=UTC),
            connector_key="To on-prem",
            remote_host="mail.contoso.com",
            remote_ip="203.0.113.10",
        ),
    )


def test_the_lifetime_is_the_callers_where_the_file_is_silent(path: Path) -> None:
    content = "Date,Sender,Recipient,Status\n2026-11-24T04:30:00Z,a@x.test,b@y.test,Pending\n"
    (found,) = read_messages(text(path, content), "lab", timedelta(hours=12)).rows
    assert (found.backend, found.expires_at) == ("lab", AT + timedelta(hours=12))


HEADER = "Date,Sender,Recipient,Status,Message ID\n"
GOOD = "2026-11-24T04:30:00Z,a@x.test,good@y.test,Pending,1\n"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("soon,a@x.test,b@y.test,Pending,2", "the date is 'soon'"),
        (",a@x.test,b@y.test,Pending,2", "the date is empty"),
        ("2026-11-24T04:30:00Z,nobody,b@y.test,Pending,2", "the sender is 'nobody'"),
        ("2026-11-24T04:30:00Z,a@x.test,nobody,Pending,2", "the recipient is 'nobody'"),
        ("2026-11-24T04:30:00Z,a@x.test,,Pending,2", "the recipient is empty"),
        ("2026-11-24T04:30:00Z,a@x.test,b@y.test,Levitating,2", "the status 'Levitating' is not one that mfi knows"),
        ("2026-11-24T04:30:00Z,a@x.test", "has 2 cells under 5 column names"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_the_good_ones_kept(path: Path, row: str, says: str) -> None:
    parsed = read_messages(text(path, HEADER + GOOD + row + "\n" + GOOD.replace("good", "last")))
    assert [m.recipient for m in parsed.rows] == ["good@y.test", "last@y.test"]
    (problem,) = parsed.problems
    assert problem.line == 3
    assert says in problem.text


def test_a_bad_recipient_in_the_summary_report_is_named(path: Path) -> None:
    content = "Date,Sender,recipient_status\n2026-11-24T04:30:00Z,a@x.test,##Receive\n"
    assert read_messages(text(path, content)).problems[0].text == "the recipient is empty"


@pytest.mark.parametrize("as_json", [False, True])
def test_columns_that_mean_nothing_to_us_are_reported(path: Path, as_json: bool) -> None:
    row = dict(zip(HEADER.strip().split(","), GOOD.strip().split(","), strict=True)) | {"Mood": "x", "Subject": "y"}
    content = json.dumps([row]) if as_json else f"{','.join(row)}\n{','.join(row.values())}\n"
    parsed = read_messages(text(path, content))
    assert len(parsed.rows) == 1
    (problem,) = parsed.problems
    assert (problem.line, problem.text.casefold(), problem.rows) == (1, "not used: column 'mood'", 0)


@pytest.mark.parametrize(
    ("content", "lacking"),
    [
        ("Name,ConnectorType\na,b\n", "'received', 'sender', 'recipient', 'status'"),
        ("Date,Sender,Recipient\na,b,c\n", "'status'"),
        ('[{"Date": 1, "Status": 2}]', "'sender', 'recipient'"),
    ],
)
def test_a_file_of_something_else_is_refused_with_how_to_export(path: Path, content: str, lacking: str) -> None:
    with pytest.raises(UnreadableFile, match=f"has no column for {lacking}; ") as refusal:
        read_messages(text(path, content))
    assert MESSAGES_HINT in str(refusal.value)


def test_no_column_is_both_read_and_ignored() -> None:
    assert IGNORED.isdisjoint({name for names in ALIASES.values() for name in names})
    assert unknown(["Date (UTC+01:00)", "Sender Address", "Subject", "", "Mood", "Two Moods"]) == ["Mood", "Two Moods"]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("Pending", Standing.QUEUED),
        ("DEFER", Standing.QUEUED),
        ("Getting Status", Standing.SILENT),
        ("gettingStatus", Standing.SILENT),
        ("Send external", Standing.DELIVERED),
        ("Filtered as spam", Standing.GONE),
        ("Expired", Standing.EXPIRED),
        ("unknownFutureValue", None),
    ],
)
def test_status_words_are_known_whatever_their_spelling(word: str, wanted: Standing | None) -> None:
    assert standing(word) is wanted


WHOLE = (
    "date_time_utc,client_ip,client_hostname,server_ip,server_hostname,source_context,connector_id,source,event_id,"
    "internal_message_id,message_id,network_message_id,recipient_address,recipient_status,total_bytes,recipient_count,"
    "related_recipient_address,reference,message_subject,sender_address,return_path,message_info,directionality,"
    "tenant_id,original_client_ip,original_server_ip,custom_data\r\n"
)


def whole_event(at: str, event_id: str, recipients: str, status: str) -> str:
    cells = {"date_time_utc": at, "event_id": event_id, "recipient_address": recipients, "recipient_status": status}
    cells |= {"network_message_id": ID, "sender_address": "app@contoso.com", "message_subject": 'a "b", c'}
    row = [cells.get(name, "x") for name in WHOLE.strip().split(",")]
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in row).replace('"x"', "") + "\r\n"


def test_the_whole_detailed_report_of_27_columns_is_folded_to_the_newest_reason(path: Path) -> None:
    one, two = "user@onprem.contoso.com", "b@onprem.contoso.com"
    content = WHOLE + whole_event("2026-11-24T04:30:00.0000000Z", "RECEIVE", f"{one};{two}", "")
    content += whole_event("2026-11-24T05:30:00.0000000Z", "DEFER", f"{one};{two}", LED)
    content += whole_event("2026-11-24T04:45:00.0000000Z", "DEFER", one, "450 4.4.315 Connection timed out")
    content += whole_event("2026-11-24T05:40:00.0000000Z", "SEND", two, "250 2.1.5 Recipient OK")
    parsed = read_messages(text(path, content, "utf-16-le"))
    assert parsed.problems == ()
    assert [(m.recipient, m.status, m.reason, m.received_at) for m in parsed.rows] == [
        (one, MessageStatus.QUEUED, LED, AT),
        (two, MessageStatus.DELIVERED, "250 2.1.5 Recipient OK", AT),
    ]


def test_a_file_tells_by_which_ids_it_names_mail(path: Path) -> None:
    columns = "Date,Sender,Recipient,Status,Message ID,Network Message ID\n"
    start = "2026-11-24T04:30:00Z,a@x.test,b@y.test,Pending"
    ids = read_messages(text(path, f"{columns}{start},<1@x>,{DASHED}\n{start},<2@x>,\n")).ids
    assert ids == MessageIds(of={ID: "1@x"}, network=True, alone=True)
    assert read_messages(text(path, f"{columns}{start},{DASHED},\n")).ids == MessageIds(of={}, network=True)
    assert read_messages(text(path, f"{columns}{start},<1@x>,\n")).ids == MessageIds(of={}, alone=True)
    assert read_messages(text(path, f"{columns}{start},,\n")).ids == MessageIds(of={})
