"""When a good probe is the usual case, so that nothing has to be decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.calm import Calm
from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult, TargetResult, TlsFacts, overall
from bot.core.probe_schedule import record_of
from knowledge.classify import Cause, Stage
from storage.records import Connector, ConnectorKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CONTOSO = Connector(
    backend="files",
    key="contoso",
    name="Contoso",
    kind=ConnectorKind.ON_PREMISES,
    smart_hosts=("mail.contoso.test",),
    id=1,
    next_probe_at=NOW,
    changed_at=NOW,
)
GOOD = TargetResult(host="mail.contoso.test", port=25, ip="192.0.2.1", banner="220 ready", capabilities=("PIPELINING",))
DEAD = replace(GOOD, ip="192.0.2.2", ok=False, code="4.4.316", cause=Cause.REFUSED, stage=Stage.CONNECT)
LEFT_OUT = replace(GOOD, ip="2001:db8::1", stage=Stage.CONNECT)
FINE = overall([GOOD], 1.0)
BOTH = overall([GOOD, replace(GOOD, ip="192.0.2.2")], 1.0)
REFUSED = overall([DEAD], 1.0)
EMPTY = overall([], 1.0)


def until(days: float) -> ProbeResult:
    """A good probe of a server whose certificate lasts so long."""
    return overall([replace(GOOD, tls=TlsFacts(sha256="ab", not_after=NOW + timedelta(days=days)))], 1.0)


def usual(before: Sequence[ProbeResult], newest: ProbeResult, policy: Policy | None = None) -> bool:
    """Is the newest one usual after those?"""
    calm = Calm(policy or Policy())
    for result in before:
        calm.note(record_of(CONTOSO, result, NOW))
    return calm.is_usual(record_of(CONTOSO, newest, NOW), newest, NOW)


@pytest.mark.parametrize(
    ("before", "newest", "expected"),
    [
        ([], FINE, False),
        ([FINE], FINE, False),
        ([FINE, FINE], FINE, True),
        ([FINE] * 9, FINE, True),
        ([FINE, FINE, REFUSED], FINE, False),
        ([FINE, FINE, REFUSED, FINE], FINE, False),
        ([FINE, FINE, REFUSED, FINE, FINE], FINE, True),
        ([FINE, FINE, EMPTY], FINE, False),
        ([BOTH, BOTH], FINE, False),
        ([BOTH, FINE, FINE], FINE, True),
        ([FINE, FINE], REFUSED, False),
        ([EMPTY, EMPTY], EMPTY, False),
        ([overall([GOOD, DEAD], 1.0)] * 3, overall([GOOD, DEAD], 1.0), False),
        ([overall([GOOD, LEFT_OUT], 1.0)] * 3, overall([GOOD, LEFT_OUT], 1.0), False),
        ([until(90)] * 2, until(90), True),
        ([until(29)] * 2, until(29), False),
        ([until(-1)] * 2, until(-1), False),
    ],
)
def test_a_probe_is_usual_if_it_is_good_and_like_enough_ones_before_it(
    before: Sequence[ProbeResult], newest: ProbeResult, expected: bool
) -> None:
    assert usual(before, newest) is expected


def test_how_many_it_takes_follows_from_the_policy() -> None:
    assert not usual([FINE] * 3, FINE, Policy(open_after=4))
    assert usual([FINE] * 4, FINE, Policy(open_after=4))


def test_without_marks_no_certificate_ends_soon() -> None:
    assert usual([until(1)] * 2, until(1), Policy(certificate_marks=()))


def test_connectors_are_remembered_apart() -> None:
    calm = Calm(Policy())
    for _ in range(2):
        calm.note(record_of(CONTOSO, FINE, NOW))
    other = record_of(replace(CONTOSO, id=2), FINE, NOW)
    assert not calm.is_usual(other, FINE, NOW)


def test_a_change_of_the_connector_is_a_change() -> None:
    calm = Calm(Policy())
    for _ in range(2):
        calm.note(record_of(CONTOSO, FINE, NOW))
    moved = record_of(replace(CONTOSO, port=587), FINE, NOW)
    assert not calm.is_usual(moved, FINE, NOW)
