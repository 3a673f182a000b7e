"""The mail system over HTTP: everything can be read and done there, and by nobody else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from bot.sandbox.mail_system import MailSystem
from tests.sandbox.mail_world import closed_port, connector


async def call(system: MailSystem, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as client, client.request(method, system.api_url + path, json=body) as response:
        return response.status, await response.json()


async def test_the_api_reads_connectors_domains_queue_directory_and_mailboxes(system: MailSystem) -> None:
    system.tenant.add_connector(connector(closed_port(), probe_interval=timedelta(minutes=1)))
    _, made = await call(
        system, "POST", "/v1/messages", {"sender": "one@contoso.test", "recipients": ["valid@onprem.test"]}
    )
    await system.retry()
    _, connectors = await call(system, "GET", "/v1/connectors")
    assert (connectors["total"], connectors["rows"][0]["name"]) == (1, "To on-premises")
    assert connectors["rows"][0]["probe_interval"] == 60
    _, domains = await call(system, "GET", "/v1/domains")
    assert domains["total"] == 2
    _, queue = await call(system, "GET", "/v1/queue")
    assert queue["rows"][0]["key"] == made["key"]
    assert queue["rows"][0]["connector_key"] == "c1"
    _, found = await call(
        system, "POST", "/v1/directory/lookup", {"addresses": ["Valid@onprem.test", "x@onprem.test", "a@else.test"]}
    )
    assert found == {"valid": ["valid@onprem.test"], "invalid": ["x@onprem.test"], "unknown": ["a@else.test"]}
    refs = [[made["key"], "VALID@onprem.test"]]
    assert (await call(system, "POST", "/v1/messages/reject", {"refs": refs, "reason": "r"}))[1] == {"rejected": 1}
    _, looked = await call(system, "POST", "/v1/messages/lookup", {"refs": refs})
    assert looked["rows"][0]["status"] == "rejected"
    _, mailbox = await call(system, "GET", "/v1/mailboxes/one@contoso.test")
    assert mailbox["rows"][0]["ndr"] == "5.1.10"


async def test_the_api_acts_and_says_how_it_is_now(system: MailSystem) -> None:
    system.tenant.add_connector(connector(closed_port()))
    status, answer = await call(system, "PATCH", "/v1/connectors/c1", {"enabled": False})
    assert (status, answer["connector"]["enabled"]) == (200, False)
    status, answer = await call(system, "PATCH", "/v1/domains/onprem.test", {"type": "authoritative"})
    assert (status, answer["domain"]["type"]) == (200, "authoritative")
    assert (await call(system, "GET", "/v1/connectors/c1"))[1]["connector"]["enabled"] is False
    assert (await call(system, "GET", "/v1/connectors/nope"))[1] == {"connector": None}
    assert (await call(system, "GET", "/v1/domains/ONPREM.test"))[1]["domain"]["type"] == "authoritative"
    assert (await call(system, "GET", "/v1/domains/nope.test"))[1] == {"domain": None}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/v1/connectors/c1", {"enabled": "yes"}),
        ("PATCH", "/v1/connectors/nope", {"enabled": True}),
        ("PATCH", "/v1/domains/onprem.test", {"type": "open"}),
        ("POST", "/v1/messages/reject", {"refs": [["only-a-key"]]}),
        ("POST", "/v1/messages/reject", {"refs": "all"}),
        ("POST", "/v1/directory/lookup", {"addresses": [1]}),
        ("POST", "/v1/messages", ["no object"]),
        ("GET", "/v1/mailboxes/nobody", None),
    ],
)
async def test_the_api_refuses_nonsense(system: MailSystem, method: str, path: str, body: Any) -> None:
    system.tenant.add_connector(connector(closed_port()))
    status, answer = await call(system, method, path, body)
    assert status == 400
    assert answer["error"]


async def test_a_web_page_can_neither_act_nor_rebind_the_host_name(system: MailSystem) -> None:
    system.tenant.add_connector(connector(closed_port()))
    url = f"{system.api_url}/v1/connectors/c1"
    async with aiohttp.ClientSession() as client:
        async with client.patch(url, data='{"enabled": false}', headers={"Content-Type": "text/plain"}) as response:
            assert response.status == 415
        async with client.get(url, headers={"Host": "evil.test:80"}) as response:
            assert response.status == 421
        headers = {"Content-Type": "application/json"}
        async with client.patch(url, data=b"\xff{", headers=headers) as response:
            assert response.status == 400
    assert system.tenant.connectors["c1"].enabled
