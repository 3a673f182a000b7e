"""The tenant publishes the list of its addresses, and the bot's parts for it find them there."""

from __future__ import annotations

import ssl

import aiohttp

from bot.core.address_ranges import smtp_ranges
from bot.sandbox.exchange_online import SandboxTenant
from bot.sandbox.exchange_online.addresses import SMTP


async def test_the_list_of_addresses_is_published_over_https(tenant: SandboxTenant) -> None:
    trust = ssl.create_default_context(cafile=str(tenant.ca_file))
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, force_close=True)) as web,
        web.get(tenant.address_list_url, params={"clientrequestid": "1"}) as answer,
    ):
        assert answer.status == 200
        assert smtp_ranges(await answer.json()) == SMTP
