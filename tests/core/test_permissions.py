"""Who may do what: the whole matrix, as a table."""

from __future__ import annotations

import pytest

from bot.core.permissions import (
    Admins,
    Home,
    Membership,
    Person,
    Standing,
    Verb,
    decide,
    needs_lookup,
    same_workspace,
    worth_a_look,
)

HOME = Home(team_id="T1", enterprise_id="E1", bot_user_id="UBOT")
ALONE = Home(team_id="T1")
LISTED, GROUPED, NOBODY = "U0LISTED", "U0GROUPED", "U0NOBODY"
BOTH = Admins.of(["U0LISTED", "W0LISTED", "S0GROUP"])
PEOPLE = Admins.of([LISTED])
ACTING = [verb for verb in Verb if verb is not Verb.READ]


def person(user_id: str, team: str | None = "T1", request: str | None = "T1", enterprise: str | None = None) -> Person:
    return Person(user_id=user_id, team_id=team, request_team_id=request, enterprise_id=enterprise)


def test_admins_are_sorted_into_people_and_groups() -> None:
    admins = Admins.of([" U1 ", "W2", "S3", "C4", ""])
    assert admins.users == {"U1", "W2"}
    assert admins.groups == {"S3"}
    assert admins
    assert not Admins.of(["C4"])


@pytest.mark.parametrize(
    ("who", "home", "expected"),
    [
        (person("U1"), HOME, True),
        (person("U1", None), HOME, True),
        (person("U1", "T2", "T2"), HOME, False),
        (person("U1", "T2", "T1"), HOME, False),
        (person("U1", "T2", "T1"), None, False),
        (person("U1", "T2", "T2", "E1"), HOME, True),
        (person("U1", "T2", "T1", "E1"), HOME, True),
        (person("U1", "T2", "T2", "E2"), HOME, False),
        (person("U1", "T2", "T2", None), ALONE, False),
        (person("U1"), None, None),
        (person("U1", None, None), HOME, None),
        (person("U1", None, None), None, None),
    ],
)
def test_whether_somebody_is_of_our_workspace(who: Person, home: Home | None, expected: bool | None) -> None:
    assert same_workspace(who, home) is expected


@pytest.mark.parametrize(
    ("verb", "user", "admins", "expected"),
    [
        (Verb.READ, GROUPED, BOTH, False),
        (Verb.FIX, LISTED, BOTH, False),
        (Verb.FIX, GROUPED, PEOPLE, False),
        (Verb.FIX, GROUPED, BOTH, True),
    ],
)
def test_slack_is_asked_only_when_the_answer_depends_on_it(
    verb: Verb, user: str, admins: Admins, expected: bool
) -> None:
    assert needs_lookup(verb, person(user), admins) is expected


@pytest.mark.parametrize("verb", Verb)
def test_a_listed_account_is_looked_at_where_a_mail_system_is_touched(verb: Verb) -> None:
    touching = verb in (Verb.FIX, Verb.APPROVE, Verb.RETRY, Verb.UNDO)
    assert worth_a_look(verb, person(LISTED), BOTH) is touching
    assert not worth_a_look(verb, person(GROUPED), BOTH)


@pytest.mark.parametrize("membership", Membership)
@pytest.mark.parametrize("standing", [Standing.MEMBER, Standing.UNKNOWN])
@pytest.mark.parametrize("home", [HOME, ALONE])
@pytest.mark.parametrize("user", [LISTED, GROUPED, NOBODY])
def test_everybody_of_the_workspace_reads_whatever_could_not_be_looked_up(
    user: str, home: Home | None, standing: Standing, membership: Membership
) -> None:
    assert decide(Verb.READ, person(user), admins=BOTH, home=home, membership=membership, standing=standing)


@pytest.mark.parametrize(("user", "allowed"), [(LISTED, True), (GROUPED, False), (NOBODY, False)])
def test_before_our_workspace_is_known_only_the_listed_read(user: str, allowed: bool) -> None:
    decision = decide(Verb.READ, person(user), admins=BOTH, home=None)
    assert decision.allowed is allowed
    assert allowed or "which workspace is ours" in decision.reason


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize(
    ("who", "standing", "says"),
    [
        (person("UBOT"), Standing.MEMBER, "Bots"),
        (person(LISTED), Standing.BOT, "Bots"),
        (person(LISTED), Standing.OUTSIDER, "not of this workspace"),
        (person(LISTED), Standing.DEACTIVATED, "deactivated"),
        (person(LISTED, "T2", "T2"), Standing.MEMBER, "not of this workspace"),
        (person(LISTED, "T2", "T1"), Standing.MEMBER, "not of this workspace"),
    ],
)
def test_bots_strangers_and_closed_accounts_may_nothing(verb: Verb, who: Person, standing: Standing, says: str) -> None:
    decision = decide(verb, who, admins=BOTH, home=HOME, membership=Membership.YES, standing=standing)
    assert not decision
    assert says in decision.reason


YES, NO, UNKNOWN = Membership.YES, Membership.NO, Membership.UNKNOWN
MEMBER, UNSEEN = Standing.MEMBER, Standing.UNKNOWN


@pytest.mark.parametrize("verb", ACTING)
@pytest.mark.parametrize(
    ("user", "admins", "home", "membership", "standing", "allowed", "says"),
    [
        (LISTED, BOTH, HOME, UNKNOWN, UNSEEN, True, "Listed"),
        (LISTED, BOTH, None, UNKNOWN, UNSEEN, True, "Listed"),
        (LISTED, PEOPLE, HOME, NO, MEMBER, True, "Listed"),
        (LISTED, Admins(), HOME, YES, MEMBER, False, "MFI_ADMINS is empty"),
        (GROUPED, BOTH, HOME, YES, MEMBER, True, "user group"),
        (GROUPED, BOTH, HOME, NO, MEMBER, False, "not one of the people"),
        (GROUPED, BOTH, HOME, UNKNOWN, MEMBER, False, "did not say"),
        (GROUPED, BOTH, HOME, YES, UNSEEN, False, "did not confirm"),
        (GROUPED, BOTH, HOME, YES, Standing.GUEST, False, "Guests may not act"),
        (LISTED, BOTH, HOME, UNKNOWN, Standing.GUEST, False, "Guests may not act"),
        (GROUPED, BOTH, None, YES, MEMBER, False, "did not confirm"),
        (GROUPED, PEOPLE, HOME, UNKNOWN, UNSEEN, False, "not one of the people"),
        (NOBODY, PEOPLE, HOME, NO, MEMBER, False, "not one of the people"),
    ],
)
def test_acting_is_for_admins_and_fails_closed(
    *,
    verb: Verb,
    user: str,
    admins: Admins,
    home: Home | None,
    membership: Membership,
    standing: Standing,
    allowed: bool,
    says: str,
) -> None:
    decision = decide(verb, person(user), admins=admins, home=home, membership=membership, standing=standing)
    assert decision.allowed is allowed
    assert says in decision.reason
