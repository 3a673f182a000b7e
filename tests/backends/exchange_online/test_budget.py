"""The request budget: listings first, details with what is left, never more than the tenant has."""

from __future__ import annotations

from datetime import timedelta

from bot.backends.exchange_online.budget import TENANT_QUOTA, Budget
from tests.backends.exchange_online.bench import START

MINUTE = timedelta(minutes=1)


def spent(budget: Budget, count: int) -> Budget:
    for _ in range(count):
        budget.spend(START)
    return budget


def test_requests_count_for_five_minutes() -> None:
    budget = spent(Budget(60), 10)
    assert budget.free(START + 4 * MINUTE) == 50
    assert budget.free(START + 5 * MINUTE) == 60


def test_details_leave_room_for_the_next_listing() -> None:
    budget = spent(Budget(60), 20)
    assert budget.for_details(START, 21) == 19
    assert budget.for_details(START, 45) == 0


def test_a_listing_that_has_begun_may_use_all_that_the_tenant_has_but_not_more() -> None:
    budget = spent(Budget(60), 60)
    assert budget.free(START) == 0
    assert budget.may_go_on(START)
    assert not spent(budget, TENANT_QUOTA - 60).may_go_on(START)


def test_nothing_is_free_while_the_service_wants_a_pause() -> None:
    budget = Budget(60)
    budget.hold(START + 3 * MINUTE)
    budget.hold(START + MINUTE)
    assert budget.free(START + 2 * MINUTE) == 0
    assert not budget.may_go_on(START + 2 * MINUTE)
    assert budget.held(START) == START + 3 * MINUTE
    assert budget.free(START + 3 * MINUTE) == 60


def test_a_clock_that_was_put_back_blocks_nothing_for_ever() -> None:
    budget = spent(Budget(60), 60)
    budget.hold(START + MINUTE)
    long_ago = START - timedelta(days=2)
    assert budget.free(long_ago) == 60


def test_the_share_is_between_one_and_all() -> None:
    assert Budget(1000).limit == TENANT_QUOTA
    assert Budget(1000, 2000).limit == 1000
    assert Budget(0).limit == 1
