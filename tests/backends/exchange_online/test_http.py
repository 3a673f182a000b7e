"""One exchange and its repetition: what is waited for, for how long, and what is never done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bot.backends.exchange_online.http import Answer, Throttled, Wire, patiently, retry_after
from bot.backends.ports import OutcomeUnknown, Refused, Unreachable
from bot.sandbox.exchange_online import Kind, SandboxTenant, TenantFault
from tests.backends.exchange_online.bench import START, Clock, Waits
from tests.backends.exchange_online.conftest import Make

Step = Answer | Exception


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def replay(*steps: Step) -> tuple[Callable[[], Awaitable[Answer]], list[Step]]:
    left = list(steps)

    async def send() -> Answer:
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    return send, left


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "99999999"}, 3600.0),
        ({"Retry-After": "Tue, 24 Nov 2026 08:00:20 GMT"}, 20.0),
        ({"Retry-After": "Tue, 24 Nov 2026 09:00:20 GMT", "Date": "Tue, 24 Nov 2026 09:00:00 GMT"}, 20.0),
        ({"Retry-After": "Tue, 24 Nov 2026 07:00:00 GMT"}, 0.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(Answer(429, headers, b""), START) == seconds


@pytest.mark.parametrize(
    ("steps", "repeatable", "status", "waits"),
    [
        ([answer(200)], True, 200, []),
        ([answer(503), answer(200)], True, 200, [3.0]),
        ([answer(503), answer(502), answer(504)], True, 504, [3.0, 6.0]),
        ([OutcomeUnknown("lost"), answer(200)], True, 200, [3.0]),
        ([Unreachable("away"), answer(200)], True, 200, [3.0]),
        ([answer(429, Retry_After="5"), answer(200)], False, 200, [5.0]),
        ([answer(503)], False, 503, []),
        ([answer(400)], True, 400, []),
    ],
)
async def test_what_is_tried_again(
    steps: list[Step], repeatable: bool, status: int, waits: list[float], clock: Clock
) -> None:
    send, left = replay(*steps)
    sleep = Waits(clock)
    found = await patiently(send, repeatable=repeatable, clock=clock, sleep=sleep)
    assert found.status == status
    assert sleep.seconds == waits
    assert left == []


@pytest.mark.parametrize("error", [OutcomeUnknown("lost"), Unreachable("away")])
async def test_a_change_is_never_repeated_after_a_failure(error: Exception, clock: Clock) -> None:
    send, left = replay(error, answer(200))
    with pytest.raises(type(error)):
        await patiently(send, repeatable=False, clock=clock, sleep=Waits(clock))
    assert len(left) == 1


async def test_a_read_that_keeps_failing_raises_its_last_failure(clock: Clock) -> None:
    send, _ = replay(Unreachable("one"), Unreachable("two"), Unreachable("three"))
    with pytest.raises(Unreachable, match="three"):
        await patiently(send, repeatable=True, clock=clock, sleep=Waits(clock))


async def test_a_long_pause_is_told_instead_of_waited_for(clock: Clock) -> None:
    send, _ = replay(answer(429, Retry_After="300"))
    sleep = Waits(clock)
    with pytest.raises(Throttled) as caught:
        await patiently(send, repeatable=True, clock=clock, sleep=sleep)
    assert caught.value.until == START + timedelta(seconds=300)
    assert sleep.seconds == []


async def test_a_service_in_trouble_that_wants_a_long_pause_is_left_alone_too(clock: Clock) -> None:
    send, left = replay(answer(503, Retry_After="120"), answer(200))
    with pytest.raises(Throttled, match="HTTP 503; it wants a pause of 120 s"):
        await patiently(send, repeatable=True, clock=clock, sleep=Waits(clock))
    assert len(left) == 1


async def test_a_service_that_stays_busy_is_left_alone(clock: Clock) -> None:
    text = b"You have reached the maximum number of concurrent requests per tenant."
    send, _ = replay(answer(200, text), answer(200, text), answer(200, text))
    with pytest.raises(Throttled):
        await patiently(send, repeatable=True, clock=clock, sleep=Waits(clock))


async def test_only_https_is_asked(clock: Clock) -> None:
    wire = Wire(clock, clock)
    with pytest.raises(Refused, match="not https"):
        await wire.send("GET", "http://127.0.0.1:9/")
    with pytest.raises(Unreachable, match="can't be reached"):
        await wire.send("GET", "https://127.0.0.1:9/")
    await wire.close()


async def test_a_file_of_authorities_that_holds_none_is_named(clock: Clock, tmp_path: Path) -> None:
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("-----BEGIN NOTHING-----")
    wire = Wire(clock, clock, ca_file=nonsense)
    with pytest.raises(Refused, match="CA_FILE"):
        await wire.send("GET", "https://127.0.0.1:9/")
    await wire.close()


async def test_what_was_closed_opens_no_connection_any_more(tenant: SandboxTenant, clock: Clock) -> None:
    wire = Wire(clock, clock, ca_file=tenant.ca_file)
    await wire.close()
    with pytest.raises(Unreachable, match="closed"):
        await wire.send("GET", tenant.graph_url)


async def test_a_certificate_that_is_not_trusted_says_what_to_do(tenant: SandboxTenant, clock: Clock) -> None:
    wire = Wire(clock, clock)
    with pytest.raises(Unreachable, match="CA_FILE"):
        await wire.send("GET", tenant.graph_url)
    await wire.close()


async def test_an_answer_without_end_and_one_that_never_comes_are_given_up(make: Make, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.HUGE, on=Kind.TRACE)
    with pytest.raises(Unreachable, match="no clear answer"):
        await make().snapshot()
    tenant.faults.clear()
    tenant.faults.slowness = 5.0
    tenant.faults.set(TenantFault.SLOW, on="Get-OutboundConnector")
    with pytest.raises(Unreachable, match="TimeoutError"):
        await make(TIMEOUT="0.2").snapshot()


async def test_passwords_of_a_netrc_go_nowhere_and_break_nothing(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login admin password not-for-microsoft\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert len((await make().snapshot()).messages or ()) == 4


@pytest.mark.parametrize(("but_not", "asked"), [("", True), ("graph.contoso.test", False)])
async def test_the_environments_proxy_is_asked(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, but_not: str, asked: bool
) -> None:
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://bot:secret@127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", but_not)
        wire = Wire(clock, clock, timeout=5)
        with pytest.raises((Unreachable, OutcomeUnknown)) as failure:
            await wire.send("GET", "https://graph.contoso.test/v1.0/x")
        await wire.close()
    assert "secret" not in str(failure.value)
    assert [head.startswith(b"CONNECT graph.contoso.test:443 ") for head in heads] == [True] * asked
    assert all(b"Proxy-Authorization: Basic Ym90OnNlY3JldA==" in head for head in heads)
