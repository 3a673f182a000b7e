"""Colons, minus signs, spaces and letters that look like plain ones in an export."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.backends.files import UnreadableFile, read_connectors, read_messages, read_recipients
from bot.backends.files.lookalikes import plain, strange

AT = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
HEADER = "Date,Sender,Recipient,Status\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.csv"


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-24T04\uff1a30\uff1a00Z",
        "2026-11-24T04\u223630\u223600Z",
        "2026\u201011\u201024 04:30:00",
        "11/24/2026 4:30\u202fAM",
        "\u200e11\u200e/24\u200e/2026\u00a04:30 AM",
        "\uff12\uff10\uff12\uff16-11-24 04:30:00",
    ],
    ids=ascii,
)
def test_a_moment_that_reads_in_one_way_only_is_taken(path: Path, moment: str) -> None:
    (found,) = read_messages(text(path, f"{HEADER}{moment},a@x.test,b@y.test,Pending\n")).rows
    assert found.received_at == AT


def test_a_header_and_a_status_in_full_width_are_taken(path: Path) -> None:
    header = "\uff24\uff41\uff54\uff45\uff08UTC\u221205\uff1a00\uff09,Sender\u200b,Recipient\uff1a,\uff33tatus\n"
    parsed = read_messages(text(path, f"{header}2026-11-23 23:30:00,a@x.test,b@y.test,\uff30ending\uff1a\n"))
    assert ([m.received_at for m in parsed.rows], parsed.problems) == ([AT], ())


def test_a_letter_of_another_alphabet_in_a_status_is_named(path: Path) -> None:
    content = f"{HEADER}2026-11-24T04:30:00Z,a@x.test,b@y.test,\u0420ending\n"
    (problem,) = read_messages(text(path, content)).problems
    assert problem.text.endswith("is not one that mfi knows: '\u0420' in it is U+0420, CYRILLIC CAPITAL LETTER ER")


@pytest.mark.parametrize("kind", ["messages", "connectors"])
def test_a_column_that_only_looks_right_is_named_in_the_refusal(path: Path, kind: str) -> None:
    content = {
        "messages": "Date,Sender,Recipient,\u0405tatus\n2026-11-24T04:30:00Z,a@x.test,b@y.test,Pending\n",
        "connectors": "Name,\u0421onnectorType\nHub,Partner\n",
    }[kind]
    read = {"messages": read_messages, "connectors": read_connectors}[kind]
    with pytest.raises(UnreadableFile, match=r"only looks right: '.' in it is U\+04\d\d, CYRILLIC CAPITAL LETTER"):
        read(text(path, content))


def test_columns_that_a_full_width_comma_parts_are_named_in_the_refusal(path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"U\+FF0C, FULLWIDTH COMMA"):
        read_messages(text(path, HEADER.replace(",", "\uff0c") + "x\n"))


def test_an_address_is_taken_as_it_is_written_or_not_at_all(path: Path) -> None:
    content = f"{HEADER}2026-11-24T04:30:00Z,a@x.test,b\uff20y.test,Pending\n"
    (problem,) = read_messages(text(path, content)).problems
    assert problem.text.endswith("not an address: '\uff20' in it is U+FF20, FULLWIDTH COMMERCIAL AT")


@pytest.mark.parametrize("claim", ["# complete\uff1a contoso.com", "\uff03complete\u2236contoso.com"], ids=ascii)
def test_a_claim_of_completeness_may_have_another_colon(path: Path, claim: str) -> None:
    parsed = read_recipients(text(path, f"{claim}\na@contoso.com\n"))
    assert (parsed.complete, parsed.problems) == (("contoso.com",), ())


@pytest.mark.parametrize("word", ["Empf\u00e4nger", "\u0421\u0442\u0430\u0442\u0443\u0441", "status"], ids=ascii)
def test_words_of_another_language_mislead_nobody(word: str) -> None:
    assert strange(word) is None
    assert plain(word) == word
