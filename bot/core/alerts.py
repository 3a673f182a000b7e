"""How loud an incident is: its severity, and the escalation marks that its oldest message passes. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.core.policy import Policy
from storage.records import CodeCount, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One moment at which an incident is told again, once. `name` is stable: what was told is remembered by it."""

    at: datetime
    name: str


def critical_reason(waiting: CodeCount | None, policy: Policy, now: datetime) -> str | None:
    """Why it is critical, in words; None: it is a warning."""
    if waiting is None:
        return None
    if waiting.first_expiry_at - now < policy.critical_before_bounce:
        return f"the first message bounces in less than {span(policy.critical_before_bounce)}"
    if now - waiting.oldest_received_at >= policy.critical_age:
        return f"the oldest message waits for {span(policy.critical_age)}"
    if waiting.count >= policy.critical_count:
        return f"{waiting.count} messages wait"
    return None


def severity_of(waiting: CodeCount | None, policy: Policy, now: datetime) -> Severity:
    """Warning, or critical as soon as there is a reason."""
    return Severity.CRITICAL if critical_reason(waiting, policy, now) else Severity.WARNING


def passed_marks(waiting: CodeCount | None, policy: Policy, now: datetime) -> tuple[Mark, ...]:
    """The escalation marks behind us, the earliest first."""
    if waiting is None:
        return ()
    marks = [Mark(at=waiting.oldest_received_at + age, name=span(age)) for age in policy.escalate_at]
    before = policy.escalate_before_bounce
    marks.append(Mark(at=waiting.first_expiry_at - before, name=f"{span(before)} before the first bounce"))
    return tuple(sorted((m for m in marks if m.at <= now), key=lambda m: m.at))


def untold_marks(waiting: CodeCount | None, told: Collection[str], policy: Policy, now: datetime) -> tuple[Mark, ...]:
    """The passed marks that nobody was told of yet. Several at once are one broadcast: the last names them."""
    return tuple(m for m in passed_marks(waiting, policy, now) if m.name not in told)


def span(length: timedelta) -> str:
    """A duration in its largest whole unit: "4 h", "30 min", "90 s"."""
    seconds = round(length.total_seconds())
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
