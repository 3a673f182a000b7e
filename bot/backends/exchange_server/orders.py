"""Orders to the script and its answers, as signed files in the drop folder.

Promises: an order is in its folder whole or not at all. Whoever stops waiting for its answer first tries to take the
order back: if that works, nothing was done. Otherwise its outcome is unknown. The script begins nothing after the
moment at which an order expires, which is when we stop waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from bot.backends.exchange_server.document import SKEW, VERSION, read_bounded
from bot.backends.exchange_server.rows import Json, flag, needed, needed_moment, rows, text
from bot.backends.exchange_server.signing import BadKey, BadSignature, read_key, sealed, unsealed
from bot.backends.exchange_server.threads import Threads
from bot.backends.ports import OutcomeUnknown, Refused, Unreachable
from bot.core.clock import Clock

REJECTED = "rejected"
"""The outcome of a message that an order ended with an NDR."""
DEALT_WITH = frozenset((REJECTED, "gone", "pending"))
"""Outcomes that leave nothing to do: rejected; ended already; on the wire, and rejected if that fails."""
DONE, UNKNOWN = "done", "unknown"
IDLE = frozenset(("failed", "not_begun"))
"""Outcomes of a step that changed nothing."""
GRACE = 5.0
"""Seconds more for the answer to an order that was begun: its last message may be under way."""
_MOST_RESULT = 4 * 1024 * 1024
_MOST_RESULTS = 2000
_ORDER = re.compile(r"[0-9a-f]{32}\.order(\.taken)?")
_RESULT = re.compile(r"([0-9a-f]{32})\.result")
_PAUSE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of an order. `steps`: the script's rows, in the order of the steps."""

    order: str
    accepted: bool
    refused: str
    finished_at: datetime
    steps: Sequence[Json]

    @property
    def messages(self) -> list[Json]:
        """What became of each message, over all steps."""
        return [row for step in self.steps if "messages" in step for row in rows(step, "messages")]


class Orders:
    """The orders of one instance. Every file access is made in a thread."""

    def __init__(
        self,
        drop: Path,
        key_file: Path | None,
        clock: Clock,
        threads: Threads,
        *,
        wait: float,
        grace: float = GRACE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._drop = drop
        self._key_file = key_file
        self._clock = clock
        self._threads = threads
        self._wait = wait
        self._grace = grace
        self._monotonic = monotonic
        self._seen: dict[str, Result] = {}
        self._unreadable: set[str] = set()
        self._acted_at: datetime | None = None

    def overtake(self, read_at: datetime) -> bool:
        """Is an order under way, or was one over only after this? Then what was read so early doesn't show its effect.

        Also orders of other processes, and of this one before it was killed, count. Blocking.
        """
        if self._key_file is None:
            return False
        answers = [result.finished_at for result in self.results(self.key(), read_at)]
        # One from the future is of a clock that was wrong: until then no document would be new enough.
        latest = self._clock() + SKEW
        over = max((at for at in (*answers, self._acted_at) if at and at <= latest), default=read_at)
        return read_at < over or self._under_way()

    def _under_way(self) -> bool:
        """Does an order lie there that may still be carried out? One that is older than its life will not be."""
        oldest = self._clock().timestamp() - self._wait - self._grace
        try:
            with os.scandir(self._drop / "orders") as entries:
                placed = (entry for entry in entries if _ORDER.fullmatch(entry.name))
                return any(entry.stat(follow_symlinks=False).st_mtime > oldest for entry in placed)
        except OSError:
            return False

    def key(self) -> bytes:
        """Our key. Raises Refused. Blocking."""
        if self._key_file is None:
            raise Refused("it may only read: set KEY_FILE to let it act")
        try:
            return read_key(self._key_file)
        except BadKey as error:
            raise Refused(str(error)) from None

    async def carry_out(self, steps: Sequence[Json]) -> list[Result]:
        """One order for each of these steps, all at once; returns when every answer is there.

        Raises Refused or Unreachable where nothing was done; OutcomeUnknown where something may have been.
        """
        key = await self._threads.run(self.key)
        begun = self._monotonic()
        ids: list[str] = []
        try:
            for step in steps:
                ids.append(await self._placed(key, step, ids))
            results = await self._answers(key, ids, begun)
        except Unreachable:
            raise
        except BaseException:
            # Also when the caller's own deadline cuts us off: what nobody took must not be done later.
            self._threads.begin(lambda: [self._withdrawn(order) for order in ids])
            self._acted_at = self._clock()
            raise
        self._acted_at = max(result.finished_at for result in results)
        return results

    def results(self, key: bytes, since: datetime) -> list[Result]:
        """All answers that are in the folder and not older. Blocking; what can't be read is left out."""
        for name in self._names():
            if name not in self._seen and name not in self._unreadable:
                try:
                    self._result(key, name)
                except (OSError, ValueError):
                    self._unreadable.add(name)
        return [result for result in self._seen.values() if result.finished_at >= since]

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._drop / "results") as entries:
                found = [match[1] for entry in entries if (match := _RESULT.fullmatch(entry.name))]
        except OSError:
            return []
        return found[:_MOST_RESULTS]

    async def _placed(self, key: bytes, step: Json, before: Sequence[str]) -> str:
        """Put one order; where that fails, take back those before it."""
        try:
            return await self._threads.run(partial(self._put, key, step))
        except Unreachable as error:
            taken_back = [await self._threads.run(partial(self._withdrawn, order)) for order in before]
            if not all(taken_back):
                raise OutcomeUnknown(f"only some orders could be placed: {error}") from None
            raise

    def _put(self, key: bytes, step: Json) -> str:
        order, now = secrets.token_hex(16), self._clock()
        body = json.dumps(
            {
                "kind": "order",
                "version": VERSION,
                "id": order,
                "issued_at": now.isoformat(),
                "expires_at": (now + timedelta(seconds=self._wait)).isoformat(),
                "steps": [step],
            }
        ).encode()
        folder = self._drop / "orders"
        unfinished = folder / f"{order}.new"
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            with os.fdopen(descriptor, "wb") as file:
                file.write(sealed(key, body))
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self._path(order))
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise Unreachable(f"no order can be put into {folder} ({error.strerror}): mfi has to write there") from None
        return order

    def _path(self, order: str) -> Path:
        return self._drop / "orders" / f"{order}.order"

    def _withdrawn(self, order: str) -> bool:
        """Did the order still lie there, so that nobody will ever do it?"""
        back = self._path(order).with_suffix(".withdrawn")
        try:
            self._path(order).rename(back)
        except OSError:
            return False
        with contextlib.suppress(OSError):
            back.unlink()
        return True

    async def _answers(self, key: bytes, ids: Sequence[str], begun: float) -> list[Result]:
        found: dict[str, Result] = {}
        limit = begun + self._wait
        taken_back: set[str] = set()
        while len(found) + len(taken_back) < len(ids):
            for order in ids:
                if order not in found and (result := await self._threads.run(partial(self._answer, key, order))):
                    found[order] = result
            if self._monotonic() > limit:
                if limit > begun + self._wait:
                    break
                limit += self._grace
                left = [order for order in ids if order not in found]
                taken_back = {o for o in left if await self._threads.run(partial(self._withdrawn, o))}
            await asyncio.sleep(_PAUSE)
        return self._judged(ids, found, taken_back)

    def _judged(self, ids: Sequence[str], found: Mapping[str, Result], taken_back: Collection[str]) -> list[Result]:
        if len(found) == len(ids):
            return [found[order] for order in ids]
        if len(taken_back) == len(ids):
            raise Unreachable(
                f"the script did not take the order within {self._wait:g} s, so it was withdrawn: does the scheduled "
                "task run, with -KeyFile and -StaySeconds 50?"
            )
        done = sum(result.accepted for result in found.values())
        raise OutcomeUnknown(
            f"of {len(ids)} orders {done} were carried out, {len(taken_back)} withdrawn, and of "
            f"{len(ids) - len(found) - len(taken_back)} no answer came within {self._wait + self._grace:g} s"
        )

    def _answer(self, key: bytes, order: str) -> Result | None:
        try:
            return self._result(key, order)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise OutcomeUnknown(f"the script's answer can't be used: {error}") from None

    def _result(self, key: bytes, order: str) -> Result:
        if order not in self._seen:
            content = read_bounded(self._drop / "results" / f"{order}.result", _MOST_RESULT)
            try:
                self._seen[order] = _understood(unsealed(key, content), order)
            except BadSignature as error:
                raise ValueError(f"{error}: both sides need the same key file") from None
        return self._seen[order]


def _understood(body: bytes, order: str) -> Result:
    found = json.loads(body)
    if not isinstance(found, dict) or found.get("kind") != "result" or found.get("order") != order:
        raise ValueError("it is the answer to something else")
    accepted = flag(found, "accepted")
    result = Result(
        order=order,
        accepted=accepted,
        refused=text(found, "refused", 300),
        finished_at=needed_moment(found, "finished_at"),
        steps=rows(found, "steps"),
    )
    for step in result.steps:
        needed(step, "outcome", 40)
    for row in result.messages:
        needed(row, "identity", 600)
    return result


def not_done(results: Sequence[Result]) -> None:
    """Raise what is to be raised where not everything was done: Refused if nothing was, OutcomeUnknown if a part."""
    if all(result.accepted and all(step["outcome"] == DONE for step in result.steps) for result in results):
        return
    why = next(_reasons(results), "it did not say why")
    if all(not result.accepted or _did_nothing(result) for result in results):
        raise Refused(f"the script refused: {why}")
    raise OutcomeUnknown(f"the script did only a part: {why}")


def _did_nothing(result: Result) -> bool:
    idle = all(step["outcome"] in IDLE for step in result.steps)
    return idle and not any(row.get("outcome") == UNKNOWN for row in result.messages)


def _reasons(results: Iterable[Result]) -> Iterator[str]:
    """Why something was not done, the most telling first."""
    rows = [row for result in results for row in result.messages if row.get("outcome") not in DEALT_WITH]
    steps = [step for result in results for step in result.steps if step["outcome"] != DONE]
    said = (*(result.refused for result in results), *(text(row, "text", 300) for row in (*rows, *steps)))
    yield from filter(None, said)
