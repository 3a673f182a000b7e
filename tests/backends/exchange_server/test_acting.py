"""Signed orders, from the click to the changed mail system, through the stand-in for the script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.backends.exchange_server.signing import sealed, unsealed
from bot.backends.ports import MessageRef, OutcomeUnknown, Refused, Unreachable
from bot.core.capabilities import Capability
from bot.sandbox.exchange_server import SandboxExchangeServer
from bot.sandbox.mail_system.model import DomainType as TenantType
from bot.sandbox.mail_system.model import Status, TenantDomain
from storage.records import DomainType, MessageStatus
from tests.backends.exchange_server.conftest import INVALID, KEY, SENDER, VALID, Site, now, write_ahead


@pytest.fixture
async def running(acting: Site) -> AsyncIterator[Site]:
    """The script is run by its scheduled task."""
    async with acting.server:
        yield acting


def ref(site: Site, message: str, recipient: str = INVALID) -> MessageRef:
    return MessageRef(key=site.key_of(message), recipient=recipient)


def bounced(site: Site) -> list[str | None]:
    return [item.failed_recipient for item in site.tenant.mailboxes.get(SENDER, [])]


async def test_it_declares_what_it_can_do(running: Site) -> None:
    backend = running.backend(acts=True)
    await backend.snapshot()
    assert backend.capabilities >= {
        Capability.REJECT_MESSAGES,
        Capability.SET_CONNECTOR_ENABLED,
        Capability.SET_DOMAIN_TYPE,
        Capability.RETRY_QUEUE,
        Capability.READ_RECIPIENTS,
    }
    assert not backend.capabilities & {Capability.REJECT_SINGLE_RECIPIENTS, Capability.REJECTS_AT_RETRY}


async def test_a_rejected_message_ends_with_an_ndr_and_is_known_as_rejected(running: Site) -> None:
    bad, good = running.waiting(INVALID), running.waiting(VALID)
    running.server.write_document()
    backend = running.backend(acts=True)
    await backend.reject([ref(running, bad), ref(running, good, "nobody@onprem.contoso.test")], "not found")
    assert bounced(running) == [INVALID]
    found = await backend.messages([ref(running, bad), ref(running, good, VALID)])
    assert {(m.recipient, m.status, m.sender) for m in found} == {
        (INVALID, MessageStatus.REJECTED, SENDER),
        (VALID, MessageStatus.QUEUED, SENDER),
    }
    snapshot = await backend.snapshot()
    assert [(m.recipient, m.status) for m in snapshot.ended] == [(INVALID, MessageStatus.REJECTED)]
    assert [m.recipient for m in snapshot.messages or ()] == [VALID]


async def test_rejecting_again_or_what_has_ended_changes_nothing(running: Site) -> None:
    bad = running.waiting(INVALID)
    running.server.write_document()
    backend = running.backend(acts=True)
    await backend.reject([ref(running, bad)], "not found")
    await backend.reject([ref(running, bad)], "not found")
    assert bounced(running) == [INVALID]


async def test_another_process_learns_of_a_rejection_from_the_answers(running: Site) -> None:
    bad = running.waiting(INVALID)
    running.server.write_document()
    await running.backend(acts=True).reject([ref(running, bad)], "not found")
    await asyncio.sleep(0.1)
    (found,) = await running.backend(acts=True).messages([ref(running, bad)])
    assert found.status is MessageStatus.REJECTED


async def test_a_message_that_a_valid_recipient_waits_for_is_not_rejected(running: Site) -> None:
    both = running.waiting(VALID, INVALID)
    running.server.write_document()
    with pytest.raises(Refused, match="1 of the messages also wait for other recipients"):
        await running.backend(acts=True).reject([ref(running, both)], "not found")
    await running.backend(acts=True).reject([ref(running, both), ref(running, both, VALID)], "not found")
    assert sorted(bounced(running)) == [INVALID, VALID]


async def test_the_script_itself_spares_a_message_somebody_else_waits_for_by_now(acting: Site) -> None:
    both = acting.waiting(VALID, INVALID)
    hidden = acting.tenant.entries.pop((both, VALID))
    acting.server.run_once()
    acting.tenant.entries[(both, VALID)] = hidden
    backend = acting.backend(acts=True)
    acting.server.faults.silent = True
    async with acting.server:
        with pytest.raises(Refused, match="somebody else waits for it, who is not in the order"):
            await backend.reject([ref(acting, both)], "not found")
    assert bounced(acting) == []


async def test_an_identity_that_names_another_message_by_now_is_spared(acting: Site) -> None:
    bad = acting.waiting(INVALID)
    acting.server.run_once()
    entry = acting.tenant.entries[(bad, INVALID)]
    late = replace(entry.message, received_at=entry.message.received_at + timedelta(minutes=1))
    acting.tenant.entries[(bad, INVALID)] = replace(entry, message=late)
    acting.server.faults.silent = True
    async with acting.server:
        with pytest.raises(Refused, match="another message by now"):
            await acting.backend(acts=True).reject([ref(acting, bad)], "not found")
    assert bounced(acting) == []


async def test_many_messages_go_in_several_orders(running: Site) -> None:
    refs = [ref(running, running.waiting(INVALID)) for _ in range(450)]
    running.server.write_document()
    await running.backend(acts=True).reject(refs, "not found")
    assert bounced(running) == [INVALID] * 450
    assert len(running.server.done) == 3


async def test_a_connector_is_switched_off_and_on(running: Site) -> None:
    backend, key = running.backend(acts=True), running.server.names.guid("onprem")
    for enabled in (False, False, True):
        await backend.set_connector_enabled(key, enabled=enabled)
        assert running.tenant.connectors["onprem"].enabled is enabled
        assert (await backend.connector(key)).enabled is enabled
    assert len(running.server.done) == 2


async def test_a_domain_becomes_authoritative_and_back(running: Site) -> None:
    backend = running.backend(acts=True)
    for to in (DomainType.AUTHORITATIVE, DomainType.INTERNAL_RELAY):
        await backend.set_domain_type("OnPrem.contoso.test", to)
        assert running.tenant.domains["onprem.contoso.test"].type == to
        assert (await backend.domain("onprem.contoso.test")).type is to


async def test_waiting_mail_is_tried_again(running: Site) -> None:
    message = running.waiting(VALID)
    running.tenant.entries[(message, VALID)] = replace(
        running.tenant.entries[(message, VALID)], next_attempt_at=now() + timedelta(hours=1)
    )
    running.server.write_document()
    await running.backend(acts=True).retry(running.server.names.guid("onprem"))
    assert running.tenant.entries[(message, VALID)].next_attempt_at <= now()


async def test_nothing_that_waits_needs_no_order(running: Site) -> None:
    await running.backend(acts=True).retry(running.server.names.guid("onprem"))
    assert running.server.done == set()


@pytest.mark.parametrize("what", ["connector", "domain", "subdomains"])
async def test_what_is_not_there_or_not_possible_is_refused(running: Site, what: str) -> None:
    running.tenant.add_domain(TenantDomain(name="sub.contoso.test", match_subdomains=True))
    running.server.write_document()
    backend = running.backend(acts=True)
    with pytest.raises(Refused, match=r"there is no send|is no accepted|matches sub-domains"):
        if what == "connector":
            await backend.set_connector_enabled("nothing", enabled=False)
        else:
            name = "nothing.test" if what == "domain" else "sub.contoso.test"
            await backend.set_domain_type(name, DomainType.AUTHORITATIVE)
    assert running.server.done == set()


# When the script doesn't answer


async def test_an_order_that_nobody_takes_is_withdrawn_and_nothing_happens(acting: Site) -> None:
    bad = acting.waiting(INVALID)
    acting.server.run_once()
    with pytest.raises(Unreachable, match="did not take the order within 1 s, so it was withdrawn"):
        await acting.backend(acts=True, wait=1.0).reject([ref(acting, bad)], "not found")
    assert list((acting.drop / "orders").iterdir()) == []
    acting.server.run_once()
    assert bounced(acting) == []


async def test_an_order_whose_answer_is_lost_has_an_unknown_outcome(running: Site) -> None:
    bad = running.waiting(INVALID)
    running.server.write_document()
    running.server.faults.dies_while_acting = True
    backend = running.backend(acts=True, wait=1.0)
    with pytest.raises(OutcomeUnknown, match="of 1 orders 0 were carried out, 0 withdrawn, and of 1 no answer came"):
        await backend.reject([ref(running, bad)], "not found")
    assert await backend.messages([ref(running, bad)]) == []


async def test_a_caller_that_gives_up_leaves_no_order_behind(acting: Site) -> None:
    bad = acting.waiting(INVALID)
    acting.server.run_once()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await acting.backend(acts=True).reject([ref(acting, bad)], "not found")
    await asyncio.sleep(0.1)
    assert list((acting.drop / "orders").iterdir()) == []


async def test_reads_after_an_order_wait_for_a_document_that_shows_its_effect(running: Site) -> None:
    backend, key = running.backend(acts=True), running.server.names.guid("onprem")
    running.server.faults.silent = True
    await backend.set_connector_enabled(key, enabled=False)
    with pytest.raises(Unreachable, match="no document came within 2 s after our last order"):
        await backend.connector(key)
    assert [c.enabled for c in (await backend.snapshot()).connectors or ()] == [True, True]
    running.server.faults.silent = False
    assert (await backend.connector(key)).enabled is False


async def test_a_document_from_the_future_is_never_acted_on(acting: Site) -> None:
    write_ahead(acting, timedelta(hours=20), KEY)
    backend = acting.backend(acts=True)
    with pytest.raises(Unreachable, match="set both machines' clocks by NTP"):
        await backend.set_connector_enabled(acting.server.names.guid("onprem"), enabled=False)
    assert list((acting.drop / "orders").iterdir()) == []


async def test_an_answer_from_the_future_holds_up_no_read(running: Site) -> None:
    backend = running.backend(acts=True)
    key = running.server.names.guid("onprem")
    await backend.set_connector_enabled(key, enabled=False)
    (answer,) = (running.drop / "results").glob("*.result")
    body = json.loads(unsealed(KEY, answer.read_bytes()))
    answer.write_bytes(sealed(KEY, json.dumps(body | {"finished_at": "2999-01-01T00:00:00Z"}).encode()))
    found = await running.backend(acts=True).connector(key)
    assert found is not None


async def test_an_old_document_is_never_acted_on(acting: Site) -> None:
    acting.server.run_once()
    backend = acting.backend(acts=True, clock=lambda: now() + timedelta(hours=1))
    with pytest.raises(Unreachable, match="the newest document is 60 min old"):
        await backend.set_connector_enabled(acting.server.names.guid("onprem"), enabled=False)
    assert list((acting.drop / "orders").iterdir()) == []


async def test_a_script_without_a_key_is_not_ordered_about(reading: Site) -> None:
    reading.server.run_once()
    backend = reading.backend(acts=True)
    await backend.snapshot()
    assert Capability.REJECT_MESSAGES not in backend.capabilities
    with pytest.raises(Refused, match="run with -KeyFile"):
        await backend.retry(reading.server.names.guid("onprem"))


async def test_a_forged_document_or_answer_is_not_believed(acting: Site) -> None:
    acting.server.run_once()
    (path,) = acting.drop.glob("mfi-snapshot-*.json")
    path.write_text(path.read_text().replace('"Enabled": true', '"Enabled": false'))
    with pytest.raises(Unreachable, match="signature is missing or wrong"):
        await acting.backend(acts=True).snapshot()
    acting.server.run_once()
    body = json.dumps({"kind": "result", "order": "0" * 32}).encode()
    (acting.drop / "results" / f"{'0' * 32}.result").write_bytes(sealed(bytes(32), body))
    assert (await acting.backend(acts=True).snapshot()).ended == []


async def test_both_sides_with_different_keys_do_nothing(acting: Site) -> None:
    acting.server.run_once()
    acting.key_file.write_text("ff" * 32)
    with pytest.raises(Unreachable, match="both sides need the same key file"):
        await acting.backend(acts=True).retry("x")


async def test_a_key_that_others_can_read_is_refused(acting: Site) -> None:
    acting.server.run_once()
    acting.key_file.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        await acting.backend(acts=True).retry("x")


async def test_an_order_that_cannot_be_put_into_the_folder_did_nothing(acting: Site) -> None:
    acting.server.run_once()
    (acting.drop / "orders").rmdir()
    with pytest.raises(Unreachable, match="mfi has to write there"):
        await acting.backend(acts=True).set_connector_enabled(acting.server.names.guid("onprem"), enabled=False)


# What the script refuses. The stand-in follows its rules; these tests hold the stand-in to them.


def an_order(site: Site, **change: object) -> dict[str, object]:
    plain = {
        "kind": "order",
        "version": 1,
        "id": "a" * 32,
        "issued_at": now().isoformat(),
        "expires_at": (now() + timedelta(minutes=1)).isoformat(),
        "steps": [{"do": "set_connector_enabled", "connector": site.server.names.guid("onprem"), "enabled": False}],
    }
    return plain | change


def place(site: Site, order: dict[str, object], key: bytes = KEY, name: str = "a" * 32) -> None:
    (site.drop / "orders" / f"{name}.order").write_bytes(sealed(key, json.dumps(order).encode()))


def answer(site: Site, name: str = "a" * 32) -> dict[str, object]:
    content = (site.drop / "results" / f"{name}.result").read_bytes()
    found = json.loads(content.partition(b"\n")[2])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"expires_at": "2026-01-01T00:00:00+00:00"}, "expired"),
        ({"issued_at": "2999-01-01T00:00:00+00:00", "expires_at": "2999-01-01T00:01:00+00:00"}, "make no sense"),
        ({"expires_at": "2999-01-01T00:00:00+00:00"}, "make no sense"),
        ({"id": "b" * 32}, "another order than its name says"),
        ({"kind": "result"}, "another order"),
        ({"steps": [{"do": "format_disk"}]}, "does not know"),
    ],
)
def test_an_order_that_breaks_a_rule_is_not_done(acting: Site, change: dict[str, object], says: str) -> None:
    acting.server.run_once()
    place(acting, an_order(acting, **change))
    acting.server.run_once()
    found = answer(acting)
    assert found["accepted"] is False
    assert says in str(found["refused"])
    assert acting.tenant.connectors["onprem"].enabled


def test_an_order_signed_with_another_key_or_not_at_all_is_not_done(acting: Site) -> None:
    acting.server.run_once()
    place(acting, an_order(acting), key=bytes(32))
    acting.server.run_once()
    assert answer(acting)["refused"] == "its signature is wrong: both sides need the same key"
    (acting.drop / "orders" / f"{'a' * 32}.order").write_bytes(json.dumps(an_order(acting)).encode())
    acting.server.run_once()
    assert answer(acting)["refused"] == "it has no signature"
    assert acting.tenant.connectors["onprem"].enabled


def test_an_order_is_done_once(acting: Site) -> None:
    acting.server.run_once()
    place(acting, an_order(acting))
    acting.server.run_once()
    assert not acting.tenant.connectors["onprem"].enabled
    acting.tenant.set_connector_enabled("onprem", True, now())
    place(acting, an_order(acting))
    acting.server.run_once()
    assert answer(acting)["refused"] == "it was done before"
    assert acting.tenant.connectors["onprem"].enabled


def test_a_failed_step_stops_the_rest(acting: Site) -> None:
    acting.server.run_once()
    steps = [
        {"do": "set_domain_type", "domain": "nothing.test", "type": "Authoritative"},
        {"do": "set_domain_type", "domain": "onprem.contoso.test", "type": "Authoritative"},
    ]
    place(acting, an_order(acting, steps=steps))
    acting.server.run_once()
    done = answer(acting)["steps"]
    assert isinstance(done, list)
    assert [step["outcome"] for step in done] == ["failed", "not_begun"]
    assert acting.tenant.domains["onprem.contoso.test"].type is TenantType.INTERNAL_RELAY


def test_a_script_without_a_key_leaves_orders_alone(reading: Site) -> None:
    reading.server.run_once()
    place(reading, an_order(reading))
    reading.server.run_once()
    assert reading.tenant.connectors["onprem"].enabled


async def test_mail_on_the_wire_is_pending_and_stays_queued(running: Site) -> None:
    bad = running.waiting(INVALID)
    running.server.write_document()
    running.tenant.take([(bad, INVALID)])
    backend = running.backend(acts=True)
    await backend.reject([ref(running, bad)], "not found")
    (found,) = await backend.messages([ref(running, bad)])
    assert found.status is MessageStatus.QUEUED
    assert running.tenant.entries[(bad, INVALID)].status is Status.QUEUED


def test_the_stand_in_dates_its_documents_like_the_script(acting: Site) -> None:
    path = SandboxExchangeServer(acting.tenant, acting.drop, clock=now).write_document()
    assert path is not None
    stated = datetime.fromisoformat(json.loads(path.read_text())["started_at"])
    assert path.name == f"mfi-snapshot-{stated:%Y%m%dT%H%M%S}{stated.microsecond // 1000:03}Z.json"
