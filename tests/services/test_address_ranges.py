"""The list of a mail system's own addresses: asked for seldom, over real https, never in anybody's way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.sandbox.certificates import CertificateShop
from bot.services.address_ranges import AddressRanges, allowed_from
from bot.settings import Settings, load
from bot.wiring import make_address_ranges
from storage.connection import Store

LISTED = [
    {"serviceArea": "Exchange", "tcpPorts": "25", "ips": ["40.92.0.0/15", "2a01:111:f400::/48"]},
    {"serviceArea": "SharePoint", "tcpPorts": "443", "ips": ["52.1.0.0/16"]},
]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Publisher:
    """An https server on loopback that publishes a list, or something else."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.asked: list[str] = []
        self.answer: Answer = self.listed
        self.url = ""

    async def listed(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(LISTED)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.query["clientrequestid"])
        return await self.answer(request)


@pytest.fixture
async def publisher(tmp_path: Path, clock: Any) -> AsyncIterator[Publisher]:
    made = Publisher(clock)
    shop = CertificateShop(tmp_path, datetime.now(UTC))
    app = web.Application()
    app.router.add_get("/endpoints/worldwide", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=shop.context("127.0.0.1"))
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"https://127.0.0.1:{port}/endpoints/worldwide"
    yield made
    await runner.cleanup()


@pytest.fixture
def ranges(store: Store, clock: Any, publisher: Publisher, tmp_path: Path) -> AddressRanges:
    return AddressRanges(store, clock, backends=["exo"], url=publisher.url, ca_file=tmp_path / "ca.pem", deadline=5)


async def known(store: Store, name: str = "exo") -> Any:
    return await store.read(lambda db: allowed_from(db, name))


async def test_the_list_is_kept_with_its_date_and_asked_for_once_a_day(
    store: Store, clock: Any, publisher: Publisher, ranges: AddressRanges
) -> None:
    await ranges.tick()
    found = await known(store)
    assert found.system == "Microsoft 365"
    assert found.ranges == ("40.92.0.0/15", "2a01:111:f400::/48")
    assert found.read_at == clock()
    assert await known(store, "another") is None
    for hours in (1, 22):
        clock.advance(hours=hours)
        await ranges.tick()
    assert len(publisher.asked) == 1
    clock.advance(hours=2)
    await ranges.tick()
    assert len(publisher.asked) == 2
    assert (await known(store)).read_at == clock()


async def test_a_clock_that_was_far_ahead_for_a_moment_stops_nothing(
    store: Store, clock: Any, publisher: Publisher, ranges: AddressRanges
) -> None:
    await ranges.tick()
    clock.advance(days=365)
    await ranges.tick()
    clock.advance(days=-365)
    await ranges.tick()
    assert (await known(store)).read_at == clock()


async def test_a_restart_does_not_ask_again(
    store: Store, clock: Any, publisher: Publisher, ranges: AddressRanges, tmp_path: Path
) -> None:
    await ranges.tick()
    clock.advance(hours=5)
    again = AddressRanges(store, clock, backends=["exo"], url=publisher.url, ca_file=tmp_path / "ca.pem")
    await again.tick()
    await again.tick()
    assert len(publisher.asked) == 1


async def _redirect(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("https://127.0.0.1:9/elsewhere")


async def _huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        for _ in range(100):
            await response.write(b" " * 65536)
    except ConnectionError:
        pass
    return response


def _text(body: str, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, status=status)

    return answer


BAD: dict[str, tuple[Answer, str]] = {
    "an error": (_text("later", 503), "the answer is 503"),
    "a redirect": (_redirect, "the answer is 302"),
    "no JSON": (_text("<html>"), "JSONDecodeError"),
    "nothing of use": (_text("[]"), "names no network"),
    "nested without end": (_text("[" * 200_000), "Error"),
    "too long": (_huge, "longer than"),
}


@pytest.mark.parametrize("how", BAD)
async def test_a_bad_answer_keeps_the_old_list_and_is_tried_again_in_an_hour(
    how: str, store: Store, publisher: Publisher, ranges: AddressRanges, caplog: pytest.LogCaptureFixture
) -> None:
    clock = publisher.clock
    await ranges.tick()
    before = await known(store)
    publisher.answer, words = BAD[how]
    clock.advance(hours=25)
    with caplog.at_level(logging.WARNING):
        await ranges.tick()
    assert words in caplog.text
    assert await known(store) == before
    await ranges.tick()
    assert len(publisher.asked) == 2
    publisher.answer = publisher.listed
    clock.advance(hours=1)
    await ranges.tick()
    assert (await known(store)).read_at == clock()


async def test_a_publisher_that_never_answers_costs_the_deadline_and_no_more(
    store: Store, clock: Any, publisher: Publisher, tmp_path: Path
) -> None:
    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    publisher.answer = silent
    impatient = AddressRanges(
        store, clock, backends=["exo"], url=publisher.url, ca_file=tmp_path / "ca.pem", deadline=0.2
    )
    await impatient.tick()
    found = await known(store)
    assert (found.system, found.ranges, found.read_at) == ("Microsoft 365", (), None)


async def test_a_publisher_without_a_valid_certificate_is_not_believed(
    store: Store, clock: Any, publisher: Publisher
) -> None:
    await AddressRanges(store, clock, backends=["exo"], url=publisher.url).tick()
    assert (await known(store)).ranges == ()
    assert publisher.asked == []


async def test_nobody_is_asked_where_no_such_mail_system_is_read_or_it_is_switched_off(
    store: Store, clock: Any, publisher: Publisher
) -> None:
    await AddressRanges(store, clock, backends=[], url=publisher.url).tick()
    assert await known(store) is None
    off = AddressRanges(store, clock, backends=["exo"], url=None)
    await off.tick()
    await off.tick()
    assert (await known(store)).system == "Microsoft 365"
    assert publisher.asked == []


def read_from(publisher: Publisher, tmp_path: Path, cloud: str, **more: str) -> Settings:
    return load(
        {"MFI_BACKENDS": "exo=exchange_online", "MFI_EXO_CLOUD": cloud, "MFI_CA_FILE": f"{tmp_path}/ca.pem"} | more
    )


@pytest.mark.parametrize("cloud", ["gcc_high", "dod", "China"])
async def test_a_tenant_of_another_cloud_gets_none_of_the_worldwide_addresses(
    cloud: str, store: Store, publisher: Publisher, ranges: AddressRanges, tmp_path: Path
) -> None:
    await ranges.tick()
    assert (await known(store)).ranges
    settings = read_from(publisher, tmp_path, cloud)
    for _ in range(2):
        await make_address_ranges(settings, store).tick()
    found = await known(store)
    assert (found.system, found.ranges, found.read_at) == ("Microsoft 365", (), None)


async def test_a_list_that_somebody_named_counts_for_a_tenant_of_another_cloud(
    store: Store, publisher: Publisher, tmp_path: Path
) -> None:
    settings = read_from(publisher, tmp_path, "gcc_high", MFI_ADDRESS_RANGES=publisher.url)
    await make_address_ranges(settings, store).tick()
    assert (await known(store)).ranges == ("40.92.0.0/15", "2a01:111:f400::/48")


async def test_beside_a_tenant_of_another_cloud_the_others_have_their_addresses(
    store: Store, clock: Any, publisher: Publisher, tmp_path: Path
) -> None:
    ranges = AddressRanges(
        store, clock, backends=["exo"], elsewhere=["gov"], url=publisher.url, ca_file=tmp_path / "ca.pem"
    )
    await ranges.tick()
    assert (await known(store)).ranges == ("40.92.0.0/15", "2a01:111:f400::/48")
    assert (await known(store, "gov")).ranges == ()
