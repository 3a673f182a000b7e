"""Are we blind? Targets that go dark together, and what ends it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.blindness import PORT_BLOCKED, Horizon, network_of
from bot.core.policy import Policy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DNS, TIMED_OUT, REFUSED = "4.4.312", "4.4.315", "4.4.316"


def horizon(*codes: str, apart: timedelta = timedelta(0), was_fine: bool = True, one_host: bool = False) -> Horizon:
    made = Horizon(Policy())
    for n, code in enumerate(codes):
        target = "host" if one_host else f"host{n}"
        made.note(n, target, was_fine=was_fine, code=code, now=NOW + n * apart)
    return made


@pytest.mark.parametrize(
    ("made", "minute", "expected"),
    [
        (horizon(*[DNS] * 5), 0, DNS),
        (horizon(*[TIMED_OUT] * 5), 0, TIMED_OUT),
        (horizon(*[DNS] * 4), 0, None),
        (horizon(*[DNS] * 3, *[TIMED_OUT] * 3), 0, None),
        (horizon(*[REFUSED] * 9), 0, None),
        (horizon(*[DNS] * 9, was_fine=False), 0, None),
        (horizon(*[DNS] * 9, one_host=True), 0, None),
        (horizon(*[DNS] * 5, apart=2 * MINUTE), 8, None),
        (horizon(*[DNS] * 5, apart=MINUTE), 4, DNS),
    ],
)
def test_enough_fine_targets_that_turn_to_one_network_code_at_once(
    made: Horizon, minute: int, expected: str | None
) -> None:
    assert made.went_dark(NOW + minute * MINUTE) == expected


def test_a_target_that_is_seen_again_no_longer_counts() -> None:
    made = horizon(*[DNS] * 5)
    made.note(2, "host2", was_fine=False, code=None, now=NOW)
    assert made.went_dark(NOW) is None
    assert made.sees_again(NOW)


def test_it_lasts_while_everything_is_dark() -> None:
    assert not horizon(*[DNS] * 5).sees_again(NOW)


def reached(made: Horizon, minutes: int, code: str | None = None, ips: Iterable[str] = (), **more: bool) -> Horizon:
    made.note(99, "other", was_fine=True, code=code, now=NOW + minutes * MINUTE, ips=ips, **more)
    return made


@pytest.mark.parametrize(
    ("made", "over"),
    [
        (reached(horizon(*[TIMED_OUT] * 5), 1), True),
        (reached(horizon(*[TIMED_OUT] * 5), 1, REFUSED), True),
        (reached(horizon(*[TIMED_OUT] * 5), 1, DNS), False),
        (reached(horizon(*[TIMED_OUT] * 5), 0), False),
        (reached(horizon(*[TIMED_OUT] * 5), -9), False),
        (reached(horizon(*[TIMED_OUT] * 5), 1, ips=["203.0.113.9"]), True),
        (reached(horizon(*[TIMED_OUT] * 5), 1, ips=["192.168.1.9"]), False),
        (reached(horizon(*[DNS] * 5), 1), True),
        (reached(horizon(*[DNS] * 5), 1, by_name=False), False),
    ],
)
def test_another_server_that_is_reached_some_time_after_it_began_ends_it(made: Horizon, over: bool) -> None:
    """It must be one that the fault would hide: not one of our own network, nor one whose name needn't be resolved."""
    assert made.sees_again(NOW) is over


def test_once_over_what_is_still_dark_does_not_begin_it_again() -> None:
    made = reached(horizon(*[TIMED_OUT] * 5), 1)
    assert made.sees_again(NOW)
    made.note(7, "host7", was_fine=True, code=TIMED_OUT, now=NOW + 2 * MINUTE)
    assert made.went_dark(NOW + 2 * MINUTE) is None


@pytest.mark.parametrize(("egress", "over"), [(True, True), (None, False), (False, False)])
def test_a_way_out_that_is_proven_open_ends_it(egress: bool | None, over: bool) -> None:
    assert horizon(*[TIMED_OUT] * 5).sees_again(NOW, egress=egress) is over


def test_a_closed_way_out_is_only_disproved_by_a_server_that_is_reached() -> None:
    made = horizon(TIMED_OUT)
    made.note(0, "host0", was_fine=False, code=None, now=NOW)
    assert not made.sees_again(NOW, egress=False)
    assert reached(made, 1, REFUSED).sees_again(NOW, egress=False)


def test_a_target_in_our_own_network_is_disproved_by_another_one_there() -> None:
    made = Horizon(Policy())
    made.note(0, "host0", was_fine=True, code=TIMED_OUT, now=NOW, ips=["192.168.1.1"])
    assert made.alone(0)
    assert not reached(made, 1, ips=["192.168.1.9"]).alone(0)
    assert made.alone(5), "nothing is known of it"


def test_what_has_nothing_to_dial_is_neither_dark_nor_fine() -> None:
    made = horizon(*[TIMED_OUT] * 5)
    made.forget(0)
    assert made.went_dark(NOW) is None
    assert not made.sees_again(NOW, egress=False)
    assert made.codes() == {TIMED_OUT}


def test_it_is_taken_up_again_after_a_restart() -> None:
    made = Horizon(Policy())
    made.restore([(n, f"host{n}") for n in range(5)], DNS, NOW)
    assert not made.sees_again(NOW)
    assert sorted(made.dark(DNS, NOW)) == [0, 1, 2, 3, 4]


# --- a way out that is closed for the mail port alone --------------------------------------------------------------
def silent(*ips: str, at: datetime = NOW) -> Horizon:
    made = Horizon(Policy())
    for n, ip in enumerate(ips):
        made.note(n, f"host{n}", was_fine=False, code=TIMED_OUT, now=at, silent_ip=ip)
    return made


UNRELATED = [f"198.51.{n}.7" for n in range(6)]


def fine(made: Horizon, ip: str, at: datetime = NOW) -> Horizon:
    made.note(99, "fine", was_fine=True, code=None, now=at, fine_ips=[ip])
    return made


@pytest.mark.parametrize(
    ("made", "minute", "expected"),
    [
        (silent(*UNRELATED), 0, UNRELATED[:5]),
        (silent(*UNRELATED), 5, UNRELATED[:5]),
        (silent(*UNRELATED), 6, []),
        (silent(*UNRELATED[:4]), 0, []),
        (silent(*[f"198.51.100.{n}" for n in range(9)]), 0, []),
        (silent(*[f"10.0.{n}.1" for n in range(9)]), 0, []),
        (silent(*[f"2001:db8:{n}::1" for n in range(5)]), 0, [f"2001:db8:{n}::1" for n in range(5)]),
        (fine(silent(*UNRELATED), "203.0.113.9"), 0, []),
        (fine(silent(*UNRELATED), "203.0.113.9", NOW - timedelta(minutes=6)), 0, UNRELATED[:5]),
        (fine(silent(*UNRELATED), "192.168.1.9"), 0, UNRELATED[:5]),
    ],
)
def test_our_port_is_suspected_when_unrelated_networks_are_silent_and_nobody_outside_answers(
    made: Horizon, minute: int, expected: list[str]
) -> None:
    assert list(made.silent(NOW + minute * MINUTE)) == expected


def test_once_proven_it_lasts_until_somebody_outside_answers() -> None:
    made = silent(*UNRELATED)
    made.port_blocked()
    assert len(made.dark()) == 6
    assert made.silent(NOW) == (), "it is known already"
    fine(made, "192.168.1.9", NOW + MINUTE)
    assert not made.sees_again(NOW), "our own network says nothing about the way out"
    fine(made, "203.0.113.9", NOW + 61 * MINUTE)
    assert made.sees_again(NOW)
    assert made.silent(NOW + 400 * MINUTE) == ()


def test_a_closed_port_is_taken_up_again_after_a_restart() -> None:
    made = Horizon(Policy())
    made.restore([(n, f"host{n}") for n in range(5)], PORT_BLOCKED, NOW)
    fine(made, "192.168.1.9", NOW + MINUTE)
    assert not made.sees_again(NOW)


def test_a_server_that_is_reached_is_no_longer_silent() -> None:
    made = silent(*UNRELATED[:5])
    made.note(2, "host2", was_fine=False, code=REFUSED, now=NOW, fine_ips=[])
    assert made.silent(NOW) == ()


def test_no_more_dark_targets_are_kept_than_are_needed() -> None:
    assert len(horizon(*[DNS] * 200).dark()) == 50


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("198.51.100.7", "198.51.100.0/24"),
        ("2001:db8:7:8::1", "2001:db8:7::/48"),
        ("10.1.2.3", None),
        ("fd00::1", None),
        ("127.0.0.2", None),
        ("not an address", None),
    ],
)
def test_only_addresses_outside_have_a_network_that_counts(ip: str, network: str | None) -> None:
    assert network_of(ip) == network
