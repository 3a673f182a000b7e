"""What Fix now offers, refuses, leaves alone and notices as changed: tables over one situation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.core.capabilities import Capability, Family, Place
from bot.core.fix_plan import NoPlan, Plan, changes, would_do
from bot.core.fix_planning import make_plan, reconsider
from bot.core.fix_situation import Situation
from bot.core.fix_words import domain_state
from bot.core.policy import Policy
from storage.records import (
    ConnectorFacts,
    ConnectorKind,
    DomainFacts,
    DomainType,
    IncidentState,
    MessageStatus,
    StepKind,
)
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
    WAITING,
    Rule,
    connector,
    facts,
    kinds,
    mail,
    plan,
)


def test_the_plan_counts_everything_it_would_touch() -> None:
    found = plan()
    assert (found.waiting, found.valid_waiting, found.unknown_waiting, found.invalid_recipients) == (4, 1, 0, 2)
    assert kinds(found) == [REJECT, DOMAIN, CONNECTOR]
    reject, domain, connector = found.steps
    assert reject.title == "Reject 3 messages to 2 invalid recipients"
    assert reject.effect == "2 senders get a bounce. 1 of 4 stay queued."
    assert [(one.sender, one.count) for one in reject.senders] == [("one@contoso.test", 2), ("two@contoso.test", 1)]
    assert reject.irreversible is not None
    assert reject.refs == (("m1", "Gone@onprem.test"), ("m2", "gone@onprem.test"), ("m3", "left@onprem.test"))
    assert (domain.title, domain.domains) == ("Make onprem.test Authoritative", ("onprem.test",))
    assert connector.effect == (
        "No more attempts to reach mail.onprem.test. Still queued then: 1 message; the first bounce is due at "
        "2026-11-25 03:00 UTC."
    )
    assert (found.by_hand, found.notes, found.dry_run) == ((), (), False)


def test_a_plan_for_postfix_speaks_of_postfix() -> None:
    found = plan(replace(BASE, place=Place(family=Family.POSTFIX)))
    assert kinds(found) == kinds(plan()), "the steps are the same ones"
    _, domain, hop = found.steps
    assert domain.title == "Accept mail for onprem.test only for known recipients"
    assert "relay_recipient_maps" in domain.effect
    assert "(5.1.1)" in domain.effect
    assert hop.title == "Hold all mail for the next hop “To on-prem”"
    assert hop.effect == (
        "No more attempts to reach mail.onprem.test. Still queued then: 1 message; the first bounce is due at "
        "2026-11-25 03:00 UTC. New mail for its domains is put off with 450 4.3.2, so it stays with its sender, who "
        "tries again."
    )
    told = str(found)
    assert not [word for word in ("Authoritative", "Internal Relay", "Exchange") if word in told]


@pytest.mark.parametrize(
    ("family", "note"),
    [
        (Family.EXCHANGE_ONLINE, "onprem.test matches sub-domains, which needs Internal Relay: left alone."),
        (Family.POSTFIX, "onprem.test matches sub-domains: left alone."),
    ],
)
def test_a_domain_with_sub_domains_is_left_alone_in_the_words_of_its_system(family: Family, note: str) -> None:
    domains = (replace(RELAY, match_subdomains=True),)
    assert note in plan(replace(BASE, place=Place(family=family), domains=domains)).notes


@pytest.mark.parametrize(
    ("family", "domain_type", "state"),
    [
        (Family.EXCHANGE_ONLINE, "authoritative", "is Authoritative"),
        (Family.EXCHANGE_SERVER, "internal_relay", "is Internal Relay"),
        (Family.POSTFIX, "authoritative", "accepts known recipients only"),
        (Family.POSTFIX, "internal_relay", "accepts any recipient"),
        (Family.POSTFIX, "external_relay", "is External Relay"),
        (Family.POSTFIX, "gone", "is gone"),
    ],
)
def test_how_a_domain_stands_is_said_in_the_words_of_its_system(family: Family, domain_type: str, state: str) -> None:
    assert domain_state(family, domain_type) == state


REFUSED: list[tuple[str, Situation]] = [
    ("#12 is resolved already", replace(BASE, incident=replace(INCIDENT, state=IncidentState.RESOLVED))),
    ("is being verified", replace(BASE, incident=replace(INCIDENT, state=IncidentState.VERIFYING))),
    ("is running right now", replace(BASE, incident=replace(INCIDENT, state=IncidentState.FIXING))),
    ("is running right now", replace(BASE, fix_running=True)),
    ("no cure for 4.4.315", replace(BASE, incident=replace(INCIDENT, code="4.4.315"), rule=None)),
    (
        "no cure for this error: the steps in the alert say",
        replace(BASE, incident=replace(INCIDENT, code="other"), rule=None),
    ),
    ("leads to a partner", replace(BASE, connector=connector(kind=ConnectorKind.PARTNER))),
    ("no longer has the connector", replace(BASE, seen=None)),
    ("was changed in the mail system (smart hosts)", replace(BASE, seen=facts(smart_hosts=("x.test",)))),
    ("was changed in the mail system (enabled)", replace(BASE, seen=facts(enabled=False))),
    ("too long ago", replace(BASE, queue_read_at=NOW - timedelta(minutes=16))),
    ("too long ago", replace(BASE, queue_read_at=None)),
    (
        "Nothing is left to do",
        replace(BASE, connector=connector(enabled=False), seen=facts(enabled=False), domains=(), waiting=()),
    ),
]


@pytest.mark.parametrize(("words", "situation"), REFUSED)
def test_no_plan_where_fix_now_has_no_place(words: str, situation: Situation) -> None:
    made = make_plan(situation, ON, NOW)
    assert isinstance(made, NoPlan)
    assert words in made.reason


def test_one_sender_one_recipient_one_message_are_said_in_the_singular() -> None:
    (step, *_) = plan(replace(BASE, waiting=(WAITING[2],))).steps
    assert step.title == "Reject 1 message to 1 invalid recipient"
    assert step.effect.startswith("1 sender gets a bounce")


def test_only_the_five_who_get_the_most_bounces_are_named() -> None:
    waiting = tuple(mail(f"x{n}", "gone@onprem.test", f"s{n % 7}@contoso.test") for n in range(10))
    found = plan(replace(BASE, waiting=waiting))
    (step, *_) = found.steps
    assert [one.sender for one in step.senders] == [f"s{n}@contoso.test" for n in (0, 1, 2, 3, 4)]
    assert [one.count for one in step.senders] == [2, 2, 2, 1, 1]
    assert step.more_senders == 2
    assert would_do(found, [REJECT])[0].endswith("s3@contoso.test (1), s4@contoso.test (1) and 2 more.")


def test_an_address_in_neither_answer_is_never_rejected_and_withholds_what_rests_on_the_directory() -> None:
    found = plan(replace(BASE, invalid=frozenset({"gone@onprem.test"})))
    assert kinds(found) == [CONNECTOR]
    assert [one.kind for one in found.refused] == [REJECT, DOMAIN]
    assert "gave no answer for 1 recipient, and unknown is not invalid" in found.refused[0].why
    assert not found.by_hand, "what is refused isn't recommended to people's hands either"


def test_mail_that_nobody_looked_at_is_counted_named_and_withholds_the_domain() -> None:
    found = plan(replace(BASE, unseen=106))
    assert (found.waiting, found.valid_waiting, found.invalid_waiting, found.unseen) == (110, 1, 3, 106)
    assert kinds(found) == [REJECT, CONNECTOR]
    assert "107 of 110 stay queued." in found.steps[0].effect
    assert "Still queued then: 107 messages;" in found.steps[1].effect
    assert found.steps[1].count == 107
    assert "110 messages wait, and only the 4 oldest were looked at one by one: who the other 106" in found.notes[0]
    assert [(one.kind, one.why) for one in found.refused] == [
        (DOMAIN, "106 of 110 waiting messages were not looked at one by one.")
    ]


def test_an_address_that_is_called_both_valid_and_invalid_is_valid() -> None:
    both = frozenset({"valid@onprem.test", "gone@onprem.test", "left@onprem.test"})
    found = plan(replace(BASE, valid=both, invalid=both))
    assert REJECT not in kinds(found)
    assert found.valid_waiting == 4


def test_an_address_outside_our_domains_is_left_alone_even_if_called_invalid() -> None:
    waiting = (*WAITING, mail("m5", "x@elsewhere.test"))
    found = plan(replace(BASE, waiting=waiting, invalid=BASE.invalid | {"x@elsewhere.test"}))
    assert found.steps[0].count == 3
    assert found.notes == ("1 message for 1 recipient outside our domains: left alone.",)


def test_sub_domains_belong_to_a_domain_that_matches_them() -> None:
    domain = replace(RELAY, match_subdomains=True)
    waiting = (mail("m1", "gone@a.onprem.test"),)
    found = plan(replace(BASE, domains=(domain,), waiting=waiting, invalid=frozenset({"gone@a.onprem.test"})))
    assert kinds(found) == [REJECT, CONNECTOR]
    assert found.notes == ("onprem.test matches sub-domains, which needs Internal Relay: left alone.",)


def other(*patterns: str, enabled: bool = True) -> ConnectorFacts:
    return facts(key="k2", name="Other", recipient_domains=patterns, enabled=enabled)


@pytest.mark.parametrize(
    ("domain", "patterns", "others", "changed"),
    [
        (RELAY, ("onprem.test",), (), True),
        (RELAY, ("OnPrem.test",), (), True),
        (RELAY, ("*.test",), (), True),
        (RELAY, ("*",), (), True),
        (RELAY, (), (), True),
        (replace(RELAY, name="idle.test"), ("*",), (), False),
        (RELAY, ("elsewhere.test",), (), False),
        (replace(RELAY, type=DomainType.AUTHORITATIVE), ("onprem.test",), (), False),
        (replace(RELAY, type=DomainType.EXTERNAL_RELAY), ("onprem.test",), (), False),
        (RELAY, ("onprem.test",), (other("onprem.test"),), False),
        (RELAY, ("onprem.test",), (other("*.test"),), False),
        (RELAY, ("onprem.test",), (other("onprem.test", enabled=False),), True),
        (RELAY, ("onprem.test",), (other("elsewhere.test"),), True),
    ],
)
def test_only_an_internal_relay_domain_that_this_connector_alone_carries_is_changed(
    domain: DomainFacts, patterns: tuple[str, ...], others: tuple[ConnectorFacts, ...], changed: bool
) -> None:
    site = connector(recipient_domains=patterns)
    found = plan(replace(BASE, connector=site, seen=site, domains=(domain,), others=others))
    assert (DOMAIN in kinds(found)) is changed


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ({Capability.REJECT_MESSAGES}, [DOMAIN, CONNECTOR]),
        ({Capability.READ_RECIPIENTS}, [DOMAIN, CONNECTOR]),
        ({Capability.SET_DOMAIN_TYPE}, [REJECT, CONNECTOR]),
        ({Capability.SET_CONNECTOR_ENABLED}, [REJECT, DOMAIN]),
        (ALL, []),
    ],
)
def test_what_the_backend_cannot_do_is_told_for_a_persons_hands(
    missing: frozenset[Capability], left: list[StepKind]
) -> None:
    found = plan(replace(BASE, capabilities=ALL - missing))
    assert kinds(found) == left
    assert found.by_hand


def test_facts_of_a_system_that_nobody_can_act_on_may_be_old() -> None:
    assert plan(replace(BASE, capabilities=frozenset(), queue_read_at=None)).steps == ()


def test_the_article_decides_which_steps_there_are() -> None:
    assert kinds(plan(replace(BASE, rule=Rule(steps=("disable_connector",))))) == [CONNECTOR]


def test_a_connector_without_waiting_mail_may_still_be_retired() -> None:
    site = connector(smart_hosts=())
    found = plan(replace(BASE, connector=site, seen=site, waiting=()))
    assert kinds(found) == [DOMAIN, CONNECTOR]
    assert found.steps[1].effect == "No more attempts to reach its servers. Still queued then: 0 messages."


def test_while_actions_are_off_the_plan_is_a_dry_run_with_instructions() -> None:
    found = plan(policy=Policy())
    assert found.dry_run
    assert kinds(found) == [REJECT, DOMAIN, CONNECTOR]
    assert [line.partition(":")[0] for line in found.by_hand] == [
        "Invalid recipients",
        "Admin center (https",
        "PowerShell",
        "Admin center (https",
        "PowerShell",
    ]


def test_a_plan_survives_being_stored() -> None:
    found = plan(replace(BASE, waiting=(*WAITING, mail("m5", "x@elsewhere.test"))), Policy())
    assert Plan.from_json(found.to_json()) == found
    assert Plan.from_json(found.to_json()).digest == found.digest


@pytest.mark.parametrize(
    ("typed", "accepted"),
    [("To on-prem", True), ("  to ON-PREM ", True), ("To on-pre", False), ("", False), ("To  on-prem", False)],
)
def test_the_name_must_be_typed_whole(typed: str, accepted: bool) -> None:
    assert plan().accepts_name(typed) is accepted


@pytest.mark.parametrize(
    ("chosen", "picked"),
    [
        ([CONNECTOR, REJECT], (REJECT, CONNECTOR)),
        ([REJECT, REJECT], (REJECT,)),
        ([], None),
        ([DOMAIN, REJECT, CONNECTOR], (REJECT, DOMAIN, CONNECTOR)),
    ],
)
def test_chosen_steps_run_in_their_order(chosen: list[StepKind], picked: tuple[StepKind, ...] | None) -> None:
    assert plan().pick(chosen) == picked


def test_a_step_that_is_not_offered_cannot_be_chosen() -> None:
    found = plan(replace(BASE, domains=(replace(RELAY, match_subdomains=True),)))
    assert found.pick([DOMAIN]) is None
    assert found.step(DOMAIN) is None


def test_the_chosen_steps_can_be_shown_in_words() -> None:
    rejecting, line = would_do(plan(), [REJECT, CONNECTOR])
    assert rejecting.endswith("Bounces go to one@contoso.test (2), two@contoso.test (1).")
    assert line.startswith("Disable the connector “To on-prem”: No more attempts to reach mail.onprem.test.")


CHANGED: list[tuple[ConnectorFacts | None, DomainFacts | None, tuple[str, ...]]] = [
    (facts(), RELAY, ()),
    (None, RELAY, ("the mail system no longer has the connector “To on-prem”",)),
    (facts(enabled=False), RELAY, ("enabled was yes and is no now",)),
    (facts(smart_hosts=()), RELAY, ("smart hosts was mail.onprem.test and is empty now",)),
    (facts(tls_domain="a.test", port=26), RELAY, ("port was empty", "TLS domain was empty and is a.test now")),
    (facts(), None, ("domain onprem.test was internal_relay and is gone now",)),
    (
        facts(),
        replace(RELAY, match_subdomains=True),
        ("domain onprem.test was internal_relay and is internal_relay with sub-domains now",),
    ),
    (facts(partner_contact="noc@x.test", alert_channel="C9"), RELAY, ()),
]


@pytest.mark.parametrize(("seen", "domain", "expected"), CHANGED)
def test_what_changed_since_the_offer_is_named(
    seen: ConnectorFacts | None, domain: DomainFacts | None, expected: tuple[str, ...]
) -> None:
    found = changes(plan(), seen, [domain] if domain else [])
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))


def test_new_mail_is_no_change_but_a_new_setting_is() -> None:
    more = plan(replace(BASE, waiting=(*WAITING, mail("m9", "gone@onprem.test"))))
    moved = connector(port=2525)
    assert more.digest == plan().digest
    assert plan(replace(BASE, connector=moved, seen=moved)).digest != plan().digest


def test_only_what_is_still_queued_and_still_invalid_may_be_rejected_by_now() -> None:
    now = (WAITING[1], replace(WAITING[2], status=MessageStatus.EXPIRED), WAITING[3])
    later = replace(BASE, waiting=now, valid=frozenset({"left@onprem.test"}))
    assert reconsider(later, [REJECT], ON, NOW) == {("m1", "Gone@onprem.test")}
    unanswered = reconsider(replace(later, invalid=frozenset()), [REJECT], ON, NOW)
    assert isinstance(unanswered, str)
    assert "is refused by now. The directory gave no answer for 1 recipient, and unknown is not invalid." in unanswered
    assert reconsider(replace(later, invalid=frozenset()), [CONNECTOR], ON, NOW) == frozenset()
