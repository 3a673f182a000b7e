"""Slack away, busy or half-answering: everything comes later, once, in order, and never before it may."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.chaos.site import FULL, Site, channels, count

pytestmark = pytest.mark.chaos


async def test_slack_is_down_at_the_start_and_everything_is_told_in_order_afterwards(site: Site):
    await site.slack.down()
    await site.add_connectors(6, over=channels(2))
    await site.start()
    await asyncio.sleep(count(small=4, full=60))
    assert site.process
    assert site.process.returncode is None, "the bot must run without Slack"
    await site.slack.up()
    await site.drained(timeout=60)
    assert set(site.told().values()) == {1}
    await site.slack.wait_for(lambda: site.slack.connected, 60)


async def test_slack_goes_down_in_the_middle_and_nothing_is_lost(site: Site):
    await site.add_connectors(8, over=channels(2))
    await site.start()
    await site.slack.wait_for(lambda: sum(site.told().values()) >= 2, 20)
    await site.slack.down()
    await site.add_connectors(4, over=channels(2))
    await asyncio.sleep(count(small=4, full=60))
    await site.slack.up()
    await site.drained(timeout=90)
    assert set(site.told().values()) == {1}


async def test_a_429_is_never_answered_early_and_does_not_hold_other_channels(site: Site):
    one, other = channels(2)
    site.slack.faults.rate_limit("chat.postMessage", times=3, retry_after=2, channel=one)
    await site.add_connectors(6, over=[one, other])
    await site.start()
    await site.drained(timeout=60)
    assert set(site.told().values()) == {1}
    assert not site.slack.calls.early
    first_other = min(m.ts for m in site.alerts(other))
    first_one = min(m.ts for m in site.alerts(one))
    assert float(first_one) - float(first_other) > 1.5


async def test_accepted_and_then_dropped_gives_one_message(site: Site):
    for _ in range(2):
        site.slack.faults.accept_then_drop("chat.postMessage")
    await site.add_connectors(2, over=channels(2))
    await site.start()
    await site.drained(timeout=60)
    assert set(site.told().values()) == {1}


@pytest.mark.skipif(not FULL, reason="a refused token is tried again after a minute or two: make chaos")
async def test_a_refused_token_buries_nothing_and_everything_is_told_once_it_is_accepted(site: Site):
    site.slack.faults.error("invalid_auth", "chat.postMessage", times=1)
    await site.add_connectors(4, over=channels(1))
    await site.start()
    await site.slack.wait_for(lambda: len(site.slack.calls.of("chat.postMessage")) > 0, 20)
    await site.drained(timeout=180)
    assert set(site.told().values()) == {1}


async def test_a_stop_signal_under_load_ends_within_ten_seconds_and_loses_nothing(site: Site):
    await site.add_connectors(8, over=channels(2))
    await site.start()
    await site.slack.wait_for(lambda: sum(site.told().values()) >= 1, 20)
    assert await asyncio.wait_for(site.end(signal.SIGTERM), 10) == 0
    await site.start()
    await site.drained(timeout=60)
    assert set(site.told().values()) == {1}
