"""The lab backend reads and acts on the sandbox's mail system, and names each failure by what it means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from bot.backends import registry
from bot.backends.lab import MAX_ANSWER, LabBackend
from bot.backends.options import BadOptions
from bot.backends.ports import (
    BackendError,
    MessageRef,
    OutcomeUnknown,
    RecipientAnswer,
    Refused,
    Unreachable,
)
from bot.core.capabilities import Capability
from bot.sandbox.mail_system import Fault, MailSystem, Operation, TenantConnector, TenantDomain
from storage.records import ConnectorKind, DomainType, MessageStatus, TlsSetting

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
REFS = [MessageRef(key="m1", recipient="gone@onprem.test")]


@pytest.fixture
async def system() -> AsyncIterator[MailSystem]:
    async with MailSystem(clock=lambda: NOW, tick=None, timeout=1.0) as system:
        system.tenant.add_connector(
            TenantConnector(
                key="c/1",
                name="To on-premises",
                smart_hosts=("127.0.0.1",),
                port=1,
                recipient_domains=("onprem.test",),
                tls_setting="domain",
                tls_domain="mail.onprem.test",
                probe_interval=timedelta(minutes=2),
            )
        )
        system.tenant.add_domain(TenantDomain(name="onprem.test"))
        system.tenant.add_recipients("valid@onprem.test")
        to = ["valid@onprem.test", "gone@onprem.test"]
        system.tenant.submit("one@contoso.test", to, now=NOW, received_at=NOW - timedelta(hours=5), key="m1")
        await system.retry()
        yield system


@pytest.fixture
async def lab(system: MailSystem) -> AsyncIterator[LabBackend]:
    backend = LabBackend("lab", system.api_url + "/", timeout=1.0)
    yield backend
    await backend.close()


async def test_a_snapshot_holds_connectors_domains_and_queue(lab: LabBackend) -> None:
    seen = await lab.snapshot()
    assert seen.connectors is not None
    connector = seen.connectors[0]
    assert (connector.backend, connector.key, connector.name) == ("lab", "c/1", "To on-premises")
    assert (connector.kind, connector.tls_setting) == (ConnectorKind.ON_PREMISES, TlsSetting.DOMAIN)
    assert (connector.port, connector.probe_interval) == (1, timedelta(minutes=2))
    assert seen.domains is not None
    assert seen.domains[0].type is DomainType.INTERNAL_RELAY
    assert seen.messages is not None
    message = next(m for m in seen.messages if m.recipient == "gone@onprem.test")
    assert (message.code, message.remote_ip, message.connector_key) == ("4.4.316", "127.0.0.1", "c/1")
    assert message.expires_at - message.received_at == timedelta(hours=24)
    assert message.received_at == NOW - timedelta(hours=5)


async def test_it_can_do_everything_and_says_so(lab: LabBackend) -> None:
    assert lab.capabilities == frozenset(Capability) - {Capability.REJECTS_AT_RETRY}
    assert lab.name == "lab"


async def test_single_facts_are_read_and_unknown_ones_are_none(lab: LabBackend) -> None:
    connector, domain = await lab.connector("c/1"), await lab.domain("OnPrem.test")
    assert connector is not None
    assert domain is not None
    assert await lab.connector("nope") is None
    assert await lab.domain("nope.test") is None


async def test_the_directory_tells_valid_from_invalid_and_leaves_the_rest_unknown(lab: LabBackend) -> None:
    answer = await lab.recipients(["Valid@onprem.test", "gone@onprem.test", "x@elsewhere.test"])
    assert answer == RecipientAnswer(valid=frozenset({"valid@onprem.test"}), invalid=frozenset({"gone@onprem.test"}))


async def test_a_partial_directory_answer_leaves_addresses_unknown(system: MailSystem, lab: LabBackend) -> None:
    system.faults.set(Operation.DIRECTORY, Fault.PARTIAL)
    answer = await lab.recipients(["gone@onprem.test", "valid@onprem.test"])
    assert answer == RecipientAnswer()


async def test_acts_really_act_and_may_be_repeated(system: MailSystem, lab: LabBackend) -> None:
    for _ in range(2):
        await lab.reject(REFS, "because")
        await lab.set_domain_type("onprem.test", DomainType.AUTHORITATIVE)
        await lab.set_connector_enabled("c/1", enabled=False)
    found = await lab.messages([*REFS, MessageRef(key="nope", recipient="x@y.test")])
    assert [m.status for m in found] == [MessageStatus.REJECTED]
    assert len(system.tenant.mailboxes["one@contoso.test"]) == 1
    connector, domain = await lab.connector("c/1"), await lab.domain("onprem.test")
    assert connector is not None
    assert not connector.enabled
    assert domain is not None
    assert domain.type is DomainType.AUTHORITATIVE


async def test_retry_makes_what_waits_due_at_once(system: MailSystem, lab: LabBackend) -> None:
    assert not system.tenant.due(NOW)
    await lab.retry("c/1")
    assert [e.recipient for e in system.tenant.due(NOW)["c/1"]] == ["valid@onprem.test", "gone@onprem.test"]
    with pytest.raises(Refused, match="no connector"):
        await lab.retry("nope")


async def test_its_check_says_how_much_waits_or_what_to_look_at(system: MailSystem, lab: LabBackend) -> None:
    assert [(f.level, f.says) for f in await lab.check()] == [("ok", "answers; 2 messages wait")]
    system.faults.set(Operation.QUEUE, Fault.REFUSE)
    assert [(f.level, f.fix) for f in await lab.check()] == [("fault", "check its MFI_… settings and that it runs")]


READS: list[tuple[Operation, Callable[[LabBackend], Awaitable[Any]]]] = [
    (Operation.QUEUE, lambda lab: lab.snapshot()),
    (Operation.CONNECTOR, lambda lab: lab.connector("c/1")),
    (Operation.DOMAIN, lambda lab: lab.domain("onprem.test")),
    (Operation.LOOKUP, lambda lab: lab.messages(REFS)),
    (Operation.DIRECTORY, lambda lab: lab.recipients(["gone@onprem.test"])),
]
CALLS: list[tuple[Operation, Callable[[LabBackend], Awaitable[Any]]]] = [
    (Operation.REJECT, lambda lab: lab.reject(REFS, "r")),
    (Operation.DOMAIN_TYPE, lambda lab: lab.set_domain_type("onprem.test", DomainType.AUTHORITATIVE)),
    (Operation.SWITCH, lambda lab: lab.set_connector_enabled("c/1", enabled=False)),
    (Operation.RETRY, lambda lab: lab.retry("c/1")),
]


@pytest.mark.parametrize(("operation", "call"), READS)
@pytest.mark.parametrize(
    ("fault", "meaning"),
    [
        (Fault.REFUSE, Refused),
        (Fault.ERROR, Unreachable),
        (Fault.HANG, Unreachable),
        (Fault.DROP_BEFORE, Unreachable),
        (Fault.DROP_AFTER, Unreachable),
    ],
)
async def test_a_read_that_fails_means_that_nothing_happened(
    system: MailSystem,
    operation: Operation,
    call: Callable[[LabBackend], Awaitable[Any]],
    fault: Fault,
    meaning: type[BackendError],
) -> None:
    lab = LabBackend("lab", system.api_url, timeout=0.2)
    system.faults.set(operation, fault)
    with pytest.raises(meaning):
        await call(lab)
    await lab.close()


@pytest.mark.parametrize(("operation", "call"), CALLS)
@pytest.mark.parametrize(
    ("fault", "meaning"),
    [
        (Fault.REFUSE, Refused),
        (Fault.ERROR, OutcomeUnknown),
        (Fault.HANG, OutcomeUnknown),
        (Fault.DROP_BEFORE, OutcomeUnknown),
        (Fault.DROP_AFTER, OutcomeUnknown),
    ],
)
async def test_an_act_without_a_clear_answer_is_unknown_and_a_refused_one_is_refused(
    system: MailSystem,
    operation: Operation,
    call: Callable[[LabBackend], Awaitable[Any]],
    fault: Fault,
    meaning: type[BackendError],
) -> None:
    lab = LabBackend("lab", system.api_url, timeout=0.2)
    system.faults.set(operation, fault)
    with pytest.raises(meaning):
        await call(lab)
    assert system.faults.seen[operation] == 1
    await lab.close()


@pytest.mark.parametrize(("operation", "call"), [*READS, *CALLS])
async def test_a_mail_system_that_is_down_is_unreachable_also_for_acts(
    system: MailSystem, operation: Operation, call: Callable[[LabBackend], Awaitable[Any]]
) -> None:
    lab = LabBackend("lab", system.api_url, timeout=1.0)
    await system.api_down()
    with pytest.raises(Unreachable, match="can't be reached"):
        await call(lab)
    await system.api_up()
    await call(lab)
    await lab.close()


async def test_what_the_mail_system_says_no_to_is_refused_in_its_words(lab: LabBackend) -> None:
    with pytest.raises(Refused, match="no connector nope"):
        await lab.set_connector_enabled("nope", enabled=True)


async def test_a_list_that_is_shorter_than_its_total_is_not_taken(system: MailSystem, lab: LabBackend) -> None:
    system.faults.set(Operation.QUEUE, Fault.SHORT)
    with pytest.raises(Unreachable, match="incomplete list"):
        await lab.snapshot()


async def test_a_stale_answer_is_taken_as_it_is(system: MailSystem, lab: LabBackend) -> None:
    system.faults.set(Operation.CONNECTOR, Fault.STALE)
    await lab.connector("c/1")
    system.tenant.set_connector_enabled("c/1", False, NOW)
    connector = await lab.connector("c/1")
    assert connector is not None
    assert connector.enabled


async def test_a_fault_that_is_set_for_one_request_is_over_after_it(system: MailSystem, lab: LabBackend) -> None:
    system.faults.set(Operation.CONNECTOR, Fault.REFUSE, times=2)
    for _ in range(2):
        with pytest.raises(Refused):
            await lab.connector("c/1")
    assert system.faults.active(Operation.CONNECTOR) is None
    assert await lab.connector("c/1") is not None


async def test_rejecting_many_goes_in_chunks_and_a_later_failure_leaves_it_unknown(
    system: MailSystem, lab: LabBackend
) -> None:
    refs = [MessageRef(key=f"x{n}", recipient="gone@onprem.test") for n in range(2500)]
    await lab.reject(refs, "r")
    assert system.faults.seen[Operation.REJECT] == 3
    lost = [*refs[:1000], *REFS]

    class Halfway(LabBackend):
        async def _act(self, method: str, path: str, body: dict[str, Any]) -> None:
            await super()._act(method, path, body)
            system.faults.set(Operation.REJECT, Fault.REFUSE)

    halfway = Halfway("lab", system.api_url)
    with pytest.raises(OutcomeUnknown, match="only some"):
        await halfway.reject(lost, "r")
    await halfway.close()


# A mail system that talks nonsense


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        b"[]",
        b'{"rows": 1, "total": 1}',
        b'{"rows": [1], "total": 1}',
        b'{"rows": [{}], "total": 1}',
        b'{"rows": [{"key": "k", "name": "n", "kind": "moon", "enabled": true}], "total": 1}',
        b'{"rows": [{"key": "k", "name": "n", "kind": "partner", "enabled": "yes"}], "total": 1}',
    ],
)
async def test_nonsense_is_unreachable_not_a_crash(answer: bytes) -> None:
    async with talking(answer) as url:
        lab = LabBackend("lab", url)
        with pytest.raises(Unreachable):
            await lab.snapshot()
        await lab.close()


async def test_a_directory_that_talks_nonsense_is_unreachable() -> None:
    async with talking(b'{"valid": [1]}') as url:
        lab = LabBackend("lab", url)
        with pytest.raises(Unreachable, match="directory"):
            await lab.recipients(["a@b.test"])
        await lab.close()


async def test_a_moment_without_a_zone_is_not_believed() -> None:
    row = b"""{"rows": [{"key": "k", "recipient": "a@b.test", "sender": "c@d.test", "status": "queued", "size": 1,
        "received_at": "2026-11-24T08:00:00", "expires_at": "2026-11-24T08:00:00"}], "total": 1}"""
    async with talking(row) as url:
        lab = LabBackend("lab", url)
        with pytest.raises(Unreachable, match="without a zone"):
            await lab.messages(REFS)
        await lab.close()


async def test_an_endless_answer_is_cut_off() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        sent = 0
        while sent <= MAX_ANSWER:
            await response.write(b" " * 1_048_576)
            sent += 1_048_576
        return response

    async with serving(endless) as url:
        lab = LabBackend("lab", url)
        with pytest.raises(Unreachable):
            await lab.connector("c1")
        await lab.close()


def talking(answer: bytes) -> Any:
    async def answering(_request: web.Request) -> web.Response:
        return web.Response(body=answer)

    return serving(answering)


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


# Registry


async def test_the_registry_makes_a_lab_backend() -> None:
    made = registry.make("lab", "lab", {"URL": "http://127.0.0.1:8025", "TIMEOUT": "3"})
    assert isinstance(made, LabBackend)
    await made.close()


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("moon", {}, "known kinds: exchange_online, exchange_server, lab, postfix"),
        ("lab", {}, "URL is missing"),
        ("lab", {"URL": "https://mail.example.test/secret"}, "loopback address"),
        ("lab", {"URL": "http://127.0.0.1:1", "TIMEOUT": "soon"}, "number of seconds"),
        ("lab", {"URL": "http://127.0.0.1:1", "TIMEOUT": "0"}, "number of seconds"),
    ],
)
def test_bad_settings_are_named_and_their_values_are_not_shown(kind: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(BadOptions, match=words) as raised:
        registry.make("lab", kind, settings)
    assert "secret" not in str(raised.value)
