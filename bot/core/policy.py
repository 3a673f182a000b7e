"""The thresholds of triage in one place. Defaults are the product's; every one can be set (bot/settings.py)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When to probe, open, escalate, resolve and verify."""

    probe_interval: timedelta = timedelta(seconds=300)
    probe_interval_failing: timedelta = timedelta(seconds=60)
    open_after: int = 2
    """Consecutive failed probes that open an incident; one is enough when the queue agrees."""
    resolve_after: int = 2
    """Consecutive good probes that resolve one, if nothing waits with its code any more."""
    queue_settle: timedelta = timedelta(minutes=15)
    """Mail younger than this is in flight, not stuck."""
    unassigned_count: int = 100
    """So many messages that belong to no connector open an alert once they are stuck; 0: none ever does."""
    critical_age: timedelta = timedelta(hours=4)
    critical_count: int = 200
    critical_before_bounce: timedelta = timedelta(hours=4)
    escalate_at: tuple[timedelta, ...] = (timedelta(hours=4), timedelta(hours=12), timedelta(hours=20))
    escalate_before_bounce: timedelta = timedelta(hours=1)
    flap_window: timedelta = timedelta(hours=1)
    """Re-opening within this time of the last resolve counts as flapping: told once, then kept open."""
    certificate_marks: tuple[timedelta, ...] = tuple(timedelta(days=n) for n in (30, 14, 7, 1))
    """A certificate that expires within one of these is told, once for each."""
    warning_settles: timedelta = timedelta(days=7)
    """What a server no longer has, and nobody brought back for so long, is how it is meant to be by now."""
    probe_backs_off_after: timedelta = timedelta(hours=1)
    """A failure that lasts is probed half as often after each such time, up to the usual interval."""
    blind_after: int = 5
    """So many targets that were fine and turn to one network code within one interval mean that we are blind."""
    verify_after: timedelta = timedelta(seconds=3600)
    verify_attempts: int = 3
    offer_expires: timedelta = timedelta(minutes=10)
    stale_after: timedelta = timedelta(minutes=15)
    """Queue facts older than this are shown as stale and never acted on."""
    actions_on: bool = False
    """Off: Fix now is a dry run that shows what it would do."""
    fix_approvals: int = 1
    """How many people have to say yes before a fix runs: 1, or 2."""
    approval_expires: timedelta = timedelta(minutes=30)
    """So long a fix waits for the second person."""
    fixes_per_hour: int = 10
    """No more than so many fixes are begun within an hour, at all connectors together."""
    invalid_share: float = 0.75
    """If more than this share of the recipients looks invalid, it is more likely that the directory is not whole."""
    invalid_share_from: int = 10
    """... where at least so many recipients were looked up."""
    directory_stale_after: timedelta = timedelta(hours=24)
    """A directory answer that rests on an older list rejects nobody."""
    retry_verify_after: timedelta = timedelta(minutes=5)
    """When it is looked whether a retry emptied the queue."""
    early_looks: int = 6
    """So often within `verify_after` it is looked whether the evidence suffices already."""
