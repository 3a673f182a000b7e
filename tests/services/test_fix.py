"""Fix now against a mail system that truly acts: once, on current facts, read back, verified, undone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.backends.lab import LabBackend
from bot.core.events import EventKind
from bot.core.fix_plan import Plan
from bot.core.policy import Policy
from bot.sandbox.mail_system import (
    DomainType,
    Fault,
    MailSystem,
    Operation,
    Status,
    TenantConnector,
    TenantDomain,
)
from bot.services.fix import Claimed, Fix, Refusal, Undone
from bot.services.timeline import record_event
from storage import actions, audit, connectors, domains, incidents, messages, syncs
from storage.connection import Store
from storage.records import (
    Action,
    ActionState,
    IncidentState,
    MessageStatus,
    ProbeRecord,
    Severity,
    StepKind,
    StepState,
)

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALL = (StepKind.REJECT_INVALID, StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR)
NAME = "To on-premises"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Probe:
    """Says what it was told to, and remembers whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.ok = False

    async def __call__(self, connector_id: int) -> ProbeRecord:
        self.asked.append(connector_id)
        return ProbeRecord(
            connector_id=connector_id,
            at=START,
            ok=self.ok,
            code=None if self.ok else "4.4.316",
            cause=None if self.ok else "refused",
            status=None if self.ok else "450 4.4.316 Connection refused",
            stage="connect",
            degraded=False,
            elapsed_ms=1,
            document="{}",
        )


@dataclass
class Scene:
    """A tenant with one dead on-premises connector, synced, with one open incident."""

    clock: Clock
    system: MailSystem
    backend: LabBackend
    store: Store
    probe: Probe
    policy: Policy
    incident_id: int = 0

    def fix(self, *, at: str = "", then: Callable[[], object] = lambda: None, **changes: Any) -> Fix:
        """Fix now; when it passes the point `at`, `then` happens."""
        policy = replace(self.policy, **changes)

        def mark(point: str) -> None:
            if point == at:
                then()

        return Fix(self.store, {"lab": self.backend}, self.probe, policy, self.clock, settle=0.0, mark=mark)

    def fault(self, operation: Operation, fault: Fault, times: int | None = None) -> Callable[[], None]:
        return lambda: self.system.faults.set(operation, fault, times=times)

    async def sync(self) -> None:
        seen = await self.backend.snapshot()
        assert seen.connectors is not None
        assert seen.domains is not None
        assert seen.messages is not None
        now = self.clock.now

        def keep(db: Any) -> None:
            connectors.sync(db, "lab", seen.connectors or (), now, complete=True)
            ids = {c.key: c.id for c in connectors.every(db)}
            rows = [(m, ids.get(m.connector_key or "")) for m in seen.messages or ()]
            domains.sync(db, "lab", seen.domains or (), now, complete=True)
            messages.sync(db, "lab", rows, now, complete=True)
            syncs.finish(db, syncs.begin(db, "lab", now), now, {})

        await self.store.write(keep)

    async def open_incident(self, code: str = "4.4.316", key: str = "c1") -> int:
        def work(db: Any) -> int:
            connector = connectors.by_key(db, "lab", key)
            assert connector is not None
            made = incidents.insert(
                db,
                connector_id=connector.id,
                code=code,
                severity=Severity.WARNING,
                now=self.clock.now,
                first_failure_at=self.clock.now,
                channel="C1",
            )
            record_event(db, made.id, EventKind.OPENED, now=self.clock.now, data={"code": code})
            return made.id

        return await self.store.write(work)

    async def action(self, action_id: str) -> Action:
        found = await self.store.read(lambda db: actions.get(db, action_id))
        assert found is not None
        return found

    async def steps(self, action_id: str) -> list[StepState]:
        return [s.state for s in await self.store.read(lambda db: actions.steps(db, action_id))]

    async def state(self) -> IncidentState:
        found = await self.store.read(lambda db: incidents.get(db, self.incident_id))
        assert found is not None
        return found.state

    async def told(self) -> list[str]:
        return [e.kind for e in await self.store.read(lambda db: incidents.events(db, self.incident_id))]

    async def last(self, kind: EventKind) -> Any:
        events = await self.store.read(lambda db: incidents.events(db, self.incident_id))
        return [e for e in events if e.kind == kind][-1].data

    async def audited(self) -> list[tuple[str, str, bool]]:
        """What was tried, the newest first."""
        entries = await self.store.read(lambda db: audit.recent(db, 100))
        return [(e.actor, e.verb, e.allowed) for e in entries if e.verb in ("fix", "fix.undo")]

    async def results(self) -> list[tuple[str, str]]:
        """What came of it, the oldest first."""
        entries = await self.store.read(lambda db: list(audit.every(db)))
        return [(e.actor, e.verb) for e in entries if e.verb not in ("fix", "fix.undo")]

    async def offered(self, fix: Fix) -> Action:
        found = await fix.offer(self.incident_id, "U1")
        assert isinstance(found, Action), found
        return found

    async def executed(self, fix: Fix, steps: tuple[StepKind, ...] = ALL) -> str:
        action = await self.offered(fix)
        assert isinstance(await fix.submit(action.id, "U1", steps, NAME), Claimed)
        await fix.execute(action.id)
        return action.id

    def statuses(self, recipient: str) -> set[Status]:
        return {e.status for e in self.system.tenant.entries.values() if e.recipient == recipient}


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def seed(system: MailSystem) -> None:
    tenant = system.tenant
    tenant.add_connector(
        TenantConnector(
            key="c1",
            name=NAME,
            smart_hosts=("127.0.0.1",),
            port=closed_port(),
            recipient_domains=("onprem.test",),
        )
    )
    tenant.add_domain(TenantDomain(name="onprem.test"))
    tenant.add_domain(TenantDomain(name="contoso.test", type=DomainType.AUTHORITATIVE))
    tenant.add_recipients("valid@onprem.test", "one@contoso.test", "two@contoso.test")
    age = START - 5 * HOUR
    tenant.submit("one@contoso.test", ["valid@onprem.test", "gone@onprem.test"], now=START, received_at=age, key="m1")
    tenant.submit("one@contoso.test", ["gone@onprem.test"], now=START, received_at=age, key="m2")
    tenant.submit("two@contoso.test", ["left@onprem.test"], now=START, received_at=age, key="m3")
    tenant.submit("two@contoso.test", ["valid@onprem.test"], now=START, received_at=age, key="m4")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Clock()
    async with MailSystem(clock=clock, tick=None, timeout=1.0) as system:
        seed(system)
        await system.retry()
        backend = LabBackend("lab", system.api_url, timeout=1.0)
        store = await Store.open(tmp_path / "mfi.db")
        made = Scene(clock, system, backend, store, Probe(), Policy(actions_on=True))
        await made.sync()
        made.incident_id = await made.open_incident()
        yield made
        await backend.close()
        await store.close()


# Offer


async def test_an_offer_says_in_numbers_what_would_happen(scene: Scene) -> None:
    action = await scene.offered(scene.fix())
    plan = Plan.from_json(action.plan)
    assert (plan.waiting, plan.valid_waiting, plan.unknown_waiting, plan.invalid_recipients) == (5, 2, 0, 2)
    assert [step.title for step in plan.steps] == [
        "Reject 3 messages to 2 invalid recipients",
        "Make onprem.test Authoritative",
        f"Disable the connector “{NAME}”",
    ]
    assert [(s.sender, s.count) for s in plan.steps[0].senders] == [("one@contoso.test", 2), ("two@contoso.test", 1)]
    assert (action.state, action.expires_at) == (ActionState.OFFERED, START + timedelta(minutes=10))
    assert await scene.state() is IncidentState.FIRING


async def test_more_mail_than_is_looked_at_one_by_one_is_counted_to_the_last_message(scene: Scene) -> None:
    action_id = await scene.executed(scene.fix(), (StepKind.REJECT_INVALID,))
    for n in range(5000):
        scene.system.tenant.submit(
            "one@contoso.test", ["valid@onprem.test"], now=START, received_at=START - 4 * HOUR, key=f"x{n}"
        )
    scene.system.tenant.submit("one@contoso.test", ["late@onprem.test"], now=START, received_at=START, key="late")
    await scene.system.retry()
    await scene.sync()
    scene.clock.now += HOUR
    await scene.fix().verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFIED
    (line,) = [one for one in (await scene.last(EventKind.FIX_VERIFIED))["detail"] if "still waiting" in one]
    assert line.startswith("Not rejected and still waiting: 5000 for valid@onprem.test;")
    assert line.endswith("; and 3 more that were not looked at one by one.")
    await scene.sync()
    plan = Plan.from_json((await scene.offered(scene.fix())).plan)
    assert (plan.waiting, plan.valid_waiting, plan.unseen) == (5003, 5000, 3)
    assert [step.kind for step in plan.steps] == [StepKind.DISABLE_CONNECTOR]
    assert "Still queued then: 5003 messages" in plan.steps[0].effect


async def test_an_offer_made_while_the_mail_system_is_down_is_refused(scene: Scene) -> None:
    await scene.system.api_down()
    refused = await scene.fix().offer(scene.incident_id, "U1")
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith("No plan can be made now: lab can't be reached")


async def test_an_unknown_incident_has_no_offer(scene: Scene) -> None:
    assert await scene.fix().offer(77, "U1") == Refusal(reason="There is no incident #77.")


async def test_the_monitors_own_incident_has_no_offer(scene: Scene) -> None:
    blind = await scene.store.write(
        lambda db: incidents.insert(
            db,
            connector_id=None,
            code="blind",
            severity=Severity.CRITICAL,
            now=START,
            first_failure_at=START,
            channel="C1",
        )
    )
    refused = await scene.fix().offer(blind.id, "U1")
    assert isinstance(refused, Refusal)
    assert "monitor itself" in refused.reason


async def test_a_partner_gets_no_offer(scene: Scene) -> None:
    tenant = scene.system.tenant
    tenant.add_connector(replace(tenant.connectors["c1"], kind="partner"))
    await scene.sync()
    refused = await scene.fix().offer(scene.incident_id, "U1")
    assert isinstance(refused, Refusal)
    assert "partner" in refused.reason


async def test_without_a_backend_the_plan_is_for_a_persons_hands(scene: Scene) -> None:
    fix = Fix(scene.store, {}, scene.probe, scene.policy, scene.clock)
    plan = Plan.from_json((await scene.offered(fix)).plan)
    assert plan.steps == ()
    assert any("Set-OutboundConnector -Identity 'To on-premises' -Enabled $false" in line for line in plan.by_hand)


# Submit


async def test_submitting_claims_tells_and_audits_in_one_go(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    claimed = await fix.submit(action.id, "U1", ALL, f"  {NAME.upper()} ")
    assert isinstance(claimed, Claimed)
    assert claimed.action.state is ActionState.CLAIMED
    assert claimed.action.chosen == ALL
    assert await scene.state() is IncidentState.FIXING
    assert await scene.audited() == [("U1", "fix", True)]
    assert (await scene.last(EventKind.FIX_CLAIMED))["steps"][2] == f"Disable the connector “{NAME}”"


@pytest.mark.parametrize(
    ("steps", "name", "later", "words"),
    [
        (ALL, "To on-prem", timedelta(0), "isn't the connector's name"),
        ((), NAME, timedelta(0), "Choose at least one"),
        (ALL, NAME, timedelta(minutes=10), "too old"),
    ],
)
async def test_a_mistaken_submit_does_nothing_and_is_audited(
    scene: Scene, steps: tuple[StepKind, ...], name: str, later: timedelta, words: str
) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    scene.clock.now += later
    refused = await fix.submit(action.id, "U2", steps, name)
    assert isinstance(refused, Refusal)
    assert words in refused.reason
    assert (await scene.action(action.id)).state is ActionState.OFFERED
    assert await scene.audited() == [("U2", "fix", False)]
    assert await scene.state() is IncidentState.FIRING


async def test_an_unknown_offer_is_refused_and_audited(scene: Scene) -> None:
    assert isinstance(await scene.fix().submit("nope", "U1", ALL, NAME), Refusal)
    assert await scene.audited() == [("U1", "fix", False)]


async def test_the_second_clicker_is_told_who_did_it_and_when(scene: Scene) -> None:
    fix = scene.fix()
    first, second = await scene.offered(fix), await scene.offered(fix)
    await fix.submit(first.id, "U1", ALL, NAME)
    for offer in (first, second):
        refused = await fix.submit(offer.id, "U2", ALL, NAME)
        assert isinstance(refused, Refusal)
        assert (refused.actor, refused.at) == ("U1", START)
        assert refused.reason.startswith("<@U1> did this already at 08:00 UTC")
    again = await fix.offer(scene.incident_id, "U3")
    assert isinstance(again, Refusal)
    assert again.actor == "U1"


async def test_an_offer_for_a_resolved_incident_is_refused(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await scene.store.write(lambda db: incidents.change(db, scene.incident_id, state=IncidentState.RESOLVED))
    refused = await fix.submit(action.id, "U1", ALL, NAME)
    assert isinstance(refused, Refusal)
    assert "resolved already" in refused.reason
    again = await fix.offer(scene.incident_id, "U1")
    assert isinstance(again, Refusal)
    assert "resolved already" in again.reason


async def test_another_fix_of_the_same_connector_waits_its_turn(scene: Scene) -> None:
    fix = scene.fix()
    other = await scene.open_incident("4.4.315")
    action = await scene.offered(fix)
    blocker = replace(action, id="blocker", incident_id=other)
    await scene.store.write(lambda db: actions.offer(db, blocker))
    await scene.store.write(lambda db: actions.claim(db, "blocker", "U9", ALL, START))
    refused = await fix.submit(action.id, "U1", ALL, NAME)
    said = f"Another fix of “{NAME}” is running: <@U9> started it at 08:00 UTC."
    assert refused == Refusal(reason=said, actor="U9", at=START)
    assert await fix.offer(scene.incident_id, "U1") == refused


@pytest.mark.parametrize("offered_on", [True, False])
async def test_an_offer_made_under_the_other_setting_is_refused(scene: Scene, offered_on: bool) -> None:
    action = await scene.offered(scene.fix(actions_on=offered_on))
    refused = await scene.fix(actions_on=not offered_on).submit(action.id, "U1", ALL, NAME)
    assert isinstance(refused, Refusal)
    assert "open Fix now again" in refused.reason


async def test_a_dry_run_shows_what_it_would_do_and_touches_nothing(scene: Scene) -> None:
    fix = scene.fix(actions_on=False)
    action = await scene.offered(fix)
    assert len(Plan.from_json(action.plan).by_hand) == 5
    shown = await fix.submit(action.id, "U1", ALL, NAME)
    assert isinstance(shown, Claimed)
    assert shown.dry_run
    assert shown.lines[2].startswith(f"Disable the connector “{NAME}”: No more attempts")
    await fix.execute(action.id)
    assert (await scene.action(action.id)).state is ActionState.OFFERED
    assert await scene.state() is IncidentState.FIRING
    assert scene.system.tenant.connectors["c1"].enabled
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert (await scene.last(EventKind.FIX_CLAIMED))["dry_run"] is True


# Execute


async def test_all_three_steps_are_done_read_back_and_told(scene: Scene) -> None:
    action_id = await scene.executed(scene.fix())
    tenant = scene.system.tenant
    assert scene.statuses("gone@onprem.test") == scene.statuses("left@onprem.test") == {Status.REJECTED}
    assert scene.statuses("valid@onprem.test") == {Status.QUEUED}
    assert [i.ndr for i in tenant.mailboxes["one@contoso.test"]] == ["5.1.10", "5.1.10"]
    assert [i.failed_recipient for i in tenant.mailboxes["two@contoso.test"]] == ["left@onprem.test"]
    assert tenant.domains["onprem.test"].type is DomainType.AUTHORITATIVE
    assert not tenant.connectors["c1"].enabled
    assert await scene.steps(action_id) == [StepState.DONE] * 3
    action = await scene.action(action_id)
    assert (action.state, action.verify_at) == (ActionState.VERIFYING, START + HOUR)
    assert await scene.state() is IncidentState.VERIFYING
    assert await scene.told() == [
        "opened",
        "fix_claimed",
        "fix_step",
        "fix_step",
        "fix_step",
        "fix_finished",
    ]


async def test_our_own_records_follow_at_once(scene: Scene) -> None:
    await scene.executed(scene.fix())
    connector = await scene.store.read(lambda db: connectors.by_key(db, "lab", "c1"))
    assert connector is not None
    assert not connector.enabled
    domain = await scene.store.read(lambda db: domains.get(db, "lab", "onprem.test"))
    assert domain is not None
    assert domain.type == "authoritative"
    rows = await scene.store.read(lambda db: messages.get_refs(db, "lab", [("m2", "gone@onprem.test")]))
    assert rows[0].status is MessageStatus.REJECTED


async def test_only_the_chosen_steps_run(scene: Scene) -> None:
    await scene.executed(scene.fix(), (StepKind.REJECT_INVALID,))
    assert scene.statuses("gone@onprem.test") == {Status.REJECTED}
    assert scene.system.tenant.connectors["c1"].enabled
    assert scene.system.tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY


async def test_a_second_execute_does_nothing(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    seen = dict(scene.system.faults.seen)
    await fix.execute(action_id)
    await fix.execute("nope")
    assert scene.system.faults.seen == seen


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"smart_hosts": ("127.0.0.2",)}, "smart hosts was 127.0.0.1 and is 127.0.0.2 now"),
        ({"name": "Renamed"}, "name was To on-premises"),
        ({"enabled": False}, "enabled was yes and is no now"),
    ],
)
async def test_a_connector_that_changed_since_the_offer_is_left_alone(
    scene: Scene, change: dict[str, Any], words: str
) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    tenant = scene.system.tenant
    tenant.add_connector(replace(tenant.connectors["c1"], **change))
    await fix.execute(action.id)
    failed = await scene.action(action.id)
    assert failed.state is ActionState.FAILED
    assert words in (failed.result or "")
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert await scene.steps(action.id) == [StepState.SKIPPED] * 3
    assert await scene.state() is IncidentState.FIRING


async def test_a_domain_that_changed_since_the_offer_stops_everything(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    scene.system.tenant.domains["onprem.test"] = TenantDomain(name="onprem.test", match_subdomains=True)
    await fix.execute(action.id)
    assert (await scene.action(action.id)).state is ActionState.FAILED
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}


async def test_a_connector_that_is_gone_stops_everything(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    del scene.system.tenant.connectors["c1"]
    await fix.execute(action.id)
    assert "no longer has the connector" in ((await scene.action(action.id)).result or "")


async def test_a_recipient_that_became_valid_keeps_its_mail_and_new_mail_is_not_touched(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", (StepKind.REJECT_INVALID,), NAME)
    tenant = scene.system.tenant
    tenant.add_recipients("gone@onprem.test")
    tenant.submit("one@contoso.test", ["late@onprem.test"], now=START, key="m9")
    await fix.execute(action.id)
    assert (await scene.action(action.id)).state is ActionState.VERIFYING
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert scene.statuses("left@onprem.test") == {Status.REJECTED}
    assert scene.statuses("late@onprem.test") == {Status.QUEUED}


async def test_a_partial_directory_answer_rejects_nobody(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    scene.system.faults.set(Operation.DIRECTORY, Fault.PARTIAL)
    await fix.execute(action.id)
    assert "only in part" in ((await scene.action(action.id)).result or "")
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert scene.system.tenant.connectors["c1"].enabled


async def test_facts_that_cannot_be_read_again_stop_everything(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    scene.system.faults.set(Operation.CONNECTOR, Fault.DROP_BEFORE)
    await fix.execute(action.id)
    assert "Nothing was done" in ((await scene.action(action.id)).result or "")
    assert await scene.state() is IncidentState.FIRING


async def test_a_backend_that_is_no_longer_configured_stops_everything(scene: Scene) -> None:
    action = await scene.offered(scene.fix())
    fix = Fix(scene.store, {}, scene.probe, scene.policy, scene.clock)
    await fix.submit(action.id, "U1", ALL, NAME)
    await fix.execute(action.id)
    assert "isn't among MFI_BACKENDS" in ((await scene.action(action.id)).result or "")


async def test_a_refused_step_stops_the_rest(scene: Scene) -> None:
    await scene.store.write(lambda db: incidents.change(db, scene.incident_id, acknowledged_by="U7"))
    scene.system.faults.set(Operation.DOMAIN_TYPE, Fault.REFUSE)
    action_id = await scene.executed(scene.fix())
    assert await scene.steps(action_id) == [StepState.DONE, StepState.FAILED, StepState.SKIPPED]
    action = await scene.action(action_id)
    assert action.state is ActionState.FAILED
    assert "done: Reject 3 messages" in (action.result or "")
    assert "not begun: Disable the connector" in (action.result or "")
    assert scene.system.tenant.connectors["c1"].enabled
    assert await scene.state() is IncidentState.ACKNOWLEDGED


async def test_a_step_refused_while_nothing_can_be_read_has_failed_for_certain(scene: Scene) -> None:
    scene.system.faults.set(Operation.REJECT, Fault.REFUSE)
    fix = scene.fix(at="intended reject_invalid", then=scene.fault(Operation.LOOKUP, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix)
    assert (await scene.action(action_id)).state is ActionState.FAILED
    assert await scene.steps(action_id) == [StepState.FAILED, StepState.SKIPPED, StepState.SKIPPED]


# Lost answers


async def test_an_act_whose_answer_was_lost_is_read_and_goes_on_without_a_second_try(scene: Scene) -> None:
    scene.system.faults.set(Operation.SWITCH, Fault.DROP_AFTER)
    action_id = await scene.executed(scene.fix())
    assert (await scene.action(action_id)).state is ActionState.VERIFYING
    assert await scene.steps(action_id) == [StepState.DONE] * 3
    assert scene.system.faults.seen[Operation.SWITCH] == 1


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DROP_BEFORE, Fault.ERROR])
async def test_an_act_that_was_lost_on_the_way_is_read_as_not_done_and_fails(scene: Scene, fault: Fault) -> None:
    backend = LabBackend("lab", scene.system.api_url, timeout=0.3)
    scene.backend, former = backend, scene.backend
    scene.system.faults.set(Operation.REJECT, fault)
    action_id = await scene.executed(scene.fix())
    assert (await scene.action(action_id)).state is ActionState.FAILED
    assert await scene.steps(action_id) == [StepState.FAILED, StepState.SKIPPED, StepState.SKIPPED]
    assert scene.system.faults.seen[Operation.REJECT] == 1
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    await backend.close()
    scene.backend = former


async def test_what_cannot_be_read_back_stays_unknown_until_it_can(scene: Scene) -> None:
    fix = scene.fix(at="acted domain_authoritative", then=scene.fault(Operation.DOMAIN, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix, (StepKind.REJECT_INVALID, StepKind.DOMAIN_AUTHORITATIVE))
    assert (await scene.action(action_id)).state is ActionState.UNKNOWN
    await fix.recover()
    assert (await scene.action(action_id)).state is ActionState.UNKNOWN
    refused = await fix.undo(action_id, "U1")
    assert isinstance(refused, Refusal)
    scene.system.faults.clear()
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFYING
    assert scene.system.faults.seen[Operation.DOMAIN_TYPE] == 1


async def test_an_interrupted_fix_is_not_continued_but_told_and_can_be_offered_again(scene: Scene) -> None:
    fix = scene.fix(at="acted reject_invalid", then=scene.fault(Operation.LOOKUP, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix)
    assert (await scene.action(action_id)).state is ActionState.UNKNOWN
    scene.system.faults.clear()
    await scene.fix().recover()
    action = await scene.action(action_id)
    assert action.state is ActionState.FAILED
    assert "not continued. done: Reject 3 messages" in (action.result or "")
    again = Plan.from_json((await scene.offered(scene.fix())).plan)
    assert [s.kind for s in again.steps] == [StepKind.DOMAIN_AUTHORITATIVE, StepKind.DISABLE_CONNECTOR]


async def test_an_outcome_that_cannot_be_read_is_told_once_and_given_up_after_a_day(scene: Scene) -> None:
    fix = scene.fix(at="acted reject_invalid", then=scene.fault(Operation.LOOKUP, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix, (StepKind.REJECT_INVALID, StepKind.DISABLE_CONNECTOR))
    without = Fix(scene.store, {}, scene.probe, scene.policy, scene.clock)
    for _ in range(3):
        scene.clock.now += HOUR
        await without.recover()
    assert (await scene.action(action_id)).state is ActionState.UNKNOWN
    assert (await scene.told()).count("fix_step") == 1
    told = await scene.last(EventKind.FIX_STEP)
    assert told["detail"] == (
        "Whether it took effect can't be read: the mail system “lab” isn't among MFI_BACKENDS any more. "
        "That is tried again until 2026-11-25 08:00 UTC."
    )
    scene.clock.now = START + 24 * HOUR
    await without.recover()
    given_up = await scene.action(action_id)
    assert given_up.state is ActionState.FAILED
    assert "the outcome could not be read" in (given_up.result or "")
    assert await scene.steps(action_id) == [StepState.FAILED, StepState.SKIPPED]
    assert await scene.state() is IncidentState.FIRING
    scene.system.faults.clear()
    await scene.sync()
    await scene.offered(scene.fix())


async def test_a_mail_system_that_is_away_for_a_while_is_told_once_and_then_read(scene: Scene) -> None:
    fix = scene.fix(at="acted reject_invalid", then=scene.fault(Operation.LOOKUP, Fault.DROP_BEFORE))
    action_id = await scene.executed(fix, (StepKind.REJECT_INVALID,))
    for _ in range(2):
        await scene.fix().recover()
    assert (await scene.told()).count("fix_step") == 1
    assert "the mail system can't be read" in (await scene.last(EventKind.FIX_STEP))["detail"]
    scene.system.faults.clear()
    await scene.fix().recover()
    assert (await scene.action(action_id)).state is ActionState.VERIFYING


async def test_a_claim_that_was_never_begun_runs_when_the_bot_is_back(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    await scene.fix().recover()
    assert (await scene.action(action.id)).state is ActionState.VERIFYING


async def test_a_claim_does_not_run_once_actions_are_switched_off(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    await scene.fix(actions_on=False).recover()
    assert "switched off (MFI_ACTIONS): nothing was done" in ((await scene.action(action.id)).result or "")
    assert await scene.steps(action.id) == [StepState.SKIPPED] * 3
    assert scene.system.tenant.connectors["c1"].enabled
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}
    assert await scene.state() is IncidentState.FIRING
    assert await scene.audited() == [("U1", "fix", False), ("U1", "fix", True)]


async def test_a_claim_does_not_run_for_somebody_who_may_not_fix_any_more(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    asked: list[str] = []

    async def no(user_id: str) -> bool:
        asked.append(user_id)
        return False

    later = Fix(scene.store, {"lab": scene.backend}, scene.probe, scene.policy, scene.clock, may_fix=no)
    await later.recover()
    assert asked == ["U1"]
    failed = await scene.action(action.id)
    assert failed.state is ActionState.FAILED
    assert "may not fix any more" in (failed.result or "")
    assert scene.system.tenant.connectors["c1"].enabled
    assert ("U1", "fix", False) in await scene.audited()


async def test_a_claim_from_before_a_long_outage_is_dropped(scene: Scene) -> None:
    fix = scene.fix()
    action = await scene.offered(fix)
    await fix.submit(action.id, "U1", ALL, NAME)
    scene.clock.now += timedelta(minutes=11)
    await scene.fix().recover()
    failed = await scene.action(action.id)
    assert failed.state is ActionState.FAILED
    assert "down for too long" in (failed.result or "")
    assert scene.statuses("gone@onprem.test") == {Status.QUEUED}


async def test_a_saga_that_breaks_is_settled_at_the_next_tick(scene: Scene) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    action_id = await scene.executed(scene.fix(at="acted reject_invalid", then=broken))
    assert (await scene.action(action_id)).state is ActionState.EXECUTING
    await scene.fix().verify_due()
    assert (await scene.action(action_id)).state is ActionState.FAILED
    assert scene.system.faults.seen[Operation.REJECT] == 1


# Verification


async def test_an_hour_later_the_fix_is_verified_and_the_incident_retires(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFYING
    scene.clock.now += HOUR
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFIED
    assert await scene.state() is IncidentState.RESOLVED
    assert (await scene.told())[-2:] == ["fix_verified", "resolved"]
    assert (await scene.last(EventKind.RESOLVED)) == {"reason": "retired"}
    assert (await scene.last(EventKind.FIX_VERIFIED))["detail"] == [
        "As set: of 3 messages to invalid recipients: 3 rejected.",
        "As set: onprem.test is Authoritative.",
        "As set: “To on-premises” is disabled.",
        "Not rejected and still waiting: 2 for valid@onprem.test; the first bounces at 2026-11-25 03:00 UTC.",
        "The connector is off: it is no longer probed.",
    ]
    assert scene.probe.asked == []


@pytest.mark.parametrize("ok", [True, False])
async def test_a_connector_that_stays_on_is_probed_and_its_incident_stays_open(scene: Scene, ok: bool) -> None:
    fix = scene.fix()
    scene.probe.ok = ok
    await scene.executed(fix, (StepKind.REJECT_INVALID,))
    scene.clock.now += HOUR
    await fix.verify_due()
    assert await scene.state() is IncidentState.FIRING
    line = (await scene.last(EventKind.FIX_VERIFIED))["detail"][-1]
    assert line == (
        "Probe: the smart host takes connections again."
        if ok
        else "Probe: 450 4.4.316 Connection refused; the error is still there."
    )


async def test_a_probe_that_breaks_costs_only_its_line(scene: Scene) -> None:
    async def broken(_connector_id: int) -> ProbeRecord:
        raise RuntimeError("a bug")

    fix = Fix(scene.store, {"lab": scene.backend}, broken, scene.policy, scene.clock, settle=0.0)
    await scene.executed(fix, (StepKind.REJECT_INVALID,))
    scene.clock.now += HOUR
    await fix.verify_due()
    assert (await scene.last(EventKind.FIX_VERIFIED))["detail"][-1] == "The probe couldn't be run."


async def test_no_mail_left_is_said_so(scene: Scene) -> None:
    fix = scene.fix()
    await scene.executed(fix)
    scene.clock.now += HOUR
    scene.system.tenant.reject([(key, "valid@onprem.test") for key in ("m1", "m4")], "", START)
    await fix.verify_due()
    assert "No mail waits at this connector any more." in (await scene.last(EventKind.FIX_VERIFIED))["detail"]


async def test_a_setting_that_somebody_put_back_is_not_yet_and_finally_failed(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.system.tenant.set_connector_enabled("c1", True, START)
    for expected in (ActionState.VERIFYING, ActionState.VERIFYING, ActionState.FAILED):
        scene.clock.now += HOUR
        await fix.verify_due()
        assert (await scene.action(action_id)).state is expected
    assert (await scene.told())[-3:] == ["fix_not_yet", "fix_not_yet", "fix_failed"]
    assert "Not as set: “To on-premises” is enabled." in ((await scene.action(action_id)).result or "")
    assert await scene.state() is IncidentState.FIRING


async def test_a_mail_system_that_is_down_at_verification_is_asked_again(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.clock.now += HOUR
    await scene.system.api_down()
    await fix.verify_due()
    assert "can't be read back" in (await scene.last(EventKind.FIX_NOT_YET))["detail"][0]
    await scene.system.api_up()
    scene.clock.now += HOUR
    await fix.verify_due()
    assert (await scene.action(action_id)).state is ActionState.VERIFIED


async def test_a_backend_that_left_the_settings_is_not_yet(scene: Scene) -> None:
    await scene.executed(scene.fix())
    scene.clock.now += HOUR
    await Fix(scene.store, {}, scene.probe, scene.policy, scene.clock).verify_due()
    assert "isn't among MFI_BACKENDS" in (await scene.last(EventKind.FIX_NOT_YET))["detail"][0]


async def test_a_verification_that_breaks_is_put_off_not_repeated_at_every_tick(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    spoiled = "UPDATE actions SET plan = '{}' WHERE id = ?"
    await scene.store.write(lambda db: db.execute(spoiled, [action_id]) and None)
    scene.clock.now += HOUR
    await fix.verify_due()
    assert (await scene.action(action_id)).verify_at == START + 2 * HOUR


# Undo


@pytest.mark.parametrize("verified", [False, True])
async def test_undo_restores_the_settings_and_says_what_it_cannot_restore(scene: Scene, verified: bool) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    if verified:
        scene.clock.now += HOUR
        await fix.verify_due()
    undone = await fix.undo(action_id, "U2")
    assert undone == Undone(
        (
            "“To on-premises” is enabled again.",
            "onprem.test is Internal Relay again.",
            "3 rejected messages can't be brought back; every sender has a bounce.",
        )
    )
    tenant = scene.system.tenant
    assert tenant.connectors["c1"].enabled
    assert tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY
    connector = await scene.store.read(lambda db: connectors.by_key(db, "lab", "c1"))
    assert connector is not None
    assert connector.enabled
    action = await scene.action(action_id)
    assert (action.state, action.undone_by) == (ActionState.UNDONE, "U2")
    assert await scene.steps(action_id) == [StepState.UNDONE] * 3
    assert await scene.state() is (IncidentState.RESOLVED if verified else IncidentState.FIRING)
    assert ("U2", "fix.undo", True) in await scene.audited()


@pytest.mark.parametrize("holds", [True, False])
async def test_a_verification_that_ends_under_a_running_undo_changes_nothing(scene: Scene, holds: bool) -> None:
    def broken() -> None:
        raise RuntimeError("the undo is at work for a while")

    async def undone_meanwhile(connector_id: int) -> ProbeRecord:
        with pytest.raises(RuntimeError):
            await scene.fix(at="undo begun", then=broken).undo(action_id, "U2")
        assert (await scene.action(action_id)).state is ActionState.EXECUTING
        return await scene.probe(connector_id)

    action_id = await scene.executed(scene.fix(), (StepKind.REJECT_INVALID, StepKind.DOMAIN_AUTHORITATIVE))
    found = DomainType.AUTHORITATIVE if holds else DomainType.INTERNAL_RELAY
    scene.system.tenant.set_domain_type("onprem.test", found)
    scene.clock.now += HOUR
    last_try = replace(scene.policy, verify_attempts=1)
    await Fix(scene.store, {"lab": scene.backend}, undone_meanwhile, last_try, scene.clock, settle=0.0).verify_due()
    assert (await scene.action(action_id)).state is ActionState.UNDONE
    assert (await scene.told())[-2:] == ["fix_finished", "fix_undone"]
    assert scene.system.tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY


async def test_eight_undo_clicks_undo_once(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    outcomes = await asyncio.gather(*(fix.undo(action_id, f"U{n}") for n in range(8)))
    assert sum(isinstance(one, Undone) for one in outcomes) == 1
    refused = [one for one in outcomes if isinstance(one, Refusal)]
    assert {one.actor for one in refused} == {(await scene.action(action_id)).undone_by}
    assert scene.system.faults.seen[Operation.SWITCH] == 2


async def test_what_somebody_changed_since_is_left_alone(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    tenant = scene.system.tenant
    tenant.add_connector(replace(tenant.connectors["c1"], smart_hosts=("127.0.0.3",)))
    tenant.set_domain_type("onprem.test", DomainType.EXTERNAL_RELAY)
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert undone.lines[0] == "“To on-premises” was changed by somebody since and is left alone."
    assert undone.lines[1] == "onprem.test was changed since to External Relay and is left alone."
    assert not tenant.connectors["c1"].enabled


async def test_what_takes_effect_only_after_it_was_read_back_is_undone_as_our_own(scene: Scene) -> None:
    scene.system.faults.set(Operation.REJECT, Fault.DROP_BEFORE)
    rejecting = await scene.executed(scene.fix(), (StepKind.REJECT_INVALID,))
    scene.system.faults.set(Operation.DOMAIN_TYPE, Fault.DROP_BEFORE)
    typing = await scene.executed(scene.fix(), (StepKind.DOMAIN_AUTHORITATIVE,))
    scene.system.faults.set(Operation.SWITCH, Fault.DROP_BEFORE)
    switching = await scene.executed(scene.fix(), (StepKind.DISABLE_CONNECTOR,))
    assert {(await scene.action(a)).state for a in (rejecting, typing, switching)} == {ActionState.FAILED}
    scene.system.faults.clear()
    tenant = scene.system.tenant
    tenant.reject([("m2", "gone@onprem.test")], "", START)
    tenant.set_domain_type("onprem.test", DomainType.AUTHORITATIVE)
    tenant.set_connector_enabled("c1", False, START)
    said = [await scene.fix().undo(action_id, "U1") for action_id in (switching, typing, rejecting)]
    assert said == [
        Undone(("“To on-premises” is enabled again.",)),
        Undone(("onprem.test is Internal Relay again.",)),
        Undone(("1 rejected message can't be brought back; every sender has a bounce.",)),
    ]
    assert tenant.connectors["c1"].enabled
    assert tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY


async def test_what_somebody_put_back_already_needs_no_undo(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.system.tenant.set_connector_enabled("c1", True, START)
    scene.system.tenant.set_domain_type("onprem.test", DomainType.INTERNAL_RELAY)
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert undone.lines[:2] == ("“To on-premises” is enabled already.", "onprem.test is Internal Relay already.")


async def test_a_connector_that_is_gone_cannot_be_restored(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    del scene.system.tenant.connectors["c1"]
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert "gone from the mail system" in undone.lines[0]


async def test_an_undo_that_fails_can_be_tried_again(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    scene.system.faults.set(Operation.SWITCH, Fault.REFUSE)
    refused = await fix.undo(action_id, "U1")
    assert isinstance(refused, Refusal)
    assert "not complete" in refused.reason
    assert (await scene.action(action_id)).state is ActionState.FAILED
    scene.system.faults.clear()
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert undone.lines == ("“To on-premises” is enabled again.",)


async def test_a_fix_that_failed_halfway_can_be_undone(scene: Scene) -> None:
    scene.system.faults.set(Operation.SWITCH, Fault.REFUSE)
    fix = scene.fix()
    action_id = await scene.executed(fix)
    undone = await fix.undo(action_id, "U1")
    assert isinstance(undone, Undone)
    assert scene.system.tenant.domains["onprem.test"].type is DomainType.INTERNAL_RELAY


async def test_an_interrupted_undo_is_finished_at_the_next_start(scene: Scene) -> None:
    def broken() -> None:
        raise RuntimeError("killed")

    action_id = await scene.executed(scene.fix())
    with pytest.raises(RuntimeError):
        await scene.fix(at="undo begun", then=broken).undo(action_id, "U1")
    await scene.fix().recover()
    assert (await scene.action(action_id)).state is ActionState.UNDONE
    assert scene.system.tenant.connectors["c1"].enabled


async def test_an_interrupted_undo_ends_as_it_is_once_actions_are_switched_off(scene: Scene) -> None:
    def broken() -> None:
        raise RuntimeError("killed")

    action_id = await scene.executed(scene.fix())
    with pytest.raises(RuntimeError):
        await scene.fix(at="undo begun", then=broken).undo(action_id, "U2")
    await scene.fix(actions_on=False).recover()
    ended = await scene.action(action_id)
    assert (ended.state, ended.result) == (
        ActionState.FAILED,
        "Actions were switched off (MFI_ACTIONS); nothing more was done.",
    )
    assert not scene.system.tenant.connectors["c1"].enabled
    assert (await scene.audited())[0] == ("U2", "fix.undo", False)
    assert isinstance(await scene.fix().undo(action_id, "U2"), Undone)


async def test_undo_is_refused_where_there_is_nothing_to_undo(scene: Scene) -> None:
    fix = scene.fix()
    unknown = await fix.undo("nope", "U1")
    assert isinstance(unknown, Refusal)
    action = await scene.offered(fix)
    early = await fix.undo(action.id, "U1")
    assert isinstance(early, Refusal)
    assert "nothing to undo yet" in early.reason
    await fix.submit(action.id, "U1", ALL, NAME)
    del scene.system.tenant.connectors["c1"]
    await fix.execute(action.id)
    nothing = await fix.undo(action.id, "U1")
    assert isinstance(nothing, Refusal)
    assert "changed nothing" in nothing.reason
    assert [a[2] for a in await scene.audited()] == [False, True, False, False]


async def test_undo_is_refused_while_actions_are_off_or_another_fix_runs(scene: Scene) -> None:
    fix = scene.fix()
    action_id = await scene.executed(fix)
    off = await scene.fix(actions_on=False).undo(action_id, "U1")
    assert isinstance(off, Refusal)
    assert "MFI_ACTIONS" in off.reason
    other = replace(await scene.action(action_id), id="blocker", incident_id=await scene.open_incident("4.4.315"))
    await scene.store.write(lambda db: actions.offer(db, replace(other, expires_at=START + HOUR)))
    await scene.store.write(lambda db: actions.claim(db, "blocker", "U9", ALL, START))
    blocked = await fix.undo(action_id, "U1")
    assert isinstance(blocked, Refusal)
    assert "Another fix" in blocked.reason


async def test_everything_that_came_of_a_yes_is_on_record_under_its_name(scene: Scene) -> None:
    fix = scene.fix()
    number = await scene.executed(fix)
    scene.clock.now += HOUR
    await fix.verify_due()
    assert isinstance(await fix.undo(number, "U2"), Undone)
    verbs = ["fix.step", "fix.step", "fix.step", "fix.done", "fix.verified"]
    assert await scene.results() == [*(("U1", verb) for verb in verbs), ("U2", "fix.undone")]
    assert (await scene.store.read(audit.verify)).broken_at is None
