"""Whatever lies in the drop folder: a clear refusal or right facts, never another exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.backends.exchange_server.document import newest
from bot.backends.exchange_server.orders import Result, not_done
from bot.backends.exchange_server.queue_facts import read_queues
from bot.backends.exchange_server.rows import text, texts, whole
from bot.backends.exchange_server.settings_facts import Ownership, read_settings
from bot.backends.exchange_server.signing import BadSignature, sealed, unsealed
from bot.backends.ports import OutcomeUnknown, Refused, Unreachable
from tests.backends.exchange_server.conftest import now
from tests.backends.exchange_server.test_rows import CONNECTOR, DOMAIN, MESSAGE, QUEUE

NAME = "mfi-snapshot-20261124T041500000Z.json"
LATE = datetime(2100, 1, 1, tzinfo=UTC)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3), max_leaves=8
)


def changed(row: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The row with some values replaced by anything."""
    return st.dictionaries(st.sampled_from(sorted(row)), JSON, max_size=3).map(lambda change: row | change)


@given(changed(QUEUE), changed(MESSAGE))
def test_any_queue_gives_facts_or_a_value_error(queue: dict[str, Any], message: dict[str, Any]) -> None:
    try:
        found = read_queues("hub", [queue], [message], set())
    except ValueError:
        return
    for facts in found.messages.values():
        assert facts.key
        assert isinstance(facts.received_at, datetime)
        assert isinstance(facts.expires_at, datetime)


@given(changed(CONNECTOR), changed(DOMAIN))
def test_any_settings_give_facts_or_a_value_error(connector: dict[str, Any], domain: dict[str, Any]) -> None:
    try:
        found = read_settings("hub", [connector], [domain], Ownership())
    except ValueError:
        return
    assert all(one.key and one.name for one in found.connectors)


@given(st.binary(max_size=200) | JSON.map(lambda found: json.dumps(found).encode()))
@settings(max_examples=60)
def test_any_file_gives_a_document_or_unreachable(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / NAME).write_bytes(content)
        with pytest.raises(Unreachable, match=NAME):
            newest(Path(folder), None, now=LATE)


def test_neither_links_nor_devices_nor_deep_nesting_are_followed(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to("/dev/zero")
    with pytest.raises(Unreachable, match="can't be read"):
        newest(tmp_path, None, now=LATE)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).write_text("[" * 200_000)
    with pytest.raises(Unreachable, match="it is no whole JSON"):
        newest(tmp_path, None, now=LATE)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    with pytest.raises(Unreachable, match="can't be read"):
        newest(tmp_path, None, now=LATE)


@given(st.binary(min_size=32, max_size=64), st.binary(max_size=200), st.integers(0, 500))
def test_what_is_signed_comes_back_and_what_was_changed_does_not(key: bytes, body: bytes, place: int) -> None:
    content = sealed(key, body)
    assert unsealed(key, content) == body
    spoiled = bytearray(content)
    spoiled[place % len(spoiled)] ^= 1
    with pytest.raises(BadSignature):
        unsealed(key, bytes(spoiled))


@pytest.mark.parametrize(
    ("stated", "wanted"),
    [
        (5, 5),
        ("4617", 4617),
        ("4.5 KB (4,617 bytes)", 4617),
        ("4,617 bytes", 4617),
        ("4.5 KB", None),
        (True, None),
        (None, None),
        ("-1", None),
        ("9" * 40, None),
    ],
)
def test_sizes_are_read_as_exchange_writes_them(stated: object, wanted: int | None) -> None:
    assert whole({"Size": stated}, "Size") == wanted


def a_result(*outcomes: str, accepted: bool = True, rows: tuple[str, ...] = ()) -> Result:
    steps: list[dict[str, Any]] = [{"outcome": outcome, "text": f"step {outcome}"} for outcome in outcomes]
    if rows:
        steps[0]["messages"] = [{"identity": "EX01\\1\\1", "outcome": row, "text": f"message {row}"} for row in rows]
    refused = "" if accepted else "it has expired"
    return Result(order="a", accepted=accepted, refused=refused, finished_at=now(), steps=steps)


@pytest.mark.parametrize(
    ("results", "raised", "says"),
    [
        ([], None, ""),
        ([a_result("done"), a_result("done", rows=("rejected", "gone", "pending"))], None, ""),
        ([a_result(accepted=False)], Refused, "refused: it has expired"),
        ([a_result("failed")], Refused, "refused: step failed"),
        ([a_result("not_begun"), a_result(accepted=False)], Refused, "it has expired"),
        ([a_result("failed", rows=("refused", "not_begun"))], Refused, "refused: message refused"),
        ([a_result("failed", rows=("failed", "unknown"))], OutcomeUnknown, "only a part: message failed"),
        ([a_result("partly", rows=("rejected", "failed"))], OutcomeUnknown, "only a part: message failed"),
        ([a_result("unknown")], OutcomeUnknown, "only a part: step unknown"),
        ([a_result("done"), a_result(accepted=False)], OutcomeUnknown, "only a part: it has expired"),
        ([a_result("done"), a_result("failed")], OutcomeUnknown, "only a part: step failed"),
    ],
)
def test_what_a_script_did_not_do_is_refused_and_what_it_may_have_done_is_unknown(
    results: list[Result], raised: type[Exception] | None, says: str
) -> None:
    if raised is None:
        assert not_done(results) is None
    else:
        with pytest.raises(raised, match=says):
            not_done(results)


def test_half_characters_become_marks_so_that_a_database_takes_them() -> None:
    assert text({"a": "x\ud800y"}, "a") == "x?y"
    assert texts({"a": ["ü", "\udfff"]}, "a") == ("ü", "?")
