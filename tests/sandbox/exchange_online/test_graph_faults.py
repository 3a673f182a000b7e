"""What can go wrong with Graph on demand: each fault shows as the facts have it, as often as it was ordered."""

from __future__ import annotations

from datetime import timedelta

import aiohttp
import pytest

from bot.sandbox.exchange_online import Kind, SandboxTenant, TenantFault
from tests.sandbox.exchange_online.plain_client import START, Client

SUBJECTS = [f"Report {n}" for n in range(4)]


async def pages(client: Client, top: int = 2) -> list[list[str]]:
    """All pages of a listing, as subjects."""
    reply = await client.traces(f"$top={top}")
    found = [[row["subject"] for row in reply.rows]]
    while (link := reply.link) is not None and len(found) < 9:
        reply = await client.get(link)
        found.append([row["subject"] for row in reply.rows])
    return found


@pytest.mark.parametrize(
    ("fault", "status", "code", "text"),
    [
        (TenantFault.THROTTLED, 429, "TooManyRequests", "surpassed the permitted limit"),
        (TenantFault.NO_SERVICE_PRINCIPAL, 401, "Unauthorized", "8bd644d1-64a1-4d4b-ae52-2e0cbf64e373 was not found"),
        (TenantFault.NO_PERMISSION, 403, "Forbidden", "Insufficient privileges"),
    ],
)
async def test_a_refusal_comes_once_and_then_no_more(
    client: Client, tenant: SandboxTenant, fault: TenantFault, *, status: int, code: str, text: str
) -> None:
    tenant.faults.set(fault, times=1)
    reply = await client.traces()
    assert (reply.status, reply.json["error"]["code"]) == (status, code) and text in reply.json["error"]["message"]
    assert reply.headers.get("Retry-After") == ("1" if fault is TenantFault.THROTTLED else None)
    assert (await client.traces()).status == 200


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (TenantFault.NUL_BODY, 200, b"\0\0\0\0"),
        (TenantFault.NOT_JSON, 200, b"<!DO"),
        (TenantFault.SERVER_ERROR, 503, b"Serv"),
    ],
)
async def test_a_body_that_is_no_json(
    client: Client, tenant: SandboxTenant, fault: TenantFault, status: int, body: bytes
) -> None:
    tenant.faults.set(fault)
    for _ in range(2):
        reply = await client.traces()
        assert (reply.status, reply.body[:4]) == (status, body)
    tenant.faults.clear(fault)
    assert (await client.traces()).rows


async def test_a_fault_can_be_for_one_kind_of_request_after_some_others(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.SERVER_ERROR, on=Kind.TRACE, times=1, skip=1)
    statuses = [(await client.traces()).status for _ in range(3)]
    assert statuses == [200, 503, 200]
    tenant.faults.set(TenantFault.SERVER_ERROR, on=Kind.DETAIL)
    assert (await client.traces()).status == 200
    assert (await client.details("x", "bob@onprem.test")).status == 503


async def test_a_later_page_can_have_expired(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.LINK_EXPIRED, times=1)
    link = (await client.traces("$top=2")).link
    assert link is not None and (await client.get(link)).status == 400


async def test_a_link_can_lead_elsewhere_and_who_follows_is_noticed(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.LINK_ELSEWHERE)
    link = (await client.traces("$top=2")).link
    assert link is not None and link.startswith(tenant.stranger_url)
    assert tenant.faults.seen[Kind.STRANGER] == 0
    assert (await client.get(link)).status == 404
    assert tenant.faults.seen[Kind.STRANGER] == 1


async def test_a_link_can_lead_to_the_same_page_for_ever(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.LINK_ENDLESS)
    found = await pages(client, top=1)
    assert len(found) == 9 and found[1:] == [["Report 1"]] * 8


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (TenantFault.SHORT_PAGE, [["Report 0"], ["Report 1"], ["Report 2"], ["Report 3"]]),
        (TenantFault.DUPLICATE_ROWS, [["Report 0", "Report 1"], ["Report 0", "Report 1", "Report 2", "Report 3"]]),
        (TenantFault.MOVED_ROW, [["Report 0", "Report 2"], ["Report 3", "Report 1"]]),
    ],
)
async def test_pages_can_be_odd_but_lose_nothing(
    client: Client, tenant: SandboxTenant, fault: TenantFault, expected: list[list[str]]
) -> None:
    tenant.faults.set(fault)
    found = await pages(client)
    assert found == expected
    assert sorted({subject for page in found for subject in page}) == SUBJECTS


async def test_a_status_can_be_new(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.UNKNOWN_STATUS, times=1)
    assert [row["status"] for row in (await client.traces()).rows][:2] == ["heldForReview", "pending"]


async def test_an_answer_can_be_slow(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.slowness = 5.0
    tenant.faults.set(TenantFault.SLOW, times=1, on=Kind.TRACE)
    await client.token("https://graph.microsoft.com")
    with pytest.raises(TimeoutError):
        async with client.session.get(
            f"{tenant.graph_url}/admin/exchange/tracing/messageTraces", timeout=aiohttp.ClientTimeout(total=0.2)
        ):
            pass
    assert (await client.traces()).status == 200


async def test_a_connection_can_be_reset(client: Client, tenant: SandboxTenant) -> None:
    await client.token("https://graph.microsoft.com")
    tenant.faults.set(TenantFault.RESET, on=Kind.TRACE)
    with pytest.raises(aiohttp.ClientError):
        await client.traces()


async def test_a_body_can_be_huge(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.huge_size = 4_000_000
    tenant.faults.set(TenantFault.HUGE, times=1, on=Kind.TRACE)
    reply = await client.traces()
    assert len(reply.body) > 4_000_000
    with pytest.raises(ValueError):
        _ = reply.json


@pytest.mark.parametrize(("minutes", "status"), [(10, 200), (-10, 400)])
async def test_a_server_clock_can_be_wrong(client: Client, tenant: SandboxTenant, minutes: int, status: int) -> None:
    """Behind: what the client calls now lies in the future. The Date header tells."""
    tenant.faults.ahead = timedelta(minutes=minutes)
    now = f"{START:%Y-%m-%dT%H:%M:%SZ}"
    reply = await client.traces(f"$filter=receivedDateTime ge 2026-11-23T08:00:00Z and receivedDateTime le {now}")
    assert reply.status == status and reply.headers["Date"].endswith(" GMT")
