"""No mail system to read: connectors and queue come from files, imported while the bot runs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.sandbox.slack import AppConfig, SandboxSlack
from bot.sandbox.slack.seed import ADMIN_ONE
from bot.sandbox.smtp_servers import BrokenServers
from bot.slack.manifest import manifest
from tests.chaos.site import Site, channels, furnish

LED = "[{{LED=450 4.4.316 Connection refused [Message=Socket error code 10061] [LastAttemptedServerName={}]}}]"


@pytest.fixture
async def servers() -> AsyncIterator[BrokenServers]:
    async with BrokenServers() as running:
        yield running


@pytest.fixture
async def site(tmp_path: Path, servers: BrokenServers) -> AsyncIterator[Site]:
    async with SandboxSlack(app=AppConfig.from_manifest(manifest()), furnish=furnish) as slack:
        here = Site(slack=slack, directory=tmp_path, port=servers.port)
        yield here
        if here.process and here.process.returncode is None:
            await here.end()


async def mfi(site: Site, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", *words, env=site.environment(), cwd=site.directory, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    return out.decode()


def connector(name: str, host: str) -> dict[str, object]:
    return {
        "Name": name,
        "Guid": f"guid-{name}",
        "Enabled": True,
        "ConnectorType": "OnPremises",
        "SmartHosts": [host],
        "RecipientDomains": ["onprem.contoso.test"],
        "UseMXRecord": False,
    }


async def test_imported_connectors_are_probed_and_a_disagreeing_queue_is_explained(site: Site, servers: BrokenServers):
    await site.start()
    await site.slack.wait_for(lambda: site.slack.connected, 15)
    good = servers.servers["good"]
    (site.directory / "c.json").write_text(json.dumps(connector("To on-prem", str(good.ip))))
    assert "1 added" in await mfi(site, "import", "connectors", "c.json")
    received = datetime.now(UTC) - timedelta(hours=3)
    rows = [
        "date,sender address,recipient address,status,message id,reason",
        f'{received:%Y-%m-%dT%H:%M:%SZ},s@contoso.test,r@onprem.contoso.test,Pending,<1@contoso.test>,"{LED.format(good.ip)}"',
    ]
    (site.directory / "m.csv").write_text("\n".join(rows) + "\n")
    assert "1 added" in await mfi(site, "import", "messages", "m.csv")
    await site.slack.wait_for(lambda: site.slack.messages(channels(1)[0]), 30)
    (alert,) = site.slack.messages(channels(1)[0])
    assert "4.4.316" in alert.visible
    assert "firewall" in alert.visible, "the queue is refused, yet our probe gets through: say what that means"
    assert "1 message waits" in alert.visible or "1 message" in alert.visible


async def test_mail_that_belongs_to_no_connector_is_told_and_can_be_looked_into(site: Site):
    await site.start()
    await site.slack.wait_for(lambda: site.slack.connected, 15)
    received = datetime.now(UTC) - timedelta(hours=1)
    down = "connect to 127.0.0.1[127.0.0.1]:10024: Connection refused"
    rows = [
        f"{received:%Y-%m-%dT%H:%M:%SZ},s@contoso.test,r{n}@d{n % 3}.test,Pending,<{n}@contoso.test>,{down}"
        for n in range(120)
    ]
    header = "date,sender address,recipient address,status,message id,reason"
    (site.directory / "m.csv").write_text("\n".join([header, *rows]) + "\n")
    assert "120 added" in await mfi(site, "import", "messages", "m.csv")
    await site.slack.wait_for(lambda: site.slack.messages(channels(1)[0]), 30)
    (alert,) = site.slack.messages(channels(1)[0])
    for part in ("Firing, warning", "120 messages wait", "a content filter", "d0.test", "mfi queue unassigned"):
        assert part in alert.visible, part
    assert "120 waiting" in await mfi(site, "queue", "unassigned")
    assert "(no known connector)" in await mfi(site, "incidents")
    await site.slack.click(ADMIN_ONE, alert, "mfi.ack")
    await site.slack.wait_for(lambda: "Acknowledged" in site.slack.messages(channels(1)[0])[0].visible, 15)
