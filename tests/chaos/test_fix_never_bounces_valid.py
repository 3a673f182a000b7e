"""Whatever waits, whatever the directory says in part or takes back meanwhile: Fix now bounces no valid recipient, no
unknown one, nobody twice, and each report reaches the sender of its message.

A hundred generated queues run with every test run, a thousand with MFI_CHAOS=full.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from bot.core.fix_plan import Plan
from bot.sandbox.mail_system import Fault, MailSystem, Operation
from bot.services.fix import Claimed
from storage.connection import Store
from storage.records import Action, StepKind
from tests.chaos.fix_queues import CASES, KEY, Bench, Case, PickyBackend
from tests.chaos.site import count

QUEUES = count(small=100, full=1000)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Bench]]:
    with asyncio.Runner() as runner:
        made: list[Bench] = []
        system = MailSystem(clock=lambda: made[0].now, tick=None, timeout=1.0)
        runner.run(system.start())
        backend = PickyBackend(system)
        store = runner.run(Store.open(_file(tmp_path_factory), sole=True))
        made.append(Bench(system=system, backend=backend, store=store))
        yield runner, made[0]
        runner.run(backend.close())
        runner.run(store.close())
        runner.run(system.stop())


def _file(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("queues") / "mfi.db"


def may_bounce(case: Case, names: list[str], chosen: frozenset[StepKind]) -> set[str]:
    """Addresses that certainly exist nowhere: ours, answered for, absent, and never reached before.

    What is rejected one by one has to be so at the offer, too; what a domain rejects later, when it was changed. Mail
    that came after the bot's last read it can't know: there the directory of the mail system itself decides.
    """
    by_domain = StepKind.DOMAIN_AUTHORITATIVE in chosen
    moments = (1,) if by_domain else (0, 1)
    ours = {"ours", "below"} if case.sub_domains else {"ours"}
    seen = {n for letter in case.letters for n, _ in letter.to}
    unseen = {n for letter in case.late for n, _ in letter.to} - seen if by_domain else set()
    return {
        names[n]
        for n, one in enumerate(case.addresses)
        if one.place in ours
        and not case.had_mail(n)
        and all((case.told(n, at) or n in unseen) and not one.known[at] for at in moments)
    }


async def run(bench: Bench, case: Case) -> None:
    incident_id, names = await bench.furnish(case)
    try:
        await offered_and_executed(bench, case, incident_id, names)
    finally:
        bench.system.faults.clear()
        await bench.close(incident_id)


async def offered_and_executed(bench: Bench, case: Case, incident_id: int, names: list[str]) -> None:
    fix = bench.fix()
    offer = await fix.offer(incident_id, "U1")
    chosen: frozenset[StepKind] = frozenset()
    if isinstance(offer, Action):
        kinds = {step.kind for step in Plan.from_json(offer.plan).steps}
        assert not (case.sub_domains and StepKind.DOMAIN_AUTHORITATIVE in kinds), "it has to stay internal relay"
        chosen = case.steps & kinds
    bench.know(case, names, 1)
    bench.post(case.late, names)
    if chosen:
        assert isinstance(offer, Action)
        assert isinstance(await fix.submit(offer.id, "U1", tuple(chosen), KEY), Claimed)
        if case.answer_lost:
            bench.system.faults.set(Operation.REJECT, Fault.DROP_AFTER, times=1)
        await fix.execute(offer.id)
        await fix.execute(offer.id)
        await fix.recover()
    bench.now += timedelta(minutes=20)
    bench.system.tenant.sweep(bench.now)
    check(bench, case, names, chosen)


def check(bench: Bench, case: Case, names: list[str], chosen: frozenset[StepKind]) -> None:
    entries, bounced = bench.system.tenant.entries, bench.bounced()
    wrong = {recipient for _, recipient in bounced} - may_bounce(case, names, chosen)
    assert not wrong, f"{wrong} got a bounce"
    assert not bench.backend.lost, "others would have lost their mail"
    assert Counter(bench.reports()) == Counter((entries[ref].message.sender, ref[1]) for ref in bounced)
    counts = bench.counts
    counts.queues, counts.executed = counts.queues + 1, counts.executed + bool(chosen)
    counts.waiting, counts.bounced = counts.waiting + len(entries), counts.bounced + len(bounced)
    counts.kept += len(bench.system.tenant.queued())


@pytest.mark.chaos
@settings(
    max_examples=QUEUES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(case=CASES)
def test_no_valid_and_no_unknown_recipient_is_ever_bounced(bench: tuple[asyncio.Runner, Bench], case: Case) -> None:
    runner, here = bench
    before = here.counts.queues
    runner.run(run(here, case))
    assert here.counts.queues == before + 1


@pytest.mark.chaos
def test_that_many_queues_were_fixed_and_mail_was_bounced_in_some(bench: tuple[asyncio.Runner, Bench]) -> None:
    counts = bench[1].counts
    print(f"\n{counts}")
    assert counts.queues >= QUEUES
    assert counts.bounced > counts.queues / 10
    assert counts.kept + counts.bounced == counts.waiting
