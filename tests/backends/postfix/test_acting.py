"""Acts on generated queues, whatever goes wrong meanwhile: exactly the named recipients are ever returned.

A model of Postfix answers here (the real one does elsewhere): it knows queue, override table and single attempts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.backends.ports import BackendError, MessageRef, OutcomeUnknown, Refused, Unreachable
from bot.backends.postfix.acting import Acts
from bot.backends.postfix.command import Output
from bot.backends.postfix.host import LogPart, LogPosition, PostfixHost
from bot.backends.postfix.options import Options
from bot.backends.postfix.queue import message_key
from bot.backends.postfix.reading import Reader

ARRIVED = 1795498743
OVERRIDES = "hash:/etc/postfix/mfi_overrides"
Queue = dict[str, set[str]]


class ModelPostfix:
    """`fails`: the acts, counted from the first, that break instead; `half`: though they took effect."""

    log_lag = 0.0

    def __init__(
        self, queue: Queue, *, overrides: bool = True, fails: frozenset[int] = frozenset(), half: bool = False
    ):
        self.waiting = {queue_id: set(recipients) for queue_id, recipients in queue.items()}
        self.entries: dict[str, str] = {}
        self.returned: set[tuple[str, str]] = set()
        self.acts = 0
        self._overrides = overrides
        self._fails = fails
        self._half = half
        self.complaint = ""

    async def settings(self) -> str:
        maps = f"{OVERRIDES}, hash:/t" if self._overrides else "hash:/t"
        return f"myhostname = relay.test\ntransport_maps = {maps}\nrelayhost = [out.test]\n"

    async def services(self) -> str:
        return "smtp unix - - n - - smtp\nerror unix - - n - - error\n"

    async def table(self, ref: str) -> str:
        return "".join(f"{key}\t{value}\n" for key, value in self.entries.items()) if ref == OVERRIDES else ""

    async def queue(self) -> AsyncIterator[list[bytes]]:
        rows = [
            {"queue_name": "deferred", "queue_id": i, "arrival_time": ARRIVED, "sender": "s@b.test", "message_size": 1,
             "recipients": [{"address": r, "delay_reason": "no"} for r in sorted(left)]}
            for i, left in self.waiting.items() if left
        ]  # fmt: skip
        yield [json.dumps(row).encode() for row in rows]

    async def log_since(self, position: LogPosition, _setting: str) -> LogPart:
        return LogPart([], position, UTC)

    async def act(self, verb: str, stdin: bytes = b"") -> Output:
        self.acts += 1
        broken = self.acts in self._fails
        answer = "" if broken and not self._half else self._done(verb, stdin.decode().splitlines())
        if broken:
            raise OutcomeUnknown("no answer") if self._half else Unreachable("not begun")
        return Output(0, b"", answer)

    def _done(self, verb: str, lines: list[str]) -> str:
        if verb == "override-put":
            self.entries = dict(line.split("\t") for line in lines)
        for queue_id in lines if verb == "expire" else ():
            self.returned |= {(queue_id, r) for r in self.waiting[queue_id]}
            self.waiting[queue_id] = set()
        for queue_id in (self.waiting if lines == ["all"] else lines) if verb == "retry" else ():
            gone = {r for r in self.waiting[queue_id] if self.entries.get(r, "").startswith("error:")}
            self.returned |= {(queue_id, r) for r in gone}
            self.waiting[queue_id] -= gone
        return "".join(f"postsuper: {line}: expired\n" for line in lines) if verb == "expire" else ""


VALID = [f"valid{n}@a.test" for n in range(4)]
INVALID = [f"gone{n}@a.test" for n in range(4)]
QUEUES = st.dictionaries(
    st.from_regex(r"[0-9A-F]{6,8}", fullmatch=True), st.sets(st.sampled_from(VALID + INVALID), min_size=1), max_size=12
)


def invalid_in(queue: Queue) -> set[tuple[str, str]]:
    return {(queue_id, r) for queue_id, left in queue.items() for r in left if r in INVALID}


def acts_on(model: ModelPostfix) -> Acts:
    host = cast(PostfixHost, model)
    reader = Reader("relay", Options(), host, lambda: datetime.now(UTC))
    return Acts(host, reader, None, "/etc/postfix", patience=0.5, pause=0.0)


def reject(model: ModelPostfix, refs: set[tuple[str, str]]) -> BackendError | None:
    """What it raised."""
    named = [MessageRef(key=message_key("relay.test", i, ARRIVED), recipient=r) for i, r in sorted(refs)]
    try:
        asyncio.run(acts_on(model).reject(named, "not known"))
    except BackendError as error:
        return error
    return None


BUDGET = settings(max_examples=350, deadline=timedelta(seconds=10))


@BUDGET
@given(QUEUES)
def test_exactly_the_invalid_ones_are_returned(queue: Queue) -> None:
    model = ModelPostfix(queue)
    assert reject(model, invalid_in(queue)) is None
    assert model.returned == invalid_in(queue)
    assert {(i, r) for i, left in model.waiting.items() for r in left} == {
        (i, r) for i, left in queue.items() for r in left if r in VALID
    }
    assert model.entries == {}
    acts = model.acts
    assert reject(model, invalid_in(queue)) is None
    assert model.acts == acts, "what holds already is not asked for again"


@BUDGET
@given(QUEUES, st.sets(st.integers(1, 6), min_size=1), st.booleans())
def test_whatever_breaks_no_valid_one_is_returned_and_nothing_fails_unsaid(
    queue: Queue, fails: set[int], half: bool
) -> None:
    model = ModelPostfix(queue, fails=frozenset(fails), half=half)
    model.entries = {"held.test": "retry:4.3.2 off"}
    error = reject(model, invalid_in(queue))
    assert model.returned <= invalid_in(queue)
    if error is None:
        assert model.returned == invalid_in(queue)
    if not isinstance(error, OutcomeUnknown):
        assert model.entries == {"held.test": "retry:4.3.2 off"}
    if isinstance(error, Unreachable):
        assert model.returned == set(), "nothing happened"


@BUDGET
@given(QUEUES)
def test_without_the_table_whole_messages_are_returned_or_none(queue: Queue) -> None:
    model = ModelPostfix(queue, overrides=False)
    error = reject(model, invalid_in(queue))
    mixed = any(left & set(VALID) and left & set(INVALID) for left in queue.values())
    assert isinstance(error, Refused) if mixed else error is None
    assert model.returned == (set() if mixed else invalid_in(queue))


@pytest.mark.parametrize("count", [3, 600])
def test_many_messages_are_tried_by_one_run_of_the_queue(count: int) -> None:
    asked: list[bytes] = []

    class Asked(ModelPostfix):
        async def act(self, verb: str, stdin: bytes = b"") -> Output:
            asked.append(stdin)
            return await super().act(verb, stdin)

    model = Asked({f"{n:06d}": {"a@a.test"} for n in range(count)})
    asyncio.run(acts_on(model).retry("smtp:[out.test]"))
    assert [len(lines.splitlines()) for lines in asked] == [1 if count > 500 else count]
    asyncio.run(acts_on(model).retry("smtp:[other.test]"))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("key", "says"), [("smtp:[out.test]", "all mail that nothing else names"), ("smtp:[x]", "no next hop")]
)
def test_what_can_not_be_disabled_is_refused(key: str, says: str) -> None:
    model = ModelPostfix({})
    with pytest.raises(Refused, match=says):
        asyncio.run(acts_on(model).set_connector_enabled(key, enabled=False))
    assert model.acts == 0


def test_how_mail_left_is_told_although_its_log_lags_behind_the_queue() -> None:
    class Lagging(ModelPostfix):
        """Its log has the bounce only when it is asked once more."""

        asked_since = 0

        async def log_since(self, position: LogPosition, _setting: str) -> LogPart:
            self.asked_since += not self.waiting["ABCDEF"]
            line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f+00:00} relay postfix/error[9]: ABCDEF: to=<gone0@a.test>, "
            line += "relay=none, delay=1, delays=1/0/0/0, dsn=5.1.1, status=bounced (not known)"
            return LogPart([line.encode()] if self.asked_since == 2 else [], LogPosition(1, self.asked_since + 1), UTC)

    async def told() -> list[str]:
        model = Lagging({"ABCDEF": {"gone0@a.test"}})
        reader = Reader("relay", Options(), cast(PostfixHost, model), lambda: datetime.now(UTC))
        instance = await reader.instance()
        await reader.listing(instance)
        model.waiting["ABCDEF"] = set()
        await reader.listing(instance)
        return [str(m.status) for m in reader.tracker.news()]

    assert asyncio.run(told()) == ["rejected"]
