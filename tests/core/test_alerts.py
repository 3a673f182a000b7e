"""How loud an incident is: severity and escalation marks, as tables."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.core.alerts import critical_reason, passed_marks, severity_of, span, untold_marks
from bot.core.policy import Policy
from storage.records import CodeCount, Severity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy()


def waiting(count: int = 1, age_hours: float = 1, left_hours: float = 23) -> CodeCount:
    return CodeCount(
        code="4.4.316",
        count=count,
        oldest_received_at=NOW - timedelta(hours=age_hours),
        first_expiry_at=NOW + timedelta(hours=left_hours),
    )


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (None, None),
        (waiting(), None),
        (waiting(age_hours=3.99), None),
        (waiting(age_hours=4), "the oldest message waits for 4 h"),
        (waiting(count=199), None),
        (waiting(count=200), "200 messages wait"),
        (waiting(left_hours=4), None),
        (waiting(left_hours=3.99), "the first message bounces in less than 4 h"),
        (waiting(left_hours=-1), "the first message bounces in less than 4 h"),
    ],
)
def test_is_critical_when_mail_is_old_much_or_about_to_bounce(group: CodeCount | None, reason: str | None) -> None:
    assert critical_reason(group, POLICY, NOW) == reason
    assert severity_of(group, POLICY, NOW) is (Severity.CRITICAL if reason else Severity.WARNING)


@pytest.mark.parametrize(
    ("group", "marks"),
    [
        (None, []),
        (waiting(age_hours=3.9), []),
        (waiting(age_hours=4, left_hours=20), ["4 h"]),
        (waiting(age_hours=13, left_hours=11), ["4 h", "12 h"]),
        (waiting(age_hours=21, left_hours=3), ["4 h", "12 h", "20 h"]),
        (waiting(age_hours=23, left_hours=1), ["4 h", "12 h", "20 h", "1 h before the first bounce"]),
        (waiting(age_hours=4.1, left_hours=0.95), ["1 h before the first bounce", "4 h"]),
    ],
)
def test_marks_pass_in_the_order_of_time(group: CodeCount | None, marks: list[str]) -> None:
    passed = [m.name for m in passed_marks(group, POLICY, NOW)]
    assert sorted(passed) == sorted(marks)
    assert passed[-1:] == marks[-1:] or len(marks) > 1


def test_each_mark_is_untold_until_it_was_told() -> None:
    group = waiting(age_hours=13, left_hours=11)
    assert [m.name for m in untold_marks(group, ["4 h"], POLICY, NOW)] == ["12 h"]
    assert untold_marks(group, ["12 h", "4 h"], POLICY, NOW) == ()


@pytest.mark.parametrize(("seconds", "words"), [(14400, "4 h"), (1800, "30 min"), (90, "90 s"), (5400, "90 min")])
def test_spans_keep_the_largest_whole_unit(seconds: int, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words
