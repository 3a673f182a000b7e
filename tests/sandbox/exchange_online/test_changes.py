"""Changes over the cmdlets really happen: readable at once, obeyed by the mail then or later, seen in the trace."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.sandbox.exchange_online import Kind, SandboxTenant
from bot.sandbox.mail_system import BadRequest, DomainType, MailSystem, Status
from bot.sandbox.mail_system.backlog import Waiting, load
from bot.sandbox.mail_system.led import Failure, Trouble
from tests.sandbox.exchange_online.plain_client import START, TO_ONPREM, Client, Clock

STRICT = {"Identity": "onprem.test", "DomainType": "Authoritative"}
OFF = {"Identity": TO_ONPREM, "Enabled": False}


async def statuses(client: Client) -> list[str]:
    return [row["status"] for row in (await client.traces()).rows]


async def test_authoritative_rejects_unknown_recipients_at_the_next_retry(
    client: Client, mail: MailSystem, clock: Clock
) -> None:
    reply = await client.fix("Set-AcceptedDomain", STRICT)
    assert (reply.status, reply.body) == (200, b"")
    assert (await client.invoke("Get-AcceptedDomain", {"Identity": "onprem.test"})).rows[0]["DomainType"] == (
        "Authoritative"
    )
    await mail.retry()
    assert await statuses(client) == ["pending"] * 4
    clock.forward(minutes=15)
    await mail.retry()
    assert await statuses(client) == ["pending", "failed", "pending", "pending"]
    assert "550 5.1.10" in str(mail.tenant.find([next(r for r in mail.tenant.entries if r[1][0] == "g")])[0].reason)


async def test_a_change_is_readable_at_once_and_obeyed_later(
    client: Client, mail: MailSystem, tenant: SandboxTenant, clock: Clock
) -> None:
    tenant.settings.effect_delay = timedelta(minutes=45)
    await client.fix("Set-AcceptedDomain", STRICT)
    await client.fix("Set-OutboundConnector", OFF)
    row = (await client.invoke("Get-OutboundConnector", {"Identity": TO_ONPREM})).rows[0]
    assert (row["Enabled"], row["WhenChangedUTC"]) == (False, "2026-11-24T08:00:00.0000000Z")
    clock.forward(minutes=44)
    await mail.retry()
    assert mail.tenant.connectors[TO_ONPREM].enabled
    assert await statuses(client) == ["pending"] * 4
    clock.forward(minutes=16)
    await mail.retry()
    assert not mail.tenant.connectors[TO_ONPREM].enabled
    assert mail.tenant.domains["onprem.test"].type is DomainType.AUTHORITATIVE
    assert await statuses(client) == ["pending", "failed", "pending", "pending"]


async def test_a_change_taken_back_in_time_never_happens(
    client: Client, mail: MailSystem, tenant: SandboxTenant, clock: Clock
) -> None:
    tenant.settings.effect_delay = timedelta(minutes=30)
    await client.fix("Set-OutboundConnector", OFF)
    clock.forward(minutes=10)
    await client.fix("Set-OutboundConnector", {**OFF, "Enabled": True})
    clock.forward(minutes=25)
    await mail.retry()
    assert mail.tenant.connectors[TO_ONPREM].enabled
    clock.forward(minutes=10)
    await mail.retry()
    assert (await client.invoke("Get-OutboundConnector", {"Identity": TO_ONPREM})).rows[0]["Enabled"] is True
    assert tenant.faults.done["Set-OutboundConnector"] == 2


async def test_asking_for_what_already_holds_warns_and_changes_nothing(client: Client, tenant: SandboxTenant) -> None:
    same = await client.fix("Set-OutboundConnector", {**OFF, "Enabled": True})
    assert same.status == 200 and "no settings" in same.json["@adminapi.warnings"][0] and same.rows == []
    assert (await client.fix("Set-AcceptedDomain", {**STRICT, "DomainType": "InternalRelay"})).status == 200
    assert not tenant.faults.done
    comment = await client.fix("Set-OutboundConnector", {"Identity": TO_ONPREM, "Comment": "Ask first"})
    assert comment.body == b""
    assert (await client.invoke("Get-OutboundConnector")).rows[0]["Comment"] == "Ask first"


async def test_a_disabled_connector_keeps_its_mail_until_it_expires(
    client: Client, mail: MailSystem, clock: Clock
) -> None:
    await client.fix("Set-OutboundConnector", OFF)
    clock.forward(hours=23, minutes=30)
    await mail.retry()
    rows = (await client.traces()).rows
    assert [row["status"] for row in rows] == ["failed", "failed", "failed", "failed"]
    assert "550 5.4.316 Message expired" in str(next(iter(mail.tenant.entries.values())).reason)


async def test_a_validation_really_tries(client: Client, mail: MailSystem) -> None:
    wanted = {"Identity": TO_ONPREM, "Recipients": ["bob@onprem.test"]}
    rows = (await client.fix("Validate-OutboundConnector", wanted)).rows
    assert rows == [{"TaskName": "Check connectivity for bob@onprem.test", "IsTaskSuccessful": False}]


async def test_a_large_backlog_is_listed_in_as_few_requests_as_there_are_pages(
    client: Client, mail: MailSystem, tenant: SandboxTenant
) -> None:
    refused = Failure(trouble=Trouble.REFUSED, host="mail.onprem.test", ip="192.0.2.1", port=25)
    backlog = [
        Waiting(
            key=f"{n:032x}",
            sender="ann@contoso.test",
            recipient=f"user{n % 90}@onprem.test",
            connector_key=TO_ONPREM,
            received_at=START - timedelta(seconds=n),
            next_attempt_at=START + timedelta(minutes=5),
            failure=refused if n else None,
            evidence_at=START if n else None,
        )
        for n in range(12_000)
    ]
    assert load(mail.tenant, backlog) == 12_000
    with pytest.raises(BadRequest):
        load(mail.tenant, backlog[:1])
    url = "$filter=status eq 'pending'&$top=5000"
    reply, seen = await client.traces(url), set()
    seen |= {(row["id"], row["recipientAddress"]) for row in reply.rows}
    while reply.link is not None:
        reply = await client.get(reply.link)
        seen |= {(row["id"], row["recipientAddress"]) for row in reply.rows}
    assert len(seen) == 12_004
    assert tenant.faults.seen[Kind.TRACE] + tenant.faults.seen[Kind.TRACE_PAGE] == 3
    waiting = mail.tenant.entries[backlog[1].key, backlog[1].recipient]
    assert waiting.status is Status.QUEUED and "LastAttemptedServerName=mail.onprem.test" in str(waiting.reason)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A mail server that takes everything except mail for gone@."""
    writer.write(b"220 mail.test\r\n")
    while line := await reader.readline():
        if b"gone@" in line:
            writer.write(b"550 5.1.1 no such user\r\n")
        elif line.startswith(b"DATA"):
            writer.write(b"354 go on\r\n")
            await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250 2.0.0 taken\r\n")
        else:
            writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 ok\r\n")
    writer.close()
    await writer.wait_closed()


async def test_a_validation_of_a_good_server_sends_a_message_to_each(client: Client, mail: MailSystem) -> None:
    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        mail.tenant.add_connector(replace(mail.tenant.connectors[TO_ONPREM], port=port, tls_setting="none"))
        wanted = {"Identity": TO_ONPREM, "Recipients": ["bob@onprem.test", "gone@onprem.test"]}
        rows = (await client.fix("Validate-OutboundConnector", wanted)).rows
    assert [(row["TaskName"].split(" ")[0], row["IsTaskSuccessful"]) for row in rows] == [
        ("Check", True),
        ("Send", True),
        ("Check", True),
        ("Send", False),
    ]
