"""Pastes in any encoding and wrapping become the text that a person would read."""

from __future__ import annotations

import base64

import pytest

from knowledge.diagnose import diagnose
from knowledge.paste import LIMIT, readable

ERROR = "450 4.4.316 Connection refused"


@pytest.mark.parametrize(
    "raw",
    [
        ERROR.encode(),
        b"\xef\xbb\xbf" + ERROR.encode(),
        ERROR.encode("utf-16"),
        b"\xfe\xff" + ERROR.encode("utf-16-be"),
        ERROR.encode("utf-16-le"),
        ("Verf\u00fcgbar? " + ERROR).encode("latin-1"),
        ("\u00fc " + ERROR).encode() + "\u00fc".encode()[:1],
    ],
)
def test_every_encoding_that_windows_and_unix_tools_write_is_read(raw: bytes) -> None:
    assert ERROR in readable(raw)


def test_one_broken_byte_is_latin_1() -> None:
    assert readable(b"\xff") == "\u00ff"


@pytest.mark.parametrize(
    ("pasted", "shown"),
    [
        ("450\u20114.4.316", "450-4.4.316"),
        ("\u201c450\u00a04.4.316\u201d", '"450 4.4.316"'),
        ("&lt;ann@contoso.com&gt; &amp; co", "<ann@contoso.com> & co"),
        ("see <http://mx.contoso.com|mx.contoso.com> now", "see mx.contoso.com now"),
        ("<mailto:ann@contoso.com|ann@contoso.com>", "ann@contoso.com"),
        ("a\r\nb\0c", "a\n\nb c"),
    ],
)
def test_what_chats_and_word_processors_changed_is_changed_back(pasted: str, shown: str) -> None:
    assert readable(pasted) == shown


def test_no_more_than_the_limit_is_read() -> None:
    assert len(readable("x" * (LIMIT + 10))) == LIMIT
    assert len(readable(b"x" * (3 * LIMIT))) == LIMIT


def report(*, human: str = "", encoding: str = "7bit", charset: str = "utf-8", status: str | None = None) -> str:
    """A bounce as mail systems send it; the returned original holds a code that must not be found."""
    status = status or (
        "Reporting-MTA: dns; out.contoso.com\n\nFinal-Recipient: rfc822; ann@fabrikam.com\nAction: failed\n"
        "Status: 4.4.1\nRemote-MTA: dns; mx.fabrikam.com\nDiagnostic-Code: X-Postfix; connect to\n"
        "    mx.fabrikam.com[198.51.100.4]:25: Connection\n    refused"
    )
    return (
        "From: MAILER-DAEMON@contoso.com\nTo: bob@contoso.com\nSubject: Undelivered\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\n\n'
        f"--B\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n{human}\n"
        "--B\nContent-Type: text/html\n\n<p>Sorry, <b>no</b> luck</p>\n"
        f"--B\nContent-Type: message/delivery-status\n\n{status}\n\n"
        "--B\nContent-Type: message/rfc822\n\nFrom: bob@contoso.com\nSubject: about 550 5.7.999\n\nhello\n--B--\n"
    )


def test_a_whole_bounce_is_explained_by_its_report() -> None:
    found = diagnose(report())
    assert (found.code, found.smart_host, found.ip) == ("4.4.316", "mx.fabrikam.com", "198.51.100.4")
    assert (found.recipient, found.others) == ("ann@fabrikam.com", ())


def test_encoded_parts_are_decoded() -> None:
    coded = base64.b64encode(b"550 5.1.1 no such user").decode()
    status = "Reporting-MTA: dns; out.contoso.com"
    assert diagnose(report(human=coded, encoding="base64", status=status)).code == "5.1.1"
    assert diagnose(report(human="550 5.1=\n.1 no", encoding="quoted-printable", status=status)).code == "5.1.1"
    assert "5.1.1" in readable(report(human="550 5.1.1", charset="no-such-charset", status=status))


def test_html_parts_lose_their_tags() -> None:
    shown = readable(report())
    assert "luck" in shown
    assert "<b>" not in shown


def test_a_message_without_readable_parts_is_left_as_it_stands() -> None:
    image = "From: a@b.test\nDate: x\nMIME-Version: 1.0\nContent-Type: image/png\n\n\n450 4.4.316\n"
    assert diagnose(image).code == "4.4.316"
    nested = "From: a@b.test\nX: y\nZ: z\nContent-Type: message/rfc822\n\nSubject: hello\n\n450 4.4.316\n"
    assert diagnose(nested).code == "4.4.316"


@pytest.mark.parametrize(
    "message",
    [
        "From: a@b.test\nA: b\nC: d\nContent-Type: message/delivery-status\n\n=\n450 4.4.316",
        "From: a@b.test\nA: b\nC: d\nContent-Type: text/plain; charset=a\0b\n\n450 4.4.316\n",
        "From: a@b.test\nA: b\nC: d\nContent-Type: multipart/mixed; boundary=B\n\n450 4.4.316 no boundary at all\n",
        "From: a@b.test\nA: b\nC: d\nContent-Type: text/plain; charset*=x''%\n\n450 4.4.316\n",
        "Received: x\nA: b\nC: d\nContent-Type: multipart/mixed; boundary=B\n\n" + "--B\n" * 200 + "450 4.4.316",
    ],
)
def test_broken_messages_are_still_read(message: str) -> None:
    assert "450 4.4.316" in readable(message)
