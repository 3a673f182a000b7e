"""The steps of Fix now on an Exchange Server: act, read back, restore; also when the bot was killed in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.backends.exchange_server.signing import sealed
from bot.backends.ports import Unreachable
from bot.core.fix_plan import connector_facts
from bot.services.fix_steps import DisableConnector, MakeAuthoritative, RejectInvalid, RetryQueue
from storage.records import DomainType
from tests.backends.exchange_server.conftest import INVALID, KEY, VALID, Site, now


@pytest.fixture
async def running(acting: Site) -> AsyncIterator[Site]:
    """The script is run by its scheduled task."""
    async with acting.server:
        yield acting


async def test_every_step_acts_reads_back_and_restores(running: Site) -> None:
    bad, good = running.waiting(INVALID), running.waiting(VALID)
    running.server.write_document()
    backend, key = running.backend(acts=True), running.server.names.guid("onprem")
    reject = RejectInvalid(backend, [(running.key_of(bad), INVALID)])
    domain = MakeAuthoritative(backend, {"onprem.contoso.test": DomainType.INTERNAL_RELAY})
    facts = await backend.connector(key)
    assert facts is not None
    disable = DisableConnector(backend, key, dict(connector_facts(facts)))
    retry = RetryQueue(backend, key, [(running.key_of(good), VALID)])
    for step in (reject, domain, disable, retry):
        await step.act()
        assert (await step.read()).done, step
    assert (await reject.read()).detail == "of 1 messages to invalid recipients: 1 rejected"
    for undone in (disable, domain):
        assert (await undone.restore({})).ok
    assert running.tenant.connectors["onprem"].enabled
    assert running.tenant.domains["onprem.contoso.test"].type == DomainType.INTERNAL_RELAY


def an_order_to_disable(site: Site) -> bytes:
    order = {
        "kind": "order",
        "version": 1,
        "id": "c" * 32,
        "issued_at": now().isoformat(),
        "expires_at": (now() + timedelta(minutes=1)).isoformat(),
        "steps": [{"do": "set_connector_enabled", "connector": site.server.names.guid("onprem"), "enabled": False}],
    }
    return sealed(KEY, json.dumps(order).encode())


async def test_after_a_kill_the_order_that_it_left_is_awaited_before_the_state_is_read(acting: Site) -> None:
    acting.server.run_once()
    (acting.drop / "orders" / f"{'c' * 32}.order").write_bytes(an_order_to_disable(acting))
    after_restart = acting.backend(acts=True)
    reading = asyncio.create_task(after_restart.connector(acting.server.names.guid("onprem")))
    await asyncio.sleep(0.3)
    assert not reading.done()
    acting.server.run_once()
    facts = await reading
    assert facts is not None
    assert not facts.enabled


async def test_an_order_that_stays_under_way_makes_the_state_unknown(acting: Site) -> None:
    acting.server.run_once()
    (acting.drop / "orders" / f"{'c' * 32}.order.taken").write_bytes(an_order_to_disable(acting))
    with pytest.raises(Unreachable, match="no document came within 2 s after our last order"):
        await acting.backend(acts=True).connector(acting.server.names.guid("onprem"))
