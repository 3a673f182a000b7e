"""Who may: the look-ups in Slack, what is remembered of them, and what happens when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.core.permissions import Admins, Home, Person, Standing, Verb
from bot.slack.client import make_client
from bot.slack.guard import Guard, standing_of
from storage import audit
from storage.connection import Store

ADMIN, OTHER, READER, GROUP = "U0ADMINONE", "U0OTHER", "U0READER", "S0MAILADMINS"


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(world: Any) -> Clock:
    return Clock(world.now)


@pytest.fixture
def make(slack: Any, store: Store, clock: Clock) -> Callable[..., Guard]:
    def guard(*admins: str, deadline: float = 2.0) -> Guard:
        client = make_client(slack.bot_token, slack.api_url, timeout=5)
        chosen = Admins.of(admins or (GROUP,))
        return Guard(client=client, store=store, admins=chosen, clock=clock, deadline=deadline)

    return guard


def person(slack: Any, user: str = ADMIN) -> Person:
    team = slack.workspace.team_id
    return Person(user_id=user, team_id=team, request_team_id=team)


async def test_members_of_the_group_may_and_others_may_not(slack: Any, make: Callable[..., Guard]) -> None:
    guard = make()
    assert await guard.may(Verb.FIX, person(slack))
    assert not await guard.may(Verb.FIX, person(slack, READER))
    assert await guard.may(Verb.READ, person(slack, READER))


async def test_reading_asks_slack_only_which_workspace_is_ours_and_only_once(
    slack: Any, make: Callable[..., Guard]
) -> None:
    guard = make()
    assert all(await asyncio.gather(*(guard.may(Verb.READ, person(slack, READER)) for _ in range(5))))
    assert [call.method for call in slack.calls] == ["auth.test"]


async def test_strangers_read_nothing_before_slack_said_which_workspace_is_ours(
    slack: Any, make: Callable[..., Guard], clock: Clock
) -> None:
    stranger = Person(user_id="U0STRANGER", team_id="T0OTHER", request_team_id="T0OTHER")
    slack.faults.hang("auth.test", times=1)
    guard = make(ADMIN, deadline=0.1)
    for who in (stranger, person(slack, READER)):
        assert "which workspace is ours" in (await guard.may(Verb.READ, who)).reason
    assert await guard.may(Verb.READ, person(slack))
    clock.now += timedelta(seconds=11)
    assert (await guard.may(Verb.READ, stranger)).reason == "You are not of this workspace."
    assert await guard.may(Verb.READ, person(slack, READER))


async def test_our_workspace_is_remembered_over_a_restart_until_slack_tells_it_anew(
    slack: Any, make: Callable[..., Guard]
) -> None:
    first = make()
    await first.recall()
    assert first.home is None
    await first.learn_home()
    await slack.down()
    second = make()
    await second.recall()
    assert (second.home, second.confirmed) == (first.home, False)
    assert await second.may(Verb.READ, person(slack, READER))
    assert not await second.may(Verb.READ, Person(user_id="U9", team_id="T0OTHER", request_team_id="T0OTHER"))
    await second.learn({"team_id": "T0MOVED"})
    assert second.home == Home(team_id="T0MOVED")
    assert second.confirmed


async def test_a_workspace_that_can_not_be_kept_is_known_all_the_same(make: Callable[..., Guard], store: Store) -> None:
    guard = make()
    await store.close()
    await guard.learn({"team_id": "T1"})
    assert guard.home == Home(team_id="T1")


async def test_a_listed_person_needs_no_look_up_even_with_slack_down(slack: Any, make: Callable[..., Guard]) -> None:
    await slack.down()
    assert await make(ADMIN, GROUP).may(Verb.FIX, person(slack))


@pytest.mark.parametrize("verb", [Verb.FIX, Verb.APPROVE, Verb.RETRY, Verb.UNDO])
@pytest.mark.parametrize(
    ("what", "says"), [("is_restricted", "Guests"), ("deleted", "deactivated"), ("is_bot", "Bots")]
)
async def test_a_listed_account_that_is_none_that_may_changes_no_mail_system(
    slack: Any, make: Callable[..., Guard], verb: Verb, what: str, says: str
) -> None:
    setattr(slack.workspace.users[ADMIN], what, True)
    decision = await make(ADMIN).may(verb, person(slack))
    assert not decision
    assert says in decision.reason


async def test_what_slack_said_is_remembered_for_a_while(slack: Any, make: Callable[..., Guard], clock: Clock) -> None:
    guard = make()
    for _ in range(3):
        assert await guard.may(Verb.FIX, person(slack))
    assert len(slack.calls.of("usergroups.users.list")) == 1
    assert len(slack.calls.of("users.info")) == 1
    slack.workspace.groups[GROUP].users.remove(ADMIN)
    assert await guard.may(Verb.ACK, person(slack)), "not asked again yet"
    clock.now += timedelta(minutes=6)
    assert not await guard.may(Verb.ACK, person(slack))


@pytest.mark.parametrize(("verb", "fresh"), [(Verb.FIX, True), (Verb.UNDO, False)])
async def test_a_submit_and_an_undo_are_not_decided_from_memory(
    slack: Any, make: Callable[..., Guard], clock: Clock, verb: Verb, fresh: bool
) -> None:
    guard = make()
    assert await guard.may(verb, person(slack))
    slack.workspace.groups[GROUP].users.remove(ADMIN)
    clock.now += timedelta(seconds=10)
    assert not await guard.may(verb, person(slack), fresh=fresh)


async def test_whoever_said_yes_a_while_ago_is_asked_for_again(slack: Any, make: Callable[..., Guard]) -> None:
    guard = make(OTHER, GROUP)
    assert await guard.may_fix(ADMIN)
    assert await guard.may_fix(OTHER), "listed by id"
    assert not await guard.may_fix(READER)
    slack.workspace.users[ADMIN].deleted = True
    assert not await make().may_fix(ADMIN)


async def test_a_slack_that_is_slow_or_away_is_a_no_for_all_but_the_listed(
    slack: Any, make: Callable[..., Guard]
) -> None:
    slack.faults.hang("auth.test", times=None)
    assert not await make(deadline=0.1).may_fix(ADMIN)
    await slack.down()
    assert not await make().may_fix(ADMIN)
    assert await make(ADMIN, GROUP).may_fix(ADMIN)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda s: s.faults.error("plan_upgrade_required", "usergroups.users.list", times=None),
        lambda s: s.faults.error("missing_scope", "users.info", times=None),
        lambda s: s.faults.error("invalid_auth", "auth.test", times=None),
        lambda s: s.faults.html("usergroups.users.list", times=None),
        lambda s: s.faults.html("users.info", times=None),
        lambda s: s.faults.drop("auth.test", times=None),
        lambda s: s.faults.rate_limit("usergroups.users.list", times=None),
    ],
)
async def test_a_failing_look_up_refuses_acting_with_an_explanation(
    slack: Any, make: Callable[..., Guard], break_it: Callable[[Any], None]
) -> None:
    break_it(slack)
    guard = make()
    decision = await guard.may(Verb.FIX, person(slack))
    assert not decision
    assert "nothing was done" in decision.reason
    assert (await guard.may(Verb.READ, person(slack))).allowed is (guard.home is not None)


async def test_a_failure_is_not_remembered(slack: Any, make: Callable[..., Guard]) -> None:
    slack.faults.error("internal_error", "usergroups.users.list", times=1)
    guard = make()
    assert not await guard.may(Verb.FIX, person(slack))
    assert await guard.may(Verb.FIX, person(slack))


async def test_auth_test_is_not_asked_again_right_after_a_failure(
    slack: Any, make: Callable[..., Guard], clock: Clock
) -> None:
    slack.faults.error("internal_error", "auth.test", times=1)
    guard = make()
    assert await guard.learn_home() is None
    assert await guard.learn_home() is None
    assert guard.workspace_url() is None
    clock.now += timedelta(seconds=11)
    home = await guard.learn_home()
    assert home is not None and home.team_id == slack.workspace.team_id
    assert guard.workspace_url()
    assert len(slack.calls.of("auth.test")) == 2


async def test_a_slow_slack_costs_a_bounded_time(slack: Any, make: Callable[..., Guard]) -> None:
    slack.faults.hang("usergroups.users.list", times=None)
    async with asyncio.timeout(2):
        decision = await make(deadline=0.2).may(Verb.FIX, person(slack))
    assert "did not say" in decision.reason


@pytest.mark.parametrize(
    ("change", "says"), [("is_bot", "Bots"), ("deleted", "deactivated"), ("is_restricted", "Guests may not act")]
)
async def test_an_account_that_is_no_full_member_may_not(
    slack: Any, make: Callable[..., Guard], change: str, says: str
) -> None:
    setattr(slack.workspace.users[ADMIN], change, True)
    assert says in (await make().may(Verb.FIX, person(slack))).reason


HOME = Home(team_id="T1", enterprise_id="E1")


@pytest.mark.parametrize(
    ("found", "home", "expected"),
    [
        ({"id": "U1", "team_id": "T1"}, HOME, Standing.MEMBER),
        ({"id": "U1"}, HOME, Standing.MEMBER),
        ({"id": "U1", "team_id": "T2"}, None, Standing.MEMBER),
        ({"id": "U1", "team_id": "T2"}, HOME, Standing.OUTSIDER),
        ({"id": "U1", "team_id": "T2", "enterprise_user": {"enterprise_id": "E2"}}, HOME, Standing.OUTSIDER),
        ({"id": "U1", "team_id": "T2", "enterprise_user": {"enterprise_id": "E1"}}, HOME, Standing.MEMBER),
        ({"id": "U1", "is_stranger": True}, HOME, Standing.OUTSIDER),
        ({"id": "U1", "is_ultra_restricted": True}, HOME, Standing.GUEST),
        ({"id": "USLACKBOT"}, HOME, Standing.BOT),
    ],
)
def test_what_an_account_is(found: dict[str, Any], home: Home | None, expected: Standing) -> None:
    assert standing_of(found, home) is expected


async def test_the_bot_itself_may_nothing(slack: Any, make: Callable[..., Guard]) -> None:
    guard = make()
    await guard.learn_home()
    assert not await guard.may(Verb.READ, person(slack, slack.workspace.app.bot_user))


async def test_people_of_other_workspaces_may_nothing(slack: Any, make: Callable[..., Guard]) -> None:
    guard = make(ADMIN)
    await guard.learn_home()
    stranger = Person(user_id=ADMIN, team_id="T0OTHER", request_team_id="T0OTHER")
    assert not await guard.may(Verb.READ, stranger)
    assert not await guard.may(Verb.FIX, stranger)


async def test_every_decision_to_act_is_an_audit_row(slack: Any, make: Callable[..., Guard], store: Store) -> None:
    guard = make()
    await guard.audited(Verb.FIX, person(slack), "#12")
    await guard.audited(Verb.ACK, person(slack, READER), "#12")
    rows = await store.read(lambda db: audit.recent(db, 10))
    assert [(r.actor, r.verb, r.target, r.allowed) for r in rows] == [
        (READER, "ack", "#12", False),
        (ADMIN, "fix", "#12", True),
    ]


async def test_what_can_not_be_put_on_record_is_refused(slack: Any, make: Callable[..., Guard], store: Store) -> None:
    guard = make(ADMIN)
    await store.close()
    decision = await guard.audited(Verb.FIX, person(slack), "#12")
    assert not decision
    assert "audit log can't be written" in decision.reason
