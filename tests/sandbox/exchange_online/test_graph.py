"""Graph's message trace as the documentation and a real tenant have it: filters, windows, pages, details, throttle."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.sandbox.exchange_online import Kind, Permission, SandboxTenant
from bot.sandbox.exchange_online.listing_query import parse
from bot.sandbox.mail_system import MailSystem
from tests.sandbox.exchange_online.plain_client import START, Client, Clock

WINDOW = "receivedDateTime ge 2026-11-23T08:00:00Z and receivedDateTime le 2026-11-24T08:00:00Z"


def first(mail: MailSystem, recipient: str) -> tuple[str, str]:
    return next(ref for ref in mail.tenant.entries if ref[1] == recipient)


async def test_a_row_has_the_documented_members(client: Client, mail: MailSystem, tenant: SandboxTenant) -> None:
    reply = await client.traces(f"$filter=status eq 'pending' and {WINDOW}&$top=1")
    key = first(mail, "bob@onprem.test")[0]
    assert reply.json["@odata.context"].endswith("$metadata#admin/exchange/tracing/messageTraces")
    row = reply.rows[0]
    size = row.pop("size")
    assert size > 100 and row == {
        "id": f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}",
        "senderAddress": "ann@contoso.test",
        "recipientAddress": "bob@onprem.test",
        "messageId": f"<{key}@contoso.test>",
        "receivedDateTime": "2026-11-24T07:00:00Z",
        "subject": "Report 0",
        "fromIP": "203.0.113.10",
        "toIP": "",
        "status": "pending",
    }


async def test_newest_come_first_whatever_is_ordered(client: Client) -> None:
    rows = (await client.traces("$orderby=receivedDateTime asc&$select=id&$count=true")).rows
    assert [row["subject"] for row in rows] == ["Report 0", "Report 1", "Report 2", "Report 3"]
    assert "receivedDateTime" in rows[0]


@pytest.mark.parametrize(
    ("query", "subjects"),
    [
        ("recipientAddress eq 'bob@onprem.test'", [0]),
        ("recipientAddress eq 'o''hara@onprem.test'", [2]),
        ("recipientAddress eq '*@onprem.test'", [0, 1, 2]),
        ("recipientAddress eq 'bob*'", []),
        ("senderAddress eq '*@contoso.test'", []),
        ("senderAddress eq 'ann@contoso.test'", [0, 1, 2, 3]),
        ("status eq 'failed'", []),
        ("contains(subject,'port 1')", [1]),
        ("startswith(subject,'report')", [0, 1, 2, 3]),
        ("startsWith(subject,'port')", []),
        ("endswith(subject,'3')", [3]),
        ("subject eq 'Report 2'", [2]),
        # Accepted and ignored: only the last value per property counts.
        ("recipientAddress eq 'bob@onprem.test' or recipientAddress eq 'eve@fabrikam.test'", [3]),
        ("recipientAddress in ('bob@onprem.test', 'gone@onprem.test')", [1]),
        ("status eq 'failed' or status eq 'pending'", [0, 1, 2, 3]),
        ("status eq 'pending' or status eq 'failed'", []),
        ("status ne 'failed'", []),
        ("not (status eq 'pending')", [0, 1, 2, 3]),
    ],
)
async def test_a_filter_means_what_the_service_makes_of_it(client: Client, query: str, subjects: list[int]) -> None:
    reply = await client.traces(f"$filter={query} and {WINDOW}")
    assert [row["subject"] for row in reply.rows] == [f"Report {n}" for n in subjects]


@pytest.mark.parametrize(
    "query",
    [
        "receivedDateTime ge 2026-11-23T08:00:00Z",
        "receivedDateTime le 2026-11-24T08:00:00Z",
        "receivedDateTime ge 2026-11-23T08:00:00Z and receivedDateTime le 2026-11-24T08:00:01Z",
        "receivedDateTime ge 2026-11-13T08:00:00Z and receivedDateTime le 2026-11-24T08:00:00Z",
        "receivedDateTime ge 2026-11-24T08:00:00Z and receivedDateTime le 2026-11-23T08:00:00Z",
        "receivedDateTime ge 2026-08-01T08:00:00Z and receivedDateTime le 2026-08-02T08:00:00Z",
        "receivedDateTime ge 2026-11-23T08:00:00.000Z and receivedDateTime le 2026-11-24T08:00:00Z",
        "receivedDateTime ge 2026-13-23T08:00:00Z and receivedDateTime le 2026-11-24T08:00:00Z",
        "receivedDateTime gt 2026-11-23T08:00:00Z and receivedDateTime lt 2026-11-24T08:00:00Z",
        "status eq 'queued'",
        "size eq '5'",
        "contains(senderAddress,'ann')",
        "status eq pending",
    ],
)
async def test_a_senseless_filter_is_a_bad_request(client: Client, query: str) -> None:
    reply = await client.traces(f"$filter={query}")
    assert (reply.status, reply.json["error"]["code"]) == (400, "BadRequest")


@pytest.mark.parametrize("top", ["0", "5001", "-1", "all", ""])
async def test_top_is_from_1_to_5000(client: Client, top: str) -> None:
    assert (await client.traces(f"$top={top}")).status == 400
    assert (await client.traces("$top=5000")).status == 200


def test_without_bounds_it_is_the_last_48_hours_and_1000_rows() -> None:
    query = parse({}, START)
    assert (query.until - query.since, query.until, query.top) == (timedelta(hours=48), START, 1000)


async def test_pages_follow_the_link_until_there_is_none(client: Client, tenant: SandboxTenant) -> None:
    reply = await client.traces(f"$filter={WINDOW}&$top=3")
    assert reply.link is not None and reply.link.startswith(
        f"{tenant.graph_url}/admin/exchange/tracing/messageTraces?$"
    )
    rest = await client.get(reply.link)
    assert [row["subject"] for row in reply.rows + rest.rows] == [f"Report {n}" for n in range(4)]
    assert rest.link is None
    assert (tenant.faults.seen[Kind.TRACE], tenant.faults.seen[Kind.TRACE_PAGE]) == (1, 1)


async def test_a_listing_stays_as_it_was_while_it_is_read(client: Client, mail: MailSystem, clock: Clock) -> None:
    reply = await client.traces("$filter=status eq 'pending'&$top=3")
    assert reply.link is not None
    mail.tenant.submit("ann@contoso.test", ["bob@onprem.test"], now=START, subject="New", received_at=START)
    rest = await client.get(reply.link)
    assert [row["subject"] for row in rest.rows] == ["Report 3"]
    assert (await client.traces("$top=1")).rows[0]["subject"] == "New"


async def test_a_link_is_good_for_ten_minutes_and_a_made_up_one_never(client: Client, clock: Clock) -> None:
    link = (await client.traces("$top=2")).link
    assert link is not None
    clock.forward(minutes=11)
    assert (await client.get(link)).status == 400
    assert (await client.traces("$skiptoken=abc.2")).status == 400


async def test_details_tell_what_happened_in_order(client: Client, mail: MailSystem, tenant: SandboxTenant) -> None:
    key, recipient = first(mail, "o'hara@onprem.test")
    reply = await client.details(tenant.trace.trace_id(key), recipient.replace("'", "''"))
    received, deferred = reply.rows
    assert (received["event"], received["dateTime"]) == ("Receive", "2026-11-24T05:00:00Z")
    assert '<MEP Name="ConnectorId" String="To on-prem" />' in received["data"]
    assert (deferred["event"], deferred["dateTime"], deferred["id"]) == (
        "Defer",
        "2026-11-24T08:00:00Z",
        received["id"],
    )
    assert deferred["description"].startswith(
        "Reason: [{LED=450 4.4.316 Connection refused [Message=Socket error code 10061] "
        "[LastAttemptedServerName=127.0.0.1] [LastAttemptedIP=127.0.0.1:"
    )
    assert deferred["description"].endswith("{FQDN=127.0.0.1};{IP=127.0.0.1};{LRT=11/24/2026 08:00:00 AM}]")


async def test_details_of_unknown_mail_are_empty_and_of_a_bad_call_refused(client: Client) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    assert (await client.details(unknown, "bob@onprem.test")).rows == []
    assert (await client.details("no-guid", "bob@onprem.test")).rows == []
    assert (await client.details(unknown, "o'hara@onprem.test")).status == 400


async def test_the_trace_lags_behind_the_mail(
    client: Client, mail: MailSystem, tenant: SandboxTenant, clock: Clock
) -> None:
    tenant.trace.lag, tenant.trace.appears_after = timedelta(minutes=7), timedelta(minutes=3)
    ref = first(mail, "gone@onprem.test")
    mail.tenant.reject([ref], "", START)
    mail.tenant.submit("ann@contoso.test", ["bob@onprem.test"], now=START, subject="Just sent")
    assert (await client.traces("$filter=status eq 'failed'")).rows == []
    assert len((await client.details(tenant.trace.trace_id(ref[0]), ref[1])).rows) == 1
    clock.forward(minutes=3)
    assert [r["subject"] for r in (await client.traces("$filter=status eq 'pending'&$top=1")).rows] == ["Just sent"]
    clock.forward(minutes=4)
    assert [r["subject"] for r in (await client.traces("$filter=status eq 'failed'")).rows] == ["Report 1"]
    events = (await client.details(tenant.trace.trace_id(ref[0]), ref[1])).rows
    assert [event["event"] for event in events] == ["Receive", "Fail"] and "550 5.1.10" in events[1]["description"]


async def test_recalled_is_named_only_to_those_who_know_it(
    client: Client, mail: MailSystem, tenant: SandboxTenant
) -> None:
    tenant.trace.show_as(first(mail, "bob@onprem.test"), "recalled")
    tenant.trace.show_as(first(mail, "gone@onprem.test"), "quarantined")
    statuses = [row["status"] for row in (await client.traces()).rows]
    assert statuses == ["unknownFutureValue", "quarantined", "pending", "pending"]
    assert (await client.traces(Prefer="include-unknown-enum-members")).rows[0]["status"] == "recalled"


async def test_a_hundred_requests_in_five_minutes_and_no_more(
    client: Client, tenant: SandboxTenant, clock: Clock
) -> None:
    for n in range(100):
        reply = await client.traces("$top=1") if n % 2 else await client.details("no-guid", "bob@onprem.test")
        assert reply.status == 200
    clock.forward(minutes=2)
    refused = await client.traces()
    assert (refused.status, refused.headers["Retry-After"]) == (429, "180")
    assert "surpassed the permitted limit" in refused.json["error"]["message"]
    clock.forward(seconds=180)
    assert (await client.traces()).status == 200
    assert (tenant.throttle.refused, tenant.throttle.used(clock.now)) == (1, 1)


async def test_consent_counts_from_the_next_token_on(client: Client, tenant: SandboxTenant) -> None:
    tenant.reader.permissions = frozenset({Permission.MANAGE})
    assert (await client.traces()).status == 403
    tenant.reader.permissions = frozenset(Permission)
    assert (await client.traces()).status == 403
    client.forget()
    assert (await client.traces()).status == 200


async def test_the_addresses_do_not_answer_for_each_other(client: Client, tenant: SandboxTenant) -> None:
    wrong = tenant.exo_url + "/v1.0/admin/exchange/tracing/messageTraces"
    assert (await client.get(wrong)).status == 404
    assert (await client.get(f"{tenant.graph_url}/users")).status == 404
