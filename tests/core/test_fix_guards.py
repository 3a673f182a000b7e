"""What speaks against a fix: of the whole, and of single steps; each refusal names the way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.core.capabilities import Capability
from bot.core.fix_guards import MICROSOFT_MX
from bot.core.fix_plan import NoPlan, Plan
from bot.core.fix_planning import make_plan, make_retry, reconsider
from bot.core.fix_situation import Situation
from bot.core.policy import Policy
from storage.records import Caution, ConnectorKind, IncidentState, ProbeRecord, StepKind
from tests.core.fix_world import (
    ALL,
    BASE,
    CONNECTOR,
    DOMAIN,
    INCIDENT,
    NOW,
    ON,
    REJECT,
    RELAY,
    RETRY,
    connector,
    facts,
    kinds,
    mail,
    plan,
)

Change = Callable[[Situation], Situation]
ONLINE = (ALL - {Capability.REJECT_MESSAGES, Capability.REJECT_SINGLE_RECIPIENTS, Capability.RETRY_QUEUE}) | {
    Capability.REJECTS_AT_RETRY
}
OUR_MX = {"onprem.test": ("onprem-test.mail.protection.outlook.com",)}


def probe(*, ok: bool = True, age: timedelta = timedelta(minutes=2), stage: str = "done") -> ProbeRecord:
    return ProbeRecord(
        connector_id=1, at=NOW - age, ok=ok, code=None, cause=None, status=None, stage=stage, degraded=False,
        elapsed_ms=5, document="{}",
    )  # fmt: skip


def many(valid: int, invalid: int) -> dict[str, Any]:
    good = [f"v{n}@onprem.test" for n in range(valid)]
    bad = [f"x{n}@onprem.test" for n in range(invalid)]
    waiting = tuple(mail(address, address) for address in (*good, *bad))
    return {"waiting": waiting, "valid": frozenset(good), "invalid": frozenset(bad)}


# Of the whole plan


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        (replace(BASE, probe=probe()), "reached the servers of “To on-prem” 2 min ago: they are alive"),
        (replace(BASE, begun_lately=10), "10 fixes were begun within the last hour"),
    ],
)
def test_a_living_server_and_too_many_fixes_refuse_the_whole(situation: Situation, words: str) -> None:
    made = make_plan(situation, ON, NOW)
    assert isinstance(made, NoPlan)
    assert words in made.reason


@pytest.mark.parametrize("seen", [probe(ok=False), probe(age=timedelta(minutes=16)), probe(stage="dns"), None])
def test_a_probe_that_failed_is_old_or_dialled_nobody_proves_no_life(seen: ProbeRecord | None) -> None:
    assert kinds(plan(replace(BASE, probe=seen, begun_lately=9))) == [REJECT, DOMAIN, CONNECTOR]


# Of single steps

GUARDS: list[tuple[str, Change, list[StepKind], str, str]] = [
    (
        "partial directory",
        lambda s: replace(s, invalid=frozenset({"gone@onprem.test"})),
        [REJECT, DOMAIN],
        "gave no answer for 1 recipient",
        "mfi doctor",
    ),
    (
        "no directory",
        lambda s: replace(s, valid=frozenset(), invalid=frozenset(), capabilities=ALL - {Capability.READ_RECIPIENTS}),
        [REJECT, DOMAIN],
        "shows no directory",
        "list of the recipients",
    ),
    (
        "old directory",
        lambda s: replace(s, directory_at=NOW - timedelta(hours=25)),
        [REJECT, DOMAIN],
        "The list of recipients is 1 d 1 h old",
        "fresh list",
    ),
    (
        "many invalid",
        lambda s: replace(s, **many(2, 8)),
        [REJECT, DOMAIN],
        "8 of 10 recipients look invalid",
        "by hand",
    ),
    ("unseen", lambda s: replace(s, unseen=5), [DOMAIN], "5 of 9 waiting messages", "when fewer wait"),
    (
        "on-premises only",
        lambda s: replace(s, delivered_before=frozenset({"left@onprem.test"})),
        [DOMAIN],
        "they exist on-premises only",
        "Add them to the directory",
    ),
    (
        "all mail",
        lambda s: replace(s, seen=facts(cautions=frozenset({Caution.ROUTES_ALL_MAIL}))),
        [CONNECTOR],
        "RouteAllMessagesViaOnPremises",
        "Change the routing",
    ),
    (
        "rules",
        lambda s: replace(s, seen=facts(cautions=frozenset({Caution.RULE_SCOPED}))),
        [CONNECTOR],
        "Mail flow rules",
        "rules that use it",
    ),
    (
        "loop",
        lambda s: replace(
            s, mail_exchangers=OUR_MX, capabilities=ONLINE, domains=(replace(RELAY, match_subdomains=True),)
        ),
        [CONNECTOR],
        "The MX of onprem.test is Exchange Online itself",
        "Make it Authoritative first",
    ),
    (
        "loop, and nobody can change the domain",
        lambda s: replace(s, mail_exchangers=OUR_MX, capabilities=ONLINE - {Capability.SET_DOMAIN_TYPE}),
        [CONNECTOR],
        "would loop",
        "point the MX",
    ),
]


@pytest.mark.parametrize(
    ("change", "refused", "why", "way_out"), [row[1:] for row in GUARDS], ids=[r[0] for r in GUARDS]
)
def test_each_guard_refuses_its_steps_and_says_the_way_out(
    change: Change, refused: list[StepKind], why: str, way_out: str
) -> None:
    found = plan(change(BASE))
    assert [one.kind for one in found.refused] == refused
    assert set(kinds(found)).isdisjoint(refused)
    assert why in found.refused[0].why
    assert way_out in found.refused[0].way_out
    assert Plan.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "situation",
    [
        replace(BASE, directory_at=NOW - timedelta(hours=23)),
        replace(BASE, **many(3, 9)),
        replace(BASE, **many(0, 9)),
        replace(BASE, seen=facts(cautions=frozenset({Caution.TEST_MODE, Caution.ALL_ACCEPTED_DOMAINS}))),
        replace(BASE, mail_exchangers=OUR_MX),
        replace(BASE, capabilities=ONLINE, mail_exchangers={"onprem.test": ("mail.onprem.test",)}),
    ],
)
def test_what_is_just_good_enough_refuses_nothing(situation: Situation) -> None:
    assert plan(situation).refused == ()


def test_a_plan_of_refusals_alone_is_shown_all_the_same() -> None:
    seen = facts(enabled=False)
    found = plan(replace(BASE, connector=connector(enabled=False), seen=seen, **many(0, 12)))
    assert (found.steps, [one.kind for one in found.refused]) == ((), [REJECT, DOMAIN])


def test_where_mail_would_loop_the_connector_goes_off_only_together_with_the_domain() -> None:
    found = plan(replace(BASE, mail_exchangers=OUR_MX, capabilities=ONLINE))
    assert kinds(found) == [DOMAIN, CONNECTOR]
    lacking = found.lacking([CONNECTOR])
    assert lacking is not None
    assert lacking.kind is DOMAIN
    assert found.lacking([CONNECTOR, DOMAIN]) is None
    assert all(host.endswith(MICROSOFT_MX) for host in OUR_MX["onprem.test"])


def test_where_mail_would_loop_and_the_domain_is_refused_the_connector_stays_on_too() -> None:
    found = plan(replace(BASE, mail_exchangers=OUR_MX, capabilities=ONLINE, invalid=frozenset()))
    assert (found.steps, [one.kind for one in found.refused]) == ((), [REJECT, DOMAIN, CONNECTOR])
    assert "needs “Make onprem.test Authoritative” first, or mail could loop" in found.refused[2].why
    assert found.refused[2].way_out == found.refused[1].way_out


def test_an_mx_that_dns_does_not_tell_is_taken_for_one_that_comes_back() -> None:
    unknown = replace(BASE, mail_exchangers={"onprem.test": None}, capabilities=ONLINE)
    lacking = plan(unknown).lacking([CONNECTOR])
    assert lacking is not None
    assert lacking.kind is DOMAIN
    (refused,) = plan(replace(unknown, domains=(replace(RELAY, match_subdomains=True),))).refused
    assert refused.why == "DNS doesn't tell the MX of onprem.test: without the connector its mail could loop."


def test_a_server_that_came_back_after_the_offer_stops_what_was_claimed() -> None:
    why = reconsider(replace(BASE, probe=probe()), [REJECT, CONNECTOR], ON, NOW)
    assert isinstance(why, str)
    assert "they are alive" in why


def test_whoever_got_mail_before_is_not_rejected_though_the_directory_lacks_them() -> None:
    found = plan(replace(BASE, delivered_before=frozenset({"left@onprem.test", "valid@onprem.test"})))
    step = found.step(REJECT)
    assert step is not None
    assert [recipient for _, recipient in step.refs] == ["Gone@onprem.test", "gone@onprem.test"]
    assert "got mail through this connector before: left alone" in found.notes[0]


def test_where_only_whole_messages_can_be_rejected_no_other_recipient_is_lost() -> None:
    whole = ALL - {Capability.REJECT_SINGLE_RECIPIENTS}
    found = plan(replace(BASE, capabilities=whole, mixed=frozenset({"m3"})))
    step = found.step(REJECT)
    assert step is not None
    assert step.refs == (("m2", "gone@onprem.test"),), "m1 has a valid recipient, m3 one at another connector"
    assert "can only reject whole messages: left alone" in found.notes[0]
    assert found.invalid_waiting == 3


def test_exchange_online_is_told_whom_it_will_reject_and_these_are_followed() -> None:
    found = plan(replace(BASE, capabilities=ONLINE))
    step = found.step(DOMAIN)
    assert step is not None
    assert [recipient for _, recipient in step.refs] == ["Gone@onprem.test", "gone@onprem.test", "left@onprem.test"]
    assert "At its next retry it rejects 3 messages to 2 invalid recipients." in step.effect
    assert [one.count for one in step.senders] == [2, 1]
    assert "followed until it has ended" in step.proof
    assert found.by_hand == (), "the rejecting comes with the domain"


# Retry


def test_what_waits_can_be_tried_again_once_the_probe_is_good() -> None:
    incident = replace(INCIDENT, code="4.4.315")
    partner = connector(kind=ConnectorKind.PARTNER)
    seen = replace(BASE, incident=incident, rule=None, connector=partner, seen=partner, probe=probe(), unseen=6)
    made = make_retry(seen, ON, NOW)
    assert isinstance(made, Plan)
    assert kinds(made) == [RETRY]
    assert made.steps[0].title == "Try 10 waiting messages again now"
    assert len(made.steps[0].refs) == 4
    assert made.waiting == 10


def test_a_retry_goes_to_the_next_hop_by_mx_too() -> None:
    site = connector(smart_hosts=())
    made = make_retry(replace(BASE, connector=site, seen=site, probe=probe()), Policy(), NOW)
    assert isinstance(made, Plan)
    assert made.dry_run
    assert "connects to the next hop" in made.steps[0].effect


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: replace(s, incident=replace(INCIDENT, state=IncidentState.RESOLVED)), "resolved already"),
        (lambda s: replace(s, queue_read_at=None), "too long ago"),
        (lambda s: replace(s, capabilities=ONLINE), "retries by itself only"),
        (lambda s: replace(s, waiting=()), "Nothing waits"),
        (lambda s: replace(s, connector=connector(enabled=False), seen=facts(enabled=False)), "enable it first"),
        (lambda s: replace(s, probe=None), "last probe of “To on-prem” failed"),
        (lambda s: replace(s, probe=probe(ok=False)), "re-probe when it is repaired"),
        (lambda s: replace(s, probe=probe(stage="dns")), "re-probe when it is repaired"),
        (lambda s: replace(s, begun_lately=10), "within the last hour"),
    ],
)
def test_a_retry_that_would_be_in_vain_is_refused(change: Change, words: str) -> None:
    made = make_retry(change(replace(BASE, probe=probe())), ON, NOW)
    assert isinstance(made, NoPlan)
    assert words in made.reason
