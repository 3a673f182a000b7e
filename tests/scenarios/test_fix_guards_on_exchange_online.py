"""All that speaks against a fix on a tenant of Exchange Online: each is said with the way out, and nothing is set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.core.events import EventKind
from bot.core.fix_plan import Plan, RefusedStep
from bot.sandbox.exchange_online.faults import TenantFault
from bot.sandbox.mail_system import DomainType, TenantDomain
from bot.services.fix import Claimed, Refusal
from bot.services.timeline import record_event
from storage import incidents, probes
from storage.records import ActionState, Severity
from tests.backends.exchange_online.bench import TO_ONPREM, TO_PARTNER, deliver
from tests.scenarios.exchange_online_scene import (
    BOTH,
    CONNECTOR,
    DOMAIN,
    NAME,
    Scene,
    connector_id,
    probe_record,
    scene,
)

MAIL = ("gone@onprem.test", "left@onprem.test", "bob@onprem.test", "eve@onprem.test")
RECIPIENTS = "Get-Recipient"
Happening = Callable[[Scene], Awaitable[None]]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        made.post(*MAIL)
        await made.sync()
        yield made


def refused(plan: Plan) -> dict[str, RefusedStep]:
    return {one.kind: one for one in plan.refused}


# Nothing at all is offered


async def stale(here: Scene) -> None:
    here.clock.forward(minutes=16)


async def alive(here: Scene) -> None:
    record = probe_record(await connector_id(here), here.clock, ok=True)
    await here.store.write(lambda db: probes.record(db, record))


async def asking_is_forbidden(here: Scene) -> None:
    here.tenant.faults.set(TenantFault.NUL_403, on=RECIPIENTS)


async def running(here: Scene) -> None:
    offer = await here.offered(here.fix())
    assert isinstance(await here.fix().submit(offer.id, "U1", BOTH, NAME), Claimed)


async def removed(here: Scene) -> None:
    del here.mail.tenant.connectors[TO_ONPREM]


async def changed_unsynced(here: Scene) -> None:
    here.tenant.settings.describe(TO_ONPREM, SmartHosts=["new.onprem.test"])


async def resolved(here: Scene) -> None:
    number = here.number
    over = {"state": "resolved", "resolved_at": here.clock(), "resolution": "cleared"}
    await here.store.write(lambda db: incidents.change(db, number, **over))


async def at_the_partner(here: Scene) -> None:
    partner = await connector_id(here, TO_PARTNER)
    now = here.clock()

    def work(db: Any) -> Any:
        made = incidents.insert(
            db,
            connector_id=partner,
            code="4.4.316",
            severity=Severity.WARNING,
            now=now,
            first_failure_at=now,
            channel="C1",
        )
        record_event(db, made.id, EventKind.OPENED, now=now, data={"code": "4.4.316"})
        return made

    here.incident = await here.store.write(work)


@pytest.mark.parametrize(
    ("happening", "words"),
    [
        (stale, "was last read too long ago to act on it: sync first"),
        (alive, "they are alive, so mail is not to be rejected"),
        (asking_is_forbidden, "No plan can be made now"),
        (running, "did this already"),
        (removed, "no longer has the connector"),
        (changed_unsynced, "was changed in the mail system (smart hosts): wait for the next sync"),
        (resolved, "is resolved already"),
        (at_the_partner, "leads to a partner: its servers are theirs to repair"),
    ],
)
async def test_no_fix_is_offered(here: Scene, happening: Happening, words: str) -> None:
    await happening(here)
    assert words in await here.refusal()
    assert here.changed() == {}


async def test_no_more_fixes_are_begun_within_an_hour_than_are_allowed(here: Scene) -> None:
    here.policy = replace(here.policy, fixes_per_hour=1)
    offers = [await here.offered(here.fix()) for _ in range(2)]
    await here.fix().submit(offers[0].id, "U1", BOTH, NAME)
    await here.fix().execute(offers[0].id)
    await here.fix().undo(offers[0].id, "U1")
    assert "1 fixes were begun within the last hour" in await here.refusal()
    late = await here.fix().submit(offers[1].id, "U2", BOTH, NAME)
    assert isinstance(late, Refusal)
    assert "within the last hour, which is the most that is allowed" in late.reason


# A step is refused


async def answered_in_part(here: Scene) -> None:
    here.tenant.faults.set(TenantFault.PARTIAL_DIRECTORY)


async def directory_failed(here: Scene) -> None:
    here.tenant.faults.set(TenantFault.SERVER_ERROR, on=RECIPIENTS)


async def many_look_invalid(here: Scene) -> None:
    here.post(*(f"nobody{n}@onprem.test" for n in range(12)))
    await here.sync()


async def lives_there_only(here: Scene) -> None:
    (ref,) = here.post("printer@onprem.test")
    await here.sync()
    deliver(here.mail, ref, here.clock())
    await here.sync()


async def mail_comes_back(here: Scene) -> None:
    here.exchangers["onprem.test"] = ("onprem-test.mail.protection.outlook.com.",)
    here.tenant.faults.set(TenantFault.PARTIAL_DIRECTORY)


async def carries_all_mail(here: Scene) -> None:
    here.tenant.settings.describe(TO_ONPREM, RouteAllMessagesViaOnPremises=True)
    await here.sync()


async def rules_use_it(here: Scene) -> None:
    here.tenant.settings.describe(TO_ONPREM, IsTransportRuleScoped=True)
    await here.sync()


@pytest.mark.parametrize(
    ("happening", "kind", "why", "way_out"),
    [
        (answered_in_part, DOMAIN, "unknown is not invalid", "mfi doctor"),
        (directory_failed, DOMAIN, "The directory gave no answer for 4 recipients", "mfi doctor"),
        (many_look_invalid, DOMAIN, "14 of 16 recipients look invalid", "synchronisation"),
        (lives_there_only, DOMAIN, "they exist on-premises only", "mail users or contacts"),
        (mail_comes_back, CONNECTOR, "or mail could loop", "mfi doctor"),
        (carries_all_mail, CONNECTOR, "RouteAllMessagesViaOnPremises", "-RouteAllMessagesViaOnPremises $false"),
        (rules_use_it, CONNECTOR, "Mail flow rules send mail to this connector", "the rules that use it first"),
    ],
)
async def test_a_step_is_refused_with_the_way_out(
    here: Scene, happening: Happening, kind: str, why: str, way_out: str
) -> None:
    await happening(here)
    plan = await here.plan()
    found = refused(plan)[kind]
    assert why in found.why
    assert way_out in found.way_out
    assert kind not in [step.kind for step in plan.steps]


async def test_an_old_list_of_recipients_rejects_nobody(here: Scene) -> None:
    here.backend.list_age = timedelta(hours=25)
    found = refused(await here.plan())
    assert "The list of recipients is" in found[DOMAIN].why
    assert "Give mfi a fresh list" in found[DOMAIN].way_out


async def test_a_domain_that_matches_sub_domains_stays_internal_relay(here: Scene) -> None:
    here.mail.tenant.add_domain(TenantDomain(name="onprem.test", match_subdomains=True))
    plan = await here.plan()
    assert [step.kind for step in plan.steps] == [CONNECTOR]
    assert "onprem.test matches sub-domains, which needs Internal Relay: left alone." in plan.notes


async def test_where_mail_would_come_back_the_connector_needs_the_domain(here: Scene) -> None:
    here.exchangers["onprem.test"] = ("onprem-test.mail.protection.outlook.com.",)
    offer = await here.offered(here.fix())
    alone = await here.fix().submit(offer.id, "U1", (CONNECTOR,), NAME)
    assert isinstance(alone, Refusal)
    assert "Choose “Make onprem.test Authoritative”, too" in alone.reason
    assert isinstance(await here.fix().submit(offer.id, "U1", BOTH, NAME), Claimed)


# Between the offer and the execution


async def somebody_moved_the_server(here: Scene) -> None:
    here.tenant.settings.describe(TO_ONPREM, SmartHosts=["new.onprem.test"])


async def somebody_set_the_domain(here: Scene) -> None:
    domain = here.tenant.settings.domain("onprem.test")
    assert domain is not None
    here.tenant.settings.retype(domain[0], DomainType.AUTHORITATIVE)


async def the_directory_is_cut_off(here: Scene) -> None:
    here.tenant.faults.set(TenantFault.SERVER_ERROR, on=RECIPIENTS)


async def the_mx_was_changed(here: Scene) -> None:
    here.exchangers["onprem.test"] = ("onprem-test.mail.protection.outlook.com",)
    here.tenant.faults.set(TenantFault.SERVER_ERROR, on=RECIPIENTS)


async def all_mail_is_sent_there(here: Scene) -> None:
    here.tenant.settings.describe(TO_ONPREM, RouteAllMessagesViaOnPremises=True)


@pytest.mark.parametrize(
    ("happening", "words"),
    [
        (somebody_moved_the_server, "smart hosts was mail.onprem.test and is new.onprem.test now"),
        (somebody_set_the_domain, "domain onprem.test was internal_relay and is authoritative now"),
        (the_directory_is_cut_off, "unknown is not invalid"),
        (alive, "they are alive"),
        (the_mx_was_changed, "unknown is not invalid"),
        (all_mail_is_sent_there, "recipient domains was onprem.test"),
        (lives_there_only, "they exist on-premises only"),
    ],
)
async def test_what_was_claimed_is_not_done_on_what_is_no_longer_so(
    here: Scene, happening: Happening, words: str
) -> None:
    offer = await here.offered(here.fix())
    assert isinstance(await here.fix().submit(offer.id, "U1", BOTH, NAME), Claimed)
    await happening(here)
    await here.fix().execute(offer.id)
    action = await here.action(offer.id)
    assert action.state is ActionState.FAILED
    assert words in (action.result or "")
    assert (action.result or "").startswith("Nothing was done")
    assert here.changed() == {}
    assert ("U1", "fix.failed", True) in await here.audited()


async def test_a_second_fix_of_the_same_connector_is_refused_while_one_runs(here: Scene) -> None:
    first, second = [await here.offered(here.fix(), actor) for actor in ("U1", "U2")]
    assert isinstance(await here.fix().submit(first.id, "U1", BOTH, NAME), Claimed)
    refusal = await here.fix().submit(second.id, "U2", BOTH, NAME)
    assert isinstance(refusal, Refusal)
    assert "<@U1> did this already" in refusal.reason


async def test_an_offer_of_ten_minutes_ago_is_too_old(here: Scene) -> None:
    offer = await here.offered(here.fix())
    here.clock.forward(minutes=10)
    refusal = await here.fix().submit(offer.id, "U1", BOTH, NAME)
    assert isinstance(refusal, Refusal)
    assert "too old to act on" in refusal.reason
