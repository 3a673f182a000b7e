"""The sandbox's mail system queues, retries over real sockets, bounces truthfully and can be acted on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest

from bot.sandbox.mail_system import BadRequest, DomainType, MailSystem, Status, TenantDomain
from tests.sandbox.mail_world import HOUR, START, Clock, SmtpServer, bounces, closed_port, connector, entry, send


async def test_a_good_smart_host_gets_the_mail_with_every_line_intact(system: MailSystem) -> None:
    async with SmtpServer().running() as server:
        system.tenant.add_connector(connector(server.port))
        first, second = send(system), send(system)
        await system.retry()
        assert entry(system, first).status is entry(system, second).status is Status.DELIVERED
        assert server.sessions == 1
        to, content = server.accepted[0]
        assert to == ["valid@onprem.test"]
        assert content.endswith("\r\n\r\n.dot\r\nline\r\n")


async def test_a_closed_port_leaves_the_mail_waiting_with_the_refusal_as_reason(system: MailSystem) -> None:
    port = closed_port()
    system.tenant.add_connector(connector(port))
    key = send(system, age=5 * HOUR)
    await system.retry()
    waiting = entry(system, key)
    assert waiting.status is Status.QUEUED
    assert waiting.reason == (
        "450 4.4.316 Connection refused [Message=Socket error code 10061] "
        f"[LastAttemptedServerName=127.0.0.1] [LastAttemptedIP=127.0.0.1:{port}]"
    )
    assert waiting.message.received_at == START - 5 * HOUR
    assert (waiting.remote_ip, waiting.evidence_at, waiting.attempts) == ("127.0.0.1", START, 1)


async def test_nothing_is_tried_again_before_the_retry_interval_is_over(system: MailSystem, clock: Clock) -> None:
    system.tenant.add_connector(connector(closed_port()))
    key = send(system)
    await system.retry()
    clock.now += timedelta(minutes=14)
    await system.retry()
    assert entry(system, key).attempts == 1
    clock.now += timedelta(minutes=1)
    await system.retry()
    assert entry(system, key).attempts == 2


async def test_mail_goes_as_soon_as_the_server_is_back(system: MailSystem, clock: Clock) -> None:
    system.tenant.add_connector(connector(closed_port()))
    key = send(system)
    await system.retry()
    async with SmtpServer().running() as server:
        system.tenant.add_connector(connector(server.port))
        clock.now += HOUR
        await system.retry()
    assert entry(system, key).status is Status.DELIVERED


@pytest.mark.parametrize(
    ("banner", "answers", "reason"),
    [
        ("421 4.3.2 Service not available", {}, "450 4.4.317 Cannot connect to remote server [Message=421 4.3.2"),
        ("554 no", {}, "450 4.4.317 Cannot connect to remote server [Message=554 no]"),
        ("hello [x]", {}, "450 4.4.317 Cannot connect to remote server [Message=421 4.3.2"),
        ("220 hi", {"EHLO": "0"}, "450 4.4.318 Connection was closed abruptly"),
        ("220 hi", {"DATA": "0"}, "450 4.4.318 Connection was closed abruptly"),
        ("220 hi", {"EHLO": "502 no", "HELO": "502 no"}, "450 4.4.317"),
        ("220 hi", {"MAIL": "451 4.7.1 Greylisted, try [later]"}, "451 4.7.1 Greylisted, try (later) [LastAttempted"),
        ("220 hi", {"RCPT_valid@onprem.test": "452 4.2.2 Mailbox full"}, "452 4.2.2 Mailbox full [LastAttempted"),
        ("220 hi", {"DATA": "451 4.3.0 no room"}, "451 4.3.0 no room [LastAttempted"),
    ],
)
async def test_the_reason_says_what_the_attempt_really_met(
    system: MailSystem, banner: str, answers: dict[str, str], reason: str
) -> None:
    async with SmtpServer(banner, **answers).running() as server:
        system.tenant.add_connector(connector(server.port))
        key = send(system)
        await system.retry()
    assert entry(system, key).status is Status.QUEUED
    assert entry(system, key).reason.startswith(reason)


async def test_a_server_that_only_knows_helo_gets_the_mail(system: MailSystem) -> None:
    async with SmtpServer(EHLO="502 5.5.1 what").running() as server:
        system.tenant.add_connector(connector(server.port))
        key = send(system)
        await system.retry()
    assert entry(system, key).status is Status.DELIVERED


async def test_required_tls_that_isnt_offered_holds_the_mail(system: MailSystem) -> None:
    async with SmtpServer().running() as server:
        system.tenant.add_connector(connector(server.port, tls_setting="encryption"))
        key = send(system)
        await system.retry()
    assert "STARTTLS is required" in entry(system, key).reason


async def test_a_silent_server_costs_no_more_than_the_timeout(clock: Clock) -> None:
    silent: list[asyncio.StreamWriter] = []
    async with MailSystem(clock=clock, tick=None, timeout=0.2) as system:
        server = await asyncio.start_server(lambda _, writer: silent.append(writer), "127.0.0.1", 0)
        async with server:
            system.tenant.add_connector(connector(int(server.sockets[0].getsockname()[1])))
            key = send(system)
            await asyncio.wait_for(system.retry(), 2.0)
            assert entry(system, key).reason.startswith("450 4.4.318")
            silent[0].close()
            await silent[0].wait_closed()


async def test_an_endless_reply_is_cut_off(system: MailSystem) -> None:
    async with SmtpServer("220-" + "x" * 10_000).running() as server:
        system.tenant.add_connector(connector(server.port))
        key = send(system)
        await system.retry()
    assert entry(system, key).reason.startswith("450 4.4.317")


async def test_a_recipient_refused_for_good_bounces_and_its_co_recipient_is_delivered(system: MailSystem) -> None:
    answers = {"RCPT_gone@onprem.test": "550 5.1.1 User unknown"}
    async with SmtpServer(**answers).running() as server:
        system.tenant.add_connector(connector(server.port))
        key = send(system, "valid@onprem.test", "gone@onprem.test")
        await system.retry()
        assert server.accepted[0][0] == ["valid@onprem.test", "gone@onprem.test"]
    assert entry(system, key).status is Status.DELIVERED
    assert entry(system, key, "gone@onprem.test").status is Status.REJECTED
    assert bounces(system) == [("5.1.351", "gone@onprem.test")]


async def test_the_second_smart_host_takes_over(system: MailSystem) -> None:
    async with SmtpServer().running() as server:
        system.tenant.add_connector(connector(server.port, smart_hosts=("127.0.0.9", "[127.0.0.1]")))
        key = send(system)
        await system.retry()
    assert entry(system, key).status is Status.DELIVERED


async def test_mail_whose_lifetime_is_over_goes_back_with_the_expired_form_of_its_reason(
    system: MailSystem, clock: Clock
) -> None:
    system.tenant.add_connector(connector(closed_port()))
    key = send(system, age=23 * HOUR)
    await system.retry()
    clock.now += HOUR
    await system.retry()
    assert entry(system, key).status is Status.EXPIRED
    report = message_from_bytes(system.tenant.mailboxes["one@contoso.test"][0].content, policy=policy.default)
    assert report.get_content_type() == "multipart/report"
    status = next(p for p in report.walk() if p.get_content_type() == "message/delivery-status")
    _, recipient = status.get_payload()
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.4.316"
    assert "550 5.4.316 Message expired, connection refused(Socket error code 10061)" in recipient["Diagnostic-Code"]
    original = report.get_payload()[2].get_content()
    assert f"Message-ID: <{key}@contoso.test>" in original


async def test_mail_that_was_never_tried_expires_without_a_family_code(system: MailSystem, clock: Clock) -> None:
    system.tenant.add_connector(connector(closed_port(), enabled=False))
    send(system)
    clock.now += 24 * HOUR
    await system.retry()
    assert bounces(system) == [("4.4.7", "valid@onprem.test")]


async def test_rejecting_ends_exactly_the_named_recipient_with_one_bounce(system: MailSystem) -> None:
    system.tenant.add_connector(connector(closed_port()))
    key = send(system, "valid@onprem.test", "gone@onprem.test")
    await system.retry()
    ref = (key, "gone@onprem.test")
    assert system.tenant.reject([ref, ref, ("nope", "gone@onprem.test")], "Fix now", START) == 1
    assert system.tenant.reject([ref], "Fix now", START) == 0
    assert bounces(system) == [("5.1.10", "gone@onprem.test")]
    assert entry(system, key).status is Status.QUEUED


async def test_a_reject_while_the_message_is_on_the_wire_takes_effect_when_the_attempt_fails(
    system: MailSystem,
) -> None:
    async with SmtpServer(DATA="451 4.3.0 no").running() as server:
        system.tenant.add_connector(connector(server.port))
        key = send(system)
        taken = system.tenant.take([(key, "valid@onprem.test")])
        assert [e.in_flight for e in taken] == [True]
        assert system.tenant.reject([(key, "valid@onprem.test")], "", START) == 1
        assert entry(system, key).status is Status.QUEUED
        system.tenant.release([(key, "valid@onprem.test")])
        await system.retry()
    assert entry(system, key).status is Status.REJECTED
    assert bounces(system) == [("5.1.10", "valid@onprem.test")]


async def test_an_authoritative_domain_rejects_unknown_recipients_at_the_next_retry(
    system: MailSystem, clock: Clock
) -> None:
    system.tenant.add_connector(connector(closed_port()))
    key = send(system, "valid@onprem.test", "gone@onprem.test")
    await system.retry()
    system.tenant.set_domain_type("OnPrem.test", DomainType.AUTHORITATIVE)
    await system.retry()
    assert entry(system, key, "gone@onprem.test").status is Status.QUEUED
    clock.now += HOUR
    await system.retry()
    assert entry(system, key, "gone@onprem.test").status is Status.REJECTED
    assert entry(system, key).status is Status.QUEUED
    assert bounces(system) == [("5.1.10", "gone@onprem.test")]


async def test_a_disabled_connector_keeps_its_mail_untried_until_it_is_enabled(
    system: MailSystem, clock: Clock
) -> None:
    async with SmtpServer().running() as server:
        system.tenant.add_connector(connector(server.port))
        key = send(system)
        system.tenant.set_connector_enabled("c1", False, clock.now)
        clock.now += HOUR
        await system.retry()
        assert (entry(system, key).status, server.sessions) == (Status.QUEUED, 0)
        system.tenant.set_connector_enabled("c1", True, clock.now)
        await system.retry()
        assert entry(system, key).status is Status.DELIVERED


async def test_mail_for_hosted_mailboxes_is_delivered_here_and_unknown_ones_bounce(system: MailSystem) -> None:
    send(system, "one@contoso.test", "nobody@contoso.test", "x@elsewhere.test")
    await system.retry()
    assert bounces(system) == [(None, None), ("5.1.10", "nobody@contoso.test"), ("5.0.350", "x@elsewhere.test")]


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        ("a@onprem.test", "exact"),
        ("a@x.onprem.test", "suffix"),
        ("a@deep.x.onprem.test", "longer"),
        ("a@other.test", "star"),
    ],
)
def test_the_most_specific_recipient_domain_wins(recipient: str, expected: str) -> None:
    tenant = MailSystem(clock=Clock(), tick=None).tenant
    for key, pattern in [("star", "*"), ("suffix", "*.onprem.test"), ("longer", "*.x.onprem.test")]:
        tenant.add_connector(connector(1, key=key, recipient_domains=(pattern,)))
    tenant.add_connector(connector(1, key="exact", recipient_domains=("onprem.test",)))
    tenant.add_connector(connector(1, key="off", recipient_domains=("onprem.test",), enabled=False))
    found = tenant.route(recipient)
    assert found is not None
    assert found.key == expected


@pytest.mark.parametrize(
    "act",
    [
        lambda t: t.submit("one@contoso.test", [], now=START),
        lambda t: t.submit("one@contoso.test", ["a b@onprem.test"], now=START),
        lambda t: t.submit("one@contoso.test", ["a@onprem.test\r\nRCPT TO:<x@y.test>"], now=START),
        lambda t: t.submit("no address", ["a@onprem.test"], now=START),
        lambda t: [t.submit("one@contoso.test", ["a@onprem.test"], now=START, key="k") for _ in range(2)],
        lambda t: t.add_recipients("a@nowhere.test"),
        lambda t: t.set_domain_type("nowhere.test", DomainType.AUTHORITATIVE),
        lambda t: t.set_domain_type("sub.test", DomainType.AUTHORITATIVE),
        lambda t: t.set_connector_enabled("nope", False, START),
    ],
)
def test_senseless_requests_are_refused(act: Callable[[Any], object]) -> None:
    tenant = MailSystem(clock=Clock(), tick=None).tenant
    tenant.add_domain(TenantDomain(name="sub.test", match_subdomains=True))
    with pytest.raises(BadRequest):
        act(tenant)


async def test_the_running_system_retries_by_itself(clock: Clock) -> None:
    async with SmtpServer().running() as server, MailSystem(clock=clock, tick=0.02) as system:
        system.tenant.add_connector(connector(server.port))
        key = send(system)
        await asyncio.wait_for(server.took.wait(), 5)
    assert key in server.accepted[0][1]


# The control API
