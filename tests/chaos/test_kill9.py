"""kill -9 at random points under load: no alert is lost, none is doubled, the database stays whole."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from tests.chaos.site import Site, channels, count

pytestmark = pytest.mark.chaos


async def test_killed_at_random_points_no_alert_is_lost_or_doubled(site: Site):
    kills = count(small=6, full=220)
    over = channels(10)
    for _ in range(kills):
        await site.add_connectors(site.dice.randint(1, 4), over=over)
        await site.start()
        await asyncio.sleep(site.dice.uniform(0.2, 2.2))
        await site.end()
    await site.start()
    await site.drained(timeout=120)
    wrong = {name: n for name, n in site.told().items() if n != 1}
    for channel in over:
        numbers = [int(m.text.partition("#")[2].split()[0].strip(":,.")) for m in site.alerts(channel)]
        assert numbers == sorted(numbers), "alerts of a channel came out of order"
    whole = sqlite3.connect(site.database).execute("PRAGMA integrity_check").fetchone()
    print(f"\n{kills} kills, {site.added} alerts: lost or doubled {len(wrong)}, integrity {whole[0]}")
    assert not wrong
    assert whole == ("ok",)


async def test_a_second_bot_on_the_same_database_exits_with_4(site: Site):
    await site.start()
    await site.slack.wait_for(lambda: site.slack.connected, 10)
    first = site.process
    await site.start()
    assert site.process
    assert await asyncio.wait_for(site.process.wait(), 15) == 4
    site.process = first
