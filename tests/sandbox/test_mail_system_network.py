"""The mail system against the sandbox's whole cast of mail servers and names: every kind of trouble, told as met."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.sandbox.dns_server import DnsFault, DnsServer, Node
from bot.sandbox.mail_system import MailSystem, Status, TenantConnector
from bot.sandbox.mail_system.led import expired
from bot.sandbox.smtp_servers import Behaviour, BrokenServers
from knowledge.diagnose import diagnose

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
# What one attempt that sends mail can't tell as finely as a probe that only looks.
SEEN_OTHERWISE = dict.fromkeys(
    ("injection", "client-certificate", "ehlo-busy", "helo-closes", "starttls-busy"), "4.4.318"
)


@pytest.fixture
async def servers() -> AsyncIterator[BrokenServers]:
    async with BrokenServers() as servers:
        yield servers


@pytest.fixture
async def names(servers: BrokenServers) -> AsyncIterator[DnsServer]:
    async with DnsServer(servers.zone()) as names:
        yield names


@pytest.fixture
async def system(servers: BrokenServers, names: DnsServer) -> AsyncIterator[MailSystem]:
    async with MailSystem(
        clock=lambda: NOW,
        nameservers=[names.address],
        smtp_port=servers.port,
        ca_file=servers.ca_file,
        timeout=1.0,
        tick=None,
    ) as system:
        yield system


def route(system: MailSystem, key: str, **values: Any) -> None:
    """A connector for `<key>.to`, with one message that waits for it."""
    fields = {"name": key, "recipient_domains": (f"{key}.to",), **values}
    system.tenant.add_connector(TenantConnector(key=key, **fields))
    system.tenant.submit("one@contoso.test", [f"u@{key}.to"], now=NOW, key=key)


def outcome(system: MailSystem, key: str) -> tuple[Status, str | None]:
    entry = system.tenant.entries[(key, f"u@{key}.to")]
    return entry.status, diagnose(entry.reason).code if entry.reason else None


async def test_every_server_of_the_cast_gives_its_code_and_good_ones_get_the_mail(
    servers: BrokenServers, system: MailSystem
) -> None:
    odd = {n for n in servers.servers if "revoked" in n or n == "all-dead"}
    cast = {n: s for n, s in servers.servers.items() if not (s.use_mx or s.expected_rcpt or n in odd)}
    for name, spec in cast.items():
        route(system, name, smart_hosts=(spec.host,), tls_setting=spec.tls_setting, tls_domain=spec.tls_domain)
    await system.retry()
    expected = {
        name: (Status.QUEUED, SEEN_OTHERWISE.get(name, spec.expected_code))
        if spec.expected_code
        else (Status.DELIVERED, None)
        for name, spec in cast.items()
    }
    assert {name: outcome(system, name) for name in cast} == expected
    assert {spec.expected_code for spec in cast.values()} >= {
        "4.4.312",
        "4.4.315",
        "4.4.316",
        "4.4.317",
        "4.4.318",
        "4.7.320",
    }


async def test_opportunistic_tls_that_breaks_falls_back_to_clear_text(
    servers: BrokenServers, system: MailSystem
) -> None:
    host = servers.servers["tls10-only"].host
    route(system, "o", smart_hosts=(host,), tls_setting="opportunistic")
    route(system, "e", smart_hosts=(host,), tls_setting="encryption")
    await system.retry()
    assert outcome(system, "o") == (Status.DELIVERED, None)
    assert outcome(system, "e") == (Status.QUEUED, "4.4.317")


async def test_mail_goes_out_over_tls_where_the_server_offers_it(servers: BrokenServers, system: MailSystem) -> None:
    route(system, "g", smart_hosts=(servers.servers["good"].host,))
    await system.retry()
    assert outcome(system, "g") == (Status.DELIVERED, None)
    assert len(servers.accepted) == 1


@pytest.mark.parametrize(
    ("tls_domain", "code"),
    [
        (None, None),
        ("good-domain.mail.test", None),
        ("*.mail.test", None),
        ("other.mail.test", "4.7.320"),
        ("*.other.test", "4.7.320"),
    ],
)
async def test_the_name_in_the_certificate_must_match_the_tls_domain(
    servers: BrokenServers, system: MailSystem, tls_domain: str | None, code: str | None
) -> None:
    host = servers.servers["good-domain"].host
    route(system, "d", smart_hosts=(host,), tls_setting="domain", tls_domain=tls_domain)
    await system.retry()
    assert outcome(system, "d")[1] == code


async def test_mx_routing_goes_by_preference_and_past_a_dead_exchanger(
    servers: BrokenServers, names: DnsServer, system: MailSystem
) -> None:
    dead, good = servers.servers["refused"].host, servers.servers["good"].host
    names.put("m.to", Node({"MX": (f"10 {dead}.", f"20 {good}.")}))
    route(system, "m", use_mx=True)
    await system.retry()
    assert outcome(system, "m") == (Status.DELIVERED, None)


@pytest.mark.parametrize(
    ("node", "code"),
    [
        (Node({"MX": ("0 .",)}), "4.4.312"),
        (Node(fault=DnsFault.SERVFAIL), "4.4.312"),
        (None, "4.4.312"),
        (Node({"TXT": ('"no mail here"',)}), "4.4.312"),
        (Node({"MX": ("10 nowhere.to.",)}), "4.4.312"),
    ],
)
async def test_mx_trouble_is_a_dns_failure(names: DnsServer, system: MailSystem, node: Node | None, code: str) -> None:
    names.put("m.to", node)
    route(system, "m", use_mx=True)
    await system.retry()
    assert outcome(system, "m") == (Status.QUEUED, code)


async def test_a_domain_without_mx_gets_its_mail_at_its_own_address(
    servers: BrokenServers, names: DnsServer, system: MailSystem
) -> None:
    names.put("m.to", Node({"A": (servers.servers["good"].ip or "",)}))
    route(system, "m", use_mx=True)
    await system.retry()
    assert outcome(system, "m") == (Status.DELIVERED, None)


async def test_a_broken_aaaa_answer_beside_a_good_address_does_no_harm(
    servers: BrokenServers, names: DnsServer, system: MailSystem
) -> None:
    host, ip = servers.servers["good"].host, servers.servers["good"].ip or ""
    names.put(host, Node({"A": (ip,)}, fault=DnsFault.SERVFAIL, only=frozenset({"AAAA"})))
    route(system, "g", smart_hosts=(host,))
    await system.retry()
    assert outcome(system, "g") == (Status.DELIVERED, None)


async def test_a_server_that_knows_its_recipients_bounces_the_others(
    servers: BrokenServers, system: MailSystem
) -> None:
    servers.set_recipients("good", ["somebody@g.to"])
    route(system, "g", smart_hosts=(servers.servers["good"].host,))
    await system.retry()
    assert outcome(system, "g") == (Status.REJECTED, "5.1.351")


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            "450 4.4.312 DNS query failed [Message=ErrorRetry] [LastAttemptedServerName=a.test]",
            "550 5.4.312 Message expired, dNS query failed(ErrorRetry)",
        ),
        ("450 4.4.315 Connection timed out", "550 5.4.315 Message expired, connection timed out()"),
        (None, "550 4.4.7 QUEUE.Expired; message expired"),
        ("250 ok", "550 4.4.7 QUEUE.Expired; message expired"),
    ],
)
def test_the_expired_form_keeps_subject_and_detail(reason: str | None, text: str) -> None:
    assert expired(reason) == text.replace("dNS", "DNS")


async def test_a_repaired_server_gets_what_waited(servers: BrokenServers, system: MailSystem) -> None:
    route(system, "r", smart_hosts=(servers.servers["refused"].host,))
    await system.retry()
    assert outcome(system, "r") == (Status.QUEUED, "4.4.316")
    await servers.set_behaviour("refused", Behaviour.GOOD_PLAIN)
    entry = system.tenant.entries[("r", "u@r.to")]
    system.tenant.entries[entry.ref] = replace(entry, next_attempt_at=NOW)
    await system.retry()
    assert outcome(system, "r")[0] is Status.DELIVERED
