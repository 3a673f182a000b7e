"""From bytes on disk to rows: encodings, delimiters, shapes of JSON, and files that are refused in one line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.backends.files import (
    UnreadableFile,
    cells,
    read_connectors,
    read_domains,
    read_messages,
    read_recipients,
    table,
)
from bot.backends.files.dates import SlashedDates
from bot.backends.files.parsed import MAX_PROBLEMS, BadRow, Problem, Problems, listing

CSV = '"DomainName","DomainType"\r\n"contoso.com","Authoritative"\r\n"größe.test","InternalRelay"\r\n'
NAMES = ["contoso.com", "größe.test"]


def put(folder: Path, content: bytes | str, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


ENCODINGS = {
    "utf-8": CSV.encode(),
    "utf-8 with BOM": b"\xef\xbb\xbf" + CSV.encode(),
    "utf-16 little": b"\xff\xfe" + CSV.encode("utf-16-le"),
    "utf-16 big": b"\xfe\xff" + CSV.encode("utf-16-be"),
    "utf-16 little without BOM": CSV.encode("utf-16-le"),
    "utf-16 big without BOM": CSV.encode("utf-16-be"),
}


@pytest.mark.parametrize("content", ENCODINGS.values(), ids=ENCODINGS)
def test_every_encoding_of_an_export_is_read(tmp_path: Path, content: bytes) -> None:
    parsed = read_domains(put(tmp_path, content))
    assert [d.name for d in parsed.rows] == NAMES
    assert parsed.problems == ()


SHAPES = {
    "semicolons": CSV.replace(",", ";"),
    "tabs": CSV.replace(",", "\t"),
    "no quotes": CSV.replace('"', ""),
    "bare line feeds": CSV.replace("\r\n", "\n"),
    "powershell's type line": "#TYPE Microsoft.Exchange.Data.Directory.AcceptedDomain\r\n" + CSV,
    "excel's separator line": "sep=,\r\n" + CSV,
    "empty lines": "\r\n\r\n" + CSV.replace("\r\n", "\r\n\r\n") + "\r\n",
    "other case and spaces": CSV.replace("DomainName", " domain NAME ").replace("DomainType", "Domain_Type"),
    "more columns": CSV.replace('"\r\n', '","x"\r\n').replace('"x"', '"Comment"', 1),
}


@pytest.mark.parametrize("content", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_csv_is_read(tmp_path: Path, content: str) -> None:
    parsed = read_domains(put(tmp_path, content))
    assert [d.name for d in parsed.rows] == NAMES
    assert parsed.problems == ()


ROWS = [{"DomainName": n, "DomainType": "Authoritative"} for n in NAMES]
DOCUMENTS = {
    "an array": ROWS,
    "an answer with value": {"@odata.context": "x", "value": ROWS},
    "sidecars beside the fields": [{**r, "DomainName@data.type": "System.String"} for r in ROWS],
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_shape_of_json_is_read(tmp_path: Path, document: object) -> None:
    parsed = read_domains(put(tmp_path, "\ufeff \r\n" + json.dumps(document)))
    assert [d.name for d in parsed.rows] == NAMES
    assert parsed.problems == ()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_whole_wherever_a_block_ends(tmp_path: Path, end: str) -> None:
    count = 3 * table._BLOCK // 40
    names = [f"{i:020d}.test" for i in range(count)]
    content = end.join(["DomainName,DomainType", *(f"{n},Authoritative" for n in names)])
    parsed = read_domains(put(tmp_path, content))
    assert [d.name for d in parsed.rows] == names
    assert parsed.problems == ()


def test_a_single_object_is_one_row(tmp_path: Path) -> None:
    assert [d.name for d in read_domains(put(tmp_path, json.dumps(ROWS[0]))).rows] == ["contoso.com"]


def test_an_empty_array_is_no_row(tmp_path: Path) -> None:
    assert read_domains(put(tmp_path, "[]")).rows == ()


def test_a_first_page_of_an_answer_is_pointed_out(tmp_path: Path) -> None:
    parsed = read_domains(put(tmp_path, json.dumps({"value": ROWS, "@odata.nextLink": "https://x.test"})))
    assert len(parsed.rows) == 2
    assert "only the first page" in parsed.problems[0].text


def test_items_that_are_no_objects_are_reported_with_their_place(tmp_path: Path) -> None:
    parsed = read_domains(put(tmp_path, json.dumps([ROWS[0], 7, None, ROWS[1]])))
    assert [d.name for d in parsed.rows] == NAMES
    assert [p.line for p in parsed.problems] == [2, 3]


def test_bad_rows_are_reported_with_their_line_and_the_good_ones_kept(tmp_path: Path) -> None:
    content = '#TYPE x\nDomainName,DomainType\ncontoso.com,Authoritative\nonly one\n\n"two\nlines.test",Nonsense\n'
    content += "a,b,c\nlast.test,InternalRelay\n"
    parsed = read_domains(put(tmp_path, content))
    assert [d.name for d in parsed.rows] == ["contoso.com", "last.test"]
    assert [(p.line, p.text.partition(" ")[0]) for p in parsed.problems] == [(4, "has"), (6, "DomainName"), (8, "has")]


def test_a_quote_that_is_never_closed_is_reported(tmp_path: Path) -> None:
    content = 'DomainName,DomainType\ncontoso.com,Authoritative\n"open,Authoritative\n' + "x" * 140_000 + "\n"
    parsed = read_domains(put(tmp_path, content + "last.test,Authoritative\n"))
    assert parsed.rows[0].name == "contoso.com"
    assert parsed.problems[0].line == 3


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def link(path: Path) -> Path:
    path.symlink_to("/etc/hostname")
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def huge(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(table.MAX_BYTES + 1)
    return path


def huge_json(path: Path) -> Path:
    with path.open("wb") as file:
        file.write(b"[" + b" " * 5000)
        file.truncate(table.MAX_JSON_BYTES + 1)
    return path


REFUSED = {
    "missing": (lambda p: p, "No such file"),
    "folder": (folder, "is not a file"),
    "link": (link, "symbolic link"),
    "pipe": (pipe, "is not a file"),
    "odd name": (lambda p: Path("a\0b"), "NUL"),
    "huge": (huge, "larger than 256 MiB"),
    "huge json": (huge_json, "JSON larger than 64 MiB"),
    "empty": (lambda p: put(p.parent, b""), "is empty"),
    "blank": (lambda p: put(p.parent, b"\xef\xbb\xbf \r\n"), "is empty"),
    "latin-1": (lambda p: put(p.parent, CSV.encode("latin-1")), "-Encoding UTF8"),
    "half a character": (lambda p: put(p.parent, CSV.encode("utf-16")[:-1]), "-Encoding UTF8"),
    "late bad byte": (lambda p: put(p.parent, CSV.encode() + b"x,y\n" * 9000 + b"\xff"), "-Encoding UTF8"),
    "late bad byte in json": (lambda p: put(p.parent, b"[" + b" " * 99_000 + b"\xff]"), "-Encoding UTF8"),
    "broken json": (lambda p: put(p.parent, '[{"DomainName": '), "is not valid JSON"),
    "deep json": (lambda p: put(p.parent, "[" * 200_000), "nested too deeply"),
    "huge number": (lambda p: put(p.parent, "[" + "9" * 100_000 + "]"), "is not valid JSON"),
    "one endless line": (
        lambda p: put(p.parent, "x" * (table._LONGEST_LINE + table._BLOCK)),
        "has a line of more than",
    ),
    "many columns": (lambda p: put(p.parent, "a," * 600 + "\n"), "more than 500 columns"),
    "no columns": (lambda p: put(p.parent, '"' + "x" * 140_000), "no readable line of column names"),
    "type line alone": (lambda p: put(p.parent, "#TYPE x\n"), "no line of column names"),
}


@pytest.mark.parametrize(("make", "says"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_read_is_refused_in_one_line(tmp_path: Path, make, says: str) -> None:
    path = make(tmp_path / "file")
    with pytest.raises(UnreadableFile, match=re.escape(says)) as refusal:
        read_domains(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("start", ["DomainName,DomainType\n", "["])
def test_too_many_rows_are_refused(tmp_path: Path, start: str) -> None:
    rows = "x,y\n" * 500_001 if start != "[" else ",".join(["1"] * 500_001) + "]"
    with pytest.raises(UnreadableFile, match="more than 500000 rows"):
        read_domains(put(tmp_path, start + rows))


def test_problems_are_kept_up_to_a_limit_and_counted_beyond() -> None:
    problems = Problems()
    for line in range(MAX_PROBLEMS + 7):
        problems.add(line, "bad")
    assert problems.count == MAX_PROBLEMS + 7
    assert problems.all()[-1] == Problem(0, "and 7 more problems of this file are not listed", rows=7)
    assert listing(["a", "b", "c"], 2) == "'a', 'b' and 1 more"


CELLS = [
    (lambda: cells.text("  a\tb\x00\x1b[31m\ud800c\u2028 "), "a b [31m c"),
    (lambda: cells.text("x" * 5000), "x" * 1000),
    (lambda: cells.text(7), "7"),
    (lambda: cells.text(None), None),
    (lambda: cells.text(["a"]), None),
    (lambda: cells.boolean("$TRUE", "c"), True),
    (lambda: cells.boolean("False", "c"), False),
    (lambda: cells.boolean(True, "c"), True),
    (lambda: cells.boolean("", "c"), None),
    (lambda: cells.boolean("maybe", "c"), BadRow),
    (lambda: cells.several("a; b,c\nc", "c"), ("a", "b", "c")),
    (lambda: cells.several("{a, b}", "c"), ("a", "b")),
    (lambda: cells.several(["a", None, "a", ""], "c"), ("a",)),
    (lambda: cells.several({"value": ["a"], "Count": 1}, "c"), ("a",)),
    (lambda: cells.several([["a"]], "c"), BadRow),
    (lambda: cells.several(None, "c"), ()),
    (lambda: cells.whole("25", "c", 1, 65535), 25),
    (lambda: cells.whole(25, "c", 1, 65535), 25),
    (lambda: cells.whole("", "c", 1, 65535), None),
    (lambda: cells.whole("0", "c", 1, 65535), BadRow),
    (lambda: cells.whole("٣", "c", 1, 65535), BadRow),
    (lambda: cells.whole("1" * 400, "c", 1, 65535), BadRow),
    (lambda: cells.size("45,678"), 45678),
    (lambda: cells.size("44 KB"), None),
    (lambda: cells.address("<SMTP:User@Contoso.com>", "c"), "user@contoso.com"),
    (lambda: cells.address("<>", "c"), None),
    (lambda: cells.address("nobody", "c"), BadRow),
    (lambda: cells.address("a@b@c", "c"), BadRow),
    (lambda: cells.moment("2026-11-24T04:30:00Z", "c"), "2026-11-24T04:30:00+00:00"),
    (lambda: cells.moment("2026-07-24T19:01:54.0000000Z", "c"), "2026-07-24T19:01:54+00:00"),
    (lambda: cells.moment("2026-11-24 04:30", "c"), "2026-11-24T04:30:00+00:00"),
    (lambda: cells.moment("2026-11-24T06:30:00+02:00", "c"), "2026-11-24T04:30:00+00:00"),
    (lambda: cells.moment("11/19/2026 5:08:35 PM", "c"), "2026-11-19T17:08:35+00:00"),
    (lambda: cells.moment("11/19/2026 12:08 AM", "c"), "2026-11-19T00:08:00+00:00"),
    (lambda: cells.moment("11/19/2026, 17:08", "c"), "2026-11-19T17:08:00+00:00"),
    (lambda: cells.moment("/Date(1795494600000)/", "c"), "2026-11-24T04:30:00+00:00"),
    (lambda: cells.moment("19/11/2026 17:08", "c"), BadRow),
    (lambda: cells.moment("19/11/2026 17:08", "c", dates=SlashedDates(day_first=True)), "2026-11-19T17:08:00+00:00"),
    (lambda: cells.moment("11/19/2026 17:08", "c", dates=SlashedDates(day_first=True)), BadRow),
    (lambda: cells.moment("19.11.2026 17:08:35", "c"), "2026-11-19T17:08:35+00:00"),
    (lambda: cells.moment("5.12.2026 9.08", "c"), "2026-12-05T09:08:00+00:00"),
    (lambda: cells.moment("12.19.2026 17:08", "c"), BadRow),
    (lambda: cells.moment("yesterday", "c"), BadRow),
    (lambda: cells.moment("0001-01-01T00:00:00+14:00", "c"), BadRow),
    (lambda: cells.moment("1970-01-01", "c"), BadRow),
    (lambda: cells.moment("/Date(999999999999999)/", "c"), BadRow),
    (
        lambda: cells.moment("2026-11-24 04:30", "c", cells.header_offset("Date (UTC+02:00)")),
        "2026-11-24T02:30:00+00:00",
    ),
    (
        lambda: cells.moment("2026-11-24 04:30", "c", cells.header_offset("Date (UTC-5:30)")),
        "2026-11-24T10:00:00+00:00",
    ),
    (lambda: cells.moment(None, "c"), None),
    (lambda: cells.spoiled("System.String[]"), True),
    (lambda: cells.spoiled("System.Collections.ArrayList"), True),
    (lambda: cells.spoiled("Microsoft.Exchange.Data.MultiValuedProperty`1[System.String]"), True),
    (lambda: cells.spoiled("System.Object[]"), True),
    (lambda: cells.spoiled("system.contoso.com"), False),
    (lambda: cells.spoiled(["System.String[]"]), False),
]


@pytest.mark.parametrize("number", range(len(CELLS)))
def test_a_cell_is_its_value_or_nothing_or_bad(number: int) -> None:
    read, wanted = CELLS[number]
    if wanted is BadRow:
        with pytest.raises(BadRow):
            read()
    else:
        found = read()
        assert (found.isoformat() if hasattr(found, "isoformat") else found) == wanted


READERS = (read_connectors, read_domains, read_messages, read_recipients)
WORDS = st.sampled_from(
    [
        *("Name", "Guid", "ConnectorType", "OnPremises", "SmartHosts", "DomainName", "DomainType", "Date", "Sender"),
        *("date_time_utc", "Recipient", "recipient_status", "event_id", "Status", "Pending", "a@b.test"),
        *("a@b.test##Receive, Defer", "System.String[]", "2026-11-24T04:00Z", "0001-01-01T00:00:00+14:00"),
        *("{LED=450 4.4.316 x}", "True", "", "\ud800", "\x00", '"', "# complete: b.test"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)
LINES = st.lists(st.lists(WORDS | st.text(max_size=8), max_size=6).map(",".join), max_size=8).map("\n".join)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300)
    | VALUES.map(lambda v: json.dumps(v).encode())
    | LINES.map(lambda v: v.encode("utf-8", "replace"))
    | LINES.map(lambda v: v.encode("utf-16-le", "replace"))
)
def test_whatever_the_file_holds_the_readers_answer_or_refuse(tmp_path_factory, content: bytes) -> None:
    path = put(tmp_path_factory.getbasetemp(), content, "fuzz")
    for read in READERS:
        try:
            parsed = read(path)
        except UnreadableFile as error:
            assert "\n" not in str(error)
        else:
            for row in parsed.rows:
                repr(row).encode()


def test_notes_and_sums_that_a_file_adds_are_not_taken_for_rows(tmp_path: Path) -> None:
    content = "# exported by Bob, on Tuesday\n#TYPE x\nDate,Sender,Recipient,Status\n"
    content += "2026-11-24T04:00:00Z,a@x.test,b@y.test,Pending\n# a note, of two cells\n# one\nTotal: 5 rows\nEnd,,,\n"
    parsed = read_messages(put(tmp_path, content))
    assert [(p.line, p.rows) for p in parsed.problems] == [(7, 0), (8, 0)]
    assert parsed.problems[0].text == "taken for a remark of the file, no row: 'Total: 5 rows'"
    assert len(parsed.rows) == 1


def test_a_first_column_that_is_called_number_sign_is_no_note(tmp_path: Path) -> None:
    content = "#,DomainName,DomainType\n1,contoso.com,Authoritative\n"
    assert [d.name for d in read_domains(put(tmp_path, content)).rows] == ["contoso.com"]


def test_remarks_are_listed_by_line_among_the_rows_that_are_lost_and_cost_none() -> None:
    problems = Problems()
    for line in range(MAX_PROBLEMS + 7):
        problems.remark(line, "odd")
    problems.add(1, "bad")
    assert problems.count == sum(p.rows for p in problems.all()) == 1
    assert [p.text for p in problems.all()[:4]] == ["odd", "odd", "bad", "odd"]
