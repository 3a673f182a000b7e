"""Lists of recipients, and when a list is believed to be whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.backends.files import UnreadableFile, read_recipients, recipients


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recipients.txt"


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_one_address_a_line(path: Path, encoding: str) -> None:
    content = '# our people\r\nA@contoso.com\r\n\r\n"SMTP:b@contoso.com"\r\na@contoso.com\r\nc@fabrikam.com\r\n'
    parsed = read_recipients(text(path, content, encoding))
    assert parsed.rows == ("a@contoso.com", "b@contoso.com", "c@fabrikam.com")
    assert (parsed.complete, parsed.problems) == ((), ())


@pytest.mark.parametrize("claim", ["# complete: contoso.com", "#COMPLETE : Contoso.com , fabrikam.com"])
def test_a_whole_directory_says_so(path: Path, claim: str) -> None:
    parsed = read_recipients(text(path, f"{claim}\na@contoso.com\nb@fabrikam.com\n"))
    assert parsed.complete[0] == "contoso.com"
    assert len(parsed.complete) == claim.count(".com")
    assert parsed.problems == ()


def test_a_list_with_an_unreadable_line_is_not_believed_to_be_whole(path: Path) -> None:
    parsed = read_recipients(text(path, "# complete: contoso.com\na@contoso.com\nAdmin Two\n<>\n"))
    assert parsed.rows == ("a@contoso.com",)
    assert parsed.complete == ()
    assert [p.line for p in parsed.problems] == [3, 4, 0]
    assert "not taken as complete, because 2 lines could not be read" in parsed.problems[-1].text


def test_a_domain_without_any_address_is_not_believed_to_be_empty(path: Path) -> None:
    parsed = read_recipients(text(path, "a@contoso.com\n# complete: contoso.com\n# complete: fabrikam.com\n"))
    assert parsed.complete == ("contoso.com",)
    assert (parsed.problems[0].line, "fabrikam.com" in parsed.problems[0].text) == (3, True)


@pytest.mark.parametrize("content", ["", "# complete: contoso.com\n", "nobody\n"])
def test_a_list_of_nobody_is_refused(path: Path, content: str) -> None:
    with pytest.raises(UnreadableFile, match="lists no address"):
        read_recipients(text(path, content))


def test_another_encoding_is_refused(path: Path) -> None:
    with pytest.raises(UnreadableFile, match="save it as UTF-8"):
        read_recipients(text(path, "größe@contoso.com\n", "latin-1"))


def test_a_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        read_recipients(path)


def test_too_long_a_list_is_refused(path: Path) -> None:
    with pytest.raises(UnreadableFile, match="more than 500000 lines"):
        read_recipients(text(path, "a@contoso.com\n" * (recipients.MAX_ROWS + 1)))
