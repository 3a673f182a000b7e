"""Why a message waited or failed: what is known lasts until somebody knows better."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from storage.connection import Store
from storage.records import (
    MessageFacts,
    MessageStatus,
    SyncCounts,
)
from tests.storage.message_scene import HOUR, only, sync

pytestmark = pytest.mark.usefixtures("three_connectors")


@pytest.mark.parametrize("how", [MessageStatus.REJECTED, MessageStatus.EXPIRED])
async def test_why_mail_waited_outlasts_its_expiry_but_not_its_rejection(
    store: Store, now: datetime, one: MessageFacts, how: MessageStatus
) -> None:
    await sync(store, [(one, 1)], now)
    bare = replace(one, status=how, code=None, reason=None, evidence_at=None)
    await sync(store, [(bare, 1)], now)
    found, connector_id, _ = await only(store)
    assert (found.code, found.reason) == ((None, None) if how is MessageStatus.REJECTED else (one.code, one.reason))
    assert connector_id == 1


async def test_a_rejection_keeps_its_own_reason_when_it_is_told_again_without(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    told = replace(one, status=MessageStatus.REJECTED, code="5.1.10", reason="550 5.1.10 not found")
    await sync(store, [(one, 1)], now)
    await sync(store, [(told, 1)], now)
    await sync(store, [(replace(told, code=None, reason=None, evidence_at=None), 1)], now)
    assert (await only(store))[0].code == "5.1.10"


UNEXPLAINED: dict[str, Any] = {
    "reason": None,
    "remote_host": None,
    "remote_ip": None,
    "evidence_at": None,
    "connector_key": None,
}


@pytest.mark.parametrize("code", ["4.4.316", "4.7.320"])
async def test_a_code_alone_erases_no_evidence_and_changes_no_connector(
    store: Store, now: datetime, one: MessageFacts, code: str
) -> None:
    await sync(store, [(one, 1)], now)
    assert await sync(store, [(replace(one, **UNEXPLAINED, code=code), 2)], now) == SyncCounts(unchanged=1)
    assert await only(store) == (one, 1, None)


async def test_a_code_alone_fills_in_where_no_evidence_is_known(store: Store, now: datetime, one: MessageFacts) -> None:
    bare = replace(one, **UNEXPLAINED)
    for code, connector_id in ((None, 1), ("4.4.316", 1), ("4.7.320", 2)):
        await sync(store, [(replace(bare, code=code), connector_id)], now)
        assert await only(store) == (replace(bare, code=code), connector_id, None)
    assert await sync(store, [(one, 1)], now) == SyncCounts(changed=1)
    assert await only(store) == (one, 1, None)


async def test_a_rejection_with_a_code_alone_does_not_keep_why_the_mail_waited(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    await sync(store, [(one, 1)], now)
    for code in ("5.1.10", "5.7.1"):
        bare = replace(one, **UNEXPLAINED, status=MessageStatus.REJECTED, code=code)
        for changed in (1, 0):
            assert await sync(store, [(bare, 2)], now) == SyncCounts(changed=changed, unchanged=1 - changed)
        found, connector_id, _ = await only(store)
        assert (found.code, found.reason, found.evidence_at, connector_id) == (code, None, None, 1)


@pytest.mark.parametrize(
    "case",  # how it ended, with its reason; another end; with a reason?; how it stands then
    [
        ("rejected", "expired", False, "rejected"),
        ("expired", "rejected", False, "expired"),
        ("rejected", "gone", False, "rejected"),
        ("rejected", "expired", True, "expired"),
        ("rejected", "delivered", False, "delivered"),
        ("delivered", "rejected", False, "rejected"),
    ],
)
async def test_a_failure_with_its_reason_gives_way_to_no_other_one_without(
    store: Store, now: datetime, one: MessageFacts, case: tuple[str, str, bool, str]
) -> None:
    was, listed, explained, becomes = case
    await sync(store, [(replace(one, status=MessageStatus(was)), 1)], now)
    other = one if explained else replace(one, **UNEXPLAINED, code=None)
    counts = await sync(store, [(replace(other, status=MessageStatus(listed)), 1)], now + HOUR)
    assert (await only(store))[0].status == becomes
    assert counts == (SyncCounts(unchanged=1) if becomes == was else SyncCounts(changed=1))


async def test_a_failure_without_its_reason_gives_way_to_another(
    store: Store, now: datetime, one: MessageFacts
) -> None:
    bare = replace(one, **UNEXPLAINED, code=None)
    for status in (MessageStatus.REJECTED, MessageStatus.EXPIRED):
        await sync(store, [(replace(bare, status=status), 1)], now)
        assert (await only(store))[0].status is status
