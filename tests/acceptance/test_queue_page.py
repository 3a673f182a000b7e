"""The 24-hour clock as people see it: the alert's countdown, `/mfi queue`, Home, and two views that disagree.

The unchanged bot on a database that knows what a mail system told it; no mail system is read, so ages and counts stay.
With MFI_PICTURES=1 the screenshots tests/pictures/queue*.png and disagreement.png are taken anew.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect

from bot.demo import bot_process
from bot.sandbox.world import World
from bot.slack.manifest import manifest
from storage import connectors, messages, meta, syncs
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind, MessageFacts, MessageStatus
from tests.acceptance.page_client import PICTURES, SECOND, Client

pytestmark = pytest.mark.browser

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
OFFICE, BRANCH, PLANT = "Contoso on-premises", "Branch office", "Plant gateway"
REFUSED = "450 4.4.316 Connection refused [Message=Socket error code 10061]"
RANGES = ("40.92.0.0/15", "40.107.0.0/16", "52.100.0.0/14", "104.47.0.0/17", "2a01:111:f400::/48", "2a01:111:f403::/48")


class Told(World):
    """A world whose bot reads no mail system."""

    def environment(self) -> dict[str, str]:
        return {k: v for k, v in super().environment().items() if not k.startswith(("MFI_BACKENDS", "MFI_CONTOSO"))}


class Visitor(Client):
    """Somebody who keeps what they look at."""

    async def keep(self, name: str, shown: Locator, *, phone: bool = True) -> None:
        """1280 × 900, then with messages as narrow as on a phone; the beginning of what is shown at the top."""
        if not os.environ.get("MFI_PICTURES"):
            return
        for suffix, width, height in (("", 1280, 900), ("-phone", 590, 900))[: 1 + phone]:
            await self.page.set_viewport_size({"width": width, "height": height})
            await shown.evaluate("element => element.scrollIntoView({block: 'start'})")
            await self.page.screenshot(path=PICTURES / f"{name}{suffix}.png")
        await self.page.set_viewport_size({"width": 1280, "height": 900})


def waiting(now: datetime, backend: str, to: str, ages: list[timedelta], **more: Any) -> list[MessageFacts]:
    senders = ("billing", "orders", "alerts")
    return [
        MessageFacts(
            backend=backend,
            key=f"{to}-{n}",
            recipient=f"user{n % 20}@{to}",
            sender=f"{senders[n % 7 % 3]}@contoso.test",
            received_at=now - age,
            expires_at=now - age + 24 * HOUR,
            **more,
        )
        for n, age in enumerate(ages)
    ]


def furnish(db: Any, world: World, now: datetime) -> None:
    """Three connectors, what waits there, what came back, and when that was read."""
    servers = world.servers.servers
    facts = [
        ("m365", OFFICE, "good-domain", "onprem.contoso.test"),
        ("m365", BRANCH, "refused", "branch.contoso.test"),
        ("gateway", PLANT, "closes", "plant.contoso.test"),
    ]
    for backend in ("m365", "gateway"):
        mine = [
            ConnectorFacts(
                backend=backend,
                key=name,
                name=name,
                kind=ConnectorKind.ON_PREMISES,
                smart_hosts=(servers[server].host,),
                recipient_domains=(domain,),
                tls_setting=servers[server].tls_setting,
            )
            for owner, name, server, domain in facts
            if owner == backend
        ]
        connectors.sync(db, backend, mine, now, complete=True)
    known = {c.name: c.id for c in connectors.every(db)}
    old = [n * MINUTE * 0.3 + 20 * MINUTE for n in range(2990)]
    told = {"code": "4.4.316", "reason": REFUSED, "evidence_at": now}
    office = waiting(now, "m365", "onprem.contoso.test", old)
    office += waiting(now, "m365", "sample.contoso.test", [(n + 1) * HOUR for n in range(10)], **told)
    branch = waiting(now, "m365", "branch.contoso.test", [22 * HOUR + n * MINUTE for n in range(40)], **told)
    back = waiting(now, "m365", "closed.contoso.test", [25 * HOUR] * 12, **told)
    nowhere = waiting(now, "m365", "elsewhere.test", [3 * HOUR] * 3)
    rows = [(m, known[OFFICE]) for m in office] + [(m, known[BRANCH]) for m in [*branch, *back]]
    messages.sync(db, "m365", [*rows, *((m, None) for m in nowhere)], now - HOUR, complete=True)
    gone = [(replace(m, status=MessageStatus.EXPIRED), known[BRANCH]) for m in back]
    messages.sync(db, "m365", gone, now - 30 * MINUTE, complete=False)
    reason = {"code": "4.4.318", "reason": "450 4.4.318 Connection was closed abruptly", "evidence_at": now}
    plant = waiting(now, "gateway", "plant.contoso.test", [2 * HOUR] * 5, **reason)
    messages.sync(db, "gateway", [(m, known[PLANT]) for m in plant], now - HOUR, complete=True)
    syncs.finish(db, syncs.begin(db, "m365", now), now, {})
    syncs.finish(db, syncs.begin(db, "gateway", now - 42 * MINUTE), now - 42 * MINUTE, {})
    meta.put(db, "address_ranges:m365", json.dumps({"ranges": RANGES, "read_at": (now - 7 * HOUR).isoformat()}))


@pytest.fixture
async def client(browser: Browser, tmp_path: Path) -> AsyncIterator[Visitor]:
    """A bot whose three alerts are up."""
    async with Told(manifest=manifest()) as world, bot_process(world, tmp_path / "mfi.db"):
        await world.slack.wait_for(lambda: world.slack.connected, 60)
        # Not before: at its start it lets go of mail systems that it doesn't read.
        async with await Store.open(tmp_path / "mfi.db") as store:
            await store.write(lambda db: furnish(db, world, datetime.now(UTC)))
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        await page.goto(world.slack.page_url)
        client = Visitor(page, world)
        for name in (OFFICE, BRANCH, PLANT):
            await expect(client.alert(name)).to_contain_text("Firing", timeout=60 * SECOND)
        yield client
        await page.close()


async def test_the_clock_is_seen_in_alert_queue_and_home(client: Visitor):
    # An alert counts down, with everything that most likely waits for the same reason.
    alert = client.alert(BRANCH)
    await expect(alert).to_contain_text(re.compile(r"Bounce unless they leave: 40 within 2 h"))
    await expect(alert).to_contain_text("12 bounced in the last 24 h")
    await client.keep("countdown", alert)

    # The firewall admits the bot, but not Microsoft 365: with its addresses.
    alert = client.alert(OFFICE)
    await expect(alert).to_contain_text("3,000 wait; 10 of 10 looked at say 4.4.316")
    await expect(alert).to_contain_text("lets this bot in, but not Microsoft 365", timeout=60 * SECOND)
    await expect(alert).to_contain_text("52.100.0.0/14")
    await client.keep("disagreement", alert)

    answer = await client.type("/mfi queue")
    for part in ("3,048 messages waiting at 3 connectors", "belonging to no known connector", "stale: gateway"):
        await expect(answer).to_contain_text(part)
    assert (await answer.inner_text()).index(BRANCH) < (await answer.inner_text()).index(OFFICE)
    await client.keep("queue", answer)

    answer = await client.type(f"/mfi queue {OFFICE}")
    for part in ("How long it has waited", "Bounces unless it leaves", "billing@contoso.test", "Microsoft 365"):
        await expect(answer).to_contain_text(part)
    await client.keep("queue-one", answer, phone=False)

    answer = await client.type("/mfi queue bounced")
    await expect(answer).to_contain_text("12 messages bounced")
    await expect(answer).to_contain_text("mfi queue --bounced --csv")

    await client.page.get_by_test_id("app-home").click()
    home = client.page.get_by_test_id("home")
    await expect(home).to_contain_text("belonging to no known connector")
    await expect(home).to_contain_text("lets this bot in, but not Microsoft 365")
    await client.keep("queue-home", home, phone=False)
