"""The cmdlets: rows with their real keys, parameters as PowerShell takes them, the trace's twin with its keyset."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.sandbox.exchange_online import SandboxTenant, TenantFault
from bot.sandbox.exchange_online.parameters import CmdletError, filtered_addresses
from bot.sandbox.mail_system import MailSystem
from tests.sandbox.exchange_online.plain_client import START, TO_ONPREM, TO_PARTNER, Client, Clock

CONNECTOR_KEYS = """
Enabled UseMXRecord Comment ConnectorType ConnectorSource RecipientDomains SmartHosts TlsDomain TlsSettings
IsTransportRuleScoped RouteAllMessagesViaOnPremises CloudServicesMailEnabled AllAcceptedDomains SenderRewritingEnabled
MtaStsMode SmtpDaneMode TestMode ValidationRecipients IsValidated LastValidationTimestamp AdminDisplayName Name
Identity WhenChangedUTC WhenCreatedUTC Guid IsValid
"""
TRACE_KEYS = "MessageTraceId MessageId Received SenderAddress RecipientAddress FromIP ToIP Subject Status Size"


def fields(row: dict[str, Any]) -> set[str]:
    return {name for name in row if "@" not in name}


async def test_a_connector_has_the_keys_of_a_real_one(client: Client) -> None:
    onprem, partner = (await client.invoke("Get-OutboundConnector")).rows
    assert fields(onprem) == set(CONNECTOR_KEYS.split())
    assert (onprem["Guid"], onprem["ConnectorType"], onprem["TlsSettings"]) == (
        TO_ONPREM,
        "OnPremises",
        "CertificateValidation",
    )
    assert (partner["ConnectorType"], partner["RecipientDomains"]) == ("Partner", ["fabrikam.test"])


async def test_connectors_in_test_mode_come_only_when_asked_for(client: Client, tenant: SandboxTenant) -> None:
    tenant.settings.describe(TO_PARTNER, TestMode=True)
    assert len((await client.invoke("Get-OutboundConnector")).rows) == 1
    assert len((await client.invoke("Get-OutboundConnector", {"IncludeTestModeConnectors": True})).rows) == 2


async def test_connectors_of_rules_come_unasked_too(client: Client, tenant: SandboxTenant) -> None:
    tenant.settings.describe(TO_PARTNER, IsTransportRuleScoped=True)
    assert len((await client.invoke("Get-OutboundConnector")).rows) == 2
    only = (await client.invoke("Get-OutboundConnector", {"IsTransportRuleScoped": True})).rows
    assert [row["Guid"] for row in only] == [TO_PARTNER]


@pytest.mark.parametrize(("identity", "rows"), [(TO_ONPREM.upper(), 1), ("to on-prem", 1), (None, 2)])
async def test_an_identity_names_one_and_null_names_all(client: Client, identity: str | None, rows: int) -> None:
    assert len((await client.invoke("Get-OutboundConnector", {"Identity": identity})).rows) == rows


async def test_accepted_domains_come_with_type_and_warn_when_cut(client: Client) -> None:
    rows = (await client.invoke("Get-AcceptedDomain", {"ResultSize": "Unlimited"})).rows
    assert [(r["DomainName"], r["DomainType"], r["MatchSubDomains"]) for r in rows] == [
        ("contoso.test", "Authoritative", False),
        ("onprem.test", "InternalRelay", False),
        ("plants.test", "InternalRelay", True),
    ]
    cut = (await client.invoke("Get-AcceptedDomain", {"ResultSize": 2})).json
    assert len(cut["value"]) == 2 and "more results" in cut["@adminapi.warnings"][0]
    assert len((await client.invoke("Get-AcceptedDomain", {"Identity": "ONPREM.test"})).rows) == 1


@pytest.mark.parametrize(
    ("lifetime", "text"),
    [(timedelta(days=1), "1.00:00:00"), (timedelta(hours=12), "12:00:00"), (timedelta(hours=18.5), "18:30:00")],
)
async def test_the_lifetime_of_mail_can_be_read(
    client: Client, mail: MailSystem, lifetime: timedelta, text: str
) -> None:
    mail.tenant.lifetime = lifetime
    assert (await client.invoke("Get-TransportConfig")).rows[0]["MessageExpiration"] == text


async def test_recipients_are_found_by_filter_and_the_missing_are_just_not_there(client: Client) -> None:
    query = " -or ".join(
        f"EmailAddresses -eq 'smtp:{one}'" for one in ("bob@onprem.test", "gone@onprem.test", "O''Hara@onprem.test")
    )
    rows = (await client.invoke("Get-Recipient", {"Filter": query, "ResultSize": 10})).rows
    assert [row["PrimarySmtpAddress"] for row in rows] == ["bob@onprem.test", "o'hara@onprem.test"]
    assert rows[0]["EmailAddresses"] == ["SMTP:bob@onprem.test"] and rows[0]["RecipientType"] == "UserMailbox"
    few = await client.invoke("Get-Recipient", {"Filter": query, "Properties": ["EmailAddresses"]})
    assert fields(few.rows[0]) == {"EmailAddresses", "Identity", "Guid"}


async def test_a_directory_answer_can_be_partial_and_says_so(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.PARTIAL_DIRECTORY)
    query = "EmailAddresses -eq 'smtp:bob@onprem.test' -or EmailAddresses -eq 'smtp:ann@contoso.test'"
    answer = (await client.invoke("Get-Recipient", {"Filter": query})).json
    assert len(answer["value"]) == 1 and answer["@adminapi.warnings"]


@pytest.mark.parametrize(
    "query",
    ["", "EmailAddresses -like '*'", "Name -eq 'x'", "EmailAddresses -eq 'a' -and EmailAddresses -eq 'b'", "x'"],
)
def test_other_recipient_filters_are_refused(query: str) -> None:
    with pytest.raises(CmdletError):
        filtered_addresses(query)


@pytest.mark.parametrize(
    ("cmdlet", "parameters", "kind"),
    [
        ("Get-AcceptedDomain", {"Idnetity": "x"}, "AmbiguousParameterSetException"),
        ("Get-OutboundConnector", {"Identity": 5}, "ParameterBindingException"),
        ("Get-OutboundConnector", {"IncludeTestModeConnectors": "yes"}, "ParameterBindingException"),
        ("Get-OutboundConnector", {"Identity": "nothing"}, "ManagementObjectNotFoundException"),
        ("Get-AcceptedDomain", {"Identity": "nothing.test"}, "ManagementObjectNotFoundException"),
        ("Get-AcceptedDomain", {"ResultSize": 0}, "ParameterBindingException"),
        ("Set-OutboundConnector", {"Identity": None, "Enabled": False}, "ParameterBindingException"),
        ("Set-OutboundConnector", {"Identity": "nothing", "Enabled": False}, "ManagementObjectNotFoundException"),
        ("Set-OutboundConnector", {"Identity": TO_ONPREM, "Enabled": "no"}, "ParameterBindingException"),
        (
            "Set-AcceptedDomain",
            {"Identity": "x.test", "DomainType": "InternalRelay"},
            "ManagementObjectNotFoundException",
        ),
        ("Set-AcceptedDomain", {"Identity": "onprem.test", "DomainType": "Wrong"}, "ParameterTransformationException"),
        ("Set-AcceptedDomain", {"Identity": "onprem.test", "DomainType": "ExternalRelay"}, "ValidationException"),
        ("Set-AcceptedDomain", {"Identity": "plants.test", "DomainType": "Authoritative"}, "ValidationException"),
        ("Validate-OutboundConnector", {"Identity": TO_ONPREM}, "ParameterBindingException"),
        ("Validate-OutboundConnector", {"Identity": TO_ONPREM, "Recipients": ["no"]}, "ParameterBindingException"),
    ],
)
async def test_a_wrong_call_fails_with_its_type(
    client: Client, cmdlet: str, parameters: dict[str, Any], kind: str
) -> None:
    reply = await client.fix(cmdlet, parameters)
    assert reply.status == 400
    assert reply.json["error"]["innererror"]["internalexception"]["type"].endswith(f".{kind}"), reply.why


async def test_the_trace_has_its_keys_and_several_statuses_at_once(client: Client, mail: MailSystem) -> None:
    ref = next(ref for ref in mail.tenant.entries if ref[1] == "gone@onprem.test")
    mail.tenant.reject([ref], "", START)
    rows = (await client.invoke("Get-MessageTraceV2", {"Status": ["Pending", "Failed"]})).rows
    assert fields(rows[0]) == set(TRACE_KEYS.split())
    assert [row["Status"] for row in rows] == ["Pending", "Failed", "Pending", "Pending"]
    assert len((await client.invoke("Get-MessageTraceV2", {"Status": "Fail"})).rows) == 1
    wrong = await client.invoke("Get-MessageTraceV2", {"Status": ["Queued"]})
    assert wrong.status == 400 and "GettingStatus, Pending, Quarantined" in wrong.why


@pytest.mark.parametrize(
    ("parameters", "subjects"),
    [
        ({"RecipientAddress": ["bob@onprem.test", "eve@fabrikam.test"]}, [0, 3]),
        ({"SenderAddress": "nobody@contoso.test"}, []),
        ({"Subject": "port 2"}, [2]),
        ({"Subject": "report", "SubjectFilterType": "StartsWith"}, [0, 1, 2, 3]),
        ({"Subject": "3", "SubjectFilterType": "EndsWith"}, [3]),
        ({"StartDate": "2026-11-24T05:30:00Z", "EndDate": "2026-11-24T06:30:00Z"}, [1]),
    ],
)
async def test_the_trace_can_be_narrowed(client: Client, parameters: dict[str, Any], subjects: list[int]) -> None:
    rows = (await client.invoke("Get-MessageTraceV2", parameters)).rows
    assert [row["Subject"] for row in rows] == [f"Report {n}" for n in subjects]


@pytest.mark.parametrize(
    "parameters",
    [
        {"StartDate": "2026-11-24T05:30:00Z"},
        {"StartDate": "2026-11-01T00:00:00Z", "EndDate": "2026-11-24T00:00:00Z"},
        {"StartDate": "2026-08-01T00:00:00Z", "EndDate": "2026-08-02T00:00:00Z"},
        {"StartDate": "yesterday", "EndDate": "2026-11-24T00:00:00Z"},
        {"ResultSize": 5001},
        {"ResultSize": "Unlimited"},
    ],
)
async def test_a_senseless_trace_is_refused(client: Client, parameters: dict[str, Any]) -> None:
    assert (await client.invoke("Get-MessageTraceV2", parameters)).status == 400


async def test_the_trace_goes_on_from_the_last_row_which_comes_again(client: Client, mail: MailSystem) -> None:
    """Three recipients at the same moment: the order by recipient decides where it goes on."""
    mail.tenant.submit(
        "ann@contoso.test", [f"{n}@onprem.test" for n in "cab"], now=START, received_at=START - timedelta(hours=2)
    )
    span = {"StartDate": "2026-11-23T08:00:00Z", "EndDate": "2026-11-24T08:00:00Z", "ResultSize": 3}
    seen: list[str] = []
    for _ in range(9):
        answer = (await client.invoke("Get-MessageTraceV2", span, Prefer="odata.maxpagesize=1")).json
        assert "@odata.nextLink" not in answer
        seen += [row["RecipientAddress"][:2] for row in answer["value"]]
        if not answer["@adminapi.warnings"]:
            break
        last = answer["value"][-1]
        span |= {"EndDate": last["Received"], "StartingRecipientAddress": last["RecipientAddress"]}
    assert seen == ["bo", "a@", "b@", "b@", "c@", "go", "go", "o'", "ev"]


async def test_a_trace_can_be_short_with_nothing_but_a_warning(client: Client, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.SHORT_PAGE, on="Get-MessageTraceV2", times=1)
    tenant.faults.set(TenantFault.UNKNOWN_STATUS, on="Get-MessageTraceV2", times=1)
    answer = (await client.invoke("Get-MessageTraceV2")).json
    assert len(answer["value"]) == 2 and answer["@adminapi.warnings"] and "@odata.nextLink" not in answer
    assert answer["value"][0]["Status"] == "Resolved"


async def test_details_have_the_cmdlets_names(client: Client, mail: MailSystem) -> None:
    row = (await client.invoke("Get-MessageTraceV2", {"RecipientAddress": "bob@onprem.test"})).rows[0]
    about = {"MessageTraceId": row["MessageTraceId"], "RecipientAddress": "bob@onprem.test"}
    received, deferred = (await client.invoke("Get-MessageTraceDetailV2", about)).rows
    assert fields(received) == {"MessageId", "MessageTraceId", "Date", "Event", "Action", "Detail", "Data"}
    assert deferred["Date"] == "2026-11-24T08:00:00.0000000Z" and "450 4.4.316" in deferred["Detail"]
    only = (await client.invoke("Get-MessageTraceDetailV2", {**about, "Event": ["DEFER"]})).rows
    assert [event["Event"] for event in only] == ["Defer"]
    unknown = {**about, "MessageTraceId": "00000000-0000-0000-0000-000000000000"}
    assert (await client.invoke("Get-MessageTraceDetailV2", unknown)).rows == []


async def test_mail_older_than_48_hours_needs_dates_for_its_details(
    client: Client, mail: MailSystem, clock: Clock
) -> None:
    row = (await client.invoke("Get-MessageTraceV2", {"RecipientAddress": "bob@onprem.test"})).rows[0]
    clock.forward(hours=60)
    about = {"MessageTraceId": row["MessageTraceId"], "RecipientAddress": "bob@onprem.test"}
    assert (await client.invoke("Get-MessageTraceDetailV2", about)).rows == []
    dates = {"StartDate": "2026-11-24T00:00:00Z", "EndDate": "2026-11-26T00:00:00Z"}
    assert (await client.invoke("Get-MessageTraceDetailV2", {**about, **dates})).rows


async def test_the_trace_cmdlets_share_the_quota(client: Client, tenant: SandboxTenant) -> None:
    tenant.throttle.limit = 2
    assert (await client.traces()).status == 200
    assert (await client.invoke("Get-MessageTraceV2")).status == 200
    refused = await client.invoke("Get-MessageTraceV2")
    assert refused.status == 429 and int(refused.headers["Retry-After"]) == 300
    assert (await client.invoke("Get-AcceptedDomain")).status == 200
