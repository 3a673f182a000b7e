"""How mail left, read from the mail log's lines. Pure.

Lines of delivery agents: `…: QUEUEID: to=<…>, relay=…, delay=…, dsn=5.1.1, status=bounced (…)`, with more members that
depend on Postfix's version; of the queue manager for a whole message: `…: QUEUEID: from=<…>, status=expired, returned
to sender`. Both time stamps are read: syslog's (local time without a year) and RFC 3339. Only this instance's lines
count: they carry its syslog_name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from bot.backends.postfix.queue import tidy
from storage.records import MessageStatus

_LINE = re.compile(
    r"(?P<at>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.]{8,15}(?:Z|[+-]\d\d:\d\d)) (?:\S{1,255} )?"
    r"(?P<program>[^\s\[]{1,100})\[\d+\]: (?P<id>[0-9A-Za-z]{5,32}): (?P<rest>.*)"
)
_MORE = r"(?:[a-z_]{1,40}=[^,]{0,400}, ){0,16}?"
"""conn_use, delays, since Postfix 3.11 tls, and whatever a later one adds. Bounded: no line takes long to read."""
_RECIPIENT = re.compile(
    rf"to=<(?P<to>[^>]*)>, (?:orig_to=<[^>]*>, )?relay=[^,]*, {_MORE}"
    rf"delay=(?P<delay>\d{{1,9}}(?:\.\d{{1,9}})?), {_MORE}"
    r"dsn=(?P<dsn>[245]\.\d{1,3}\.\d{1,3}), status=(?P<status>[a-z]+) \((?P<text>.*)\)\s*"
)
_WHOLE = re.compile(r"from=<[^>]*>, status=(?P<status>(?:force-)?expired), returned to sender\s*")
_STATUS = {
    "sent": MessageStatus.DELIVERED,
    "bounced": MessageStatus.REJECTED,
    "expired": MessageStatus.EXPIRED,
    "force-expired": MessageStatus.REJECTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a message left for one recipient (None: for all whose outcome is not told otherwise). `waited`: since it
    came.
    """

    queue_id: str
    recipient: str | None
    status: MessageStatus
    at: datetime
    reason: str | None = None
    waited: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTerms:
    """How to read this log. `now` settles the year of syslog's time stamps."""

    syslog_name: str
    zone: tzinfo
    now: datetime


def outcomes(lines: Iterable[bytes], terms: LogTerms) -> Iterator[Outcome]:
    """The final outcomes in these lines, in their order. Other lines, deferrals too, are passed over."""
    for line in lines:
        if b" status=" in line and b"status=deferred" not in line and (found := _outcome(line, terms)):
            yield found


def _outcome(line: bytes, terms: LogTerms) -> Outcome | None:
    match = _LINE.match(line.decode("utf-8", "replace")[:8192])
    if not match or not _is_ours(match["program"], terms.syslog_name):
        return None
    at = moment(match["at"], terms)
    if at is None:
        return None
    if whole := _WHOLE.fullmatch(match["rest"]):
        return Outcome(queue_id=match["id"], recipient=None, status=_STATUS[whole["status"]], at=at)
    one = _RECIPIENT.fullmatch(match["rest"])
    if not one or one["status"] not in _STATUS:
        return None
    status = _STATUS[one["status"]]
    text = tidy(one["text"])
    stated = status is MessageStatus.DELIVERED or one["dsn"] in text
    return Outcome(
        queue_id=match["id"],
        recipient=one["to"].lower(),
        status=status,
        at=at,
        reason=text if stated else f"{one['dsn']} {text}",
        waited=timedelta(seconds=float(one["delay"])),
    )


def _is_ours(program: str, syslog_name: str) -> bool:
    return program.startswith(f"{syslog_name}/")


def moment(text: str, terms: LogTerms) -> datetime | None:
    """A log line's moment. A syslog stamp is of the last twelve months."""
    try:
        if text[0].isdigit():
            return datetime.fromisoformat(text).astimezone(UTC)
        stamp = datetime.strptime(f"2000 {' '.join(text.split())}", "%Y %b %d %H:%M:%S").replace(tzinfo=terms.zone)
        local = terms.now.astimezone(terms.zone)
        years = (local.year + 1, local.year, local.year - 1, local.year - 2, local.year - 3, local.year - 4)
        dated = (stamp.replace(year=year) for year in years if stamp.month != 2 or stamp.day != 29 or _leap(year))
        return next((at.astimezone(UTC) for at in dated if at <= local + timedelta(days=1)), None)
    except (ValueError, OverflowError):
        return None


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
