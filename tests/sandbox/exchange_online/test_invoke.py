"""InvokeCommand on the wire: the envelope, types beside fields, pages, errors, roles, and what can go wrong."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from bot.sandbox.exchange_online import Kind, Permission, Role, SandboxTenant, TenantFault
from bot.sandbox.mail_system import MailSystem
from tests.sandbox.exchange_online.plain_client import TO_ONPREM, Client

EVERYBODY = {"Filter": "EmailAddresses -eq 'smtp:bob@onprem.test' -or EmailAddresses -eq 'smtp:ann@contoso.test'"}


async def test_a_whole_answer_has_empty_warnings_and_no_link(client: Client, tenant: SandboxTenant) -> None:
    answer = (await client.invoke("Get-OutboundConnector")).json
    assert answer["@adminapi.warnings"] == [] and answer["adminapi.warnings@odata.type"] == "#Collection(String)"
    assert answer["@odata.context"].endswith("$metadata#Collection(Exchange.GenericHashTable)")
    assert "@odata.nextLink" not in answer and len(answer["value"]) == 2
    assert tenant.faults.seen["Get-OutboundConnector"] == 1


async def test_types_stand_beside_the_fields(client: Client) -> None:
    row = (await client.invoke("Get-OutboundConnector", {"Identity": TO_ONPREM})).rows[0]
    assert row["WhenChangedUTC@data.type"] == "System.DateTime"
    assert row["WhenChangedUTC"] == "2025-10-20T08:00:00.0000000Z"
    assert row["LastValidationTimestamp"] == "2025-10-20T08:00:00.0000000"
    assert row["SmartHosts@odata.type"] == "#Collection(String)" and row["SmartHosts"] == ["127.0.0.1"]
    trace = (await client.invoke("Get-MessageTraceV2")).rows[0]
    assert trace["Size@data.type"] == "System.Int32" and trace["Received"] == "2026-11-24T07:00:00.0000000Z"


async def test_what_is_sent_beyond_token_and_body_is_optional_and_columns_can_be_chosen(
    client: Client, tenant: SandboxTenant
) -> None:
    url = f"{tenant.exo_url}/adminapi/v1.0/{tenant.domain}/InvokeCommand?$select=Name,Enabled"
    reply = await client.invoke("Get-OutboundConnector", url=url, Prefer="", X_AnchorMailbox="", X_CmdletName="")
    assert reply.rows == [{"Enabled": True, "Name": "To on-prem"}, {"Enabled": True, "Name": "Partner"}]


async def test_pages_need_the_same_body_and_the_anchor_of_the_first(client: Client, tenant: SandboxTenant) -> None:
    first = await client.invoke("Get-Recipient", EVERYBODY, Prefer="odata.maxpagesize=1")
    assert first.link is not None and first.link.startswith(f"{tenant.exo_url}/adminapi/beta/")
    second = await client.invoke("Get-Recipient", EVERYBODY, url=first.link)
    assert second.link is None
    assert [r["Name"] for r in first.rows + second.rows] == ["bob", "ann"]
    for anchor in ("", "APP:other"):
        lost = await client.invoke("Get-Recipient", EVERYBODY, url=first.link, X_AnchorMailbox=anchor)
        assert lost.status == 400
        assert lost.why == "Expired or Invalid pagination request. Default Expiry time is 00:30:00"
    blind = await client.invoke("Get-Recipient", EVERYBODY, Prefer="odata.maxpagesize=1", X_AnchorMailbox="")
    assert (await client.invoke("Get-Recipient", EVERYBODY, url=str(blind.link), X_AnchorMailbox="")).status == 400
    assert tenant.faults.seen[Kind.CMDLET_PAGE] == 4


async def test_an_error_hides_its_real_text_and_names_its_type(client: Client) -> None:
    reply = await client.invoke("Get-Recipient", {"Identity": "nobody@onprem.test"})
    error = reply.json["error"]
    assert (reply.status, error["code"], error["message"]) == (400, "BadRequest", "Error executing cmdlet")
    inner = error["innererror"]["internalexception"]
    assert inner["type"] == "Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException"
    code, kind, text = error["details"][0]["message"].split("|")
    assert code.startswith("Ex") and len(code) == 8 and kind == inner["type"] and text == inner["message"]
    assert reply.headers["X-ExceptionType"] == "ManagementObjectNotFoundException"
    assert reply.json["@adminapi.warnings"] == []


@pytest.mark.parametrize("parameters", [[], "text", 5])
async def test_parameters_have_to_be_an_object(client: Client, parameters: Any) -> None:
    assert (await client.invoke("Get-AcceptedDomain", parameters)).status == 400
    assert (await client.invoke("", {})).status == 403


async def test_without_the_app_role_it_is_401_and_without_the_exchange_role_403(
    client: Client, tenant: SandboxTenant
) -> None:
    tenant.reader.permissions = frozenset({Permission.TRACE})
    none = await client.invoke("Get-OutboundConnector")
    assert (none.status, none.body) == (401, b"") and "WWW-Authenticate" in none.headers
    tenant.reader.permissions = frozenset({Permission.MANAGE})
    client.forget()
    tenant.reader.roles = frozenset({Role.VIEW_RECIPIENTS})
    half = await client.invoke("Get-OutboundConnector")
    assert half.status == 403 and half.body.strip(b"\0") == b"" and half.headers["Content-Type"] == "application/json"
    tenant.reader.roles = frozenset({Role.VIEW_CONFIGURATION})
    assert (await client.invoke("Get-OutboundConnector")).status == 200
    assert (await client.invoke("Get-MessageTraceV2")).status == 403


@pytest.mark.parametrize(
    ("cmdlet", "parameters"),
    [
        ("Set-OutboundConnector", {"Identity": TO_ONPREM, "Enabled": False}),
        ("Set-AcceptedDomain", {"Identity": "onprem.test", "DomainType": "Authoritative"}),
        ("Validate-OutboundConnector", {"Identity": TO_ONPREM, "Recipients": ["bob@onprem.test"]}),
        ("Remove-OutboundConnector", {"Identity": TO_ONPREM}),
    ],
)
async def test_the_reader_changes_nothing(
    client: Client, tenant: SandboxTenant, mail: MailSystem, cmdlet: str, parameters: dict[str, Any]
) -> None:
    reply = await client.invoke(cmdlet, parameters)
    assert reply.status == 403 and set(reply.body) == {0}
    assert mail.tenant.connectors[TO_ONPREM].enabled and not tenant.faults.done


async def test_the_fixer_has_no_trace_of_its_own(client: Client, tenant: SandboxTenant) -> None:
    token = await client.token("https://graph.microsoft.com", tenant.fixer)
    assert (await client.traces(Authorization=f"Bearer {token}")).status == 403


async def test_another_tenants_address_is_forbidden(client: Client, tenant: SandboxTenant) -> None:
    url = f"{tenant.exo_url}/adminapi/beta/fabrikam.test/InvokeCommand"
    assert (await client.invoke("Get-AcceptedDomain", url=url)).status == 403


async def test_the_old_trace_is_retired(client: Client) -> None:
    reply = await client.invoke("Get-MessageTrace")
    assert reply.status == 400 and "Get-MessageTraceV2" in reply.why


async def test_the_official_endpoint_knows_accepted_domains_only(client: Client, tenant: SandboxTenant) -> None:
    url = f"{tenant.exo_url}/adminapi/v2.0/{tenant.tenant_id}/AcceptedDomain"
    rows = (await client.invoke("Get-AcceptedDomain", {"ResultSize": "Unlimited"}, url=url)).rows
    assert [row["DomainName"] for row in rows] == ["contoso.test", "onprem.test", "plants.test"]
    assert (await client.invoke("Get-OutboundConnector", url=url)).status == 403
    tenant.reader.permissions = frozenset({Permission.MANAGE})
    client.forget()
    assert (await client.invoke("Get-AcceptedDomain", url=url)).status == 401
    assert tenant.faults.seen[Kind.DOMAINS_V2] == 3


# Faults


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (TenantFault.NUL_403, 403, b"\0\0\0\0"),
        (TenantFault.NUL_BODY, 200, b"\0\0\0\0"),
        (TenantFault.TOO_MANY_AT_ONCE, 429, b"You "),
        (TenantFault.NO_APP_ROLE, 401, b""),
        (TenantFault.SERVER_ERROR, 503, b"Serv"),
        (TenantFault.NOT_JSON, 200, b"<!DO"),
    ],
)
async def test_a_body_that_is_no_json_comes_so_often(
    client: Client, tenant: SandboxTenant, fault: TenantFault, status: int, body: bytes
) -> None:
    tenant.faults.set(fault, times=2)
    replies = [await client.invoke("Get-AcceptedDomain") for _ in range(3)]
    assert [reply.status for reply in replies] == [status, status, 200]
    assert replies[0].body[:4] == body


async def test_the_concurrency_text_can_come_with_any_status(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.too_many_status = 400
    tenant.faults.set(TenantFault.TOO_MANY_AT_ONCE, times=1)
    reply = await client.invoke("Get-AcceptedDomain")
    assert reply.status == 400 and b"maximum number of concurrent requests per tenant" in reply.body
    assert reply.headers["Content-Type"].startswith("text/plain")


async def test_throttling_says_how_long(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.retry_after = 7
    tenant.faults.set(TenantFault.THROTTLED, on="Get-AcceptedDomain", times=1)
    assert (await client.invoke("Get-OutboundConnector")).status == 200
    reply = await client.invoke("Get-AcceptedDomain")
    assert (reply.status, reply.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize("fault", [TenantFault.LINK_EXPIRED, TenantFault.LINK_ELSEWHERE, TenantFault.LINK_ENDLESS])
async def test_links_can_be_bad(client: Client, tenant: SandboxTenant, fault: TenantFault) -> None:
    tenant.faults.set(fault)
    first = await client.invoke("Get-AcceptedDomain", Prefer="odata.maxpagesize=1")
    assert first.link is not None
    assert first.link.startswith(tenant.stranger_url) is (fault is TenantFault.LINK_ELSEWHERE)
    replies = [await client.invoke("Get-AcceptedDomain", url=first.link) for _ in range(2)]
    assert [reply.status for reply in replies] == {
        TenantFault.LINK_EXPIRED: [400, 400],
        TenantFault.LINK_ELSEWHERE: [404, 404],
        TenantFault.LINK_ENDLESS: [200, 200],
    }[fault]
    if fault is TenantFault.LINK_ENDLESS:
        assert replies[0].link == first.link


async def test_an_unknown_setting_and_an_ignored_identity(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.UNKNOWN_SETTING, times=1)
    assert (await client.invoke("Get-OutboundConnector")).rows[0]["TlsSettings"] == "QuantumValidation"
    tenant.faults.set(TenantFault.IDENTITY_IGNORED)
    counts = [
        len((await client.invoke(cmdlet, {"Identity": "no such thing"})).rows)
        for cmdlet in ("Get-OutboundConnector", "Get-AcceptedDomain", "Get-Recipient")
    ]
    assert counts == [2, 3, 3]


async def test_a_lost_answer_changed_something_and_a_reset_did_not(client: Client, tenant: SandboxTenant) -> None:
    change = {"Identity": TO_ONPREM, "Enabled": False}
    await client.token("https://outlook.office365.com", tenant.fixer)
    tenant.faults.set(TenantFault.RESET, on="Set-OutboundConnector", times=1)
    with pytest.raises(aiohttp.ClientError):
        await client.fix("Set-OutboundConnector", change)
    assert tenant.faults.done["Set-OutboundConnector"] == 0
    tenant.faults.set(TenantFault.ANSWER_LOST, times=1)
    with pytest.raises(TimeoutError):
        async with client.session.post(
            f"{tenant.exo_url}/adminapi/beta/{tenant.tenant_id}/InvokeCommand",
            headers={"Authorization": f"Bearer {await client.token('https://outlook.office365.com', tenant.fixer)}"},
            json={"CmdletInput": {"CmdletName": "Set-OutboundConnector", "Parameters": change}},
            timeout=aiohttp.ClientTimeout(total=0.3),
        ):
            pass
    assert tenant.faults.done["Set-OutboundConnector"] == 1
    assert (await client.invoke("Get-OutboundConnector", {"Identity": TO_ONPREM})).rows[0]["Enabled"] is False
