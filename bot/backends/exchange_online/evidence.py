"""Why mail waits: what the details of some messages say, kept for a while, and what it tells of the rest. Pure.

Graph tells the reason of one message per request, and requests are few. So each connector gets a small sample. Where
all of a connector's sample gives the same code, the connector's other mail gets that code too, without the words:
those belong to the message that was looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.backends.exchange_online.trace_rows import Event, Ref, TraceRow
from knowledge.diagnose import diagnose

PER_CONNECTOR = 10
PER_SYNC = 40
FRESH = timedelta(minutes=30)
SILENT = timedelta(seconds=10)
"""A message that was never deferred yet is looked at again at the next read, unless reads follow each other fast."""
LATE = timedelta(minutes=75)
"""Exchange retries at least every hour: what it said before the last retry may be over."""
Chooser = Callable[[int], int]
"""Gives a number below its argument: where to look besides the oldest and the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one message's details said when they were asked for. `reason` None: it was never deferred."""

    asked_at: datetime
    reason: str | None = None
    code: str | None = None
    remote_host: str | None = None
    remote_ip: str | None = None
    at: datetime | None = None


def of_deferral(events: Sequence[Event], asked_at: datetime) -> Evidence:
    """The last deferral among these events (oldest first)."""
    return _told([event for event in events if event.name == "defer" and event.description], asked_at)


def of_failure(events: Sequence[Event], asked_at: datetime) -> Evidence:
    """The last failure among these events (oldest first)."""
    return _told([event for event in events if event.name in ("fail", "failed") and event.description], asked_at)


def is_expiry(evidence: Evidence) -> bool:
    """Did the message end because its time was over?"""
    return evidence.reason is not None and diagnose(evidence.reason).expired


def _told(telling: Sequence[Event], asked_at: datetime) -> Evidence:
    if not telling:
        return Evidence(asked_at=asked_at)
    last = telling[-1]
    found = diagnose(last.description)
    return Evidence(
        asked_at=asked_at,
        reason=last.description,
        code=found.code,
        remote_host=found.smart_host,
        remote_ip=found.ip,
        at=last.at,
    )


class Memory:
    """The evidence of messages that still wait."""

    def __init__(self) -> None:
        self._known: dict[Ref, Evidence] = {}

    def get(self, ref: Ref) -> Evidence | None:
        """The last that is known of it, however old."""
        return self._known.get(ref)

    def put(self, ref: Ref, evidence: Evidence) -> None:
        """Remember. A later answer without a reason doesn't make an earlier reason untrue."""
        known = self._known.get(ref)
        if known is not None and known.reason and not evidence.reason:
            evidence = Evidence(
                asked_at=evidence.asked_at, reason=known.reason, code=known.code,
                remote_host=known.remote_host, remote_ip=known.remote_ip, at=known.at,
            )  # fmt: skip
        self._known[ref] = evidence

    def keep_only(self, refs: Mapping[Ref, object]) -> None:
        """Forget those that wait no more."""
        self._known = {ref: evidence for ref, evidence in self._known.items() if ref in refs}

    def last_asked(self, rows: Iterable[TraceRow]) -> datetime:
        """When any of these was last asked about; long ago where none was."""
        known = (self._known.get(row.ref) for row in rows)
        return max((one.asked_at for one in known if one), default=datetime.min.replace(tzinfo=UTC))

    def is_fresh(self, ref: Ref, now: datetime) -> bool:
        """Was it looked at lately?"""
        known = self._known.get(ref)
        return known is not None and now - known.asked_at < (FRESH if known.reason else SILENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many may be asked about: `free` in any case, `first` where nothing at all is known of a connector yet."""

    free: int
    first: int


def chosen(
    groups: Mapping[int | None, Sequence[TraceRow]], memory: Memory, now: datetime, room: Room, pick: Chooser
) -> list[TraceRow]:
    """Whom to ask about: at most PER_CONNECTOR of each group, fresh answers included, PER_SYNC and the room in all.

    Turn by turn, those groups first of which least is known, and of these the ones longest not asked about: else those
    whose answers grew old would keep the room from the ones that never had any. Each gets its oldest, then its newest,
    then some by chance.
    `groups`: the waiting mail by the connector that seems to carry it.
    """
    wanted: list[tuple[int, datetime, int, TraceRow]] = []
    for number, rows in enumerate(groups.values()):
        known = sum(memory.is_fresh(row.ref, now) for row in rows)
        last = memory.last_asked(rows)
        mine = _of_group(rows, memory, now, known, pick)
        wanted += [(known + turn, last, number, row) for turn, row in enumerate(mine)]
    wanted.sort(key=lambda one: one[:3])
    first = sum(turn == 0 for turn, *_ in wanted)
    return [row for *_, row in wanted[: max(min(PER_SYNC, max(room.free, min(first, room.first))), 0)]]


def _of_group(rows: Sequence[TraceRow], memory: Memory, now: datetime, known: int, pick: Chooser) -> Iterable[TraceRow]:
    left = sorted((row for row in rows if not memory.is_fresh(row.ref, now)), key=lambda r: (r.received_at, r.ref))
    for turn in range(min(PER_CONNECTOR - known, len(left))):
        # Oldest and newest in turn with what chance picks, so that a change at either end is seen.
        index = 0 if turn + known == 0 else len(left) - 1 if turn + known == 1 else pick(len(left))
        yield left.pop(index)


def shared_code(rows: Iterable[TraceRow], memory: Memory) -> str | None:
    """The one code that all late evidence about these messages gives; None where there is none, or it differs."""
    known = [evidence for evidence in (memory.get(row.ref) for row in rows) if evidence and evidence.at]
    newest = max((evidence.at for evidence in known if evidence.at), default=None)
    codes = {e.code for e in known if e.at and newest and newest - e.at < LATE}
    return codes.pop() if len(codes) == 1 else None
